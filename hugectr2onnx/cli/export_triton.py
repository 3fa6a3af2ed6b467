"""`hugectr2onnx export triton`."""

from __future__ import annotations

import argparse
import re

from hugectr2onnx.cli.dataset_arguments import positive
from hugectr2onnx.cli.output import Output

_DELAY = re.compile(r"(\d{1,7})(us|ms)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx", help="the converted model")
    parser.add_argument(
        "repository", metavar="REPOSITORY", help="Triton's model repository; the model is a folder in it"
    )
    parser.add_argument("--name", help="the model's name (default: that of the file)")
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "python"),
        default="onnxruntime",
        help="what runs it: Triton's onnxruntime backend (default), or its Python backend with hugectr2onnx installed",
    )
    parser.add_argument(
        "--interface",
        choices=("padded", "csr", "hugectr"),
        help="refuse a model that was compiled with another interface (default: take any)",
    )
    parser.add_argument("--force", action="store_true", help="replace the model of that name")
    group = parser.add_argument_group("settings")
    group.add_argument("--instances", type=positive, default=1, metavar="N", help="predictions at once (default 1)")
    group.add_argument("--threads", type=positive, default=1, metavar="N", help="cores for one prediction (default 1)")
    group.add_argument(
        "--max-queue-delay", type=_delay, default=100, metavar="100us", help="wait for requests to join (default 100us)"
    )
    group.add_argument(
        "--max-batch-size", type=positive, default=1024, metavar="N", help="rows of requests joined (default 1024)"
    )
    group.add_argument(
        "--device", choices=("cpu", "cuda", "tensorrt"), default="cpu", help="where it runs (default cpu)"
    )
    group.add_argument("--gpus", type=_gpus, default=(), metavar="0,1", help="which GPUs (default 0)")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.serving.triton_config import TritonOptions
    from hugectr2onnx.serving.triton_repository import export_triton

    options = TritonOptions(
        backend=arguments.backend,
        instances=arguments.instances,
        threads=arguments.threads,
        queue_delay_us=arguments.max_queue_delay,
        max_batch_size=arguments.max_batch_size,
        device=arguments.device,
        gpus=arguments.gpus,
    )
    done = export_triton(
        arguments.model,
        arguments.repository,
        name=arguments.name,
        options=options,
        interface=arguments.interface,
        force=arguments.force,
    )
    for warning in done.warnings:
        output.warning(warning)
    output.say(f"wrote {done.folder}; start it: tritonserver --model-repository {arguments.repository}")
    return 0


def _delay(text: str) -> int:
    match = _DELAY.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 100us or 2ms")
    return int(match[1]) * (1000 if match[2] == "ms" else 1)


def _gpus(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", text):
        raise argparse.ArgumentTypeError(f"{text!r} are not numbers of GPUs such as 0,1")
    return tuple(map(int, text.split(",")))
