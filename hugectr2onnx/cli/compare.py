"""`hugectr2onnx compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, given_options, options_of, weights_of
from hugectr2onnx.cli.dataset_arguments import names, positive
from hugectr2onnx.cli.output import Output
from hugectr2onnx.cli.verify import tolerance
from hugectr2onnx.errors import ParityError

if TYPE_CHECKING:
    from hugectr2onnx.comparison.result import ModelComparison

_NUMBERS = ("max error", "mean error", "relative", "cosine", "out", "NaN", "Inf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s A B [--weights FOLDER] [--data DATA] [-o compare.html] [options]"
    side = "a graph JSON, an ONNX file, recorded tensors: FILE.npz, or a folder of .npy files"
    parser.add_argument("a", metavar="A", help=side)
    parser.add_argument("b", metavar="B", help="the other side, of the same kinds")
    parser.add_argument("--other-weights", metavar="FOLDER", help="the weights of B, where A and B are graphs")
    parser.add_argument("--data", metavar="DATA", help="inputs: FILE.npz, or a data set where a side is an ONNX file")
    parser.add_argument("--tensors", metavar="all|NAME,...", default="all", help="compare only these (default: all)")
    parser.add_argument("--rtol", type=tolerance, metavar="X", help="relative tolerance beside that of the proof")
    parser.add_argument("--atol", type=tolerance, metavar="X", help="absolute tolerance beside that of the proof")
    parser.add_argument(
        "--rows", type=positive, default=64, metavar="N", help="random samples without --data (default 64)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random samples")
    parser.add_argument("--quick", action="store_true", help="leave out whole tables and constants")
    parser.add_argument("-o", "--output", metavar="FILE.html", help="write the table as a page, too")
    parser.add_argument("--force", action="store_true", help="overwrite FILE.html")
    add_weights(parser)
    add_flags(parser, "model", "tables")
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = weights_of(arguments)
    from hugectr2onnx.comparison.compare import compare

    if arguments.output:
        _check_place(Path(arguments.output), force=arguments.force)
    options = options_of(arguments) if given_options(arguments) else None
    with output.progress() as progress:
        result = compare(
            arguments.a,
            arguments.b,
            weights=weights,
            other_weights=arguments.other_weights,
            data=arguments.data,
            tensors=None if arguments.tensors == "all" else names(arguments.tensors),
            options=options,
            rtol=arguments.rtol,
            atol=arguments.atol,
            rows=arguments.rows,
            seed=arguments.seed,
            quick=arguments.quick,
            progress=progress,
        )
    _show(output, result)
    if arguments.output:
        from hugectr2onnx.backend.saving.replace_file import replace_file
        from hugectr2onnx.comparison.page import comparison_page, is_page

        replace_file(arguments.output, comparison_page(result).encode(), is_own=is_page, force=arguments.force)
    if output.json:
        output.data(result.to_dict())
    return 0 if result.passed else ParityError.exit_code


def _check_place(place: Path, *, force: bool) -> None:
    """Raise OutputError before the work where the page would replace a file of somebody else."""
    from hugectr2onnx.backend.saving.overwrite_guard import refuse_foreign_file
    from hugectr2onnx.comparison.page import is_page

    refuse_foreign_file(place, is_page, force=force)


def _show(output: Output, result: ModelComparison) -> None:
    from hugectr2onnx.comparison.result import TENSOR_COLUMNS

    output.title(f"tensors in the order of the layers, on {result.rows} samples ({result.feeds})")
    output.table(TENSOR_COLUMNS, [each.cells for each in result.tensors], right=_NUMBERS)
    for note in result.notes:
        output.say(note)
    if result.first is not None:
        output.say(result.first.text, "error")
    output.say(result.summary, "good" if result.passed else "error")
