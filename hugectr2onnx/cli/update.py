"""`hugectr2onnx update`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hugectr2onnx.cli.arguments import add_flags, add_json, add_weights, given_options, required_weights
from hugectr2onnx.cli.output import Output

if TYPE_CHECKING:
    from hugectr2onnx.updating.update import Update

SHOWN_TENSORS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL.onnx GRAPH --weights FOLDER -o NEW.onnx [options]"
    parser.add_argument("model", metavar="MODEL.onnx", help="the model of an earlier snapshot, whose options are taken")
    parser.add_argument("graph", metavar="GRAPH", help="the graph JSON that both snapshots belong to")
    parser.add_argument(
        "-o", "--output", metavar="NEW.onnx", required=True, help="the ONNX file to write; may be MODEL.onnx itself"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is no model of hugectr2onnx")
    add_weights(parser)
    add_flags(parser, "tables", only=("keep_keys", "embedding_collection"))
    add_json(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    weights = required_weights(arguments)
    from hugectr2onnx.updating.update import update

    with output.progress() as progress:
        done = update(
            arguments.model,
            arguments.graph,
            weights,
            arguments.output,
            progress=progress,
            force=arguments.force,
            **given_options(arguments),
        )
    _show(done, arguments.output, output)
    if output.json:
        output.data({"model": arguments.output, **done.to_dict()})
    return 0


def _show(done: Update, path: str, output: Output) -> None:
    for warning in done.compiled.report.warnings:
        output.warning(warning)
    _show_tables(done, output)
    _show_tensors(done, output)
    written = sum(each.bytes for each in done.files) - done.shared_file_bytes
    parity = done.compiled.report.parity
    proof = "parity passed" if parity is not None and parity.passed else "not checked"
    output.say(f"{path}: {written:,} bytes written, {done.reused:,} reused; {proof}", "good")


def _show_tables(done: Update, output: Output) -> None:
    output.title("tables")
    moves = ("rows", "added", "removed", "moved", "largest move", "mean move")
    compared = [each for each in done.changes.tables if not each.not_compared]
    output.table(
        ("table", *moves),
        [
            (
                each.table,
                each.rows,
                each.added,
                each.removed,
                each.moved,
                f"{each.max_moved:.3g}",
                f"{each.mean_moved:.3g}",
            )
            for each in compared
        ],
        right=moves,
    )
    for each in done.changes.tables:
        if each.not_compared:
            output.say(f"{each.table}: not compared, {each.not_compared}")


def _show_tensors(done: Update, output: Output) -> None:
    output.title("dense tensors")
    changes, moves = done.changes, ("elements", "moved", "largest move", "mean move")
    output.table(
        ("tensor", *moves),
        [
            (each.tensor, each.elements, each.moved, f"{each.max_moved:.3g}", f"{each.mean_moved:.3g}")
            for each in changes.tensors[:SHOWN_TENSORS]
        ],
        right=moves,
    )
    if len(changes.tensors) > SHOWN_TENSORS:
        output.say(f"and {len(changes.tensors) - SHOWN_TENSORS} more (--json has all)")
    output.say(f"{changes.unchanged_tensors} other constants are the same")
    if changes.unmatched:
        output.say(f"not in both models, or of another shape: {', '.join(changes.unmatched[:8])}")
