"""A perfect hash of int64 keys that onnxruntime's operators of opset 17 can follow (hash, displace; Belazzougui et al. 2009).

    a = key * mix[0];  x = (a + (a >> 32)) * mix[1]                   all in uint64
    slot = (((x * displacement[x >> shift]) >> 32) * slots) >> 32

The upper bits of x name a bucket of some four keys. Buckets are placed from the fullest to the emptiest, all of one size
at a time: in each round all that are left try the same displacement, and those whose slots are free and wanted by no other
keep it. An addition stands for the usual xor, which ONNX has from opset 18 on only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array

LOAD = 0.8
"""Keys for each slot: a fuller table is smaller, but takes many times as long to build."""
BUCKET = 5
MAX_IN_BUCKET = 64
"""Chance never puts so many keys into one bucket, whatever their number; an adversary might, and placing them takes forever."""
MAX_SEEDS = 16
CANDIDATES = 4096
_HASHED_KEYS = 1 << 20
EMPTY = -1
"""What stands in a slot without a key; only padding equals it, and its row is the missing one."""


class HashError(Exception):
    """No seed gave a perfect hash; it never leaves the compiler."""


@dataclass(frozen=True, eq=False)
class HashTables:
    """`keys` int64 and `rows` int32 or int64 by slot, `displacements` uint64 by bucket."""

    seed: int
    mix: tuple[int, int]
    shift: int
    displacements: Array
    keys: Array
    rows: Array

    @property
    def nbytes(self) -> int:
        return int(self.displacements.nbytes + self.keys.nbytes + self.rows.nbytes)

    def slots(self, keys: Array) -> Array:
        """Return the slot that each key would have."""
        x = mixed(keys, self.mix)
        return slots_of(x * self.displacements[(x >> np.uint64(self.shift)).astype(np.int64)], len(self.keys))


def build(keys: Array, missing: int) -> HashTables:
    """Return the tables for different keys of 0 and more; row i belongs to key i and `missing` to empty slots.

    Every key is looked up in the result. Raises HashError where no seed works, as with keys that stand twice.
    """
    base = _digest(keys)
    for seed in range(MAX_SEEDS):
        mix = _odd(base, seed, 0), _odd(base, seed, 1)
        displacements = _displace(keys, mix, base, seed)
        if displacements is None:
            continue
        tables = _fill(keys, missing, HashTables(seed, mix, _shift(len(keys)), displacements, _EMPTY, _EMPTY))
        if tables is not None:
            return tables
    raise HashError(f"none of {MAX_SEEDS} seeds told {len(keys):,} keys apart; does one stand twice?")


_EMPTY = np.empty(0, np.int64)


def mixed(keys: Array, mix: tuple[int, int]) -> Array:
    """uint64 [n]: every bit of the key in the upper bits."""
    x = keys.view(np.uint64) if keys.flags.c_contiguous else np.ascontiguousarray(keys).view(np.uint64)
    x = x * np.uint64(mix[0])
    x += x >> np.uint64(32)
    x *= np.uint64(mix[1])
    return np.asarray(x)


def slots_of(x: Array, count: int) -> Array:
    """Return the upper half of x, scaled to 0 to count - 1."""
    upper = x >> np.uint64(32)
    upper *= np.uint64(count)
    upper >>= np.uint64(32)
    return upper.view(np.int64)


def slot_count(keys: int) -> int:
    return int(keys / LOAD) + 1


def _shift(keys: int) -> int:
    """64 less the bits of a bucket number; one bit at least, for a shift by 64 has no meaning."""
    return 64 - max(1, (max(keys, 1) // BUCKET).bit_length())


def _displace(keys: Array, mix: tuple[int, int], base: int, seed: int) -> Array | None:
    """Return a displacement for each bucket, or None where this seed does not do."""
    x = _all_mixed(keys, mix)
    x.sort()
    if (x[1:] == x[:-1]).any():
        return None
    shift = np.uint64(_shift(len(keys)))
    buckets = np.int64(1) << (64 - int(shift))
    counts = np.bincount((x >> shift).view(np.int64), minlength=int(buckets))
    if counts.max(initial=0) > MAX_IN_BUCKET:
        return None
    sizes = counts.astype(np.uint8)
    starts = _starts(counts, len(keys))
    del counts
    candidates = np.array([_odd(base, seed, 2 + number) for number in range(CANDIDATES)], np.uint64)
    placing = _Placing(x, slot_count(len(keys)), int(buckets), candidates)
    for size in range(int(sizes.max(initial=0)), 0, -1):
        (mine,) = np.nonzero(sizes == size)
        if len(mine) and not placing.place(mine, starts[mine], size):
            return None
    return np.asarray(candidates[placing.rounds])


def _all_mixed(keys: Array, mix: tuple[int, int]) -> Array:
    """Return keys are often mapped, and need not be in memory beside what is made of them."""
    x, start = np.empty(len(keys), np.uint64), 0
    for chunk in paging.chunks(np.asarray(keys)):
        x[start : start + len(chunk)] = mixed(chunk, mix)
        start += len(chunk)
    return x


def _starts(counts: Array, total: int) -> Array:
    """Tell where each bucket begins, in four bytes if they do."""
    starts = np.cumsum(counts)
    starts -= counts
    return starts.astype(np.uint32) if total < 1 << 32 else starts


class _Placing:
    """The slots taken so far, and the number of the round in which each bucket found its place."""

    def __init__(self, x: Array, slots: int, buckets: int, candidates: Array):
        self.x = x
        self.candidates = candidates
        self.rounds = np.zeros(buckets, np.uint16)
        self.taken = np.zeros(slots, np.bool_)
        self.owner = np.zeros(slots, np.int32)

    def place(self, buckets: Array, starts: Array, size: int) -> bool:
        """Find a displacement for each of the buckets of one size; false where some are left after all rounds."""
        for number, displacement in enumerate(self.candidates):
            for begin in range(0, len(buckets), _HASHED_KEYS):
                part = slice(begin, begin + _HASHED_KEYS)
                won = self._try(starts[part], size, displacement)
                self.rounds[buckets[part][won]] = number
                buckets[part][won] = -1
            left = buckets >= 0
            buckets, starts = buckets[left], starts[left]
            if not len(buckets):
                return True
        return False

    def _try(self, starts: Array, size: int, displacement: np.uint64) -> Array:
        """Positions in `starts` of the buckets that fit; their slots are taken."""
        alive = np.arange(len(starts), dtype=np.int32)
        columns: list[Array] = []
        for place in range(size):
            slots = slots_of(self.x[starts[alive] + place] * displacement, len(self.taken))
            fits = ~self.taken[slots]
            for column in columns:
                fits &= column != slots
            alive, slots = alive[fits], slots[fits]
            columns = [*(column[fits] for column in columns), slots]
        for column in columns:
            self.owner[column] = alive
        wins = np.ones(len(alive), np.bool_)
        for column in columns:
            wins &= self.owner[column] == alive
        for column in columns:
            self.taken[column[wins]] = True
        return alive[wins]


def _fill(keys: Array, missing: int, tables: HashTables) -> HashTables | None:
    """Return the tables with keys and rows in their slots, or None where not every key finds its own."""
    count = slot_count(len(keys))
    stored = np.full(count, EMPTY, np.int64)
    rows = np.full(count, missing, np.int32 if missing + 1 < 1 << 31 else np.int64)
    tables = HashTables(tables.seed, tables.mix, tables.shift, tables.displacements, stored, rows)
    start = 0
    for chunk in paging.chunks(np.asarray(keys)):
        slots = tables.slots(chunk)
        stored[slots] = chunk
        rows[slots] = np.arange(start, start + len(chunk), dtype=rows.dtype)
        start += len(chunk)
    start = 0
    for chunk in paging.chunks(np.asarray(keys)):
        slots = tables.slots(chunk)
        if not (np.array_equal(stored[slots], chunk) and np.array_equal(rows[slots], start + np.arange(len(chunk)))):
            return None
        start += len(chunk)
    return tables


def _digest(keys: Array) -> int:
    """Return a number that the keys decide, so that no set of keys is bad for the seeds it gets."""
    digest = hashlib.sha256()
    for chunk in paging.chunks(np.asarray(keys)):
        digest.update(np.ascontiguousarray(chunk).view(np.uint8).data)
    return int.from_bytes(digest.digest()[:8], "little")


def _odd(base: int, seed: int, number: int) -> int:
    """Return the odd 64-bit number of a place in a sequence (splitmix64)."""
    z = (base + 0x9E3779B97F4A7C15 * (1 + seed * (CANDIDATES + 2) + number)) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) | 1


_MASK = (1 << 64) - 1
