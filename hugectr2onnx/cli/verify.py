"""`hugectr2onnx verify`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.arguments import (
    add_flags,
    add_json,
    add_replay,
    add_weights,
    given_options,
    options_of,
    replayed,
    required_weights,
)
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.verification.result import Verification


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
    parser.add_argument(
        "--quick", action="store_true", help="leave out the comparison of whole tables and of every constant"
    )
    parser.add_argument(
        "--mixed-precision",
        action="store_true",
        help="for --samples: HugeCTR computed in half precision; allow what rounding to half explains",
    )
    add_weights(parser)
    add_flags(parser, "model", "tables")
    add_replay(parser)
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = required_weights(arguments)
    from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL
    from hugectr2onnx.verification import verify_file
    from hugectr2onnx.verification.result import FileDiffersError

    stored = verify_file.stored_options(arguments.model)
    if arguments.options is not None:
        options = replayed(arguments.options, os.path.basename(arguments.model), given_options(arguments))
    else:
        options = options_of(arguments, stored)
    from_file = arguments.options is None and options == stored
    try:
        with output.progress() as progress:
            result = verify_file.verify(
                arguments.model,
                arguments.against,
                weights,
                arguments.samples,
                options=None if from_file else options,
                rtol=RECORDED_RTOL if arguments.rtol is None else arguments.rtol,
                atol=ATOL if arguments.atol is None else arguments.atol,
                quick=arguments.quick,
                mixed_precision=arguments.mixed_precision,
                progress=progress,
            )
    except FileDiffersError as differs:
        result = differs.verification
    _show(output, result)
    if output.json:
        output.data(result.to_dict())
    return 0 if result.passed else FileDiffersError.exit_code


def tolerance(text: str) -> float:
    """Return a number from 0 on."""
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
    _show_comparisons(output, "output", [(each.name, "", each) for each in result.parity.outputs])
    if result.tables:
        output.title("tables, every key and every row")
        numbers = ("keys", "rows", "columns", "other vectors", "not of the source")
        output.table(
            ("table", *numbers, "rows as"),
            [
                (each.table, each.keys, each.rows, each.width, each.differing, each.unexpected, each.format or "-")
                for each in result.tables
            ],
            right=numbers,
        )
    if result.comparisons:
        output.title(f"against HugeCTR's predictions for {result.rows} rows")
        _show_comparisons(output, "output", [(each.output, each.answers_of, each) for each in result.comparisons])
    output.title("compared")
    for line in compared(result):
        output.say(line)
    for note in result.notes:
        output.say(note)
    for problem in result.problems:
        output.problem(problem)
    output.say(f"{result.path}: {'passed' if result.passed else 'differs'}", "good" if result.passed else "error")


def _show_comparisons(output: Output, head: str, rows: list[tuple[str, str, Any]]) -> None:
    numbers = ("elements", "out of tolerance", "largest error", "allowed there")
    output.table(
        (head, "of", *numbers),
        [
            (name, whose, each.elements, each.exceeding, f"{each.max_error:.3g}", f"{each.tolerance:.3g}")
            for name, whose, each in rows
        ],
        right=numbers,
    )


def compared(result: Verification) -> Iterator[str]:
    """Tell what the proof covers, a line for each kind."""
    covered, identity = result.coverage, result.identity
    if identity is None:
        yield "tables: a sample of the rows (--quick)"
    else:
        yield f"tables: {covered.tables}, all {covered.keys:,} keys and {covered.rows:,} rows"
    yield f"layers: {covered.layers}, with {covered.weights:,} weights"
    if covered.hidden_units:
        yield f"hidden units: {covered.active_units:,} of {covered.hidden_units:,} were not zero on some feed"
    if identity is not None and identity.identical:
        yield f"identical: all {identity.tensors} other constants are those that compiling the source again gives, bit for bit"
    doubt = ", which is under suspicion itself: --options gives others" if result.options_from == "the file" else ""
    yield f"options: from {result.options_from}{doubt}"
