"""`hugectr2onnx verify`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, options_of, required_weights
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.verification.verify_file import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL.onnx --against GRAPH --weights FOLDER [--samples FILE.npz] [options]"
    parser.add_argument("model", metavar="MODEL.onnx", help="the ONNX file")
    parser.add_argument("--against", metavar="GRAPH", required=True, help="the graph JSON that it came from")
    parser.add_argument(
        "--samples",
        metavar="FILE.npz",
        help="inputs and HugeCTR's own predictions, by the names of the ONNX model's inputs and outputs",
    )
    parser.add_argument("--rtol", type=tolerance, metavar="X", help="for --samples: relative tolerance (default 1e-4)")
    parser.add_argument("--atol", type=tolerance, metavar="X", help="for --samples: absolute tolerance (default 1e-4)")
    add_weights(parser)
    add_flags(parser, "model", "tables")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = required_weights(arguments)
    from hugectr2onnx.verification import verify_file

    options = options_of(arguments, verify_file.stored_options(arguments.model))
    rtol = verify_file.RTOL if arguments.rtol is None else arguments.rtol
    atol = verify_file.ATOL if arguments.atol is None else arguments.atol
    result = verify_file.verify(
        arguments.model, arguments.against, weights, arguments.samples, options=options, rtol=rtol, atol=atol
    )
    _show(output, result)
    if output.json:
        output.data({"passed": True, **result.to_dict()})
    return 0


def tolerance(text: str) -> float:
    """A number from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no tolerance: give a number from 0 on, such as 1e-3")
    return value


def _show(output: Output, result: Verification) -> None:
    for warning in result.warnings:
        output.warning(warning)
    batches = ", ".join(map(str, result.parity.batches))
    output.title(f"against the float64 reference, at batches of {batches}")
    output.table(
        ("output", "elements", "largest error", "allowed there"),
        [
            (each.name, each.elements, f"{each.max_error:.3g}", f"{each.tolerance:.3g}")
            for each in result.parity.outputs
        ],
        right=("elements", "largest error", "allowed there"),
    )
    if result.comparisons:
        output.title(f"against HugeCTR's predictions for {result.rows} rows")
        output.table(
            ("output", "of", "elements", "largest error", "allowed there"),
            [
                (each.output, each.answers_of, each.elements, f"{each.max_error:.3g}", f"{each.tolerance:.3g}")
                for each in result.comparisons
            ],
            right=("elements", "largest error", "allowed there"),
        )
    output.say(f"{result.path}: passed", "good")
