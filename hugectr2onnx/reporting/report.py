"""`write_report`: everything about one model file, as a page, as Markdown or as data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.saving.overwrite_guard import refuse_foreign_file
from hugectr2onnx.backend.saving.replace_file import replace_file
from hugectr2onnx.errors import OptionError
from hugectr2onnx.inspection.onnx_model import OnnxSummary, inspect_onnx
from hugectr2onnx.latency import machine
from hugectr2onnx.latency.bench import BATCHES, bench
from hugectr2onnx.latency.result import Benchmark
from hugectr2onnx.options import METADATA_KEY, Options, Progress
from hugectr2onnx.pages.blocks import (
    Block,
    Cell,
    Column,
    Items,
    Paragraph,
    Section,
    TableBlock,
    document_html,
    document_markdown,
)
from hugectr2onnx.pages.shell import begins_as, page
from hugectr2onnx.reporting import REPORT_FORMATS, ReportFormat, file_sections, proof_sections
from hugectr2onnx.reporting.proof_sections import Proof, prove
from hugectr2onnx.reporting.recorded_section import recorded as recorded_section
from hugectr2onnx.scoring.metrics import DEFAULT_METRICS
from hugectr2onnx.scoring.predict import Predictions, predict
from hugectr2onnx.version import __version__

REPORT_MARK = "written by hugectr2onnx report"
_SECONDS = 1.0
LEVEL0 = "level 0"
PARITY_KEY = "hugectr2onnx.parity"


@dataclass(frozen=True)
class ModelReport:
    """Sections of one source: `html`, `markdown` and `to_dict` hold the same numbers. `verdict` is the first sentence."""

    title: str
    verdict: str
    passed: bool | None
    sections: tuple[Section, ...]

    @property
    def footer(self) -> str:
        return f"Written by hugectr2onnx {__version__}."

    def html(self) -> str:
        """Return one file that asks nothing of any network."""
        return page(self.title, document_html(self.title, self.sections, self.footer), mark=REPORT_MARK)

    def markdown(self) -> str:
        """Return the same as Markdown."""
        return f"<!-- {REPORT_MARK} -->\n\n{document_markdown(self.title, self.sections, self.footer)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON-ready data; `passed` is None where nothing was proven again."""
        sections = [section.data() for section in self.sections]
        return {
            "written_by": REPORT_MARK,
            "title": self.title,
            "verdict": self.verdict,
            "passed": self.passed,
            "version": __version__,
            "sections": sections,
        }

    def text(self, format: ReportFormat) -> str:
        """Return the report in one of the formats."""
        if format == "json":
            return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        return self.html() if format == "html" else self.markdown()

    def _repr_html_(self) -> str:
        return document_html(self.title, self.sections, self.footer)


def write_report(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    against: Any = None,
    weights: Any = None,
    data: Any = None,
    recorded: str | os.PathLike[str] | None = None,
    format: ReportFormat | None = None,
    data_format: str | None = None,
    options: Options | None = None,
    latency: bool = True,
    batch: Sequence[int] = BATCHES,
    threads: Sequence[int] = (1,),
    seconds: float = _SECONDS,
    openvino: bool = False,
    metrics: Sequence[str] = DEFAULT_METRICS,
    force: bool = False,
    progress: Progress | None = None,
    **dataset_options: Any,
) -> ModelReport:
    """Tell everything about an ONNX file; with `out`, write it as HTML, Markdown or JSON.

    model: the file. against, weights: the HugeCTR model that it came from; the file is then verified against it, and the
    model compiled again in memory with the options that the file records (or `options`), to tell what each pass did and how
    level 0 compares. data: what `predict` reads, with labels for metrics (`data_format` is its format, `dataset_options` are
    the others of `open_dataset`); latency is then measured on it. recorded: the predictions that HugeCTR made of the data
    (`predict`'s `against`): how far they are, a histogram and a picture. latency=False leaves the latency out; batch,
    threads, seconds and openvino are as for `bench`. format: without it as the ending of `out` says. force: overwrite a
    file that no report is.

    Raises OptionError for arguments that do not go together, OutputError where `out` cannot be written, and what reading the
    files raises. A file that differs from its source is told, not raised: `ModelReport.passed` is False.
    """
    chosen = _format(out, format)
    if (against is None) != (weights is None):
        raise OptionError("give the graph JSON and its weights together", option="weights")
    if recorded is not None and data is None:
        raise OptionError("give the data that the recorded predictions were made of", option="data")
    if out is not None:
        refuse_foreign_file(Path(out), is_report, force=force)
    job = _Job(
        os.fspath(model),
        against,
        weights,
        data,
        recorded,
        options,
        progress,
        {**dataset_options, "format": data_format},
        openvino,
    )
    made = job.report(tuple(batch) if latency else (), tuple(threads), seconds, tuple(metrics))
    if out is not None:
        replace_file(out, made.text(chosen).encode(), is_own=is_report, force=force)
    return made


