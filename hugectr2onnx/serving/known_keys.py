"""Keys that a saved model has: for requests that warm a server up, so that they read rows as real ones do."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.onnx_file import read_model
from hugectr2onnx.datasets.schema import schema_of
from hugectr2onnx.frontend.embeddings.interface import ALL_KEYS, ALL_OFFSETS, DENSE
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.tensor_forms import TensorForm

MAX_KEYS = 4096


def known_keys(path: str | os.PathLike[str]) -> Array:
    """int64 [K]: some keys of the model's key maps; where these are arithmetic, numbers from 0, most of which are keys."""
    model = read_model(path)
    found = [keys for node in model.graph.node for keys in _encoded(node)]
    every = np.concatenate(found) if found else np.arange(_fewest_rows(model))
    known = every[every >= 0]
    return known[:: max(1, len(known) // MAX_KEYS)][:MAX_KEYS] if len(known) else np.zeros(1, np.int64)


def warm_up_feeds(path: str | os.PathLike[str], forms: Sequence[TensorForm], rows: int = 1) -> dict[str, Array]:
    """Return inputs that fit the model: one key of its own for each slot, zeros elsewhere."""
    keys = known_keys(path)
    lengths = {form.name for form in forms if len(form.shape) == 1}
    made = _vectors(path, keys, rows) if lengths else {}
    return {form.name: made[form.name] if form.name in made else _padded(form, keys, rows) for form in forms}


def _padded(form: TensorForm, keys: Array, rows: int) -> Array:
    first, *others = form.shape
    shape = (rows if first == -1 else first, *(1 if dim == -1 else dim for dim in others))
    return np.resize(keys, shape) if form.datatype == "INT64" else np.zeros(shape, form.dtype)


def _vectors(path: str | os.PathLike[str], keys: Array, rows: int) -> dict[str, Array]:
    """Return the inputs of the interfaces csr and hugectr."""
    schema = schema_of(path)
    slots = {each.name: each.slots * rows for each in schema.sparse}
    made = {name: np.resize(keys, count) for name, count in slots.items()}
    made |= {f"{name}{OFFSETS}": np.arange(count + 1) for name, count in slots.items()}
    made[ALL_KEYS] = np.resize(keys, sum(slots.values()))
    made[ALL_OFFSETS] = np.concatenate([np.arange(count + 1, dtype=np.int32) for count in slots.values()])
    made[DENSE] = np.zeros(rows * schema.dense_dim, np.float32)
    return made


def _encoded(node: onnx.NodeProto) -> list[Array]:
    if node.op_type != "LabelEncoder":
        return []
    found = [numpy_helper.to_array(each.t) for each in node.attribute if each.name == "keys_tensor"]
    found += [np.asarray(each.ints, np.int64) for each in node.attribute if each.name == "keys_int64s"]
    return [each.astype(np.int64) for each in found if each.dtype.kind == "i"]


def _fewest_rows(model: onnx.ModelProto) -> int:
    rows = {tensor.name: int(tensor.dims[0]) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    tables = [rows[node.input[0]] for node in model.graph.node if node.op_type == "Gather" and node.input[0] in rows]
    return max(1, min([*tables, MAX_KEYS]))
