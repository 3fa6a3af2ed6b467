"""Check keys in compressed sparse rows that come from outside: onnxruntime would read past slots, or answer from other ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.given_feeds import check_offsets
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.requests import PadKeys, SplitSamples, SplitTables
from hugectr2onnx.ir.ops.segments import PoolSegments
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array

Feeds = Mapping[str, Array]


@dataclass(frozen=True)
class RequestCheck:
    """Checks some inputs of a request and tells how many samples they hold; `input` is the one to name."""

    input: str
    samples: Callable[[Feeds], int]


def request_checks(graph: Graph) -> tuple[RequestCheck, ...]:
    """Tell what inputs must satisfy beyond their types; none for a model whose keys are padded."""
    found: dict[str, RequestCheck] = {}
    for node in graph:
        op, operands = node.op, node.inputs
        if not isinstance(op, PadKeys | PoolSegments | SplitTables | SplitSamples):
            continue
        names = [name for operand in operands if (name := _input_behind(operand)) is not None]
        if isinstance(op, SplitSamples):
            found[names[0]] = RequestCheck(names[0], _samples_of_values(names[0], op.width))
        elif isinstance(op, SplitTables):
            found[names[1]] = RequestCheck(names[1], _samples_of_tables(names[0], names[1], op.slots))
        elif isinstance(operands[-1].op, Input):
            keys, offsets = names[-2:]
            found[offsets] = RequestCheck(offsets, _samples_of_slots(keys, offsets, op.slots))
    return tuple(found.values())


def check_request(checks: tuple[RequestCheck, ...], feeds: Feeds) -> None:
    """Raise FeedError for offsets that are none, and for inputs of different numbers of samples."""
    if not checks:
        return
    samples = {name: len(array) for name, array in feeds.items() if array.ndim > 1}
    samples.update((check.input, check.samples(feeds)) for check in checks)
    first, *others = samples
    for other in others:
        if samples[other] != samples[first]:
            raise FeedError(
                f"input {first} has {samples[first]} samples and input {other} has {samples[other]}; give all inputs of one "
                "call the same number"
            )


def _input_behind(value: Value) -> str | None:
    """Return the input that a value is, or is another view of."""
    while not isinstance(value.op, Input):
        if len(value.inputs) != 1:
            return None
        value = value.inputs[0]
    return value.node.name


def _samples_of_values(name: str, width: int) -> Callable[[Feeds], int]:
    def samples(feeds: Feeds) -> int:
        if len(feeds[name]) % width:
            raise FeedError(f"input {name} has {len(feeds[name])} numbers, which is no multiple of {width} a sample")
        return len(feeds[name]) // width

    return samples


def _samples_of_slots(keys: str, offsets: str, slots: int) -> Callable[[Feeds], int]:
    def samples(feeds: Feeds) -> int:
        check_offsets(offsets, feeds[offsets], len(feeds[keys]), keys)
        count = len(feeds[offsets]) - 1
        if count % slots:
            raise FeedError(f"input {offsets} has {count + 1} entries; give {slots} for each sample and one more")
        return count // slots

    return samples


def _samples_of_tables(keys: str, offsets: str, slots: tuple[int, ...]) -> Callable[[Feeds], int]:
    def samples(feeds: Feeds) -> int:
        given = feeds[offsets].astype(np.int64)
        count, rest = divmod(len(given) - len(slots), sum(slots))
        if rest or count < 0:
            form = " + ".join(f"(N * {each} + 1)" for each in slots)
            raise FeedError(f"input {offsets} has {len(given)} entries; give {form} for N samples")
        bounds = np.cumsum([0, *(count * each + 1 for each in slots)])
        parts = [given[start:end] for start, end in pairwise(bounds)]
        for part in parts:
            check_offsets(offsets, part, int(part[-1]), keys)
        check_offsets(offsets, np.array([0, sum(int(part[-1]) for part in parts)]), len(feeds[keys]), keys)
        return count

    return samples
