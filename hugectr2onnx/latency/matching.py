"""Feeding another converter's file: its inputs are found among ours by name and shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency.bound_calls import Feed

_FED_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
          "tensor(int64)": np.int64, "tensor(int32)": np.int32}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """One input of the other file; a dimension that is not an int is free."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it takes no numbers at all: the dense input [N, 0] of NVIDIA's converter for a model without features."""
        return 0 in self.shape

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


def wanted_inputs(session: Any, file: str) -> list[Wanted]:
    """Return the inputs of a session; raises FeedError for a type that no HugeCTR model has."""
    entries = session.get_inputs()
    strange = [f"{entry.name} {entry.type}" for entry in entries if entry.type not in _FED_TYPES]
    if strange:
        raise FeedError(f"{file} has inputs that no HugeCTR model feeds: {', '.join(strange)}")
    return [
        Wanted(
            e.name, np.dtype(_FED_TYPES[e.type]), tuple(d if isinstance(d, int) and d >= 0 else None for d in e.shape)
        )
        for e in entries
    ]


def match(wanted: Sequence[Wanted], feed: Feed, file: str) -> dict[str, str]:
    """For each wanted input, which of ours it gets: the one of its name, else the only one left of its shape.

    Raises FeedError that lists both sides where an input stays without one.
    """
    named = {each.name: each.name for each in wanted if each.name in feed and _fits(each, feed[each.name])}
    found = dict(named)
    for each in wanted:
        if each.name in found or each.is_empty:
            continue
        left = [name for name, array in feed.items() if name not in found.values() and _same_shape(each, array)]
        if len(left) != 1:
            raise FeedError(_refusal(each, wanted, feed, left, file))
        found[each.name] = left[0]
    return found


def adapt(wanted: Sequence[Wanted], matched: dict[str, str], feed: Feed) -> dict[str, Array]:
    """Return a feed of the other file: our arrays under its names, in its types and shapes."""
    rows = max((len(array) for array in feed.values()), default=1)
    return {
        each.name: _empty(each, rows) if each.is_empty else _adapted(each, feed[matched[each.name]]) for each in wanted
    }


def _empty(wanted: Wanted, rows: int) -> Array:
    """No columns for each sample."""
    return np.zeros([rows if dim is None else dim for dim in wanted.shape], wanted.dtype)


def _adapted(wanted: Wanted, array: Array) -> Array:
    limits = np.iinfo(wanted.dtype) if wanted.dtype.kind == "i" else None
    if limits and array.size and (array.min() < limits.min or array.max() > limits.max):
        raise FeedError(f"the keys of {wanted.name} do not fit {wanted.dtype.name}")
    return np.ascontiguousarray(array.astype(wanted.dtype).reshape(_target(wanted, array)))


def _target(wanted: Wanted, array: Array) -> tuple[int, ...]:
    """Our own shape where it fits, else the same numbers of each sample in the shape that the other file has."""
    if _same_shape(wanted, array):
        return array.shape
    return (len(array), *(dim if dim is not None else -1 for dim in wanted.shape[1:]))


def _fits(wanted: Wanted, array: Array) -> bool:
    if wanted.dtype.kind != array.dtype.kind:
        return False
    return _same_shape(wanted, array) or _same_elements(wanted, array)


def _same_shape(wanted: Wanted, array: Array) -> bool:
    pairs = zip(wanted.shape, array.shape, strict=False)
    kind = wanted.dtype.kind == array.dtype.kind
    return kind and len(wanted.shape) == array.ndim and all(dim in (None, size) for dim, size in pairs)


def _same_elements(wanted: Wanted, array: Array) -> bool:
    """Tell whether a sample has as many numbers there as here; at most one dimension of a sample may be free."""
    rest = wanted.shape[1:]
    known = math.prod(dim for dim in rest if dim is not None)
    mine = math.prod(array.shape[1:])
    batch = bool(wanted.shape) and wanted.shape[0] in (None, len(array))
    free = rest.count(None)
    return batch and (known == mine if free == 0 else free == 1 and known > 0 and mine % known == 0)


def _refusal(each: Wanted, wanted: Sequence[Wanted], feed: Feed, left: list[str], file: str) -> str:
    ours = ", ".join(f"{name} {array.dtype.name}{list(array.shape)}" for name, array in feed.items())
    shared = f"several of the inputs there are have its shape ({', '.join(left)})"
    why = shared if left else "none of the inputs there are has its name or shape"
    return (
        f"{file}: input {each} cannot be fed: {why}. Its inputs are {', '.join(map(str, wanted))}; there are "
        f"{ours}. Is it a file of the same model, with HugeCTR's names for its inputs?"
    )
