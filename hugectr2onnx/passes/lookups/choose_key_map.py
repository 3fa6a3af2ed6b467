"""Choose how the keys of each look-up find their rows, from the keys themselves (`strategies` says which suits when)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from hugectr2onnx.errors import OptionError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.key_maps import Direct, KeyMap
from hugectr2onnx.ir.ops.lookup import Lookup, SlotOffset
from hugectr2onnx.passes.lookups.strategies import AUTO, LABEL_ENCODER, Choice, KeyedTable, strategy_for


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
    """Tell what `choose_key_map` would choose, without building any map: the bytes of a perfect hash are then an estimate.

    The graph still has its keys where `indices` are asked for (`row_number_inputs`), and the plain LabelEncoder of
    look-ups that stay as they are is a choice too.
    """
    return tuple(_expect(node, wanted_strategy(node, keys), automatic) for node in graph if isinstance(node.op, Lookup))


def _expect(node: Node, wanted: str, automatic: bool) -> Choice:
    table = KeyedTable.of(node)
    if wanted == AUTO and not automatic:
        return LABEL_ENCODER.choice(table, "the level's plain look-up")
    return strategy_for(table, wanted).forecast(table, wanted)


def _choose_all(graph: Graph, keys: str | Mapping[str, str], automatic: bool) -> Iterator[Choice]:
    chosen: dict[tuple[object, ...], tuple[KeyMap, Choice]] = {}
    for node in [node for node in graph if isinstance(node.op, Lookup)]:
        wanted = wanted_strategy(node, keys)
        if wanted == AUTO and not automatic:
            continue
        table = KeyedTable.of(node)
        # Look-ups of one table share its map, and with it one copy of the rows.
        kind = (node.inputs[1], wanted, table.op.default != 0, type(table.op))
        if kind not in chosen:
            chosen[kind] = strategy_for(table, wanted).build(table, wanted)
        key_map, choice = chosen[kind]
        _replace(graph, node, key_map)
        yield replace(choice, table=table.label)


def wanted_strategy(node: Node, keys: str | Mapping[str, str]) -> str:
    """Tell what the caller wants for the table of a look-up."""
    if isinstance(keys, str):
        return keys
    return next((keys[top] for top in node.sources if top in keys), AUTO)


def _replace(graph: Graph, node: Node, key_map: KeyMap) -> None:
    assert isinstance(node.op, Lookup)
    keys, offsets = _folded(node.inputs[0], node.op, key_map)
    with graph.building(*node.sources):
        chosen = graph.add(replace(node.op, key_map=key_map, offsets=offsets), keys, *node.inputs[1:])
    graph.replace(node.results[0], chosen)
    graph.erase_dead(node)


def _folded(keys: Value, op: Lookup, key_map: KeyMap) -> tuple[Value, tuple[int, ...]]:
    """Return the keys before their slot_offset and its offsets, where the map adds them on the way."""
    foldable = isinstance(key_map, Direct) and key_map.low == 0 and op.default == 0 and not op.offsets
    if foldable and isinstance(keys.op, SlotOffset):
        return keys.inputs[0], keys.op.offsets
    return keys, op.offsets
