"""The inputs on which two sides are compared: the caller's, those of a recording, or random ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.comparison.sides import FileSide, ModelSide, Recording, Side
from hugectr2onnx.datasets.recorded_predictions import load_arrays
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.feeds import PADDING, feeds_for, smallest_batch
from hugectr2onnx.ir.given_feeds import InputForm, normalize_feeds
from hugectr2onnx.ir.given_requests import Feeds
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.types import Array

if TYPE_CHECKING:
    import onnx

DRAWN_ROWS = 64
"""Samples of random inputs."""
MAX_COMPARED_ROWS = 1024
"""Samples at once: the float64 values of all layers are in memory together."""
DEFAULT_KEYS = 1000


@dataclass(frozen=True, eq=False)
class Batches:
    """Inputs in batches; `name` says where they come from."""

    name: str
    batches: Iterable[Feeds]


def choose_feeds(a: Side, b: Side, data: Any, rows: int = DRAWN_ROWS, seed: int = 0) -> Batches:
    """Return the inputs for both sides. Raises FeedError where a recording has none and none are given."""
    sides = (a, b)
    if data is not None:
        return _given(sides, data)
    recordings = [side for side in sides if isinstance(side, Recording)]
    needed = _inputs(sides)
    for recording in recordings:
        if needed.keys() <= recording.arrays.keys():
            return Batches(recording.name, [_normalized(recording.name, needed, recording.arrays)])
    if recordings and needed:
        missing = ", ".join(name for name in needed if name not in recordings[0].arrays)
        raise FeedError(
            f"{recordings[0].name}: lacks the inputs {missing}: record them too, or give them as an .npz file (--data)"
        )
    return Batches("random inputs", [_random(sides, rows, seed)])


def _inputs(sides: Sequence[Side]) -> dict[str, InputForm]:
    """Return the inputs that a side needs; none where both are recordings."""
    found: dict[str, InputForm] = {}
    for side in sides:
        if isinstance(side, ModelSide):
            found |= {v.node.name: InputForm.of_type(v.type) for v in side.source.loaded.graph.inputs}
    for side in sides:
        if isinstance(side, FileSide):
            entries = {each.name: each for each in side.artifact.skeleton.graph.input}
            found |= {name: form_of(entries[name]) for name in side.inputs if name not in found}
    return found


def form_of(entry: onnx.ValueInfoProto) -> InputForm:
    """Tell what an input of a file takes."""
    from onnx import helper

    tensor = entry.type.tensor_type
    dims = tensor.shape.dim
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in dims)
    return InputForm(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape)


def _given(sides: Sequence[Side], data: Any) -> Batches:
    needed = _inputs(sides)
    if isinstance(data, Mapping):
        return Batches("the given inputs", _pieces(_normalized("the data", needed, data), sides))
    name = os.fspath(data)
    if name.endswith(".npz"):
        arrays = load_arrays(name)
        if needed.keys() <= arrays.keys():
            return Batches(name, _pieces(_normalized(name, needed, arrays), sides))
    file = next((side for side in sides if isinstance(side, FileSide)), None)
    if file is None or any(isinstance(side, Recording) for side in sides):
        raise FeedError(f"{name}: give the inputs as an .npz file by name: {', '.join(needed) or 'none are needed'}")
    return Batches(name, _of_dataset(name, file))


def _of_dataset(name: str, file: FileSide) -> Iterator[Feeds]:
    from hugectr2onnx.datasets.dataset import open_dataset

    for inputs, _ in open_dataset(name, file, batch_size=MAX_COMPARED_ROWS):
        yield inputs


def _normalized(name: str, forms: Mapping[str, InputForm], arrays: Mapping[str, Any]) -> dict[str, Array]:
    missing = [each for each in forms if each not in arrays]
    if missing:
        raise FeedError(f"{name}: lacks the inputs {', '.join(missing)}")
    try:
        return normalize_feeds(forms, {each: arrays[each] for each in forms})
    except FeedError as error:
        raise FeedError(f"{name}: {error}") from None


def _pieces(feeds: Feeds, sides: Sequence[Side]) -> list[Feeds]:
    """Return batches that fit into memory; a recording was made of all samples at once."""
    lengths = {len(array) for array in feeds.values()}
    rows = max(lengths, default=0)
    if rows <= MAX_COMPARED_ROWS or len(lengths) > 1 or any(isinstance(side, Recording) for side in sides):
        return [feeds]
    starts = range(0, rows, MAX_COMPARED_ROWS)
    return [{name: array[start : start + MAX_COMPARED_ROWS] for name, array in feeds.items()} for start in starts]


# Random inputs


def _random(sides: Sequence[Side], rows: int, seed: int) -> Feeds:
    graphs = [side.source.loaded.graph for side in sides if isinstance(side, ModelSide)]
    files = [side for side in sides if isinstance(side, FileSide)]
    if graphs:
        feeds = random_feeds(graphs[0], rows, seed, only_known=any(not side.is_ours for side in files))
        return _as_wide(feeds, files)
    return random_feeds_of_file(files[0].artifact.skeleton, rows, seed) if files else {}


def random_feeds(graph: Graph, rows: int, seed: int = 0, *, only_known: bool = False) -> dict[str, Array]:
    """Return random inputs of a graph."""
    unit = smallest_batch(graph)
    return feeds_for(graph, unit * max(1, -(-rows // unit)), seed, only_known=only_known)


def _as_wide(feeds: dict[str, Array], files: Sequence[FileSide]) -> dict[str, Array]:
    """Return keys in the width that a file fixes, cut or padded: ours take any, those of other converters the declared one."""
    for side in files:
        for entry in side.artifact.skeleton.graph.input:
            width = form_of(entry).shape[-1:]
            keys = feeds.get(entry.name)
            if keys is not None and keys.dtype.kind == "i" and width and isinstance(width[0], int):
                padding = [(0, 0)] * (keys.ndim - 1) + [(0, max(0, width[0] - keys.shape[-1]))]
                feeds[entry.name] = np.pad(keys, padding, constant_values=PADDING)[..., : width[0]]
    return feeds


def random_feeds_of_file(model: onnx.ModelProto, rows: int, seed: int = 0) -> dict[str, Array]:
    """Return random inputs of an ONNX file: normal numbers, and keys that its LabelEncoders know."""
    generator = np.random.default_rng(seed)
    keys, constants = _known_keys(model), {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for entry in model.graph.input:
        if entry.name in constants:
            continue
        form = form_of(entry)
        shape = tuple(
            dim if isinstance(dim, int) and dim > 0 else rows if axis == 0 else 1 for axis, dim in enumerate(form.shape)
        )
        if form.dtype.kind == "i":
            feeds[entry.name] = generator.choice(keys, shape).astype(form.dtype)
        else:
            feeds[entry.name] = generator.normal(0, 1, shape).astype(form.dtype)
    return feeds


def _known_keys(model: onnx.ModelProto) -> Array:
    from onnx import numpy_helper

    attributes = [each for node in model.graph.node if node.op_type == "LabelEncoder" for each in node.attribute]
    found = [numpy_helper.to_array(each.t).astype(np.int64) for each in attributes if each.name == "keys_tensor"]
    found += [np.asarray(each.ints, np.int64) for each in attributes if each.name == "keys_int64s"]
    return np.concatenate(found) if found else np.arange(_fewest_rows(model))


def _fewest_rows(model: onnx.ModelProto) -> int:
    """Return rows that every table has: a key below finds one in each that is looked up directly."""
    rows = {tensor.name: int(tensor.dims[0]) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    tables = [rows[node.input[0]] for node in model.graph.node if node.op_type == "Gather" and node.input[0] in rows]
    return min([*tables, DEFAULT_KEYS])