def is_report(start: bytes) -> bool:
    """Tell whether a file begins as one of the three formats of a report."""
    is_data = start.startswith(f'{{\n  "written_by": "{REPORT_MARK}"'.encode())
    return begins_as(REPORT_MARK, start) or start.startswith(f"<!-- {REPORT_MARK} -->".encode()) or is_data


def _format(out: str | os.PathLike[str] | None, format: ReportFormat | None) -> ReportFormat:
    ending = Path(out).suffix.lower().removeprefix(".") if out is not None else "html"
    chosen = format or {"htm": "html", "markdown": "md"}.get(ending, ending)
    if chosen not in REPORT_FORMATS:
        raise OptionError(f"{out}: a report ends in .html, .md or .json, or give its format", option="format")
    return chosen


@dataclass(frozen=True, eq=False)
class _Job:
    path: str
    graph: Any
    weights: Any
    data: Any
    recorded: str | os.PathLike[str] | None
    options: Options | None
    progress: Progress | None
    dataset_options: Mapping[str, Any]
    openvino: bool = False

    def report(
        self, batches: tuple[int, ...], threads: tuple[int, ...], seconds: float, metrics: tuple[str, ...]
    ) -> ModelReport:
        self._tell("file", 0.0)
        summary = inspect_onnx(self.path)
        artifact = as_artifact(read_model(self.path), self.path)
        proof = None
        if self.graph is not None:
            self._tell("proof", 0.1)
            proof = prove(self.path, self.graph, self.weights, self.options, level0=bool(batches))
        scored = self._scored(metrics)
        measured = self._measured(proof, batches, threads, seconds) if batches else None
        self._tell("done", 1.0)
        name = os.path.basename(self.path)
        sections = [
            file_sections.interface(summary, artifact, name),
            file_sections.layers(artifact, proof.types if proof else {}),
            *([proof_sections.passes(proof)] if proof else []),
            *([proof_sections.parity_section(proof), proof_sections.coverage(proof)] if proof else []),
            _tables(summary, artifact, proof),
            file_sections.sizes(summary),
            *([_latency(measured)] if measured else []),
            *([_metrics(scored)] if scored else []),
            *([recorded_section(scored.comparison)] if scored and scored.comparison else []),
            _warnings(proof, scored, measured),
            file_sections.versions(summary, machine.describe()),
        ]
        verdict, passed = _verdict(name, summary, proof, scored)
        first = _summary(verdict, passed, summary, proof, measured, self._missing(summary, batches))
        return ModelReport(f"Report on {name}", verdict, passed, (first, *sections))

    def _tell(self, stage: str, share: float) -> None:
        if self.progress is not None:
            self.progress(stage, share)

    def _scored(self, metrics: tuple[str, ...]) -> Predictions | None:
        if self.data is None:
            return None
        self._tell("metrics", 0.5)
        return predict(self.path, self.data, metrics=metrics, keep=False, against=self.recorded, **self.dataset_options)

    def _measured(
        self, proof: Proof | None, batches: tuple[int, ...], threads: tuple[int, ...], seconds: float
    ) -> Benchmark:
        self._tell("latency", 0.6)
        files = [self.path, *([proof.level0] if proof and proof.level0 is not None else [])]
        names = [os.path.basename(self.path), LEVEL0][: len(files)]
        options = dict(self.dataset_options) if self.data is not None else {}
        return bench(
            *files,
            batch=batches,
            threads=threads,
            data=self.data,
            seconds=seconds,
            floor=True,
            openvino=self.openvino,
            names=names,
            # Smaller rows differ from level 0 by more than rounding: the proof judges them, not this measurement.
            time_different=True,
            **options,
        )

    def _missing(self, summary: OnnxSummary, batches: tuple[int, ...]) -> list[str]:
        """Tell what is not in the report, why, and how to get it."""
        missing = []
        if self.graph is None:
            recorded = summary.metadata.get(PARITY_KEY)
            said = f"the file records of its own compilation: {recorded}" if recorded else "the file records no proof"
            missing.append(
                f"passes, parity, coverage, key maps and errors of tables, and latency of level 0: give the HugeCTR model with "
                f"--against GRAPH --weights FOLDER ({said})"
            )
        if self.data is None:
            missing.append("metrics: give a labelled data set with --data")
        if not batches:
            missing.append("latency: it was left out (--no-bench)")
        return missing


