"""`hugectr2onnx compile`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_json, add_options, add_weights, plain_options, required_weights
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.tables import size

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.frontend.weights import Weights
    from hugectr2onnx.report import Report

LEVELS = (
    "0: one plain expansion per layer; 1: exact optimisations; 2 (the default): algebraic ones too, standard operators "
    "only; 3: the fastest on onnxruntime's CPU"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH --weights FOLDER -o OUT.onnx [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", required=True, help="the ONNX file to write")
    parser.add_argument("-O", "--opt-level", type=int, choices=(0, 1, 2, 3), default=2, help=LEVELS)
    add_weights(parser)
    add_options(parser)
    group = parser.add_argument_group("result")
    group.add_argument("--graph-name", default="hugectr", metavar="NAME", help="the name of the ONNX graph")
    group.add_argument("--opset", type=int, default=17, metavar="N", help="of the ONNX operators (default 17)")
    group.add_argument("--no-simplify", action="store_true", help="do not run onnxsim")
    group.add_argument("--no-check", action="store_true", help="do not compare the result with the float64 reference")
    group.add_argument("--validate", action="store_true", help="evaluate before and after every pass; slow")
    group.add_argument("--dump-ir", metavar="FOLDER", help="write the IR after every pass that changed it")
    group.add_argument("--report", metavar="FILE.json", help="write the report of the compilation")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    if not (arguments.no_simplify or arguments.no_check or arguments.opt_level == 0):
        # onnxsim's process takes its time to start: the sooner the better.
        from hugectr2onnx.backend import worker

        worker.prewarm()
    weights = required_weights(arguments)
    target = _checked_target(arguments.output, arguments, weights)
    report_file = _checked_target(arguments.report, arguments, weights) if arguments.report else None
    if report_file == target:
        raise UsageError("-o and --report name the same file")
    compiled = _compile(arguments, weights, output)
    compiled.save(target)
    count = _written(target)
    data = {"model": arguments.output, "bytes": count, "report": compiled.report.to_dict()}
    if report_file is not None:
        _write_report(report_file, data)
    _tell(output, arguments.output, count, compiled)
    if output.json:
        output.data(data)
    return 0


def _compile(arguments: argparse.Namespace, weights: Weights, output: Output) -> CompiledModel:
    options = plain_options(arguments)
    from hugectr2onnx.compiler import compile

    with output.progress() as progress:
        return compile(
            arguments.graph,
            weights,
            arguments.opt_level,
            convert_embedding=options.convert_embedding,
            input_shapes=options.input_shapes,  # type: ignore[arg-type]
            layer_attrs=options.layer_attrs,
            slot_size_array=options.slot_size_array,
            n_gpus=options.n_gpus,
            embedding_collection=arguments.embedding_collection,
            graph_name=arguments.graph_name,
            opset=arguments.opset,
            simplify=not arguments.no_simplify,
            check=not arguments.no_check,
            validate=arguments.validate,
            dump=_dump_folder(arguments.dump_ir),
            progress=progress,
        )


def _checked_target(given: str, arguments: argparse.Namespace, weights: Weights) -> Path:
    """Where a file will come to stand. Found out before the work, not after: it can be written and is no input."""
    from hugectr2onnx.backend.atomic import writable_path
    from hugectr2onnx.errors import OutputError

    target = writable_path(given)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {target}: you may not write to its folder. Choose another folder.")
    inputs = [Path(arguments.graph), weights.dense, weights.ntp, *weights.tables]
    for path in inputs:
        if path is not None and os.path.realpath(path) == str(target):
            raise OutputError(f"Cannot write {target}: it is an input of this compilation. Choose another name.")
    return target


def _dump_folder(given: str | None) -> Path | None:
    if given is None:
        return None
    from hugectr2onnx.errors import OutputError

    try:
        Path(given).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"Cannot create the folder {given}: {getattr(error, 'strerror', error)}.") from error
    return Path(given)


def _written(target: Path) -> int:
    from hugectr2onnx.backend.external_data import data_path

    files = [path for path in (target, data_path(target)) if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _write_report(path: Path, data: dict[str, object]) -> None:
    import json

    from hugectr2onnx.backend.atomic import atomic_files
    from hugectr2onnx.cli.output import plain

    with atomic_files(path) as (file,):
        file.write(json.dumps(plain(data), indent=2, allow_nan=False).encode() + b"\n")


def _tell(output: Output, name: str, count: int, compiled: CompiledModel) -> None:
    report = compiled.report
    for warning in report.warnings:
        output.warning(warning)
    for note in report.recovered:
        output.say(f"recovered: {note}")
    output.say(f"{name}: {size(count)}, {report.onnx_nodes} nodes, in {report.seconds:.1f} s", "good")
    output.table(
        ("", "name", "type"),
        [("input", value.node.name, value.type) for value in compiled.ir.inputs]
        + [("output", name, value.type) for name, value in compiled.ir.outputs.items()],
    )
    output.say(f"level {report.opt_level}: {report.ops_before} -> {report.ops_after} operations{_fires(report)}")
    output.say(f"onnxsim: {report.simplify}")
    output.say(f"parity: {_parity(report)}")


def _fires(report: Report) -> str:
    fires = [f"{rule} {count}" for rule, count in sorted(report.fires.items())]
    return f" ({', '.join(fires)})" if fires else ""


def _parity(report: Report) -> str:
    if report.parity is None:
        return "not checked"
    worst = max(report.parity.outputs, key=lambda each: each.max_error / each.tolerance if each.tolerance else 0.0)
    batches = ", ".join(map(str, report.parity.batches))
    return (
        f"passed at batches of {batches}; the largest error is {worst.max_error:.2g} in {worst.name}, where "
        f"{worst.tolerance:.2g} is allowed"
    )
