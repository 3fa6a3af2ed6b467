"""`hugectr2onnx compile`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import (
    add_flags,
    add_json,
    add_replay,
    add_weights,
    byte_count,
    given_options,
    replayed,
    required_weights,
    texts_of_flags,
)
from hugectr2onnx.cli.dataset_arguments import positive
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.text_compile import tell
from hugectr2onnx.options import Options

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel
    from hugectr2onnx.frontend.weights.snapshot import Weights

_MAX_SAMPLES = 100_000
"""Of a data set, unless told: enough for four digits of an AUC."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH --weights FOLDER -o OUT.onnx [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", required=True, help="the ONNX file to write")
    add_weights(parser)
    add_flags(parser, "model", "tables", "lookups", "result")
    _add_quality_flags(parser.add_argument_group("quality", "what the predictions are worth before and after"))
    _add_file_flags(parser.add_argument_group("files"))
    add_json(parser)


def _add_quality_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--samples", metavar="FILE.npz", help="inputs and labels (0 or 1) by name: gives AUC and log-loss"
    )
    group.add_argument("--data", metavar="DATA", help="a data set in place of --samples, as `predict` reads it")
    group.add_argument("--limit", type=positive, metavar="N", help="the first N samples of --data (default 100000)")
    group.add_argument("--columns", metavar="SPEC", help="which columns of --data are which, as for `predict`")
    group.add_argument(
        "--frontier", metavar="FILE.svg", help="draw what was tried: time of a call against what the budget is about"
    )
    group.add_argument(
        "--budget",
        metavar="auc:99.9%",
        help="of the AUC with fp32, logloss:0.1%%, max:1e-2, mean:1e-3, rank:99.9%%, calibration:1%%, several with commas: "
        "where int8 rows (or --embedding) and --precision auto lose more, larger formats are taken",
    )


def _add_file_flags(group: argparse._ArgumentGroup) -> None:
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
    group.add_argument("--force", action="store_true", help="replace files that are no model or report of hugectr2onnx")
    add_replay(group)
    group.add_argument("--report", metavar="FILE.json", help="write the report of the compilation")


def run(arguments: argparse.Namespace, output: Output) -> int:
    options = _options(arguments)
    if options.simplify and options.check and options.opt_level > 0:
        # onnxsim's process takes its time to start: the sooner the better.
        from hugectr2onnx.backend.simplify import worker

        worker.prewarm()
    weights = required_weights(arguments)
    target, report_file = _checked_places(arguments, weights, options)
    _check_samples(arguments)
    _require_room(arguments, weights, options)
    compiled = _compile(arguments, weights, options, output)
    _make_folders(target, report_file)
    count = _save(compiled, target, arguments, output)
    data = {"model": arguments.output, "bytes": count, "report": compiled.report.to_dict()}
    if report_file is not None:
        _write_report(report_file, data, force=arguments.force)
    if arguments.frontier:
        _draw_frontier(compiled, arguments)
    tell(output, arguments.output, count, compiled)
    if output.json:
        output.data(data)
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    """Return the options that the flags give, over those of the model that is made again."""
    from hugectr2onnx.tables.row_format import FORMATS

    given = given_options(arguments)
    if arguments.options is not None:
        options = replayed(arguments.options, os.path.basename(arguments.output), given)
        given.setdefault("embedding", options.embedding)
    else:
        options = Options().changed(**given)
    # A budget begins with the smallest rows, unless told where to begin.
    return options.changed(embedding=given.get("embedding", (FORMATS[-1] if arguments.budget else FORMATS[0]).name))


def _check_samples(arguments: argparse.Namespace) -> None:
    if arguments.samples and arguments.data:
        raise UsageError("give --samples or --data, not both")
    if not (arguments.samples or arguments.data) and (arguments.budget or arguments.frontier):
        needy = "--budget" if arguments.budget else "--frontier"
        raise UsageError(f"{needy} needs --samples FILE.npz or --data DATA to judge by")


