"""`check`: a dry run that finds everything wrong with a model at once, instead of stopping at the first error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    Tensor,
    place_layers,
)
from hugectr2onnx.checking.tables import TableChecks
from hugectr2onnx.checking.weights import missing_statistics_error, nan_warnings, size_errors, statistics_errors
from hugectr2onnx.errors import HugeCTR2ONNXError, OptionError, WeightsError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses
from hugectr2onnx.frontend.graph_json.embedding import HYBRID
from hugectr2onnx.frontend.importer import Importer, Sources
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.recovery import recover
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights import snapshot as weights_module
from hugectr2onnx.frontend.weights.dense_file import DenseCounter, DenseFile
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics, read_ntp
from hugectr2onnx.frontend.weights.snapshot import Weights, WeightsLike
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.frontend.weights.statistics import CountedStatistics
from hugectr2onnx.options import Options

BATCH_NORM = "BatchNorm"
EXACT_LEVEL = 1
"""Up to this level "auto" is a LabelEncoder."""


def check(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike | None = None,
    options: Options | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    **changes: Any,
) -> CheckReport:
    """Everything that is wrong with a model: JSON, layers, missing information, dense bytes, tables, statistics.

    Without `weights` the report says which files are expected, and how large. With weights it forecasts what compiling
    takes, and whether `output` can be written and its disk can hold the model. `changes` are single options, as for
    `compile`. Bad input never raises: it is a problem of the report.
    """
    try:
        chosen = (options or Options()).changed(**changes)
    except OptionError as error:
        return CheckReport(problems=(Problem.of(error),))
    return _Check(chosen, output).run(graph, weights)


@dataclass(frozen=True)
class _Files:
    """What could be opened."""

    given: Weights | None
    dense: DenseFile | None
    statistics: tuple[BatchNormStatistics, ...] | None


class _Check:
    """One dry run; `problems` and `warnings` fill as it goes."""

    def __init__(
        self,
        options: Options,
        output: str | os.PathLike[str] | None = None,
    ):
        self.options = options
        self.output = output
        self.findings = Findings()
        self._unrecovered: HugeCTR2ONNXError | None = None
        self.resolved = self.findings.attempt(resolve_options, options) or ResolvedOptions(options)

    def run(self, graph: str | os.PathLike[str] | Mapping[str, object], weights: object) -> CheckReport:
        clauses = self.findings.attempt(lambda: reader.read(graph, layer_types(self.options)))
        files = self._open(weights)
        if self.output is not None:
            self.findings.attempt(place_to_write, self.output)
        if clauses is None:
            return CheckReport(problems=self.findings.reported())
        checks = TableChecks(self.resolved, self.findings, automatic=self.options.opt_level > EXACT_LEVEL)
        checks.check_strategies(clauses)
        tables = (*checks.check_files(clauses, files.given), *checks.check_collection(clauses))
        recovered = self._recover(clauses, files)
        self.findings.warnings += loading.collection_warnings(self.resolved.collection)
        importer = self._import(clauses, checks)
        checks.check_lookups(importer)
        layers = tuple(layer_checks(clauses, importer))
        dense = self._check_dense(layers, files, is_recovered=recovered is not None)
        statistics = self._check_statistics(clauses, importer, files)
        expected = self._forecast(dense, checks.forecasts) if files.given and not self.findings.problems else None
        return CheckReport(
            forecast=expected,
            runs_on=_runs_on(expected, tables) if expected else (),
            layers=place_layers(layers, dense.found_bytes),
            dense=dense,
            tables=tables,
            statistics=statistics,
            inputs=tuple(Tensor(value.node.name, str(value.type)) for value in importer.graph.inputs),
            outputs=tuple(_outputs(importer)),
            problems=self.findings.reported(),
            warnings=tuple(dict.fromkeys([*importer.warnings, *self.findings.warnings])),
            recovered=recovered or (),
        )

    # Files

    def _open(self, weights: object) -> _Files:
        given = self.findings.attempt(weights_module.resolve, weights) if weights is not None else None
        if given is None:
            return _Files(None, None, None)
        dense = self.findings.attempt(loading.open_dense, given) if given.dense is not None else None
        statistics = self.findings.attempt(read_ntp, given.ntp) if given.ntp is not None else None
        return _Files(given, dense, statistics)

    def _recover(self, clauses: GraphClauses, files: _Files) -> tuple[str, ...] | None:
        """What the size of the dense file tells, put into the options; None where it should have told and did not."""
        if files.dense is None:
            return ()
        try:
            recovered = recover(clauses, self.resolved, files.dense.size)
        except HugeCTR2ONNXError as error:
            self._unrecovered = error
            return None
        self.resolved = recovered.resolved
        self.options = self.resolved.options
        return recovered.notes

    def _forecast(self, dense: DenseCheck, tables: Sequence[TableForecast]) -> Forecast:
        """What compiling takes; a disk or a file that cannot hold it is a problem."""
        expected = forecast(dense.expected_bytes, tables, self.output)
        errors: list[HugeCTR2ONNXError | None] = [
            encoder_size_error(expected.tables),
            memory_error(expected.memory_bytes, self.options.max_memory),
        ]
        if self.output is not None:
            errors.append(disk_space_error(self.output, expected.output_bytes, expected.free_bytes))
        self.findings.problems += [error for error in errors if error is not None]
        self.findings.warnings += beyond_memory((table.table, table.row_bytes) for table in expected.tables)
        return expected

    # Layers

    def _import(self, clauses: GraphClauses, checks: TableChecks) -> Importer:
        """The walk over all layers, with tables of one row and counted weights."""
        sparse = {entry.top: entry for entry in clauses.data.sparse}
        hybrid = [clause for clause in clauses.embeddings if clause.type == HYBRID and checks.is_converted(clause)]
        stand_ins = {clause.top: ("N", sparse[clause.bottom].slot_num, clause.vec_size) for clause in hybrid}
        tables = {clause.top: _stand_in(clause) for clause in clauses.embeddings}
        # The stand-ins of tables have no slot ids; `_look_up` has judged n_gpus on the tables themselves.
        resolved = self.resolved.changed(input_shapes={**self.options.input_shapes, **stand_ins}, n_gpus=None)
        importer = Importer(clauses, Sources(DenseCounter(), CountedStatistics(), tables), resolved)
        importer.run()
        self.findings.problems += drop_consequential_errors(importer, self._unrecovered)
        return importer

    # The dense file and the statistics

    def _check_dense(self, layers: Sequence[LayerCheck], files: _Files, is_recovered: bool) -> DenseCheck:
        expected = sum(layer.expected_bytes or 0 for layer in layers)
        is_complete = is_recovered and all(layer.expected_bytes is not None for layer in layers)
        path = str(files.given.dense) if files.given and files.given.dense is not None else None
        found = FLOAT_BYTES * files.dense.size if files.dense else None
        result = DenseCheck(path, expected, found, is_complete)
        if files.given and path is None and expected:
            self.findings.problems.append(
                WeightsError(f"no dense file was given; the layers need one of {expected} bytes")
            )
        if files.dense is not None:
            self.findings.problems += size_errors(result, layers)
            self.findings.warnings += nan_warnings(files.dense, place_layers(layers, found))
        return result

    def _check_statistics(self, clauses: GraphClauses, importer: Importer, files: _Files) -> StatisticsCheck:
        norms = [clause for clause in clauses.layers if clause.type == BATCH_NORM]
        widths = {each.index: each.weights["gamma"][0] for each in importer.summaries if each.type == BATCH_NORM}
        features = {clause.tops[0] if clause.tops else clause.where: widths.get(clause.index) for clause in norms}
        given = files.given
        found = None if files.statistics is None else len(files.statistics)
        path = str(given.ntp) if given and given.ntp is not None else None
        if given and path is None and norms:
            self.findings.problems.append(missing_statistics_error(norms, given.dense))
        if files.statistics is not None:
            self.findings.problems += statistics_errors(norms, widths, files.statistics, str(path))
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


def _stand_in(clause: EmbeddingClause) -> SparseTable:
    """One row of zeros, for any table."""
    return SparseTable(None, np.zeros(1, np.int64), np.zeros((1, clause.vec_size), np.float32))
