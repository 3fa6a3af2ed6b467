"""Find the smallest row formats that keep a model's quality within a budget."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.compiler import compile
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.frontend.weights.source_files import SourceFile
from hugectr2onnx.options import Options, Progress
from hugectr2onnx.passes.precision.quantize_products import ASKED_FOR, EXACT, SEARCHED, ProductPrecision
from hugectr2onnx.quantization.budget import Budget
from hugectr2onnx.quantization.metrics import (
    Formats,
    Quality,
    SampleAnswers,
    Samples,
    Trial,
    answer_samples,
    evaluate_samples,
    first_inputs,
    judge,
)
from hugectr2onnx.quantization.product_search import ProductSearch, Tried
from hugectr2onnx.quantization.stored_tables import FormatRefusedError, TableStorage
from hugectr2onnx.tables.row_format import FORMATS, FORMATS_BY_NAME, FP32

if TYPE_CHECKING:
    from hugectr2onnx.compiled_model import CompiledModel

DEFAULT_BUDGETS = {True: "auc:99.9%", False: "max:1e-2"}
"""Where a search is asked for without one: with labels, and without."""
TIMED_ROWS = 64
TIMED_CALLS = 15


def compile_measured(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike,
    opt_level: int | None = None,
    *,
    samples: Samples,
    budget: str | None = None,
    embedding: Formats | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> CompiledModel:
    """`compile`, with quality on samples before and after (`report.trials`, nothing rounded first).

    samples: see `metrics.evaluate_samples`; a data set of `open_dataset` too. budget: limits with commas between them, such as
    "auc:99.9%,logloss:0.1%,max:1e-2,mean:1e-3,rank:99.9%,calibration:1%" (see `budget.Limit`): where the row formats of
    `embedding` (with a budget int8 unless told, else fp32) lose more than that, the next larger ones are taken, float32 in the
    end. With a budget a table that a format cannot hold gets a larger one too, the others keep theirs; the report warns.
    With `precision="auto"` the fastest choice of products in bytes within the budget is searched first ("auc:99.9%" unless
    told, or "max:1e-2" where the samples hold no labels); rows then have what is left of it.
    Other options are those of `compile`. Raises HugeCTR2ONNXError.
    """
    level = {} if opt_level is None else {"opt_level": opt_level}
    chosen = (options or Options()).changed(**level, **changes)
    limit = Budget.parse(budget) if budget is not None else None
    wanted: Formats = embedding if embedding is not None else FORMATS[-1].name if limit else FP32.name
    chosen = chosen.changed(embedding=wanted)
    compiling = partial(compile, graph, weights, progress=progress)
    begun = _begin(compiling, samples, chosen, limit)

    def compiled(formats: Formats) -> CompiledModel:
        return compiling(options=begun.options, embedding=formats)

    measured = partial(_measured, samples, begun.before, begun.limit)
    model, found = _search(compiled, measured, chosen.embedding, begun.limit, begun.before)
    if isinstance(samples, str | os.PathLike):
        model.sources += (SourceFile.of(samples),)
    begun.report(model, found)
    return model


@dataclass(frozen=True)
class _Begun:
    """The products, settled before the rows: how they are computed, and what rows are measured against."""

    options: Options
    limit: Budget | None
    before: SampleAnswers | None = None
    """The answers of the model that rounds nothing, where something is compared with them."""
    search: ProductSearch | None = None

    def report(self, model: CompiledModel, found: Sequence[Trial]) -> None:
        """Tell in the model's report what was tried: of the products, then `found` of the rows."""
        precision, report = self.options.precision, model.report
        rows = [replace(trial, precision=precision) for trial in found]
        if self.search is not None:
            # The first has float32 rows, and stands among the trials of the products already.
            report.trials = (*self.search.trials, *rows[1:])
            report.products = tuple(_explained(each, self.search.pinned) for each in report.products)
            if precision == EXACT:
                report.warnings.append(f"precision='auto' left all products in float32: {self.search.why_exact}")
        elif self.before is not None and precision != EXACT:
            same = {each.label: each for each in judge(self.before, self.before)}
            report.trials = (Trial(FP32.name, same, True), *rows)
        else:
            report.trials = tuple(rows)
        if not report.trials[-1].allowed and precision != EXACT:
            report.warnings.append(
                f"products in {_asked(precision)} are beyond the budget: precision='auto' searches those that are not"
            )
        report.warnings += [f"{trial.refused}: larger rows were tried" for trial in found if trial.refused]


def _begin(compiling: Callable[..., CompiledModel], samples: Samples, options: Options, limit: Budget | None) -> _Begun:
    """Search the products where that is asked for; else answer without rounding where something is compared with that."""
    if _is_searched(options.precision):
        limit = limit or _default_budget(compiling, samples, options)
        builder = _Builder(compiling, samples, options, limit)
        search = ProductSearch(builder.build, limit, FP32.name, options.precision)
        return _Begun(options.changed(precision=search.run()), limit, builder.before, search)
    if options.precision == EXACT and not (limit and limit.needs_predictions):
        return _Begun(options, limit)
    exact = compiling(options=options, embedding=FP32.name, precision=EXACT, **UNCHECKED)
    return _Begun(options, limit, answer_samples(exact, samples, needs_labels=_needs_labels(limit)))


