"""Compare whole tables: every key of the source is asked for, every row of the file is read once, from front to back.

The row that a key finds must hold, bit for bit, the source's vector as the file's format stores it. Rows that no key finds
and keys that the source lacks must give the default vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Progress
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.key_index import column
from hugectr2onnx.verification.key_answers import UNREACHABLE, find_rows, keys_that_the_file_knows
from hugectr2onnx.verification.row_fingerprints import Fingerprints
from hugectr2onnx.verification.stored_table import StoredTable, stored_table
from hugectr2onnx.verification.table_comparison import RowDifference, TableComparison
from hugectr2onnx.verification.traced_lookups import TracedLookup, trace

_MAX_EXAMPLES = 10
_COMPARED_BYTES = 4 << 20


def compare_tables(graph: Graph, artifact: Artifact, progress: Progress | None = None) -> tuple[TableComparison, ...]:
    """Compare every table of an imported model with those of a file. Differences are in the result, nothing is raised."""
    traced = trace(graph, artifact)
    meter = _Meter(
        progress, sum(_source_bytes(node) for node, found in traced.items() if isinstance(found, TracedLookup))
    )
    return tuple(
        _compare(found, stored_table(artifact, found), meter)
        if isinstance(found, TracedLookup)
        else TableComparison(table_label(node), not_compared=found)
        for node, found in traced.items()
    )


def _source_bytes(node: Node) -> int:
    vectors = node.inputs[2].const
    return vectors.nbytes if vectors is not None else 0


class _Meter:
    """Tells the caller which share of all bytes has been read."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, max(total, 1), 0

    def add(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress("tables", min(1.0, self.done / self.total))


def _compare(lookup: TracedLookup, stored: StoredTable, meter: _Meter) -> TableComparison:
    return _Comparer(lookup, stored, meter).compare()


class _Comparer:
    """One table: its keys, the rows that they find, and what differs."""

    def __init__(self, lookup: TracedLookup, stored: StoredTable, meter: _Meter):
        self.lookup, self.stored, self.meter = lookup, stored, meter
        keys, vectors = lookup.node.inputs[1].const, lookup.node.inputs[2].const
        assert keys is not None and vectors is not None and isinstance(lookup.node.op, Lookup)
        self.keys, self.vectors, self.op = keys, vectors, lookup.node.op
        self.differing: list[Array] = []

    def compare(self) -> TableComparison:
        found = find_rows(self.lookup, self.keys)
        asked = found != UNREACHABLE
        outside = asked & ((found < -len(self.stored)) | (found >= len(self.stored)))
        found = np.where(asked & (found < 0) & ~outside, found + len(self.stored), found)
        compared = np.flatnonzero(asked & ~outside)
        if _counts_up(found[compared]) and len(compared) == len(found):
            self._compare_in_order(int(found[0]) if len(found) else 0)
        else:
            self._compare_out_of_order(found, asked & ~outside)
        self.differing.append(np.flatnonzero(outside))
        differing = np.sort(np.concatenate(self.differing))
        unexpected = [*self._strange_rows(found, compared), *self._strange_keys()]
        return TableComparison(
            table=table_label(self.lookup.node),
            tensor=self.lookup.tensor,
            scales=self.lookup.scales or "",
            format=self.stored.format.name,
            rows=len(self.stored),
            keys=int(asked.sum()),
            width=self.stored.width,
            bytes=self.stored.nbytes,
            differing=len(differing),
            examples=tuple(self._examples(differing, found)),
            unexpected=len(unexpected),
            unexpected_examples=tuple(unexpected[:_MAX_EXAMPLES]),
        )

    # Rows that keys find

    def _compare_in_order(self, first: int) -> None:
        """Compare rows that the file has in the source's order, from row `first` on: both are read side by side."""
        for rows in self._chunks():
            wanted = self.stored.encode(self._source(rows))
            there = self.stored.rows(slice(first + rows.start, first + rows.stop))
            self._note_different(rows.start, wanted, there)
            self.meter.add(self.vectors[rows].nbytes)

    def _compare_out_of_order(self, found: Array, compared: Array) -> None:
        """Compare rows in another order, by their fingerprints."""
        prints = Fingerprints(self.stored.row_bytes)
        there = np.concatenate(
            [np.empty(0, np.uint64), *(prints.of(part) for part in self.stored.chunks(_COMPARED_BYTES))]
        )
        for rows in self._chunks():
            wanted = prints.of(self.stored.encode(self._source(rows)))
            mine = compared[rows]
            differ = mine & (there[np.where(mine, found[rows], 0)] != wanted) if len(there) else mine
            self._keep_different(rows.start + np.flatnonzero(differ), found)
            self.meter.add(self.vectors[rows].nbytes)

    def _chunks(self) -> Iterator[slice]:
        step = max(1, _COMPARED_BYTES // max(1, self.vectors.itemsize * self.stored.width))
        return (slice(at, min(at + step, len(self.keys))) for at in range(0, len(self.keys), step))

    def _source(self, rows: slice) -> Array:
        chunk = self.vectors[rows]
        read = paging.buffer(chunk.shape, chunk.dtype)
        paging.read(chunk, read)
        return read

    def _note_different(self, start: int, wanted: Array, there: Array) -> None:
        if np.array_equal(wanted, there):
            return
        (rows,) = np.nonzero((wanted != there).any(axis=1))
        rows = rows[self._is_other(wanted[rows], there[rows])]
        self.differing.append(start + rows)

    def _keep_different(self, rows: Array, found: Array) -> None:
        """Of rows with other bits those that hold other numbers."""
        step = max(1, _COMPARED_BYTES // self.stored.row_bytes)
        for at in range(0, len(rows), step):
            part = rows[at : at + step]
            wanted = self.stored.encode(paging.take(self.vectors, part))
            self.differing.append(part[self._is_other(wanted, self.stored.take(found[part]))])

    def _is_other(self, wanted: Array, there: Array) -> Array:
        """Return zeros of either sign are the same number, and so is any NaN."""
        a, b = self.stored.decode(wanted), self.stored.decode(there)
        return np.asarray(~((a == b) | (np.isnan(a) & np.isnan(b))).all(axis=1))

    # Rows and keys beyond those of the source

    def _strange_rows(self, found: Array, compared: Array) -> Iterator[str]:
        unused = np.ones(len(self.stored), bool)
        unused[found[compared]] = False
        rows = np.flatnonzero(unused)
        step = max(1, _COMPARED_BYTES // self.stored.row_bytes)
        prints = Fingerprints(self.stored.row_bytes)
        # Rows of keys that offsets put out of reach are the source's all the same.
        unreachable = np.flatnonzero(found == UNREACHABLE) if len(rows) else np.empty(0, np.int64)
        own = [
            prints.of(self.stored.encode(paging.take(self.vectors, unreachable[at : at + step])))
            for at in range(0, len(unreachable), step)
        ]
        for at in range(0, len(rows), step):
            part = rows[at : at + step]
            taken = self.stored.take(part)
            is_own = np.isin(prints.of(taken), np.concatenate(own)) if own else np.zeros(len(part), bool)
            for row in part[~is_own & ~self._is_filler(self.stored.decode(taken))]:
                yield f"row {row} belongs to no key of the source and does not hold the default vector"

    def _is_filler(self, rows: Array) -> Array:
        default = self.stored.decode(self.stored.encode(np.full((1, self.stored.width), self.op.default, np.float32)))
        return np.asarray((rows == default).all(axis=1) | (rows == 0).all(axis=1))

    def _strange_keys(self) -> Iterator[str]:
        known = column(self.keys)
        for keys in keys_that_the_file_knows(self.lookup, known):
            keys = keys[known.index.rows(keys) < 0]
            found = find_rows(self.lookup, keys, known_only=False)
            inside = (found >= -len(self.stored)) & (found < len(self.stored)) & (found != UNREACHABLE)
            there = self.stored.decode(self.stored.take(found[inside] % len(self.stored)))
            for key in keys[inside][~self._is_filler(there)]:
                yield f"key {key} finds a row, though the source lacks it"

    # Examples

    def _examples(self, differing: Array, found: Array) -> Iterator[RowDifference]:
        shown = differing[:_MAX_EXAMPLES]
        if not len(shown):
            return
        prints = Fingerprints(self.stored.row_bytes)
        others = differing[: 1 << 12]
        owners = dict(
            zip(prints.of(self.stored.encode(paging.take(self.vectors, others))).tolist(), others, strict=True)
        )
        for row in shown.tolist():
            place = int(found[row])
            key = int(self.keys[row])
            if not 0 <= place < len(self.stored):
                yield RowDifference(key, row, place, float("inf"), 0)
                continue
            there = self.stored.take(np.array([place]))
            wanted = self.stored.decode(self.stored.encode(paging.take(self.vectors, np.array([row]))))
            with np.errstate(all="ignore"):
                error = np.abs(self.stored.decode(there).astype(np.float64) - wanted)[0]
            error[np.isnan(error)] = np.inf
            owner = owners.get(int(prints.of(there)[0]))
            holds = int(self.keys[owner]) if owner is not None else None
            yield RowDifference(key, row, place, float(error.max()), int(error.argmax()), holds)


def _counts_up(found: Array) -> bool:
    return bool(
        len(found) == 0 or (found[0] >= 0 and np.array_equal(found, np.arange(found[0], found[0] + len(found))))
    )
