"""`hugectr2onnx serve`."""

from __future__ import annotations

import argparse

from hugectr2onnx.cli.arguments import byte_count
from hugectr2onnx.cli.dataset_arguments import positive
from hugectr2onnx.cli.output import Output

MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "it needs the extra serve: pip install 'hugectr2onnx[serve]'"
    parser.add_argument("model", metavar="MODEL.onnx", help="the converted model")
    parser.add_argument("--name", help="the model's name in addresses (default: that of the file)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1: this machine)"
    )
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help="0 takes a free one (default 8000)")
    group = parser.add_argument_group("limits")
    group.add_argument("--instances", type=positive, default=2, metavar="N", help="predictions at once (default 2)")
    group.add_argument("--threads", type=positive, default=1, metavar="N", help="cores for one prediction (default 1)")
    group.add_argument(
        "--max-queue", type=int, default=64, metavar="N", help="requests that may wait; more are refused (default 64)"
    )
    group.add_argument(
        "--max-request-size", type=byte_count, default=16 << 20, metavar="16MiB", help="of one request (default 16MiB)"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.serving.extras import require
    from hugectr2onnx.serving.http_server import serve
    from hugectr2onnx.serving.served_model import ServedModel

    require("starlette", "serve")
    from hugectr2onnx.serving.http_app import Limits

    limits = Limits(
        max_request_bytes=arguments.max_request_size,
        instances=arguments.instances,
        max_queue=max(0, arguments.max_queue),
    )
    model = ServedModel(arguments.model, arguments.name, threads=arguments.threads)
    serve(
        model,
        arguments.host,
        arguments.port,
        limits,
        lambda address: output.say(f"serving {arguments.model} at {address}; Ctrl-C stops"),
    )
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, from 0 to {MAX_PORT}")
    return int(text)
