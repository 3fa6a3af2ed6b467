"""`python -m benchmarks precision`: products in bytes against level 2, onnxruntime's own quantizer and OpenVINO, in turn."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hugectr2onnx
from benchmarks.markdown import markdown
from hugectr2onnx.backend.runtime import byte_products
from hugectr2onnx.backend.runtime.sessions import onnxruntime
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency import machine
from hugectr2onnx.latency.bound_calls import BoundCalls, Settings
from hugectr2onnx.latency.figures import geometric_mean
from hugectr2onnx.quantization.metrics import rank_correlation
from hugectr2onnx.sample_models import sample_feeds, write_sample

MODELS = ("wdl", "dcn", "dcnv2", "deepfm", "dlrm", "mmoe", "shared_bottom", "ncf", "neumf")
LEVEL_2 = "level 2"
OPENVINO = "OpenVINO"
MIN_ROUNDS = 12
Call = Callable[[], Any]


@dataclass(frozen=True)
class PrecisionLine:
    """One candidate in one case; `gain` is level 2's fastest time by its own, on a machine where other work runs beside.

    The changes are those of the predictions from level 2's, over all outputs.
    """

    model: str
    batch: int
    threads: int
    candidate: str
    fastest_us: float
    median_us: float
    gain: float
    rounds: int
    max_change: float
    rank_correlation: float
    bytes: int


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("models", nargs="*", metavar="MODEL", help=f"sample models; {', '.join(MODELS)} if none is named")
    verb.add_argument("--batch", default="1,64,1024", help="1,64,1024")
    verb.add_argument("--threads", type=int, default=1)
    verb.add_argument("--seconds", type=float, default=4.0, help="for all candidates of a case (4)")
    verb.add_argument("--scale", choices=("small", "realistic"), default="realistic")
    verb.add_argument("--no-openvino", action="store_true", help="leave OpenVINO out: its threads spin between calls")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a row for each case, and geometric means."""
    batches = [int(text) for text in arguments.batch.split(",")]
    about = {"kind": "machine", **machine.describe(), "saturates": byte_products.saturates()}
    _write(arguments.json, about)
    lines: list[PrecisionLine] = []
    for name in arguments.models or MODELS:
        sys.stderr.write(f"{name}\n")
        effort = (arguments.threads, arguments.seconds, arguments.scale)
        for line in measure(name, batches, *effort, openvino=not arguments.no_openvino):
            lines.append(line)
            _write(arguments.json, {"kind": "precision", **asdict(line)})
    sys.stdout.write(markdown(HEADINGS, [_row(line) for line in lines]))
    sys.stdout.write("\nGeometric means over the models:\n\n")
    sys.stdout.write(markdown(("candidate", *(f"batch {b}" for b in batches)), list(_means(lines, batches))))
    return 0


HEADINGS = (
    "model",
    "batch",
    "candidate",
    "us",
    "times faster than level 2",
    "largest change",
    "rank correlation",
    "bytes",
)


def _row(line: PrecisionLine) -> list[str]:
    numbers = [f"{line.fastest_us:.0f}", f"{line.gain:.2f}", f"{line.max_change:.2g}", f"{line.rank_correlation:.5f}"]
    return [line.model, str(line.batch), line.candidate, *numbers, f"{line.bytes:,}"]


def _means(lines: Sequence[PrecisionLine], batches: Sequence[int]) -> Iterator[list[str]]:
    for candidate in dict.fromkeys(line.candidate for line in lines):
        gains = [[line.gain for line in lines if (line.candidate, line.batch) == (candidate, b)] for b in batches]
        yield [candidate, *(f"{geometric_mean(each):.2f} ({len(each)} models)" for each in gains)]


