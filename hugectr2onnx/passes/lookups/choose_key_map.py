"""Choose how the keys of each look-up find their rows, from the keys themselves.

direct         keys are dense: at most 4 numbers of their range for each key, or 65,536 in all. Where the rows of the missing
               numbers take at most a quarter of the table (or a row number for every number would take as much), the rows
               are put in the order of the keys and the key is the row: one gather. Otherwise a row number for each number
               lies between. Asked for by name, 64 numbers for each key are allowed, or 16 million in all (64 MB).
label-encoder  any other keys, up to 400,000: a LabelEncoder of that size opens in a tenth of a second, and it looks keys
               up faster than what follows.
perfect-hash   more than that: standard operators, and nothing to parse when the model opens.

A row number takes 4 bytes, so that a direct map never takes more than the 16 bytes a key of a LabelEncoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, get_args

from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.key_maps import Direct, KeyMap, LabelEncoded
from hugectr2onnx.ir.ops.lookup import LocalizedEmbedding, Lookup, SlotOffset, table_label
from hugectr2onnx.ir.ops.perfect_hash import PerfectHash
from hugectr2onnx.tables.key_index import MOST_INT32, KeyColumn, column, is_dense
from hugectr2onnx.tables.perfect_hash import BUCKET, HashFailed, slot_count

Strategy = Literal["auto", "direct", "label-encoder", "perfect-hash", "indices"]
STRATEGIES = get_args(Strategy)
MOST_ENCODED = 400_000
LEAST_WASTE = 1 << 20
LARGEST_FORCED = 1 << 32
FORCED_SPREAD = 64
SMALL_FORCED = 1 << 24
"""Numbers in the range of keys up to which `direct` can be forced: in all, for each key, and however few the keys are."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for the table of an embedding, and why."""

    table: str
    strategy: str
    why: str
    rows: int
    map_bytes: int
    """Bytes of the map from key to row, missing rows of the table among them."""
    filler_rows: int = 0
    """The missing rows: those that stand in the table for numbers that are no keys."""


def check_strategies(graph: Graph, keys: str | Mapping[str, str]) -> None:
    """Raise OptionError for an embedding top that does not exist."""
    check_names([top for node in graph if isinstance(node.op, Lookup) for top in node.sources], keys)


def check_names(tops: Sequence[str], keys: str | Mapping[str, str]) -> None:
    """Raise OptionError for an embedding top that is not among `tops`."""
    for top in keys if isinstance(keys, Mapping) else ():
        if top not in tops:
            near = get_close_matches(top, tops, n=1)
            raise OptionError(
                f"keys names {top[:60]!r}, which is no embedding's top "
                f"({near[0] + '?' if near else ', '.join(tops) or 'none'})",
                option="keys",
            )


def choose_key_map(
    graph: Graph, keys: str | Mapping[str, str] = "auto", *, automatic: bool = True
) -> tuple[Choice, ...]:
    """%e = embedding(%k, %keys, %vectors)  ->  %e = embedding(%k, %keys, %vectors) {key_map=direct[0, 299999]}

    slot_offset in front of a direct look-up becomes its `offsets`. Without `automatic` only look-ups for which `keys` names
    a strategy are changed. Raises UnsupportedError where a forced strategy cannot hold the keys.
    """
    return tuple(_choose_all(graph, keys, automatic))


def expect_key_maps(
    graph: Graph, keys: str | Mapping[str, str] = "auto", *, automatic: bool = True
) -> tuple[Choice, ...]:
    """What `choose_key_map` would choose, without building any map: the bytes of a perfect hash are then an estimate.

    The graph still has its keys where `indices` are asked for (`use_rows`), and the plain LabelEncoder of look-ups that stay
    as they are is a choice too.
    """
    nodes = [node for node in graph if isinstance(node.op, Lookup)]
    return tuple(_expect(node, table_label(node), wanted_strategy(node, keys), automatic) for node in nodes)


def _expect(node: Node, table: str, wanted: str, automatic: bool) -> Choice:
    known = _keys(node)
    if wanted == "indices":
        return Choice(table, wanted, "asked for", known.count, 0)
    if wanted == "auto" and not automatic:
        return _encoded(table, known, "the level's plain look-up")
    if _is_hashed(node, known, wanted):
        return Choice(table, PerfectHash.strategy, _why_hashed(known, wanted), known.count, _hash_bytes(known.count))
    return _choose(node, table, wanted)[1]


def _is_hashed(node: Node, known: KeyColumn, wanted: str) -> bool:
    too_many = wanted == "auto" and known.count > MOST_ENCODED
    return wanted == "perfect-hash" or (too_many and not _fits_directly(node, known))


