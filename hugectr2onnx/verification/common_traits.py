"""Find what the samples that differ have in common, and the others have not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.key_index import column
from hugectr2onnx.verification.traced_lookups import inputs_of, source_of_keys, value_for

MIN_SHARE = 0.9
"""Of the samples that differ that must have a trait, and of those with the trait that must differ."""
MAX_TRAITS = 3
_MAX_COMMON_KEYS = 50
"""Of a slot that are tried, the most frequent first."""


def common_traits(graph: Graph, feeds: Mapping[str, Array], differs: Array) -> list[str]:
    """Sentences about samples that differ, given as a boolean for each; none for a single one, which has many traits."""
    count = int(differs.sum())
    if count < 2 or count == len(differs):
        return []
    found = []
    for trait, has in _traits(graph, feeds):
        both = int((has & differs).sum())
        if both >= MIN_SHARE * count and both >= MIN_SHARE * int(has.sum()):
            found.append((-both, int(has.sum()), trait))
    return [
        f"{-both if -both < count else 'all'} of the {count} samples that differ, and {total + both} of the others, {trait}"
        for both, total, trait in sorted(found)[:MAX_TRAITS]
    ]


def _traits(graph: Graph, feeds: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for node in graph:
        if isinstance(node.op, Lookup):
            yield from _key_traits(node, feeds)
    for name, array in feeds.items():
        if array.dtype.kind == "f" and array.ndim >= 2:
            yield from _number_traits(name, array.reshape(len(array), -1))


def _key_traits(node: Node, feeds: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    source = source_of_keys(node.inputs[0])
    if source is None or any(name not in feeds for name in inputs_of(source)):
        return
    given = {value: feeds[value.node.name] for value in node.graph.inputs if value.node.name in feeds}
    padded = value_for(source, given)
    keys = value_for(node.inputs[0], {source: padded})
    if keys.ndim != 3 or len(keys) != len(padded):
        return
    known = node.inputs[1].const
    assert known is not None
    table = table_label(node)
    unknown = _booleans((column(known).index.rows(keys) < 0) & (keys >= 0))
    empty = _booleans((keys < 0).all(axis=2))
    yield f"have a key that the table of {table} lacks", _any(unknown)
    yield f"have an empty slot of {table}", _any(empty)
    for slot in range(keys.shape[1]):
        yield f"have a key that the table of {table} lacks in slot {slot}", _any(unknown[:, slot])
        yield f"have an empty slot {slot} of {table}", _any(empty[:, slot])
        for key, has in _frequent(keys[:, slot]):
            yield f"have the key {key} in slot {slot} of {table}", _any(has)


def _frequent(keys: Array) -> Iterator[tuple[int, Array]]:
    """Yield the keys that most samples have, each with who has it."""
    values, counts = np.unique(keys[keys >= 0], return_counts=True)
    for key in values[np.argsort(-counts)[:_MAX_COMMON_KEYS]].tolist():
        yield key, _any(keys == key)


def _number_traits(name: str, numbers: Array) -> Iterator[tuple[str, Array]]:
    yield f"have a number in {name} that is not finite", _any(~np.isfinite(numbers))
    yield f"have a negative number in {name}", _any(numbers < 0)
    for at in range(numbers.shape[1]):
        values: Array = numbers[:, at]
        yield f"have a number other than 0 in column {at} of {name}", _any(values != 0)
        yield f"have a negative number in column {at} of {name}", _any(values < 0)
        yield f"have a number above 1 in column {at} of {name}", _any(values > 1)
        yield f"have a number above 100 in column {at} of {name}", _any(values > 100)


def _any(has: Any) -> Array:
    """Tell whether a sample has it anywhere."""
    each = _booleans(has)
    return _booleans(each.reshape(len(each), -1).any(axis=1))


def _booleans(found: Any) -> Array:
    return np.asarray(found, np.bool_)
