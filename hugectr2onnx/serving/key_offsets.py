"""Check keys and offsets that clients send: onnxruntime would read past slots, or answer from other ones."""

from __future__ import annotations

from collections.abc import Mapping

from hugectr2onnx.datasets.schema import KeyInput, Schema
from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.embeddings.interface import ALL_KEYS, ALL_OFFSETS, DENSE
from hugectr2onnx.ir.given_feeds import OFFSETS, check_offsets
from hugectr2onnx.ir.types import Array


def check_samples(schema: Schema, arrays: Mapping[str, Array]) -> None:
    """Raise FeedError unless offsets are right and all inputs of one request hold the same number of samples."""
    if ALL_OFFSETS in arrays:
        _check_shared(schema, arrays)
    else:
        _check_each(schema, arrays)


def _check_each(schema: Schema, arrays: Mapping[str, Array]) -> None:
    """Check keys and offsets of each sparse top, for the interface csr."""
    samples = {name: len(array) for name, array in arrays.items() if array.ndim > 1}
    for sparse in schema.sparse:
        name = f"{sparse.name}{OFFSETS}"
        if name in arrays:
            check_offsets(name, arrays[name], len(arrays[sparse.name]), sparse.name)
            samples[name] = _samples(name, len(arrays[name]) - 1, sparse.slots, "offsets after the first")
    _check_equal(samples)


def _check_shared(schema: Schema, arrays: Mapping[str, Array]) -> None:
    """Check the offsets of all sparse tops one after the other, from 0 on for each, for the interface hugectr."""
    fed = [each for each in schema.sparse if each.is_fed] or list(schema.sparse)
    offsets = arrays[ALL_OFFSETS]
    count = _samples(ALL_OFFSETS, len(offsets) - len(fed), sum(each.slots for each in fed), "offsets after the first")
    samples = {ALL_OFFSETS: count}
    if DENSE in arrays and schema.dense_dim:
        samples[DENSE] = _samples(DENSE, len(arrays[DENSE]), schema.dense_dim, "values")
    _check_equal(samples)
    keys = sum(_check_stretch(offsets, fed, place, count) for place in range(len(fed)))
    if keys != len(arrays[ALL_KEYS]):
        raise FeedError(f"input {ALL_OFFSETS} speaks of {keys} keys and {ALL_KEYS} has {len(arrays[ALL_KEYS])}")


def _check_stretch(offsets: Array, fed: list[KeyInput], place: int, samples: int) -> int:
    """Return the number of keys of one sparse top."""
    start = sum(samples * each.slots + 1 for each in fed[:place])
    own = offsets[start : start + samples * fed[place].slots + 1]
    check_offsets(f"{ALL_OFFSETS} (part of {fed[place].name})", own, int(own[-1]), ALL_KEYS)
    return int(own[-1])


def _samples(name: str, entries: int, each: int, what: str) -> int:
    if entries < 0 or entries % each:
        raise FeedError(f"input {name} has {entries} {what}; a sample has {each}")
    return entries // each


def _check_equal(samples: Mapping[str, int]) -> None:
    if len(set(samples.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in samples.items())
        raise FeedError(f"the inputs have different numbers of samples: {listed}")