def _verdict(
    name: str, summary: OnnxSummary, proof: Proof | None, scored: Predictions | None
) -> tuple[str, bool | None]:
    verdict, passed = _proven(name, summary, proof)
    comparison = scored.comparison if scored else None
    if comparison is None:
        return verdict, passed
    said = "agree with" if comparison.passed else "differ from"
    return f"{verdict} Its predictions {said} the recorded ones.", comparison.passed and passed is not False


def _proven(name: str, summary: OnnxSummary, proof: Proof | None) -> tuple[str, bool | None]:
    if proof is not None:
        passed = proof.verification.passed
        said = "computes what its HugeCTR model computes" if passed else "differs from its HugeCTR model"
        return f"{name} {said}.", passed
    recorded = summary.metadata.get(PARITY_KEY, "")
    if recorded.startswith("passed"):
        return f"{name} records that it was proven when it was compiled; nothing was proven again here.", None
    return f"{name} was not compared with its HugeCTR model here, and records no proof.", None


def _summary(
    verdict: str,
    passed: bool | None,
    summary: OnnxSummary,
    proof: Proof | None,
    measured: Benchmark | None,
    missing: Sequence[str],
) -> Section:
    level = _recorded_level(summary)
    facts: list[tuple[str, str | int]] = [
        ("level", level),
        ("nodes", summary.nodes),
        ("constants", len(summary.tensors)),
    ]
    facts.append(("bytes of the file", summary.bytes))
    if proof is not None:
        facts += [("layers", proof.verification.coverage.layers), ("embedding tables", len(proof.report.stored))]
    rows: list[Block] = [
        Paragraph(verdict, "verdict good" if passed else "verdict bad" if passed is False else ""),
        TableBlock("In short", (Column("what"), Column("value", "count")), tuple(facts)),
    ]
    if proof is not None:
        worst = max((each.max_error for each in proof.verification.parity.outputs), default=0.0)
        head = (Column("what"), Column("value", "number"))
        rows.append(TableBlock("Parity in short", head, (("largest error of any output", worst),)))
    if measured is not None:
        first = measured.files[0].name
        columns = (Column("batch", "count"), Column("threads", "count"), Column("median µs", "number"))
        own = [(each.batch, each.threads, each.median_us) for each in measured.timings if each.file == first]
        rows.append(TableBlock("Latency in short", columns, tuple(own)))
    if missing:
        rows += [Paragraph("Not in this report:"), Items(tuple(missing))]
    return Section("summary", "Summary", tuple(rows))