def _hash_bytes(count: int) -> int:
    """Key and row number of each slot, a displacement for each bucket (`ir.perfect_hash`)."""
    return slot_count(count) * (12 if count < MOST_INT32 else 16) + 8 * (1 << max(1, (count // BUCKET).bit_length()))


def _why_hashed(known: KeyColumn, wanted: str) -> str:
    return "asked for" if wanted != "auto" else f"{known.count:,} keys are more than a LabelEncoder opens quickly"


def _choose_all(graph: Graph, keys: str | Mapping[str, str], automatic: bool) -> Iterator[Choice]:
    chosen: dict[tuple[object, ...], tuple[KeyMap, Choice]] = {}
    for node in [node for node in graph if isinstance(node.op, Lookup)]:
        table = table_label(node)
        wanted = wanted_strategy(node, keys)
        if wanted == "auto" and not automatic:
            continue
        assert isinstance(node.op, Lookup)
        # Look-ups of one table share its map, and with it one copy of the rows.
        kind = (node.inputs[1], wanted, node.op.default != 0, type(node.op))
        if kind not in chosen:
            chosen[kind] = _choose(node, table, wanted)
        key_map, choice = chosen[kind]
        _replace(graph, node, key_map)
        yield replace(choice, table=table)


def wanted_strategy(node: Node, keys: str | Mapping[str, str]) -> str:
    """What the caller wants for the table of a look-up."""
    if isinstance(keys, str):
        return keys
    return next((keys[top] for top in node.sources if top in keys), "auto")


def _keys(node: Node) -> KeyColumn:
    const = node.inputs[1].const
    assert const is not None
    return column(const)


def _choose(node: Node, table: str, wanted: str) -> tuple[KeyMap, Choice]:
    known = _keys(node)
    rows = known.count
    if wanted in ("direct", "indices") or (wanted == "auto" and _fits_directly(node, known)):
        return _direct(node, table, known, wanted)
    if wanted == "label-encoder" or (wanted == "auto" and rows <= MOST_ENCODED):
        return LabelEncoded(), _encoded(table, known, _why_encoded(known) if wanted == "auto" else "asked for")
    return _hashed(node, table, known, wanted)


def _encoded(table: str, known: KeyColumn, why: str) -> Choice:
    return Choice(table, LabelEncoded.strategy, why, known.count, 16 * known.count)


def _why_encoded(known: KeyColumn) -> str:
    if not known.count:
        return "no key can be asked for"
    return f"{known.count:,} keys spread from {known.low} to {known.high}"


def _hashed(node: Node, table: str, known: KeyColumn, wanted: str) -> tuple[KeyMap, Choice]:
    try:
        assert isinstance(node.op, Lookup)
        key_map = PerfectHash.build(*node.op.known(known))
    except HashFailed as failure:
        if wanted == "perfect-hash":
            raise UnsupportedError(f"the keys of {table} resist a perfect hash: {failure}") from failure
        return LabelEncoded(), _encoded(table, known, f"no perfect hash was found: {failure}")
    why = _why_hashed(known, wanted)
    return key_map, Choice(table, PerfectHash.strategy, why, known.count, key_map.nbytes)


def _fits_directly(node: Node, known: KeyColumn) -> bool:
    assert isinstance(node.op, Lookup)
    # A missing key below the lowest must not be taken for padding: with a default vector the range begins at 0.
    dense = is_dense(known) if node.op.default == 0 else known.high < max(4 * known.count, 1 << 16)
    return dense and known.count > 0


def _direct(node: Node, table: str, known: KeyColumn, wanted: str) -> tuple[KeyMap, Choice]:
    assert isinstance(node.op, Lookup)
    row_bytes = node.op.row_format.row_bytes(_width(node))
    low = 0 if node.op.default != 0 or _is_cheap_below(known, row_bytes) else known.low
    span = known.high + 1 - low
    if span > min(max(FORCED_SPREAD * known.count, SMALL_FORCED), LARGEST_FORCED):
        raise UnsupportedError(
            f"the keys of {table} cannot be direct: {known.count:,} of them lie between {known.low} and {known.high}, and a "
            f"row number for each number from {low} on takes {4 * span:,} bytes; use perfect-hash, or label-encoder for up "
            f"to {MOST_ENCODED:,} keys"
        )
    ordered = _is_cheap(span, known.count, row_bytes) and not isinstance(node.op, LocalizedEmbedding)
    fillers = span - known.count if ordered else 0
    wasted = fillers * row_bytes if ordered else 4 * span
    form = "rows in the order of the keys" if ordered else "a row number for each key"
    different = len(node.op.known(known)[0]) if isinstance(node.op, LocalizedEmbedding) else known.count
    why = f"{different:,} keys fill {different / max(span, 1):.0%} of the range {low} to {known.high}: {form}"
    strategy = "indices" if wanted == "indices" else Direct.strategy
    return Direct(low, known.high, ordered), Choice(table, strategy, why, known.count, wasted, fillers)


def _is_cheap(span: int, count: int, row_bytes: int) -> bool:
    """Whether rows for missing numbers take a quarter of the table at most, or no more than row numbers would."""
    wasted = (span - count) * row_bytes
    return wasted <= max(count * row_bytes // 4, 4 * span, LEAST_WASTE)


def _is_cheap_below(known: KeyColumn, row_bytes: int) -> bool:
    """Whether rows for the numbers below the lowest key cost less than subtracting it at every look-up."""
    return known.low * row_bytes <= max(known.count * row_bytes // 4, LEAST_WASTE)


def _width(node: Node) -> int:
    width = node.inputs[2].type.shape[1]
    assert isinstance(width, int)
    return width


def _replace(graph: Graph, node: Node, key_map: KeyMap) -> None:
    assert isinstance(node.op, Lookup)
    keys, offsets = _folded(node.inputs[0], node.op, key_map)
    with graph.building(*node.sources):
        chosen = graph.add(replace(node.op, key_map=key_map, offsets=offsets), keys, *node.inputs[1:])
    graph.replace(node.results[0], chosen)
    graph.erase_dead(node)


def _folded(keys: Value, op: Lookup, key_map: KeyMap) -> tuple[Value, tuple[int, ...]]:
    """The keys before their slot_offset and its offsets, where the map adds them on the way."""
    foldable = isinstance(key_map, Direct) and key_map.low == 0 and op.default == 0 and not op.offsets
    if foldable and isinstance(keys.op, SlotOffset):
        return keys.inputs[0], keys.op.offsets
    return keys, op.offsets


__all__ = ["Choice", "Strategy", "check_strategies", "choose_key_map", "expect_key_maps", "wanted_strategy"]
