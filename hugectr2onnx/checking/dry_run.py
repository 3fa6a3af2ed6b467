"""`check`: a dry run that finds everything wrong with a model at once, instead of stopping at the first error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hugectr2onnx.backend.runtime.portability import KeyMapUse, RunsOn, runs_on
from hugectr2onnx.backend.runtime.system_memory import beyond_memory
from hugectr2onnx.backend.saving.writable import place_to_write
from hugectr2onnx.checking.findings import Findings
from hugectr2onnx.checking.forecast import (
    Forecast,
    TableForecast,
    disk_space_error,
    encoder_size_error,
    forecast,
)
from hugectr2onnx.checking.layers import drop_consequential_errors, layer_checks
from hugectr2onnx.checking.memory import memory_error
from hugectr2onnx.checking.report import (
    FLOAT_BYTES,
    CheckReport,
    DenseCheck,
    LayerCheck,
    Problem,
    StatisticsCheck,
    TableCheck,
    place_layers,
)
from hugectr2onnx.checking.tables import TableChecks
from hugectr2onnx.checking.weights import missing_statistics_error, nan_warnings, size_errors, statistics_errors
from hugectr2onnx.errors import HugeCTR2ONNXError, OptionError, WeightsError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.importer import Importer
from hugectr2onnx.frontend.survey import Survey, SurveyedFiles, SurveyedLayers, survey
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.ir.types import Tensor
from hugectr2onnx.options import Options
from hugectr2onnx.passes import EXACT_LEVEL

BATCH_NORM = "BatchNorm"


def check(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike | None = None,
    options: Options | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> CheckReport:
    """Return everything that is wrong with a model: JSON, layers, missing information, dense bytes, tables, statistics.

    Without `weights` the report says which files are expected, and how large. With weights it forecasts what compiling
    takes, and whether `output` can be written and its disk can hold the model. `changes` are single options, as for
    `compile`. Bad input never raises: it is a problem of the report.
    """
    try:
        chosen = (options or Options()).changed(**changes)
    except OptionError as error:
        return CheckReport(problems=(Problem.of(error),))
    return _Check(chosen, output).run(graph, weights)


class _Check:
    """One dry run; `findings` fills as it goes."""

    def __init__(self, options: Options, output: str | os.PathLike[str] | None = None):
        self.options = options
        self.output = output
        self.findings = Findings()

    def run(self, graph: str | os.PathLike[str] | Mapping[str, object], weights: object) -> CheckReport:
        surveyed = survey(graph, weights, self.options)
        self.findings.errors += surveyed.errors
        if self.output is not None:
            self.findings.attempt(place_to_write, self.output)
        if surveyed.layers is None:
            return CheckReport(problems=self.findings.problems())
        return self._judge(surveyed, surveyed.layers)

    def _judge(self, surveyed: Survey, found: SurveyedLayers) -> CheckReport:
        clauses, importer, files = found.clauses, found.importer, surveyed.files
        checks = TableChecks(surveyed.resolved, self.findings, automatic=self.options.opt_level > EXACT_LEVEL)
        checks.check_strategies(clauses)
        tables = (*checks.check_files(clauses, files.given), *checks.check_collection(clauses))
        self.findings.warnings += loading.collection_warnings(surveyed.resolved.collection)
        self.findings.errors += drop_consequential_errors(importer, found.unrecovered)
        checks.check_lookups(importer)
        layers = tuple(layer_checks(clauses, importer))
        dense = self._check_dense(layers, files, is_recovered=found.unrecovered is None)
        statistics = self._check_statistics(clauses, importer, files)
        expected = self._forecast(dense, checks.forecasts) if files.given and not self.findings.errors else None
        return CheckReport(
            forecast=expected,
            runs_on=_runs_on(expected, tables) if expected else (),
            layers=place_layers(layers, dense.found_bytes),
            dense=dense,
            tables=tables,
            statistics=statistics,
            inputs=tuple(Tensor(value.node.name, str(value.type)) for value in importer.graph.inputs),
            outputs=tuple(_outputs(importer)),
            problems=self.findings.problems(),
            warnings=tuple(dict.fromkeys([*importer.warnings, *self.findings.warnings])),
            recovered=found.recovered,
        )

    def _forecast(self, dense: DenseCheck, tables: Sequence[TableForecast]) -> Forecast:
        """Tell what compiling takes; a disk or a file that cannot hold it is a problem."""
        expected = forecast(dense.expected_bytes, tables, self.output)
        errors: list[HugeCTR2ONNXError | None] = [
            encoder_size_error(expected.tables),
            memory_error(expected.memory_bytes, self.options.max_memory),
        ]
        if self.output is not None:
            errors.append(disk_space_error(self.output, expected.output_bytes, expected.free_bytes))
        self.findings.errors += [error for error in errors if error is not None]
        self.findings.warnings += beyond_memory((table.table, table.row_bytes) for table in expected.tables)
        return expected

    # The dense file and the statistics

    def _check_dense(self, layers: Sequence[LayerCheck], files: SurveyedFiles, is_recovered: bool) -> DenseCheck:
        expected = sum(layer.expected_bytes or 0 for layer in layers)
        is_complete = is_recovered and all(layer.expected_bytes is not None for layer in layers)
        path = str(files.given.dense) if files.given and files.given.dense is not None else None
        found = FLOAT_BYTES * files.dense.size if files.dense else None
        result = DenseCheck(path, expected, found, is_complete)
        if files.given and path is None and expected:
            self.findings.errors.append(
                WeightsError(f"no dense file was given; the layers need one of {expected} bytes")
            )
        if files.dense is not None:
            self.findings.errors += size_errors(result, layers)
            self.findings.warnings += nan_warnings(files.dense, place_layers(layers, found))
        return result

    def _check_statistics(self, clauses: GraphClauses, importer: Importer, files: SurveyedFiles) -> StatisticsCheck:
        norms = [clause for clause in clauses.layers if clause.type == BATCH_NORM]
        widths = {each.index: each.weights["gamma"][0] for each in importer.summaries if each.type == BATCH_NORM}
        features = {clause.tops[0] if clause.tops else clause.where: widths.get(clause.index) for clause in norms}
        given = files.given
        found = None if files.statistics is None else len(files.statistics)
        path = str(given.ntp) if given and given.ntp is not None else None
        if given and path is None and norms:
            self.findings.errors.append(missing_statistics_error(norms, given.dense))
        if files.statistics is not None:
            self.findings.errors += statistics_errors(norms, widths, files.statistics, str(path))
        return StatisticsCheck(path, features, found)


def _outputs(importer: Importer) -> Iterator[Tensor]:
    if not importer.errors:
        for name, value in importer.graph.outputs.items():
            yield Tensor(name, str(value.type))


def _runs_on(expected: Forecast, tables: Sequence[TableCheck]) -> tuple[RunsOn, ...]:
    spans = {table.top: (table.smallest_key, table.largest_key) for table in tables}
    # With row numbers as inputs no key passes through the model.
    looked_up = [each for each in expected.tables if each.strategy != "indices"]
    return runs_on(KeyMapUse(each.table, each.strategy, *spans.get(each.table, ())) for each in looked_up)
