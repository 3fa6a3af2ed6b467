"""`hugectr2onnx compile`."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.arguments import (
    add_json,
    add_keys,
    add_options,
    add_weights,
    byte_count,
    choice_of,
    kept_files,
    plain_options,
    required_weights,
)
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.text_compile import tell

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.frontend.weights.snapshot import Weights

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
    add_keys(parser)
    group = parser.add_argument_group("quality", "what the predictions are worth before and after")
    group.add_argument(
        "--samples", metavar="FILE.npz", help="inputs and labels (0 or 1) by name: gives AUC and log-loss"
    )
    group.add_argument(
        "--budget",
        metavar="auc:99.9%",
        help="of the AUC with fp32 rows, or logloss:0.1%%: where int8 (or --embedding) loses more, larger formats are taken",
    )
    group = parser.add_argument_group("result")
    group.add_argument("--graph-name", default="hugectr", metavar="NAME", help="the name of the ONNX graph")
    group.add_argument("--opset", type=int, default=17, metavar="N", help="of the ONNX operators (default 17)")
    group.add_argument("--no-simplify", action="store_true", help="do not run onnxsim")
    group.add_argument("--no-check", action="store_true", help="do not compare the result with the float64 reference")
    group.add_argument("--validate", action="store_true", help="evaluate before and after every pass; slow")
    group.add_argument("--dump-ir", metavar="FOLDER", help="write the IR after every pass that changed it")
    group.add_argument(
        "--external-data",
        action="store_true",
        help="put large tensors beside the model at any size, so that it opens in milliseconds",
    )
    group.add_argument(
        "--shard-size", type=byte_count, metavar="2GB", help="several data files of so many bytes beside the model"
    )
    group.add_argument(
        "--manifest",
        action=argparse.BooleanOptionalAction,
        help="write manifest.json with checksums (default: where there are data files)",
    )
    group.add_argument("--report", metavar="FILE.json", help="write the report of the compilation")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    if not (arguments.no_simplify or arguments.no_check or arguments.opt_level == 0):
        # onnxsim's process takes its time to start: the sooner the better.
        from hugectr2onnx.backend.simplify import worker

        worker.prewarm()
    weights = required_weights(arguments)
    target, report_file = _checked_places(arguments, weights)
    if arguments.budget and not arguments.samples:
        raise UsageError("--budget needs --samples FILE.npz to judge by")
    _require_room(arguments, weights)
    compiled = _compile(arguments, weights, output)
    with output.saving() as saved:
        records = compiled.save(
            target,
            external=arguments.external_data,
            shard_size=arguments.shard_size,
            manifest=arguments.manifest,
            progress=saved,
        )
    count = sum(record.bytes for record in records)
    data = {"model": arguments.output, "bytes": count, "report": compiled.report.to_dict()}
    if report_file is not None:
        _write_report(report_file, data)
    tell(output, arguments.output, count, compiled)
    if output.json:
        output.data(data)
    return 0


def _compile(arguments: argparse.Namespace, weights: Weights, output: Output) -> CompiledModel:
    options = plain_options(arguments)
    given: dict[str, Any] = {
        "convert_embedding": options.convert_embedding,
        "input_shapes": options.input_shapes,
        "layer_attrs": options.layer_attrs,
        "slot_size_array": options.slot_size_array,
        "n_gpus": options.n_gpus,
        "embedding_collection": arguments.embedding_collection,
        "keys": choice_of(arguments.keys, "--keys", "auto"),
        "embedding": options.row_formats,
        "keep_keys": kept_files(arguments),
        "graph_name": arguments.graph_name,
        "opset": arguments.opset,
        "simplify": not arguments.no_simplify,
        "check": not arguments.no_check,
        "validate": arguments.validate,
        "dump": _dump_folder(arguments.dump_ir),
    }
    with output.progress() as progress:
        if arguments.samples is None:
            from hugectr2onnx.compiler import compile

            return compile(arguments.graph, weights, arguments.opt_level, progress=progress, **given)
        from hugectr2onnx.quantization.search import compile_measured

        given["embedding"] = options.row_formats if arguments.embedding else None
        measured = {"samples": arguments.samples, "budget": arguments.budget}
        return compile_measured(arguments.graph, weights, arguments.opt_level, progress=progress, **measured, **given)


def _require_room(arguments: argparse.Namespace, weights: Weights) -> None:
    """Raise OutputError before the work where the disk cannot even hold the rows, by the sizes of the files alone."""
    from hugectr2onnx.checking.forecast import free_bytes, least_bytes, no_room
    from hugectr2onnx.checking.table_sizes import table_sizes

    options = plain_options(arguments)
    if arguments.budget and not arguments.embedding:
        options = replace(options, row_formats="int8")
    sizes = table_sizes(arguments.graph, weights, options)
    kept = kept_files(arguments)
    needed = least_bytes(0, (entry[1:] for entry in sizes if entry[0] not in kept))
    error = no_room(arguments.output, needed, free_bytes(arguments.output))
    if error is not None:
        raise error


def _checked_places(arguments: argparse.Namespace, weights: Weights) -> tuple[Path, Path | None]:
    """Where model and report will come to stand. Found out before the work, not after: nothing of it is an input."""
    from hugectr2onnx.backend.saving import overwrite_guard, stale_temporaries

    target = _writable(arguments.output)
    report = _writable(arguments.report) if arguments.report else None
    if report == target:
        raise UsageError("-o and --report name the same file")
    if report is not None and overwrite_guard.may_be_written(report, target):
        raise UsageError(f"--report {arguments.report} is a file that may go with the model: choose another name")
    read = _read_files(arguments, weights)
    written = [target, *([report] if report is not None else [])]
    if arguments.external_data or arguments.shard_size:
        written += [path for path in read if overwrite_guard.is_data_file(path, target)]
    overwrite_guard.require_apart(written, read)
    # The room that a killed run took counts as free below.
    stale_temporaries.clear(target)
    return target, report


def _writable(given: str) -> Path:
    from hugectr2onnx.backend.saving.atomic import writable_path
    from hugectr2onnx.errors import OutputError

    target = writable_path(given)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {target}: you may not write to its folder. Choose another folder.")
    return target


def _read_files(arguments: argparse.Namespace, weights: Weights) -> list[Path]:
    """Every file that the arguments name, links followed."""
    from hugectr2onnx.frontend.weights.source_files import source_files

    sources = source_files(arguments.graph, weights, arguments.embedding_collection, kept_files(arguments))
    others = (arguments.samples, arguments.layer_attrs, arguments.slot_size_array)
    return [*(source.path for source in sources), *(Path(os.path.realpath(each)) for each in others if each)]


def _dump_folder(given: str | None) -> Path | None:
    if given is None:
        return None
    from hugectr2onnx.errors import OutputError

    try:
        Path(given).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"Cannot create the folder {given}: {getattr(error, 'strerror', error)}.") from error
    return Path(given)


def _write_report(path: Path, data: dict[str, object]) -> None:
    import json

    from hugectr2onnx.backend.saving.atomic import atomic_files
    from hugectr2onnx.cli.output import plain

    with atomic_files(path) as (file,):
        file.write(json.dumps(plain(data), indent=2, allow_nan=False).encode() + b"\n")
