"""How much worse a model may become by smaller row formats, and the smallest format that stays within it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hugectr2onnx.compiler import compile
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.frontend.weights.source_files import SourceFile
from hugectr2onnx.options import Options, Progress
from hugectr2onnx.quantization.metrics import Formats, Quality, Trial, evaluate_samples
from hugectr2onnx.quantization.stored_tables import FormatRefusedError, TableStorage
from hugectr2onnx.tables.row_format import BY_NAME, FORMATS, FP32

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel

_BUDGET = re.compile(r"(auc|logloss):(\d{1,3}(?:\.\d{1,9})?)%")


@dataclass(frozen=True)
class Budget:
    """`auc:99.9%`: AUC of at least 99.9 % of that with float32 rows (MLPerf's rule for DLRM).

    `logloss:0.1%`: a log-loss of at most 100.1 % of that with float32 rows.
    """

    measure: str
    percent: float

    @staticmethod
    def parse(text: str) -> Budget:
        match = _BUDGET.fullmatch(text) if isinstance(text, str) else None
        if match is None or float(match[2]) > 100:
            raise OptionError(f"the budget is {text!r}; say it as auc:99.9% or logloss:0.1%", option="budget")
        return Budget(match[1], float(match[2]))

    def allows(self, before: Mapping[str, Quality], after: Mapping[str, Quality]) -> bool:
        """Whether every label is within the budget."""
        return all(self._allows(quality, after[label]) for label, quality in before.items())

    def _allows(self, before: Quality, after: Quality) -> bool:
        if self.measure == "auc":
            return after.auc >= self.percent / 100 * before.auc
        return after.log_loss <= (1 + self.percent / 100) * before.log_loss

    def check(self, before: Mapping[str, Quality]) -> None:
        """Raise FeedError where the samples cannot tell."""
        for quality in before.values():
            if self.measure == "auc" and quality.auc != quality.auc:
                raise FeedError(f"the AUC of {quality.label} is not defined: the samples must hold both labels")
            if self.measure == "logloss" and quality.log_loss != quality.log_loss:
                raise FeedError(f"the log-loss of {quality.label} is not defined: its predictions are not from 0 to 1")


def compile_measured(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike,
    opt_level: int | None = None,
    *,
    samples: str | os.PathLike[str] | Mapping[str, Any],
    budget: str | None = None,
    embedding: Formats | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> CompiledModel:
    """`compile`, with AUC and log-loss on labelled samples before and after (`report.trials`, float32 rows first).

    samples: see `quality.evaluate_samples`. budget: "auc:99.9%" or "logloss:0.1%": where the row formats of `embedding`
    (with a budget int8 unless told, else fp32) lose more than that, the next larger ones are taken, float32 in the end. With
    a budget a table that a format cannot hold gets a larger one too, the others keep theirs; `report.warnings` say so.
    Other options are those of `compile`. Raises HugeCTR2ONNXError.
    """
    limit = Budget.parse(budget) if budget is not None else None
    wanted: Formats = embedding if embedding is not None else FORMATS[-1].name if limit else FP32.name
    level = {} if opt_level is None else {"opt_level": opt_level}
    chosen = (options or Options()).changed(**level, **changes).changed(embedding=wanted)

    def compiled(formats: Formats) -> CompiledModel:
        return compile(graph, weights, options=chosen, progress=progress, embedding=formats)

    model, trials = _search(compiled, lambda model: evaluate_samples(model, samples), chosen.embedding, limit)
    if isinstance(samples, str | os.PathLike):
        model.sources += (SourceFile.of(samples),)
    model.report.trials = tuple(trials)
    model.report.warnings += [f"{trial.refused}: larger rows were tried" for trial in trials if trial.refused]
    return model


def _search(
    compiled: Callable[[Formats], CompiledModel],
    measured: Callable[[CompiledModel], Mapping[str, Quality]],
    formats: Formats,
    limit: Budget | None,
) -> tuple[CompiledModel, list[Trial]]:
    """Try `formats`, then larger ones until `limit` allows the result; return the model and all trials, float32 first."""
    exact = compiled(FP32.name)
    before = measured(exact)
    if limit is not None:
        limit.check(before)
    trials = [Trial(FP32.name, before, True)]
    while not _is_exact(formats):
        try:
            model = compiled(formats)
        except FormatRefusedError as refusal:
            if limit is None:
                raise
            trials.append(Trial(formats, {}, False, str(refusal)))
            larger = BY_NAME[refusal.format].more_exact.name
            formats = _by_top(formats, exact.report.stored) | dict.fromkeys(refusal.tops, larger)
            continue
        after = measured(model)
        stored = _stored_as(formats, model.report.stored)
        trials.append(Trial(stored, after, limit is None or limit.allows(before, after)))
        if trials[-1].allowed:
            return model, trials
        formats = _larger(stored)
    return exact, trials


def _is_exact(formats: Formats) -> bool:
    return all(format == FP32.name for format in ([formats] if isinstance(formats, str) else formats.values()))


def _stored_as(asked: Formats, tables: Sequence[TableStorage]) -> Formats:
    """The formats that the tables have: rows that one format for all makes no smaller have a more exact one."""
    if not isinstance(asked, str) or all(table.format == asked for table in tables):
        return asked
    found = {table.format for table in tables}
    return found.pop() if len(found) == 1 else {top: table.format for table in tables for top in table.tops}


def _larger(formats: Formats) -> Formats:
    """The next larger format for every table."""
    if isinstance(formats, str):
        return BY_NAME[formats].more_exact.name
    return {table: BY_NAME[each].more_exact.name for table, each in formats.items()}


def _by_top(formats: Formats, tables: Iterable[TableStorage]) -> dict[str, str]:
    """The format of each look-up's rows, where one was given for all of them."""
    if not isinstance(formats, str):
        return dict(formats)
    return {top: BY_NAME[formats].at_width(table.width).name for table in tables for top in table.tops}
