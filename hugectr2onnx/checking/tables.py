"""The tables of the embedding layers in a dry run: their files, their look-ups, and what they will take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hugectr2onnx.checking.embedding_collection import collection_tables
from hugectr2onnx.checking.findings import Findings
from hugectr2onnx.checking.forecast import TableForecast, expected_tables
from hugectr2onnx.checking.report import FLOAT_BYTES, TableCheck
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.embeddings import embedding, table_options
from hugectr2onnx.frontend.embeddings.keys import Keys, key_width
from hugectr2onnx.frontend.embeddings.table_options import TableOptions
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses, SparseInput
from hugectr2onnx.frontend.graph_json.embedding import HYBRID
from hugectr2onnx.frontend.importer import Importer
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.options import Options
from hugectr2onnx.passes.lookups.choose_key_map import check_names
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs


class TableChecks:
    """The checks of all tables; `forecasts` fills as it goes. `automatic`: whether "auto" chooses a key map."""

    def __init__(self, resolved: ResolvedOptions, findings: Findings, *, automatic: bool):
        self.resolved = resolved
        self.findings = findings
        self.forecasts: list[TableForecast] = []
        self._automatic = automatic
        self._has_sound_keys = True

    @property
    def options(self) -> Options:
        return self.resolved.options

    def check_strategies(self, clauses: GraphClauses) -> None:
        collection = self.resolved.collection
        tops = [clause.top for clause in clauses.embeddings]
        tops += [lookup.top for lookup in collection.lookups] if collection else []
        before = len(self.findings.errors)
        self.findings.attempt(check_names, tops, self.options.keys)
        self._has_sound_keys = len(self.findings.errors) == before

    def check_files(self, clauses: GraphClauses, given: Weights | None) -> tuple[TableCheck, ...]:
        sparse = {entry.top: entry for entry in clauses.data.sparse}
        needed = [clause for clause in clauses.embeddings if self._needs_table(clause)]
        paths = self._paths(needed, clauses, given)
        key_bytes = (given.key_bytes if given else None) or clauses.key_bytes
        checks = []
        for clause in clauses.embeddings:
            source = sparse[clause.bottom]
            if clause.type == HYBRID and loading.is_converted(clause, self.options):
                self.findings.errors.append(embedding.refuse_hybrid(clause, source))
            entry = TableCheck.of(clause, source, clause in needed)
            path = paths.get(clause.top)
            checks.append(self._check_table(entry, clause, source, path, key_bytes) if path else entry)
        return tuple(checks)

    def check_collection(self, clauses: GraphClauses) -> Iterator[TableCheck]:
        if self.resolved.collection:
            yield from collection_tables(
                self.resolved.collection, clauses.data, is_needed=self.options.convert_embedding
            )

    def _needs_table(self, clause: EmbeddingClause) -> bool:
        return loading.is_converted(clause, self.options) and clause.type != HYBRID

    def _paths(
        self, needed: Sequence[EmbeddingClause], clauses: GraphClauses, given: Weights | None
    ) -> dict[str, Path]:
        if given is None or not self.options.convert_embedding:
            return {}
        owners = self.findings.attempt(loading.table_owners, clauses, given, self.options) or []
        return {clause.top: path for clause, path in zip(owners, given.tables, strict=False) if clause in needed}

    def _check_table(
        self, entry: TableCheck, clause: EmbeddingClause, source: SparseInput, path: Path, key_bytes: int | None
    ) -> TableCheck:
        measured = entry.measured(path)
        table = self.findings.attempt(loading.open_for, clause, path, key_bytes)
        if table is None:
            return measured
        self.findings.attempt(self._look_up, clause, source, table)
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
        """Check a look-up as the import does, on a graph of its own, so that a table's problem hides nothing behind it."""
        scratch = Graph()
        keys = scratch.input(clause.bottom, i64(N, source.slot_num, key_width(source)))
        own = Keys(keys, padding_key=self.options.padding_key)
        format = table_options.format_of(self.options.embedding, clause.top, clause.vec_size)
        options = TableOptions(self.options.n_gpus, format, self.resolved.keep_keys.get(clause.top))
        with scratch.building(clause.top):
            scratch.output(
                {clause.top: embedding.look_up(scratch, clause, own, table, options, self.findings.warnings.append)}
            )
        if self._has_sound_keys:
            self._expect(scratch)
            self.findings.attempt(row_number_inputs, scratch, self.options.keys)

    def check_lookups(self, importer: Importer) -> None:
        """Check what needs the whole graph: the tables of a collection, and whether an input of rows has one meaning."""
        if not self._has_sound_keys or importer.errors:
            return
        if self.resolved.collection:
            # The walk had stand-ins for other tables only.
            self._expect(importer.graph, {lookup.top for lookup in self.resolved.collection.lookups})
        self.findings.attempt(row_number_inputs, importer.graph, self.options.keys)

    def _expect(self, graph: Graph, tops: Collection[str] | None = None) -> None:
        tables = expected_tables(graph, self.options.keys, tops, automatic=self._automatic)
        self.forecasts += self.findings.attempt(tuple, tables) or ()
