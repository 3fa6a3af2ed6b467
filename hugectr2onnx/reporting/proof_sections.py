"""Sections that need the HugeCTR model: passes, parity, coverage, tables row by row."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.backend.runtime.temporary_folder import TemporaryFolder
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.compiler import compile
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options
from hugectr2onnx.pages.blocks import Block, Code, Column, Items, Paragraph, Section, TableBlock
from hugectr2onnx.report import Report
from hugectr2onnx.verification.result import FileDiffersError, Verification
from hugectr2onnx.verification.verify_file import SuspectFile, source_of, stored_options, verify

BINS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 0.5, 1.0, np.inf)
"""Bounds of error / tolerance; beyond 1 an element is out of tolerance."""
BIN_NAMES = (
    "exactly equal",
    "up to 0.0001 of the tolerance",
    "up to 0.001",
    "up to 0.01",
    "up to 0.1",
    "up to half",
    "up to the tolerance",
    "out of tolerance",
)
MAX_LINES = 400
"""Lines of IR of one pass that are shown; larger changes are cut."""


@dataclass(frozen=True, eq=False)
class Proof:
    """The file verified against its source, and the source compiled again with the options that the file records."""

    verification: Verification
    report: Report
    level0: Any
    texts: tuple[tuple[str, str], ...]
    """The IR as imported and after each pass that changed it, by name."""
    histograms: Mapping[str, Array]
    """Elements in each bin of error / tolerance by output."""
    types: Mapping[str, str]
    """The type of each layer by its first top, in the order of the graph JSON."""


def prove(path: str, graph: Any, weights: Any, options: Options | None, level0: bool) -> Proof:
    """Raises what loading the model, `verify` and `compile` raise; a file that differs is told in the result."""
    file = SuspectFile.open(path)
    try:
        verification = verify(path, graph, weights, options=options)
    except FileDiffersError as differs:
        verification = differs.verification
    source, _ = source_of(file, graph, weights, options)
    chosen = options or stored_options(file.model)
    with output_errors(tempfile.gettempdir()), TemporaryFolder() as folder:
        again = compile(graph, weights, options=chosen, dump=folder.path)
        texts = tuple(_dumped(folder.path))
    plain = compile(graph, weights, options=chosen, opt_level=0, check=False) if level0 else None
    loaded = source.loaded
    expected = parity.expect(loaded.graph)
    histograms = _histograms(expected, parity.run(file.artifact, expected))
    tops = {clause.top: clause.type for clause in loaded.clauses.embeddings}
    tops |= {clause.tops[0]: clause.type for clause in loaded.clauses.layers if clause.tops}
    return Proof(verification, again.report, plain, texts, histograms, tops)


def _dumped(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("[0-9]*_*")):
        yield path.stem.partition("_")[2], path.read_text(encoding="utf-8")


def _histograms(expected: Sequence[parity.Expectation], found: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    counts: dict[str, Array] = {}
    for each, answers in zip(expected, found, strict=True):
        for name, array in answers.items():
            error, tolerance = each.errors(name, array)
            ratio = np.where(error > 0, error / np.maximum(tolerance, np.finfo(np.float64).tiny), 0.0).reshape(-1)
            bins = np.searchsorted(np.array(BINS), ratio, side="left")
            counts[name] = counts.get(name, 0) + np.bincount(bins, minlength=len(BINS))
    return counts


# Sections


def passes(proof: Proof) -> Section:
    """Return each pass that changed something, its rules, and the lines of IR that it changed."""
    columns = (
        Column("pass"),
        Column("rules that fired"),
        Column("operations before", "count"),
        Column("after", "count"),
    )
    rows = []
    for number, run in enumerate(proof.report.passes, 1):
        fires = ", ".join(f"{rule} x{count}" if count > 1 else rule for rule, count in run.fires.items())
        rows.append((f"{number}. {run.name}", fires, run.ops_before, run.ops_after))
    blocks: list[Block] = [
        Paragraph(
            f"The model was compiled again in memory with the file's options, at level {proof.report.opt_level}: "
            f"{proof.report.ops_before} operations as imported, {proof.report.ops_after} in the end, {proof.report.onnx_nodes} "
            f"nodes of ONNX. onnxsim: {proof.report.simplify}."
        ),
        TableBlock("Passes that changed something, in their order", columns, tuple(rows)),
    ]
    if proof.texts:
        blocks.append(Code("The IR as imported", proof.texts[0][1], "text", folded=True))
        for number, ((_, before), (name, after)) in enumerate(zip(proof.texts, proof.texts[1:], strict=False), 1):
            blocks.append(Code(f"What {number}. {name} changed", _changes(before, after), "diff", folded=True))
        blocks.append(Code("The IR in the end", proof.texts[-1][1], "text", folded=True))
    return Section("passes", "Passes", tuple(blocks))


def _changes(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", n=1, lineterm=""))[2:]
    cut = [f"... {len(lines) - MAX_LINES} more lines"] if len(lines) > MAX_LINES else []
    return "\n".join([*lines[:MAX_LINES], *cut])


def parity_section(proof: Proof) -> Section:
    """Per output, and how the errors stand to the tolerance."""
    measured = proof.verification.parity
    columns = (
        Column("output"),
        Column("elements", "count"),
        Column("out of tolerance", "count"),
        Column("largest error", "number"),
        Column("allowed there", "number"),
    )
    rows = [(each.name, each.elements, each.exceeding, each.max_error, each.tolerance) for each in measured.outputs]
    batches = ", ".join(map(str, measured.batches))
    blocks: list[Block] = [
        Paragraph(
            f"The file was run by onnxruntime on generated inputs at batches of {batches} and every element compared with the "
            f"float64 evaluation of the graph as imported. Tolerance: {measured.rule}."
        ),
        TableBlock("Outputs against the float64 reference", columns, tuple(rows)),
    ]
    for name, counts in proof.histograms.items():
        cells = tuple((title, int(count)) for title, count in zip(BIN_NAMES, counts, strict=True))
        heads = (Column("error"), Column("elements", "count"))
        blocks.append(TableBlock(f"Errors of {name} by their share of the tolerance", heads, cells, bar="elements"))
    if proof.verification.problems:
        blocks.append(Paragraph("What differs:", "bad"))
        blocks.append(Items(proof.verification.problems))
    return Section("parity", "Parity", tuple(blocks))


def coverage(proof: Proof) -> Section:
    """Tell what the proof reached."""
    covered, identity = proof.verification.coverage, proof.verification.identity
    facts: list[tuple[str, int | str]] = [
        ("layers", covered.layers),
        ("dense weights", covered.weights),
        ("tables compared as a whole", covered.tables),
        ("keys asked for", covered.keys),
        ("rows read", covered.rows),
        ("hidden units", covered.hidden_units),
        ("hidden units that were not zero on some input", covered.active_units),
    ]
    if identity is not None:
        same = (
            "yes, bit for bit"
            if identity.identical
            else identity.reason or f"{len(identity.differences)} constants differ"
        )
        facts += [("other constants", identity.tensors), ("the same as compiling the source again gives", same)]
    facts.append(("options taken from", proof.verification.options_from))
    blocks: list[Block] = [TableBlock("What was compared", (Column("what"), Column("count", "count")), tuple(facts))]
    units = proof.verification.parity.hidden_units
    if units:
        columns = (Column("layer"), Column("units", "count"), Column("active", "count"))
        rows = tuple((each.layer, each.units, each.active) for each in units)
        blocks.append(TableBlock("Hidden units that the inputs woke up, layer by layer", columns, rows))
    if proof.verification.notes:
        blocks.append(Items(proof.verification.notes))
    return Section("coverage", "What the proof covered", tuple(blocks))


def tables(proof: Proof) -> TableBlock:
    """Rows, key map, format, bytes and error of each table."""
    report = proof.report
    maps = {choice.table: choice for choice in report.key_maps}
    columns = (
        Column("table"),
        Column("rows", "count"),
        Column("width", "count"),
        Column("key map"),
        Column("format"),
        Column("bytes", "bytes"),
        Column("largest error", "number"),
        Column("rms error", "number"),
    )
    rows = []
    for each in report.stored:
        choice = maps.get(each.table)
        key_map = f"{choice.strategy}: {choice.why}" if choice is not None else "label-encoder"
        rows.append(
            (each.table, each.rows, each.width, key_map, each.format, each.bytes_after, each.max_error, each.rms_error)
        )
    return TableBlock("Tables of the source; errors are those that the format makes", columns, tuple(rows))
