"""`hugectr2onnx inspect`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hugectr2onnx.cli import text_files, text_model, text_onnx
from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, options_of, weights_of
from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.checking.report import CheckReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s GRAPH [--weights FOLDER] [options]\n       %(prog)s MODEL.onnx | FOLDER | FILE.model [--json]"
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a graph JSON, an ONNX file, a folder, a table folder or a dense file"
    )
    add_weights(parser)
    add_flags(parser, "model", "tables")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights, options = weights_of(arguments), options_of(arguments)
    from hugectr2onnx.checking.report import CheckReport
    from hugectr2onnx.inspection.onnx_model import OnnxSummary, is_onnx
    from hugectr2onnx.inspection.weight_files import FolderSummary, TableSummary
    from hugectr2onnx.inspector import inspect

    if weights is not None and is_onnx(arguments.model):
        raise UsageError("an ONNX file holds its weights: leave them out, or use verify to compare it with them")
    found = inspect(arguments.model, weights, options)
    if isinstance(found, CheckReport):
        _show(output, found, arguments.model, has_weights=weights is not None)
    elif isinstance(found, OnnxSummary):
        text_onnx.show(output, found)
    elif isinstance(found, FolderSummary):
        text_files.show_folder(output, found)
    elif isinstance(found, TableSummary):
        text_files.show_table(output, found)
    else:
        text_files.show_dense(output, found)
    if output.json:
        output.data(found.to_dict())
    return 0


def _show(output: Output, report: CheckReport, name: str, has_weights: bool) -> None:
    text_model.show_weights(output, report)
    text_model.show_files(output, report, has_weights)
    text_model.show_interface(output, report)
    output.say()
    output.say(f"{name}: {text_model.total(report)}", "good")
    text_model.show_notes(output, report)
    if not report.ok:
        wrong = f"{len(report.problems)} things are wrong with this model: hugectr2onnx check {name} lists them"
        output.say(f"warning: {wrong}", "warning")
