"""`check`: a dry run that finds everything wrong with a model at once, instead of stopping at the first error."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from hugectr2onnx.backend.runtime.portability import KeyMapUse, RunsOn, runs_on
from hugectr2onnx.backend.runtime.system_memory import beyond_memory
from hugectr2onnx.backend.saving.writable import place_to_write
from hugectr2onnx.checking.embedding_collection import collected_tables
from hugectr2onnx.checking.forecast import Forecast, TableForecast, expected_tables, forecast, no_room, too_many_encoded
from hugectr2onnx.checking.layers import judge_layers, without_echoes
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
from hugectr2onnx.checking.weights import judge_size, judge_statistics, layers_with_nan, no_statistics
from hugectr2onnx.errors import HugeCTR2ONNXError, OptionError, WeightsError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.embeddings import embedding, table_options
from hugectr2onnx.frontend.embeddings.keys import Keys, key_width
from hugectr2onnx.frontend.embeddings.table_options import TableOptions
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses, SparseInput
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
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.options import Options
from hugectr2onnx.passes.lookups.choose_key_map import check_names
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs

BATCH_NORM = "BatchNorm"

P = ParamSpec("P")
T = TypeVar("T")


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
        self.keys = options.keys
        self.output = output
        self.automatic = options.opt_level >= 2
        self.forecasts: list[TableForecast] = []
        self._has_sound_keys = True
        self.problems: list[HugeCTR2ONNXError] = []
        self.warnings: list[str] = []
        self._unrecovered: HugeCTR2ONNXError | None = None
        self.resolved = self._try(resolve_options, options) or ResolvedOptions(options)

    def run(self, graph: str | os.PathLike[str] | Mapping[str, object], weights: object) -> CheckReport:
        clauses = self._try(lambda: reader.read(graph, layer_types(self.options)))
        files = self._open(weights)
        if self.output is not None:
            self._try(place_to_write, self.output)
        if clauses is None:
            return CheckReport(problems=self._reported())
        self._check_keys(clauses)
        tables = (*self._check_tables(clauses, files), *self._collected_tables(clauses))
        recovered = self._recover(clauses, files)
        self.warnings += loading.collection_warnings(self.resolved.collection)
        importer = self._import(clauses)
        self._check_look_ups(importer)
        layers = tuple(judge_layers(clauses, importer))
        dense = self._check_dense(layers, files, is_recovered=recovered is not None)
        statistics = self._check_statistics(clauses, importer, files)
        expected = self._forecast(dense) if files.given and not self.problems else None
        return CheckReport(
            forecast=expected,
            runs_on=_runs_on(expected, tables) if expected else (),
            layers=place_layers(layers, dense.found_bytes),
            dense=dense,
            tables=tables,
            statistics=statistics,
            inputs=tuple(Tensor(value.node.name, str(value.type)) for value in importer.graph.inputs),
            outputs=tuple(_outputs(importer)),
            problems=self._reported(),
            warnings=tuple(dict.fromkeys([*importer.warnings, *self.warnings])),
            recovered=recovered or (),
        )

    def _try(self, step: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T | None:
        try:
            return step(*args, **keywords)
        except HugeCTR2ONNXError as error:
            self.problems.append(error)
            return None

    def _reported(self) -> tuple[Problem, ...]:
        return tuple(dict.fromkeys(map(Problem.of, self.problems)))

    # Files

    def _open(self, weights: object) -> _Files:
        given = self._try(weights_module.resolve, weights) if weights is not None else None
        if given is None:
            return _Files(None, None, None)
        dense = self._try(loading.open_dense, given) if given.dense is not None else None
        statistics = self._try(read_ntp, given.ntp) if given.ntp is not None else None
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

    # Embeddings

    def _check_keys(self, clauses: GraphClauses) -> None:
        collection = self.resolved.collection
        tops = [clause.top for clause in clauses.embeddings]
        tops += [lookup.top for lookup in collection.lookups] if collection else []
        before = len(self.problems)
        self._try(check_names, tops, self.keys)
        self._has_sound_keys = len(self.problems) == before

    def _check_tables(self, clauses: GraphClauses, files: _Files) -> tuple[TableCheck, ...]:
        sparse = {entry.top: entry for entry in clauses.data.sparse}
        needed = [clause for clause in clauses.embeddings if self._needs_table(clause)]
        paths = self._paths(needed, clauses, files)
        key_bytes = (files.given.key_bytes if files.given else None) or clauses.key_bytes
        checks = []
        for clause in clauses.embeddings:
            source = sparse[clause.bottom]
            if clause.type == HYBRID and self._is_converted(clause):
                self.problems.append(embedding.refuse_hybrid(clause, source))
            entry = TableCheck.of(clause, source, clause in needed)
            path = paths.get(clause.top)
            checks.append(self._check_table(entry, clause, source, path, key_bytes) if path else entry)
        return tuple(checks)

    def _collected_tables(self, clauses: GraphClauses) -> Iterator[TableCheck]:
        if self.resolved.collection:
            yield from collected_tables(
                self.resolved.collection, clauses.data, is_needed=self.options.convert_embedding
            )

    def _is_converted(self, clause: EmbeddingClause) -> bool:
        return self.options.convert_embedding and clause.top not in self.options.input_shapes

    def _needs_table(self, clause: EmbeddingClause) -> bool:
        return self._is_converted(clause) and clause.type != HYBRID

    def _paths(self, needed: Sequence[EmbeddingClause], clauses: GraphClauses, files: _Files) -> dict[str, Path]:
        if files.given is None or not self.options.convert_embedding:
            return {}
        owners = self._try(loading.table_owners, clauses, files.given, self.options) or []
        return {clause.top: path for clause, path in zip(owners, files.given.tables, strict=False) if clause in needed}

    def _check_table(
        self, entry: TableCheck, clause: EmbeddingClause, source: SparseInput, path: Path, key_bytes: int | None
    ) -> TableCheck:
        measured = entry.measured(path)
        table = self._try(loading.open_for, clause, path, key_bytes)
        if table is None:
            return measured
        self._try(self._look_up, clause, source, table)
        size = FLOAT_BYTES * table.vectors.size
        return replace(
            measured,
            rows=len(table.keys),
            smallest_key=int(table.keys.min()) if len(table.keys) else None,
            largest_key=int(table.keys.max()) if len(table.keys) else None,
            has_slot_ids=table.slot_ids is not None,
            expected_bytes=measured.expected_bytes if measured.expected_bytes is not None else size,
            found_bytes=measured.found_bytes if measured.found_bytes is not None else size,
        )

    def _look_up(self, clause: EmbeddingClause, source: SparseInput, table: SparseTable) -> None:
        """The checks of the import, on a graph of its own, so that a table's problem hides nothing behind it."""
        scratch = Graph()
        keys = scratch.input(clause.bottom, i64(N, source.slot_num, key_width(source)))
        own = Keys(keys, padding_key=self.options.padding_key)
        format = table_options.format_of(self.options.embedding, clause.top, clause.vec_size)
        options = TableOptions(self.options.n_gpus, format, self.resolved.keep_keys.get(clause.top))
        with scratch.building(clause.top):
            scratch.output({clause.top: embedding.look_up(scratch, clause, own, table, options, self.warnings.append)})
        if self._has_sound_keys:
            self._expect(scratch)
            self._try(row_number_inputs, scratch, self.keys)

    def _check_look_ups(self, importer: Importer) -> None:
        """What needs the whole graph: the tables of a collection, and whether an input of rows has one meaning."""
        if not self._has_sound_keys or importer.errors:
            return
        if self.resolved.collection:
            # The walk had stand-ins for other tables only.
            self._expect(importer.graph, {lookup.top for lookup in self.resolved.collection.lookups})
        self._try(row_number_inputs, importer.graph, self.keys)

    def _expect(self, graph: Graph, tops: Collection[str] | None = None) -> None:
        tables = expected_tables(graph, self.keys, tops, automatic=self.automatic)
        self.forecasts += self._try(tuple, tables) or ()

    def _forecast(self, dense: DenseCheck) -> Forecast:
        """What compiling takes; a disk or a file that cannot hold it is a problem."""
        expected = forecast(dense.expected_bytes, self.forecasts, self.output)
        errors = [too_many_encoded(expected.tables)]
        if self.output is not None:
            errors.append(no_room(self.output, expected.output_bytes, expected.free_bytes))
        self.problems += [error for error in errors if error is not None]
        self.warnings += beyond_memory((table.table, table.row_bytes) for table in expected.tables)
        return expected

    # Layers

    def _import(self, clauses: GraphClauses) -> Importer:
        """The walk over all layers, with tables of one row and counted weights."""
        sparse = {entry.top: entry for entry in clauses.data.sparse}
        hybrid = [clause for clause in clauses.embeddings if clause.type == HYBRID and self._is_converted(clause)]
        stand_ins = {clause.top: ("N", sparse[clause.bottom].slot_num, clause.vec_size) for clause in hybrid}
        tables = {clause.top: _stand_in(clause) for clause in clauses.embeddings}
        # The stand-ins of tables have no slot ids; `_look_up` has judged n_gpus on the tables themselves.
        resolved = self.resolved.changed(input_shapes={**self.options.input_shapes, **stand_ins}, n_gpus=None)
        importer = Importer(clauses, Sources(DenseCounter(), CountedStatistics(), tables), resolved)
        importer.run()
        self.problems += without_echoes(importer, self._unrecovered)
        return importer

    # The dense file and the statistics

    def _check_dense(self, layers: Sequence[LayerCheck], files: _Files, is_recovered: bool) -> DenseCheck:
        expected = sum(layer.expected_bytes or 0 for layer in layers)
        is_complete = is_recovered and all(layer.expected_bytes is not None for layer in layers)
        path = str(files.given.dense) if files.given and files.given.dense is not None else None
        found = FLOAT_BYTES * files.dense.size if files.dense else None
        result = DenseCheck(path, expected, found, is_complete)
        if files.given and path is None and expected:
            self.problems.append(WeightsError(f"no dense file was given; the layers need one of {expected} bytes"))
        if files.dense is not None:
            self.problems += judge_size(result, layers)
            self.warnings += layers_with_nan(files.dense, place_layers(layers, found))
        return result

    def _check_statistics(self, clauses: GraphClauses, importer: Importer, files: _Files) -> StatisticsCheck:
        norms = [clause for clause in clauses.layers if clause.type == BATCH_NORM]
        widths = {each.index: each.weights["gamma"][0] for each in importer.summaries if each.type == BATCH_NORM}
        features = {clause.tops[0] if clause.tops else clause.where: widths.get(clause.index) for clause in norms}
        given = files.given
        found = None if files.statistics is None else len(files.statistics)
        path = str(given.ntp) if given and given.ntp is not None else None
        if given and path is None and norms:
            self.problems.append(no_statistics(norms, given.dense))
        if files.statistics is not None:
            self.problems += judge_statistics(norms, widths, files.statistics, str(path))
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
