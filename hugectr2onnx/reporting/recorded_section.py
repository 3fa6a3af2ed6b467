"""The section on predictions beside those that HugeCTR recorded: verdict, worst rows, histogram, picture of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hugectr2onnx.pages.blocks import Block, Column, Paragraph, Section, TableBlock
from hugectr2onnx.pages.numbers import number
from hugectr2onnx.pages.scatter import ScatterBlock
from hugectr2onnx.scoring.against import PredictionComparison
from hugectr2onnx.scoring.differences import Differences

_DIFFERENCE = "absolute difference"


def recorded(comparison: PredictionComparison) -> Section:
    """Return what a comparison with recorded predictions found."""
    facts = (
        ("rows", comparison.rows),
        ("numbers", comparison.elements),
        ("numbers out of tolerance", comparison.exceeding),
    )
    errors = (("largest difference", comparison.max_error), ("mean difference", comparison.mean_error))
    blocks: list[Block] = [
        Paragraph(comparison.verdict, "good" if comparison.passed else "bad"),
        TableBlock("Compared", (Column("what"), Column("count", "count")), facts),
        TableBlock("Differences", (Column("what"), Column("value", "number")), errors),
    ]
    if comparison.worst:
        heads = (Column("row"), Column("output"), Column("prediction", "number"), Column("recorded", "number"))
        rows = tuple((str(each.row), each.output, each.prediction, each.recorded) for each in comparison.worst)
        blocks.append(TableBlock("Rows that differ most", heads, rows))
    for each in comparison.differences:
        blocks.append(_histogram(each))
        blocks.append(ScatterBlock(f"{each.output}, recorded and predicted", "recorded", "prediction", each.pairs))
    return Section("recorded", "Recorded predictions", tuple(blocks))


def _histogram(differences: Differences) -> TableBlock:
    heads = (Column(_DIFFERENCE), Column("numbers", "count"))
    rows = tuple(zip(_classes(differences.edges), differences.counts, strict=True))
    return TableBlock(f"Differences of {differences.output}", heads, rows, bar="numbers")


def _classes(edges: tuple[float, ...]) -> Iterator[str]:
    yield f"below {number(edges[0])}"
    yield from (f"{number(low)} to {number(high)}" for low, high in pairwise(edges))
    yield f"{number(edges[-1])} and more"