UNCHECKED: Mapping[str, Any] = {"check": False, "simplify": False}
"""For models that are only tried: the one that is taken is proven."""


def _is_searched(precision: Formats) -> bool:
    return SEARCHED in ([precision] if isinstance(precision, str) else precision.values())


def _explained(product: ProductPrecision, pinned: Mapping[str, str]) -> ProductPrecision:
    """Tell what the search left in float32 from what the caller asked for."""
    if product.why != ASKED_FOR or pinned.keys() & set(product.layers):
        return product
    return replace(product, why="left so by the search within the budget")


def _asked(precision: Formats) -> str:
    """Return the formats of bytes that were asked for."""
    asked = [precision] if isinstance(precision, str) else precision.values()
    return " and ".join(dict.fromkeys(each for each in asked if each != EXACT))


def _needs_labels(limit: Budget | None) -> bool:
    return limit is None or limit.needs_labels


def _measured(
    samples: Samples, before: SampleAnswers | None, limit: Budget | None, model: CompiledModel
) -> dict[str, Quality]:
    extra = [before] if before is not None else []
    if _needs_labels(limit):
        return evaluate_samples(model, samples, *extra)
    return evaluate_samples(model, samples, *extra, needs_labels=False)


def _default_budget(compiling: Callable[..., CompiledModel], samples: Samples, options: Options) -> Budget:
    exact = compiling(options=options, embedding=FP32.name, precision=EXACT, **UNCHECKED)
    labelled = any(each.auc == each.auc for each in judge(answer_samples(exact, samples, needs_labels=False)))
    return Budget.parse(DEFAULT_BUDGETS[labelled])


class _Builder:
    """Compiles a choice of precisions without proof, measures it on the samples and times it."""

    def __init__(
        self, compiling: Callable[..., CompiledModel], samples: Samples, options: Options, limit: Budget
    ) -> None:
        self._compiling = compiling
        self._samples = samples
        self._options = options
        self._limit = limit
        self.before: SampleAnswers | None = None
        """Those of the model that rounds nothing, which is built first."""

    def build(self, precision: Formats) -> Tried:
        model = self._compiling(options=self._options, embedding=FP32.name, precision=precision, **UNCHECKED)
        answers = answer_samples(model, self._samples, needs_labels=_needs_labels(self._limit))
        self.before = self.before or answers
        quality = {each.label: each for each in judge(answers, self.before)}
        microseconds, rows = time_calls(model, self._samples)
        return Tried(model.report.products, quality, microseconds, rows)


def time_calls(model: CompiledModel, samples: Samples) -> tuple[float, int]:
    """(microseconds of the fastest of some calls on one thread, samples in each)."""
    feeds = first_inputs(model, samples, TIMED_ROWS)
    options = sessions.quiet_options()
    options.intra_op_num_threads = 1
    session = model.session(options)
    arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
    sessions.run(session, arrays)
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        session.run(None, arrays)
        times.append(time.perf_counter() - start)
    return min(times) * 1e6, len(next(iter(arrays.values()), ()))


def _search(
    compiled: Callable[[Formats], CompiledModel],
    measured: Callable[[CompiledModel], Mapping[str, Quality]],
    formats: Formats,
    limit: Budget | None,
    exact_answers: SampleAnswers | None = None,
) -> tuple[CompiledModel, list[Trial]]:
    """Try `formats`, then larger ones until `limit` allows the result; return the model and all trials, float32 first."""
    exact = compiled(FP32.name)
    first = measured(exact)
    before = first if exact_answers is None else {each.label: each for each in judge(exact_answers, exact_answers)}
    if limit is not None:
        limit.check(before)
    trials = [Trial(FP32.name, first, limit is None or exact_answers is None or limit.allows(before, first))]
    while not _is_exact(formats):
        try:
            model = compiled(formats)
        except FormatRefusedError as refusal:
            if limit is None:
                raise
            trials.append(Trial(formats, {}, False, str(refusal)))
            larger = FORMATS_BY_NAME[refusal.format].more_exact.name
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
    """Return the formats that the tables have: rows that one format for all makes no smaller have a more exact one."""
    if not isinstance(asked, str) or all(table.format == asked for table in tables):
        return asked
    found = {table.format for table in tables}
    return found.pop() if len(found) == 1 else {top: table.format for table in tables for top in table.tops}


def _larger(formats: Formats) -> Formats:
    """Return the next larger format for every table."""
    if isinstance(formats, str):
        return FORMATS_BY_NAME[formats].more_exact.name
    return {table: FORMATS_BY_NAME[each].more_exact.name for table, each in formats.items()}


def _by_top(formats: Formats, tables: Iterable[TableStorage]) -> dict[str, str]:
    """Return the format of each look-up's rows, where one was given for all of them."""
    if not isinstance(formats, str):
        return dict(formats)
    return {top: FORMATS_BY_NAME[formats].at_width(table.width).name for table in tables for top in table.tops}
