"""Compare a snapshot with the model that an earlier one gave: rows of tables by key, dense tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.saving.key_file import KeyMapper
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.lookups.row_number_inputs import input_of
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.key_index import column
from hugectr2onnx.verification.key_answers import UNREACHABLE, find_rows, keys_that_the_file_knows
from hugectr2onnx.verification.stored_table import StoredTable, stored_table, tensor_of
from hugectr2onnx.verification.traced_lookups import TracedLookup, trace

_COMPARED_BYTES = 4 << 20
UNKNOWN_KEYS = 64
"""Keys above all others that are asked for, to learn which row the file keeps for keys that it lacks."""


@dataclass(frozen=True)
class TableChange:
    """One table: `rows` it has now, those whose keys are new, went, or have another row, and how far the rows moved.

    `max_moved` and `mean_moved` are absolute differences of single numbers as the model stores them: over the rows that
    both have. A key whose row was the default vector counts as absent before. `not_compared` says
    why a table could not be compared.
    """

    table: str
    rows: int = 0
    added: int = 0
    removed: int = 0
    moved: int = 0
    max_moved: float = 0.0
    mean_moved: float = 0.0
    not_compared: str = ""


@dataclass(frozen=True)
class TensorChange:
    """A dense tensor with other numbers: `elements` of which `moved` differ."""

    tensor: str
    elements: int
    moved: int
    max_moved: float
    mean_moved: float


@dataclass(frozen=True)
class Changes:
    """The changes of a new snapshot. `unmatched`: tensors that only one of the two models has, or has in another shape."""

    tables: tuple[TableChange, ...]
    tensors: tuple[TensorChange, ...]
    unchanged_tensors: int
    unmatched: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the changes as plain data."""
        return asdict(self)


_NO_ROWS: Mapping[str, KeysOfRows] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class KeysOfRows:
    """For an input that takes rows in the place of keys: the new table's keys, and the key map of the earlier model.

    `earlier` is a reason where that map cannot be read.
    """

    keys: Array
    earlier: KeyMapper | str


def compare(
    graph: Graph, compiled: Artifact, earlier: Artifact, keys_of_rows: Mapping[str, KeysOfRows] = _NO_ROWS
) -> Changes:
    """Compare a new model with an earlier one: `graph` is the new one's import, before any pass.

    `keys_of_rows` by the names of inputs that take rows in the place of keys, as in `graph`.
    """
    traced = trace(graph, earlier)
    tables = tuple(_table_change(node, found, earlier, keys_of_rows) for node, found in traced.items())
    skipped = {
        name for each in traced.values() if isinstance(each, TracedLookup) for name in (each.tensor, each.scales)
    }
    tensors = _Tensors(compiled, earlier, {name for name in skipped if name})
    changed = tuple(tensors.changed())
    return Changes(tables, changed, len(tensors.common) - len(changed), tensors.unmatched)


def _table_change(
    node: Node, found: TracedLookup | str, earlier: Artifact, keys_of_rows: Mapping[str, KeysOfRows]
) -> TableChange:
    if not isinstance(found, TracedLookup):
        return TableChange(table_label(node), not_compared=found)
    stored = stored_table(earlier, found)
    by_row = keys_of_rows.get(input_of(node).node.name)
    if by_row is None:
        return _TableComparer(found, stored).compare()
    if isinstance(by_row.earlier, str):
        return TableChange(table_label(node), not_compared=by_row.earlier)
    return _KeyFileComparer(found, stored, by_row.keys, by_row.earlier).compare()