def _compile(arguments: argparse.Namespace, weights: Weights, options: Options, output: Output) -> CompiledModel:
    with output.progress() as progress:
        if arguments.samples is None and arguments.data is None:
            from hugectr2onnx.compiler import compile

            return compile(arguments.graph, weights, options=options, progress=progress)
        from hugectr2onnx.quantization.metrics import UnopenedData
        from hugectr2onnx.quantization.search import compile_measured

        reading = {"limit": arguments.limit or _MAX_SAMPLES, "columns": arguments.columns}
        return compile_measured(
            arguments.graph,
            weights,
            samples=arguments.samples or UnopenedData(arguments.data, reading),
            budget=arguments.budget,
            embedding=options.embedding,
            options=options,
            progress=progress,
        )


def _make_folders(*files: Path | None) -> None:
    """Make the folders of all files before the first is written."""
    from hugectr2onnx.backend.saving.writable import make_folder

    for path in files:
        if path is not None:
            make_folder(path)


def _save(compiled: CompiledModel, target: Path, arguments: argparse.Namespace, output: Output) -> int:
    """Write the model; return the bytes of all files."""
    with output.saving() as saved:
        records = compiled.save(
            target,
            external=arguments.external_data,
            shard_size=arguments.shard_size,
            manifest=arguments.manifest,
            progress=saved,
            force=arguments.force,
        )
    return sum(record.bytes for record in records)


def _draw_frontier(compiled: CompiledModel, arguments: argparse.Namespace) -> None:
    from hugectr2onnx.backend.saving.replace_file import replace_file
    from hugectr2onnx.backend.saving.writable import place_to_write
    from hugectr2onnx.quantization.frontier import draw_frontier, is_frontier

    drawn = draw_frontier(compiled.report.trials).encode()
    replace_file(place_to_write(arguments.frontier), drawn, is_own=is_frontier, force=arguments.force)


def _require_room(arguments: argparse.Namespace, weights: Weights, options: Options) -> None:
    """Raise OutputError before the work where the disk cannot even hold the rows, by the sizes of the files alone."""
    from hugectr2onnx.checking.forecast import disk_space_error, free_bytes, minimum_bytes
    from hugectr2onnx.checking.table_sizes import table_sizes

    sizes = table_sizes(arguments.graph, weights, options)
    needed = minimum_bytes(0, (entry[1:] for entry in sizes if entry[0] not in options.keep_keys))
    error = disk_space_error(arguments.output, needed, free_bytes(arguments.output))
    if error is not None:
        raise error


def _checked_places(arguments: argparse.Namespace, weights: Weights, options: Options) -> tuple[Path, Path | None]:
    """Tell where model and report will come to stand. Found out before the work, not after: nothing of it is an input."""
    from hugectr2onnx.backend.onnx.onnx_file import begins_as_own_model
    from hugectr2onnx.backend.saving.folder import tidy_folder
    from hugectr2onnx.backend.saving.overwrite_guard import may_be_written, refuse_foreign_file, refuse_sources
    from hugectr2onnx.backend.saving.writable import place_to_write

    target = place_to_write(arguments.output)
    report = place_to_write(arguments.report) if arguments.report else None
    if report == target:
        raise UsageError("-o and --report name the same file")
    if report is not None and may_be_written(report, target):
        raise UsageError(f"--report {arguments.report} is a file that may go with the model: choose another name")
    refuse_sources([target, *([report] if report is not None else [])], _read_files(arguments, weights, options))
    refuse_foreign_file(target, begins_as_own_model, force=arguments.force)
    if report is not None:
        refuse_foreign_file(report, _is_report, force=arguments.force)
    # The room that a killed run took counts as free below.
    if os.path.isdir(target.parent):
        tidy_folder(target.parent)
    return target, report


def _is_report(head: bytes) -> bool:
    return b'"model"' in head and b'"report"' in head


def _read_files(arguments: argparse.Namespace, weights: Weights, options: Options) -> list[Path]:
    """Return every file that the arguments name, links followed."""
    from hugectr2onnx.frontend.weights.source_files import source_files

    sources = source_files(arguments.graph, weights, options.embedding_collection, options.keep_keys)
    others = [arguments.samples, arguments.data, *texts_of_flags(arguments)]
    return [*(source.path for source in sources), *(Path(os.path.realpath(each)) for each in others if each)]


def _write_report(path: Path, data: dict[str, object], *, force: bool) -> None:
    import json

    from hugectr2onnx.backend.saving.replace_file import replace_file
    from hugectr2onnx.cli.output import plain

    content = json.dumps(plain(data), indent=2, allow_nan=False).encode() + b"\n"
    replace_file(path, content, is_own=_is_report, force=force)
