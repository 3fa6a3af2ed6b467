"""The ways from key to row that a user can ask for, each a class with all that the compiler asks of it.

direct         keys are dense: at most 4 numbers of their range for each key, or 65,536 in all. Where the rows of the missing
               numbers take at most a quarter of the table (or a row number for every number would take as much), the rows
               are put in the order of the keys and the key is the row: one gather. Otherwise a row number for each number
               lies between. Asked for by name, 64 numbers for each key are allowed, or 16 million in all (64 MB).
label-encoder  any other keys, up to 400,000: a LabelEncoder of that size opens in a tenth of a second, and it looks keys
               up faster than what follows.
perfect-hash   more than that: standard operators, and nothing to parse when the model opens.
indices        the caller finds the rows (`row_number_inputs`): the table's keys become 0, 1, 2, ..., which are direct.

A row number takes 4 bytes, so that a direct map never takes more than the 16 bytes a key of a LabelEncoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.graph import Node
from hugectr2onnx.ir.ops.key_maps import Direct, KeyMap, LabelEncoded
from hugectr2onnx.ir.ops.lookup import LocalizedEmbedding, Lookup, table_label
from hugectr2onnx.ir.ops.perfect_hash import PerfectHash
from hugectr2onnx.tables.key_index import MAX_INT32_ROWS, MAX_SMALL_RANGE, SPREAD, KeyColumn, column, is_dense
from hugectr2onnx.tables.perfect_hash import BUCKET, HashError, slot_count

AUTO = "auto"
"""Asks for the first strategy that suits the keys."""
ROW_NUMBER_BYTES = 4


@dataclass(frozen=True)
class Choice:
    """The strategy of the table of an embedding, and the reason for it."""

    table: str
    strategy: str
    why: str
    rows: int
    map_bytes: int
    """Bytes of the map from key to row, filler rows of the table included."""
    filler_rows: int = 0
    """Rows that stand in the table for numbers that are no keys."""


@dataclass(frozen=True)
class KeyedTable:
    """The table of a look-up as a strategy sees it: its keys, its rows, and the look-up that reads it."""

    label: str
    keys: KeyColumn
    op: Lookup
    width: int

    @staticmethod
    def of(node: Node) -> KeyedTable:
        keys, width = node.inputs[1].const, node.inputs[2].type.shape[1]
        assert isinstance(node.op, Lookup) and keys is not None and isinstance(width, int)
        return KeyedTable(table_label(node), column(keys), node.op, width)

    @property
    def begins_at_zero(self) -> bool:
        """Whether the range of direct keys must begin at 0."""
        return self.op.default != 0 and self.op.padding_key is None

    @property
    def row_bytes(self) -> int:
        return self.op.row_format.row_bytes(self.width)


class Strategy:
    """One way from key to row. A subclass states its facts and fills in `suits`, `forecast` and `build`."""

    name: ClassVar[str]
    memory_per_key: ClassVar[int]
    """Bytes of memory for each key while a model is compiled."""
    seconds_per_key: ClassVar[float]
    """Time for each key while a model is compiled, on one core."""
    is_in_model_file: ClassVar[bool] = False
    """Whether its keys lie in the model file itself, which protobuf limits to 2 GiB: an attribute has no external data."""

    def suits(self, table: KeyedTable) -> bool:
        """Tell whether "auto" takes it, once the strategies before it do not suit."""
        raise NotImplementedError

    def forecast(self, table: KeyedTable, wanted: str) -> Choice:
        """Tell what `build` would choose, without building anything."""
        return self.build(table, wanted)[1]

    def build(self, table: KeyedTable, wanted: str) -> tuple[KeyMap, Choice]:
        """Return the map that the look-up emits; `wanted` is what the user asked for. Raises UnsupportedError (`refusal`)."""
        raise NotImplementedError

    def memory_bytes(self, rows: int, map_bytes: int, filler_rows: int) -> int:
        """Memory for the keys while a model is compiled, whatever the width: rows go to the disk as they are read."""
        return self.memory_per_key * rows


class DirectStrategy(Strategy):
    """The key is the row, or the place of a row number."""

    name = Direct.strategy
    memory_per_key = 16
    seconds_per_key = 3e-8
    max_forced_spread = 64
    max_small_forced = 1 << 24
    max_forced_range = 1 << 32
    """Numbers in the range of keys up to which it can be forced: for each key, however few the keys are, and in all."""
    min_waste = 1 << 20
    """Bytes of filler rows that are never too many."""

    def suits(self, table: KeyedTable) -> bool:
        keys = table.keys
        # If negative keys are padding, a missing key below the lowest must not be taken for it: with a default vector the
        # range begins at 0.
        dense = is_dense(keys) if not table.begins_at_zero else keys.high < max(SPREAD * keys.count, MAX_SMALL_RANGE)
        return dense and keys.count > 0

    def build(self, table: KeyedTable, wanted: str) -> tuple[KeyMap, Choice]:
        keys = table.keys
        low = 0 if table.begins_at_zero or self._is_cheap_below(table) else keys.low
        span = keys.high + 1 - low
        if span > min(max(self.max_forced_spread * keys.count, self.max_small_forced), self.max_forced_range):
            raise self.refusal(table, low, span)
        ordered = self._is_cheap(table, span) and not isinstance(table.op, LocalizedEmbedding)
        fillers = span - keys.count if ordered else 0
        wasted = fillers * table.row_bytes if ordered else ROW_NUMBER_BYTES * span
        form = "rows in the order of the keys" if ordered else "a row number for each key"
        different = len(table.op.known(keys)[0]) if isinstance(table.op, LocalizedEmbedding) else keys.count
        why = f"{different:,} keys fill {different / max(span, 1):.0%} of the range {low} to {keys.high}: {form}"
        return Direct(low, keys.high, ordered), Choice(table.label, self.name, why, keys.count, wasted, fillers)

    def refusal(self, table: KeyedTable, low: int, span: int) -> UnsupportedError:
        keys = table.keys
        return UnsupportedError(
            f"the keys of {table.label} cannot be {Direct.strategy}: {keys.count:,} of them lie between {keys.low} and "
            f"{keys.high}, and a row number for each number from {low} on takes {ROW_NUMBER_BYTES * span:,} bytes; use "
            f"{PerfectHash.strategy}, or {LabelEncoded.strategy} for up to {LabelEncoderStrategy.max_keys:,} keys"
        )

    def memory_bytes(self, rows: int, map_bytes: int, filler_rows: int) -> int:
        return super().memory_bytes(rows, map_bytes, filler_rows) + (ROW_NUMBER_BYTES * filler_rows or map_bytes)

    def _is_cheap(self, table: KeyedTable, span: int) -> bool:
        """Tell whether filler rows take a quarter of the table at most, or no more than row numbers would."""
        count = table.keys.count
        wasted = (span - count) * table.row_bytes
        return wasted <= max(count * table.row_bytes // 4, ROW_NUMBER_BYTES * span, self.min_waste)

    def _is_cheap_below(self, table: KeyedTable) -> bool:
        """Tell whether rows for the numbers below the lowest key cost less than subtracting it at every look-up."""
        keys = table.keys
        return 0 <= keys.low * table.row_bytes <= max(keys.count * table.row_bytes // 4, self.min_waste)


class IndicesStrategy(DirectStrategy):
    """The caller finds the rows."""

    name = "indices"
    seconds_per_key = 3e-7

    def suits(self, table: KeyedTable) -> bool:
        return False

    def forecast(self, table: KeyedTable, wanted: str) -> Choice:
        return Choice(table.label, self.name, "asked for", table.keys.count, 0)

    def memory_bytes(self, rows: int, map_bytes: int, filler_rows: int) -> int:
        return self.memory_per_key * rows


class LabelEncoderStrategy(Strategy):
    """ai.onnx.ml's LabelEncoder: 16 bytes a key in the model file."""

    name = LabelEncoded.strategy
    memory_per_key = 100
    seconds_per_key = 1e-6
    is_in_model_file = True
    bytes_per_key = 16
    max_keys = 400_000
    """A LabelEncoder of that size opens in a tenth of a second."""

    def suits(self, table: KeyedTable) -> bool:
        return table.keys.count <= self.max_keys

    def build(self, table: KeyedTable, wanted: str) -> tuple[KeyMap, Choice]:
        return LabelEncoded(), self.choice(table, self._why(table.keys) if wanted == AUTO else "asked for")

    def choice(self, table: KeyedTable, why: str) -> Choice:
        return Choice(table.label, self.name, why, table.keys.count, self.bytes_per_key * table.keys.count)

    def _why(self, keys: KeyColumn) -> str:
        return f"{keys.count:,} keys spread from {keys.low} to {keys.high}" if keys.count else "no key can be asked for"