class _TableComparer:
    """One table of the new snapshot, whose keys the earlier file is asked for."""

    def __init__(self, lookup: TracedLookup, stored: StoredTable):
        self.lookup, self.stored = lookup, stored
        keys, vectors = lookup.node.inputs[1].const, lookup.node.inputs[2].const
        assert keys is not None and vectors is not None and isinstance(lookup.node.op, Lookup)
        self.keys, self.vectors, self.op = keys, vectors, lookup.node.op

    def compare(self) -> TableChange:
        found = self._find(self.keys, known_only=True)
        missing = self._rows_of_unknown_keys()
        answered = self._is_row(found, missing)
        added = int(((found != UNREACHABLE) & ~answered).sum())
        moved, compared, largest, total = 0, 0, 0.0, 0.0
        for rows in self._chunks(np.flatnonzero(answered)):
            before, now = self._both(rows, found[rows])
            # A map without gaps has rows of the default vector for keys that its table lacks.
            absent = self._is_filler(before) & (before != now).any(axis=1)
            difference = _distance(before[~absent], now[~absent])
            added += int(absent.sum())
            moved += int((difference > 0).any(axis=1).sum())
            compared += len(difference)
            largest = max(largest, float(difference.max(initial=0.0)))
            total += float(difference.sum())
        mean = total / (compared * self.stored.width) if compared else 0.0
        label = table_label(self.lookup.node)
        return TableChange(label, len(self.keys), added, self._removed(missing), moved, largest, mean)

    def _is_row(self, found: Array, missing: Array) -> Array:
        """Tell which of the answers are rows of the table, and not the one for keys that it lacks."""
        return np.asarray((found >= 0) & (found < len(self.stored)) & ~np.isin(found, missing))

    def _is_filler(self, rows: Array) -> Array:
        default = self.stored.decode(self.stored.encode(np.full((1, self.stored.width), self.op.default, np.float32)))
        return np.asarray((rows == default).all(axis=1))

    def _find(self, keys: Array, *, known_only: bool) -> Array:
        """Return the rows of keys, from 0 on; UNREACHABLE where the input cannot ask."""
        found = find_rows(self.lookup, keys, known_only=known_only)
        return np.where((found < 0) & (found != UNREACHABLE), found + len(self.stored), found)

    def _rows_of_unknown_keys(self) -> Array:
        """Return the rows that the file gives for keys that no table has."""
        highest = int(np.max(self.keys, initial=0))
        above = min(highest, np.iinfo(np.int64).max - 2 * UNKNOWN_KEYS) + UNKNOWN_KEYS
        unknown = np.arange(above, above + UNKNOWN_KEYS, dtype=np.int64)
        largest = np.iinfo(np.int64).max - 1 - np.arange(UNKNOWN_KEYS, dtype=np.int64)
        answers = self._find(np.concatenate([unknown, largest]), known_only=False)
        rows, counts = np.unique(answers[answers >= 0], return_counts=True)
        # The keys right above may be rows that went; the largest ones are not.
        return rows[counts >= UNKNOWN_KEYS // 2]

    def _chunks(self, rows: Array) -> Iterator[Array]:
        step = max(1, _COMPARED_BYTES // (4 * self.stored.width))
        return (rows[at : at + step] for at in range(0, len(rows), step))

    def _both(self, rows: Array, places: Array) -> tuple[Array, Array]:
        """float32 [n, width] twice: the file's rows, and the new ones rounded as the file stores them."""
        now = self.stored.decode(self.stored.encode(paging.take(self.vectors, rows)))
        return self.stored.decode(self.stored.take(places)), now

    def _removed(self, missing: Array) -> int:
        """Return keys that the file has a row for, and the new table lacks."""
        known = column(self.keys)
        gone: set[int] = set()
        for asked in keys_that_the_file_knows(self.lookup, known):
            keys = np.unique(asked[known.index.rows(asked) < 0])
            found = self._find(keys, known_only=False)
            there = np.flatnonzero(self._is_row(found, missing))
            for rows in self._chunks(there):
                filler = self._is_filler(self.stored.decode(self.stored.take(found[rows])))
                gone.update(keys[rows[~filler]].tolist())
        return len(gone)


class _KeyFileComparer(_TableComparer):
    """A table whose rows are the model's input: a key map beside the earlier model says which key had which row."""

    def __init__(self, lookup: TracedLookup, stored: StoredTable, keys: Array, earlier: KeyMapper):
        super().__init__(lookup, stored)
        self.keys, self.earlier = keys, earlier

    def _find(self, keys: Array, *, known_only: bool) -> Array:
        return self.earlier.table_rows(np.asarray(keys))

    def _rows_of_unknown_keys(self) -> Array:
        return np.array([self.earlier.missing])

    def _is_filler(self, rows: Array) -> Array:
        return np.zeros(len(rows), bool)

    def _removed(self, missing: Array) -> int:
        known = column(self.keys).index
        return sum(int((known.rows(np.asarray(part)) < 0).sum()) for part in paging.chunks(self.earlier.keys))


def _distance(before: Array, now: Array) -> Array:
    """float64: how far each number moved; infinite where one of both is NaN."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(now.astype(np.float64) - before)
    distance[np.isnan(distance)] = np.inf
    return np.asarray(distance)


class _Tensors:
    """The constants of two models that are no tables."""

    def __init__(self, compiled: Artifact, earlier: Artifact, tables: set[str]):
        self.compiled, self.earlier = compiled, earlier
        now, before = (
            {
                tensor.name: (tuple(tensor.dims), tensor.data_type)
                for tensor in artifact.skeleton.graph.initializer
                if tensor.name not in tables
            }
            for artifact in (compiled, earlier)
        )
        self.common = [name for name in now if before.get(name) == now[name]]
        self.unmatched = tuple(sorted((now.keys() | before.keys()) - set(self.common)))

    def changed(self) -> Iterator[TensorChange]:
        for name in self.common:
            now, before = tensor_of(self.compiled, name), tensor_of(self.earlier, name)
            if now.dtype.kind != "f" or now.tobytes() == before.tobytes():
                continue  # integers belong to key maps and shapes
            with np.errstate(all="ignore"):
                difference = np.abs(now.astype(np.float64) - before.astype(np.float64))
            yield TensorChange(
                name, now.size, int((difference > 0).sum()), float(difference.max()), float(difference.mean())
            )