def _write(path: Path | None, entry: Mapping[str, Any]) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def measure(
    name: str, batches: Sequence[int], threads: int, seconds: float, scale: Any, *, openvino: bool
) -> Iterator[PrecisionLine]:
    """All candidates of one model, at each batch in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sample = write_sample(name, folder / "model", scale=scale)
        files = {each: path for each, path in _files(sample, folder) if openvino or not each.startswith(OPENVINO)}
        for batch in batches:
            feed = sample_feeds(sample, batch)
            calls, answers = _calls(files, feed, threads)
            times = in_turn(calls, seconds)
            exact = answers[LEVEL_2]
            for candidate, own in times.items():
                yield PrecisionLine(
                    name,
                    batch,
                    threads,
                    candidate,
                    min(own) * 1e6,
                    statistics.median(own) * 1e6,
                    min(times[LEVEL_2]) / min(own),
                    len(own),
                    max(float(np.abs(a - b).max()) for a, b in zip(answers[candidate], exact, strict=True)),
                    min(rank_correlation(a.ravel(), b.ravel()) for a, b in zip(answers[candidate], exact, strict=True)),
                    files[candidate].stat().st_size,
                )


def _files(sample: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """The candidates as ONNX files."""
    level_2 = hugectr2onnx.compile(sample.graph, sample.weights)
    for name, compiled in (
        (LEVEL_2, level_2),
        ("int8", hugectr2onnx.compile(sample.graph, sample.weights, precision="int8")),
        ("int8-row", hugectr2onnx.compile(sample.graph, sample.weights, precision="int8-row")),
    ):
        compiled.save(folder / f"{name.replace(' ', '_')}.onnx")
        yield name, folder / f"{name.replace(' ', '_')}.onnx"
    quantized = folder / "ort.onnx"
    _quantize(folder / "level_2.onnx", quantized)
    yield "onnxruntime's quantizer", quantized
    if not any(choice.strategy != "direct" for choice in level_2.report.key_maps):
        yield f"{OPENVINO} f32", folder / "level_2.onnx"
        yield f"{OPENVINO} bf16", folder / "level_2.onnx"


def _quantize(source: Path, target: Path) -> None:
    """One call, each channel by itself; 7 bits where 8 would be wrong."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=byte_products.saturates(),
        weight_type=QuantType.QInt8,
    )
    logging.disable(logging.NOTSET)


def _calls(
    files: Mapping[str, Path], feed: Mapping[str, Array], threads: int
) -> tuple[dict[str, Call], dict[str, list[Array]]]:
    calls: dict[str, Call] = {}
    answers: dict[str, list[Array]] = {}
    for name, path in files.items():
        if name.startswith(OPENVINO):
            found = _openvino(path, name.split()[1], feed, threads)
            if found is not None:
                calls[name], answers[name] = found
            continue
        session = onnxruntime().InferenceSession(path, Settings(threads).options(), providers=["CPUExecutionProvider"])
        (calls[name],) = BoundCalls(session, [feed]).calls()
        answers[name] = session.run(None, dict(feed))
    return calls, answers


def _openvino(path: Path, precision: str, feed: Mapping[str, Array], threads: int) -> tuple[Call, list[Array]] | None:
    """None where OpenVINO is not installed, or has no such precision on this processor."""
    try:
        import openvino
    except ImportError:
        return None
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    if precision not in str(compiled.get_property("INFERENCE_PRECISION_HINT")).replace("float32", "f32").replace(
        "bfloat16", "bf16"
    ):
        return None
    request = compiled.create_infer_request()
    tensors = {name: openvino.Tensor(np.ascontiguousarray(array)) for name, array in feed.items()}
    for name, tensor in tensors.items():
        request.set_tensor(name, tensor)
    request.infer()
    return request.infer, [np.array(output.data) for output in request.output_tensors]


def in_turn(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Seconds of one call of each, in rounds in which all take their turn: what else runs here hits all alike."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < MIN_ROUNDS or time.perf_counter() < end:
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return times


def _repeats(call: Call) -> int:
    call()
    start = time.perf_counter()
    call()
    return max(1, min(50, round(0.002 / (time.perf_counter() - start))))
