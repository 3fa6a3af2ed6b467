"""The part of a model that turns keys into row numbers, alone; and which row number comes from which key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.backend.runtime.touched_rows import rows_of
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.types import Array

MAX_IN_MEMORY = 1 << 62
"""Bytes up to which this part is opened in memory: its key maps are mapped, not copied."""
TRIES = 8
Feeder = Callable[[Array], Mapping[str, Array]]
"""Makes the inputs by name from keys i64[N, slot, nnz]."""


@dataclass(frozen=True, eq=False)
class KeyGroup:
    """Rows of a table that the same positions of a look-up can ask for: all of them, or those of one GPU.

    `rows` are None where it is every row. `cells` are positions in the flattened input of one batch unit, `offsets` what
    is added to a key there.
    """

    rows: Array | None
    cells: Array
    offsets: Array


class RowFinder:
    """The part of a model that turns the keys of one sparse top into row numbers.

    `inputs` are those that the keys come from, `feed` makes them from padded keys; threads: of its session, 0 for all cores.
    """

    def __init__(
        self,
        artifact: Artifact,
        inputs: Sequence[str],
        shape: Sequence[int],
        indices: Sequence[str],
        feed: Feeder,
        threads: int = 0,
    ):
        self.inputs = tuple(inputs)
        self.feed = feed
        self.shape = tuple(shape)
        self.indices = tuple(indices)
        made = [index for index in indices if index not in self.inputs]
        part = rows_of(artifact, made)
        kept = [entry for entry in part.skeleton.graph.input if entry.name in self.inputs]
        del part.skeleton.graph.input[:]
        part.skeleton.graph.input.extend(kept)
        self.part = part
        options = sessions.quiet_options()
        options.intra_op_num_threads = threads
        self._session = sessions.session(part, large=MAX_IN_MEMORY, options=options) if made else None
        self.stretches = dict(self._stretches())
        """Where the row numbers of each index stand among the places of one batch unit."""

    def of_shape(self, shape: Sequence[int]) -> RowFinder:
        """Return a finder for keys of another shape, on the same session."""
        other = copy(self)
        other.shape = tuple(shape)
        other.stretches = dict(other._stretches())
        return other

    @property
    def cells(self) -> int:
        """How many keys one batch unit takes."""
        return int(np.prod(self.shape))

    def rows(self, keys: Array) -> Array:
        """int64 [units, places]: the row numbers that every index finds for keys [units, cells], one after the other."""
        found = self._run(keys)
        rows = (found[index] for index in self.indices)
        return np.concatenate([each.reshape(len(keys), each.size // len(keys)) for each in rows], axis=1)

    def _run(self, keys: Array) -> dict[str, Array]:
        padded = np.ascontiguousarray(keys, np.int64).reshape(len(keys) * self.shape[0], *self.shape[1:])
        fed = self.feed(padded)
        read = {entry.name for entry in self.part.skeleton.graph.input}
        given = {name: array for name, array in fed.items() if name in read}
        return {**(sessions.run(self._session, given) if self._session is not None else {}), **fed}

    def _stretches(self) -> Iterator[tuple[str, slice]]:
        found, start = self._run(np.full((1, self.cells), PADDING, np.int64)), 0
        for index in self.indices:
            yield index, slice(start, start + found[index].size)
            start += found[index].size


def trace_places(finder: RowFinder, groups: Sequence[KeyGroup], keys: Array) -> Array | None:
    """Return the cell that each row number comes from, -1 for none; None where a row number follows no single cell.

    A known key stands in some cells and padding in the others: in those whose number has a bit set, then in those where
    it has not, for every bit. A row number that is that of the key says whether its cell has the bit.
    """
    generator = np.random.default_rng(0)
    bits = max(1, (finder.cells - 1).bit_length())
    numbers = np.arange(finder.cells)
    has_bit = [(numbers >> bit) & 1 == 1 for bit in range(bits)]
    masks = np.array([np.zeros(finder.cells, bool), ~np.zeros(finder.cells, bool), *has_bit, *(~m for m in has_bit)])
    read: Array | None = None
    for _ in range(TRIES):
        known = np.full(finder.cells, PADDING, np.int64)
        for group in groups:
            _enter_known(known, group, keys, generator)
        answers = finder.rows(np.where(masks, known, PADDING))
        padding, key, on, off = answers[0], answers[1], answers[2 : 2 + bits], answers[2 + bits :]
        changes = padding != key
        told = ((on == key) != (off == key)) & ((on == key) | (on == padding)) & ((off == key) | (off == padding))
        if not told[:, changes].all():
            return None
        cell = np.where(changes, ((on == key) << np.arange(bits)[:, None]).sum(0), -1)
        read = cell if read is None else np.where(read >= 0, read, cell)
    return read


def _enter_known(known: Array, group: KeyGroup, keys: Array, generator: np.random.Generator) -> None:
    """Enter one key of the table for each cell of a group, of those that its offset lets through."""
    count = len(keys) if group.rows is None else len(group.rows)
    if not count:
        return
    picked = generator.integers(0, count, (64, len(group.cells)))
    rows = picked if group.rows is None else group.rows[picked]
    moved = np.asarray(keys[rows.reshape(-1)]).reshape(rows.shape) - group.offsets
    usable = (moved >= 0) & (moved + group.offsets >= 0)
    first = usable.argmax(axis=0)
    columns = np.arange(len(group.cells))
    known[group.cells] = np.where(usable[first, columns], moved[first, columns], PADDING)
