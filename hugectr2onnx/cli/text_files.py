"""Folders and files of weights as text for a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hugectr2onnx.cli.output import Output
from hugectr2onnx.pages.numbers import size

if TYPE_CHECKING:
    from hugectr2onnx.inspection.weight_files import DenseSummary, FolderSummary, TableSummary


def show_folder(output: Output, summary: FolderSummary) -> None:
    """Print the graph JSONs and the snapshots, and the command that goes on from here."""
    if summary.graphs:
        output.title("graphs")
        output.table(("graph JSON", "layers"), list(summary.graphs.items()), right=("layers",))
    if summary.snapshots:
        output.title("snapshots")
        output.table(
            ("prefix", "iteration", "dense file", "tables", "statistics"),
            [
                (each.prefix, str(each.iteration), each.dense, len(each.tables), each.statistics)
                for each in summary.snapshots
            ],
            right=("iteration", "tables"),
        )
    for each in summary.snapshots:
        if each.problem is not None:
            output.say(f"warning: {each.problem}", "warning")
    output.say()
    counts = f"{_many(len(summary.graphs), 'graph JSON')}, {_many(len(summary.snapshots), 'snapshot')}"
    output.say(f"{summary.path}: {counts}, {_many(summary.others, 'other entry', 'other entries')}", "good")
    for graph in summary.graphs:
        weights = f" --weights {summary.path}" if summary.snapshots else ""
        output.say(f"next: hugectr2onnx check {summary.path}/{graph}{weights}")


def show_table(output: Output, summary: TableSummary) -> None:
    """Print a table in two lines."""
    keys = "" if summary.smallest_key is None else f", keys {summary.smallest_key} to {summary.largest_key}"
    slots = ", a slot for each row (Localized)" if summary.has_slot_ids else ""
    width = summary.width or 0
    output.say(f"{summary.path}: the table of an embedding layer", "good")
    output.say(f"  {summary.rows:,} rows of width {width} ({size(4 * width * summary.rows)}){keys}{slots}")


def show_dense(output: Output, summary: DenseSummary) -> None:
    """Print a dense file in two lines."""
    span = "" if summary.smallest is None else f", from {summary.smallest:.6g} to {summary.largest:.6g}"
    output.say(f"{summary.path}: read as the weights of the dense layers", "good")
    output.say(f"  {summary.floats:,} float32 numbers ({size(summary.bytes)}){span}")
    if summary.not_finite:
        output.say(f"warning: {summary.not_finite:,} of them are NaN or infinite", "warning")
    output.say("  which layers they belong to tells the graph: hugectr2onnx inspect GRAPH --weights FOLDER")


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