def _recorded_level(summary: OnnxSummary) -> str:
    try:
        found = json.loads(summary.metadata.get(METADATA_KEY, "{}")).get("opt_level")
    except (ValueError, AttributeError):
        found = None
    return "not recorded" if found is None else str(found)


def _tables(summary: OnnxSummary, artifact: Any, proof: Proof | None) -> Section:
    stored = file_sections.tables(artifact)
    blocks: list[Block] = [proof_sections.tables(proof)] if proof and proof.report.stored else []
    blocks += [stored] if stored.rows else [Paragraph("The file gathers from no table.")]
    encoders = file_sections.key_maps(summary)
    blocks += [encoders] if encoders is not None else []
    return Section("tables", "Embedding tables", tuple(blocks))


def _latency(measured: Benchmark) -> Section:
    """By batch, against level 0 and the floor, and where the time goes."""
    columns = (
        Column("case"),
        Column("median µs", "number"),
        Column("p99 µs", "number"),
        Column("samples/s", "number"),
        Column("times the floor", "number"),
        Column("speed against level 0", "number"),
    )
    rows: list[tuple[Cell, ...]] = []
    for each in measured.timings:
        case = f"{each.file}, batch {each.batch}, {each.threads} thread{'s' if each.threads > 1 else ''}"
        plain = measured.timing(LEVEL0, each.batch, each.threads)
        against = plain.speed.median if plain is not None else None
        speed = None if against is None else each.speed.median / against
        floor = each.of_floor.median if each.of_floor else None
        rows.append((case, each.median_us, each.p99_us, each.samples_per_second, floor, speed))
    for floor_line in measured.floor:
        case = f"floor, batch {floor_line.batch}, {floor_line.threads} thread{'s' if floor_line.threads > 1 else ''}"
        rows.append((case, floor_line.median_us, None, None, 1.0, None))
    blocks: list[Block] = [
        Paragraph(
            f"Measured in turn on {measured.inputs}. The floor is the time of the matrix products and of the gathers of rows, "
            "each alone. Numbers of one machine while other work ran: compare ratios, not microseconds."
        ),
        TableBlock("Latency by batch", columns, tuple(rows), bar="median µs"),
    ]
    heads = (Column("operator"), Column("share of the time", "share"))
    for each in measured.timings:
        if each.file == measured.files[0].name and each.operators:
            title = f"Time by operator, batch {each.batch}, threads {each.threads}"
            shares: tuple[tuple[str, float], ...] = tuple(each.operators.items())
            blocks.append(TableBlock(title, heads, shares, bar="share of the time"))
    return Section("latency", "Latency", tuple(blocks))


def _metrics(scored: Predictions) -> Section:
    if not scored.scores:
        text = f"The data holds {scored.rows:,} samples and no labels of this model: there is nothing to score."
        return Section("metrics", "Metrics", (Paragraph(text),))
    names = list(next(iter(scored.scores.values())))
    columns = (Column("label"), *(Column(name, "number") for name in names))
    rows: list[tuple[Cell, ...]] = [
        (label, *(values[name] for name in names)) for label, values in scored.scores.items()
    ]
    return Section("metrics", "Metrics", (TableBlock(f"On {scored.rows:,} samples", columns, tuple(rows)),))


def _warnings(proof: Proof | None, scored: Predictions | None, measured: Benchmark | None) -> Section:
    found: list[str] = []
    if proof is not None:
        found += [*proof.report.warnings, *proof.verification.warnings, *proof.report.recovered]
        found += [
            f"{each.runtime}: {each.verdict}, {each.reason}" for each in proof.report.runs_on if each.verdict != "yes"
        ]
    if scored is not None:
        found += scored.warnings
    if measured is not None:
        found += measured.notes
    texts = tuple(dict.fromkeys(found))
    return Section("warnings", "Warnings", (Items(texts) if texts else Paragraph("None."),))
