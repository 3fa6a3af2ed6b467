"""`hugectr2onnx check`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from hugectr2onnx.cli import text_model
from hugectr2onnx.cli.arguments import (
    add_flags,
    add_json,
    add_weights,
    options_of,
    weights_of,
)
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.checking.report import CheckReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s GRAPH [--weights FOLDER] [options]"
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that Model.graph_to_json wrote")
    add_weights(parser)
    add_flags(parser, "model", "tables", "lookups")
    add_flags(parser, "result", only=("opt_level", "max_memory"))
    parser.add_argument(
        "-o", "--output", metavar="OUT.onnx", help="where the model shall go: can it, and is there room for it?"
    )
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    report, has_weights = checked(arguments)
    text_model.show_layers(output, report)
    text_model.show_files(output, report, has_weights)
    text_model.show_forecast(output, report)
    text_model.show_verdict(output, report, arguments.graph, has_weights)
    if output.json:
        output.data(report.to_dict())
    return report.exit_code


def checked(arguments: argparse.Namespace) -> tuple[CheckReport, bool]:
    """Return the report, and whether weights were given. Weights that cannot be found are one problem among the others."""
    options = options_of(arguments)
    from hugectr2onnx.checking.dry_run import check
    from hugectr2onnx.checking.report import Problem
    from hugectr2onnx.errors import WeightsError

    try:
        weights = weights_of(arguments)
    except WeightsError as error:
        report = check(arguments.graph, None, options, output=arguments.output)
        return replace(report, problems=(Problem.of(error), *report.problems)), True
    return check(arguments.graph, weights, options, output=arguments.output), weights is not None