class PerfectHashStrategy(Strategy):
    """Standard operators, for any number of keys."""

    name = PerfectHash.strategy
    memory_per_key = 48
    seconds_per_key = 2.5e-6

    def suits(self, table: KeyedTable) -> bool:
        return True

    def forecast(self, table: KeyedTable, wanted: str) -> Choice:
        keys = table.keys
        return Choice(table.label, self.name, self._why(keys, wanted), keys.count, hash_bytes(keys.count))

    def build(self, table: KeyedTable, wanted: str) -> tuple[KeyMap, Choice]:
        keys = table.keys
        try:
            key_map = PerfectHash.build(*table.op.known(keys))
        except HashError as failure:
            if wanted == self.name:
                raise UnsupportedError(f"the keys of {table.label} resist a perfect hash: {failure}") from failure
            return LabelEncoded(), LABEL_ENCODER.choice(table, f"no perfect hash was found: {failure}")
        return key_map, Choice(table.label, self.name, self._why(keys, wanted), keys.count, key_map.nbytes)

    def _why(self, keys: KeyColumn, wanted: str) -> str:
        return "asked for" if wanted != AUTO else f"{keys.count:,} keys are more than a LabelEncoder opens quickly"


def hash_bytes(count: int) -> int:
    """Return bytes of a perfect hash: key and row number of each slot, a displacement for each bucket."""
    slot_bytes = 8 + (ROW_NUMBER_BYTES if count < MAX_INT32_ROWS else 8)
    buckets = 1 << max(1, (count // BUCKET).bit_length())
    return slot_count(count) * slot_bytes + 8 * buckets


DIRECT, LABEL_ENCODER, PERFECT_HASH, INDICES = (
    DirectStrategy(),
    LabelEncoderStrategy(),
    PerfectHashStrategy(),
    IndicesStrategy(),
)
STRATEGIES_BY_NAME: Mapping[str, Strategy] = {
    each.name: each for each in (DIRECT, LABEL_ENCODER, PERFECT_HASH, INDICES)
}
"""In the order in which "auto" asks whether one suits."""
STRATEGY_NAMES = (AUTO, *STRATEGIES_BY_NAME)


def strategy_for(table: KeyedTable, wanted: str) -> Strategy:
    """Return the strategy that was asked for by name, or the first that suits the keys."""
    if wanted != AUTO:
        return STRATEGIES_BY_NAME[wanted]
    return next(each for each in STRATEGIES_BY_NAME.values() if each.suits(table))
