"""`hugectr2onnx bench`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_json
from hugectr2onnx.cli.dataset_arguments import add_data_options, dataset_options, positive
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.verify import tolerance
from hugectr2onnx.errors import ParityError

if TYPE_CHECKING:
    from hugectr2onnx.latency.result import Benchmark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s MODEL.onnx [OTHER.onnx ...] [--batch 1,64,1024] [--threads 1,2] [--data DATA] [options]\n"
        "       %(prog)s http://HOST:PORT/v2/models/NAME [MODEL.onnx] [--batch 1,64,1024] [--clients 1,8]"
    )
    parser.add_argument(
        "model",
        metavar="MODEL.onnx",
        help="an ONNX file, of this compiler or any other; or the address of a server's model",
    )
    parser.add_argument(
        "others", metavar="OTHER.onnx", nargs="*", help="other files of the same model, measured in turn"
    )
    parser.add_argument("--batch", type=numbers, default=(1, 64, 1024), metavar="N,...", help="default 1,64,1024")
    parser.add_argument("--threads", type=numbers, default=(1,), metavar="N,...", help="of onnxruntime (default 1)")
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=2.0,
        metavar="X",
        help="for all files at one batch and thread count (default 2)",
    )
    parser.add_argument("--data", metavar="DATA", help="a data set, as predict reads it (default: drawn inputs)")
    parser.add_argument(
        "--clients", type=numbers, default=(1,), metavar="N,...", help="of a server, at once (default 1)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawn inputs")
    parser.add_argument("--no-operators", action="store_true", help="leave out the time by operator")
    parser.add_argument("--floor", action="store_true", help="time the products and the gathers of MODEL alone, too")
    parser.add_argument("--openvino", action="store_true", help="run MODEL on OpenVINO too (extra `openvino`)")
    parser.add_argument("--time-different", action="store_true", help="time files that compute something else, too")
    parser.add_argument("--rtol", type=tolerance, default=1e-4, metavar="X", help="for the outputs (default 1e-4)")
    parser.add_argument("--atol", type=tolerance, default=1e-4, metavar="X", help="for the outputs (default 1e-4)")
    add_data_options(parser)
    add_json(parser)


def numbers(text: str) -> tuple[int, ...]:
    """`1,64` as two numbers."""
    return tuple(positive(part.strip()) for part in text.split(","))


def seconds(text: str) -> float:
    """Return a time above 0 and below a day."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return found


def run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.model.startswith("http://"):
        return _run_server(arguments, output)
    from hugectr2onnx.latency.bench import bench

    options = dataset_options(arguments) if arguments.data is not None else {}
    with output.progress() as progress:
        result = bench(
            arguments.model,
            *arguments.others,
            batch=arguments.batch,
            threads=arguments.threads,
            data=arguments.data,
            seconds=arguments.seconds,
            operators=not arguments.no_operators,
            floor=arguments.floor,
            openvino=arguments.openvino,
            time_different=arguments.time_different,
            rtol=arguments.rtol,
            atol=arguments.atol,
            seed=arguments.seed,
            progress=progress,
            **options,
        )
    _show(output, result)
    if output.json:
        output.data(result.to_dict())
    return 0 if result.same else ParityError.exit_code


def _show(output: Output, result: Benchmark) -> None:
    from hugectr2onnx.latency.result import NUMBER_COLUMNS
    from hugectr2onnx.pages.numbers import size

    output.title(f"latency on {result.inputs}")
    output.table(result.columns, result.rows, right=NUMBER_COLUMNS)
    if len(result.files) > 1:
        output.title("files")
        rows = [
            (each.name, size(each.bytes), each.nodes, _verdict(result, place))
            for place, each in enumerate(result.files)
        ]
        output.table(("file", "size", "nodes", "outputs"), rows, right=("size", "nodes"))
    for note in result.notes:
        output.say(note)
    machine = result.machine
    versions = machine["versions"]
    output.say(
        f"{machine['cpu']}, {machine['cores']} cores, onnxruntime {versions['onnxruntime']}, load {machine['load']}"
    )


def _verdict(result: Benchmark, place: int) -> str:
    file = result.files[place]
    if place == 0:
        return "the others are compared with them"
    worst = max((each.max_error or 0.0 for each in file.differences), default=0.0)
    return f"the same (largest difference {worst:.2g})" if file.same else "; ".join(map(str, file.differences))


def _run_server(arguments: argparse.Namespace, output: Output) -> int:
    """Measure a server, beside the session of the model's file where it is given."""
    from hugectr2onnx.serving.bench_server import bench_server

    if len(arguments.others) > 1 or arguments.data is not None or arguments.openvino:
        raise UsageError("a server is measured with drawn inputs, beside one ONNX file at most, on onnxruntime")
    timings = bench_server(
        arguments.model,
        *arguments.others,
        batch=arguments.batch,
        clients=arguments.clients,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )
    columns = ("where", "batch", "clients", "requests/s", "p50 us", "p99 us", "errors")
    rows = [
        (t.where, t.batch, t.clients or "", f"{t.rate:,.0f}", f"{t.p50:,.0f}", f"{t.p99:,.0f}", t.errors)
        for t in timings
    ]
    output.table(columns, rows, columns[1:])
    if output.json:
        output.data({"timings": [each.to_dict() for each in timings]})
    return 0
