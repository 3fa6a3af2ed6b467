"""Whole HugeCTR models in plain numpy, float64: a second reading of the specification that shares no code with the compiler.

It reads the JSON and the binaries by itself and walks the layers with literal formulas (layers 3). It is slow and trusts its
input: a test uses it, nobody else should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
Layer = Mapping[str, Any]


class Model:
    """A graph JSON (as a dict) and its files; `predict` gives the outputs by label, or by top without a loss."""

    def __init__(self, graph: Mapping[str, Any], dense: Path, sparse: Sequence[Path], ntp: Sequence[Any] = ()):
        self.layers = graph["layers"]
        self.dense = np.fromfile(dense, "<f4").astype(np.float64)
        self.sparse = sparse
        self.ntp = ntp

    def predict(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.cursor, self.norms = 0, 0
        values = {name: np.asarray(array, np.float64) for name, array in feeds.items() if array.dtype.kind == "f"}
        tables = [layer for layer in self.layers if "sparse_embedding_hparam" in layer]
        for layer, folder in zip(tables, self.sparse, strict=True):
            values[layer["top"]] = embed(layer, folder, feeds[layer["bottom"]])
        outputs: dict[str, Array] = {}
        for layer in self.layers[1 + len(tables) :]:
            bottoms, tops = listed(layer["bottom"]), listed(layer["top"])
            if layer["type"].endswith("Loss"):
                outputs[bottoms[1]] = LOSSES[layer["type"]](values[bottoms[0]])
            elif bottoms[0] in values:
                results = LAYERS[layer["type"]](self, layer, *(values[b] for b in bottoms if b in values))
                values.update(zip(tops, results if isinstance(results, list) else [results], strict=False))
        consumed = {bottom for layer in self.layers[1:] for bottom in listed(layer["bottom"])}
        assert self.cursor == len(self.dense)
        return outputs or {top: array for top, array in values.items() if top not in consumed and top not in feeds}

    def take(self, *shape: int) -> Array:
        start, self.cursor = self.cursor, self.cursor + int(np.prod(shape))
        return self.dense[start : self.cursor].reshape(shape)


def listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def embed(layer: Layer, folder: Path, keys: Array) -> Array:
    """Formats 3.2, one key at a time: negative is padding, unknown counts and adds nothing."""
    hparam = layer["sparse_embedding_hparam"]
    width = hparam["embedding_vec_size"]
    rows = dict(
        zip(
            np.fromfile(folder / "key", "<i8").tolist(),
            np.fromfile(folder / "emb_vector", "<f4").reshape(-1, width),
            strict=True,
        )
    )
    offsets = np.zeros(keys.shape[1], np.int64)
    if layer["type"].endswith("OneHot"):
        offsets = np.concatenate([[0], np.cumsum(hparam["slot_size_array"])[:-1]])
    pooled = np.zeros((*keys.shape[:2], width))
    for sample, slot in np.ndindex(*keys.shape[:2]):
        mine = [int(key) + int(offsets[slot]) for key in keys[sample, slot] if key >= 0]
        for key in mine:
            pooled[sample, slot] += rows.get(key, np.zeros(width)).astype(np.float64)
        if hparam["combiner"] in ("mean", 1) and len(mine) > 1:
            pooled[sample, slot] /= len(mine)
    return pooled


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


LOSSES: dict[str, Callable[[Array], Array]] = {
    "BinaryCrossEntropyLoss": sigmoid,
    "CrossEntropyLoss": softmax,
    "MultiCrossEntropyLoss": sigmoid,
}


def fully_connected(model: Model, layer: Layer, x: Array, *_: Array) -> Array:
    width = layer["fc_param"]["num_output"]
    return x @ model.take(x.shape[-1], width) + model.take(width)


def fused_inner_product(model: Model, layer: Layer, x: Array, *_: Array) -> Array:
    y = fully_connected(model, layer, x)
    return y if layer.get("position") == "Tail" and layer.get("activation") == "None" else np.maximum(y, 0)


def perceptron(model: Model, layer: Layer, x: Array, *_: Array) -> Array:
    param = layer["mlp_param"]
    for i, width in enumerate(param["num_outputs"]):
        weight, bias = model.take(x.shape[1], width), model.take(width)
        x = x @ weight + bias * (param["biases"][i] if "biases" in param else param.get("use_bias", True))
        if (param["activations"][i] if "activations" in param else param.get("activation", "Relu")) == "Relu":
            x = np.maximum(x, 0)
    return x


def cross(model: Model, layer: Layer, x0: Array) -> Array:
    x = x0
    for _ in range(layer["mc_param"]["num_layers"]):
        weight, bias = model.take(x0.shape[1]), model.take(x0.shape[1])
        x = x0 * (x @ weight)[:, None] + x + bias
    return x


def batch_norm(model: Model, layer: Layer, x: Array) -> Array:
    gamma, beta = model.take(x.shape[1]), model.take(x.shape[1])
    entry = model.ntp[model.norms]
    model.norms += 1
    mean, var = (np.float32(entry[key]).astype(np.float64) for key in ("mean", "var"))
    return gamma * (x - mean) / np.sqrt(var + layer["bn_param"]["eps"]) + beta


def layer_norm(model: Model, layer: Layer, x: Array) -> Array:
    gamma, beta = model.take(x.shape[-1]), model.take(x.shape[-1])
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer["ln_param"]["eps"]) * gamma + beta


def dice(model: Model, layer: Layer, x: Array) -> Array:
    param = layer["prelu_dice_param"]
    p = sigmoid((x - x.mean(0)) / np.sqrt(x.var(0) + param["eps"]))
    return p * x + (1 - p) * param.get("alpha", param.get("elu_alpha")) * x


def interaction(model: Model, layer: Layer, mlp: Array, embedded: Array) -> Array:
    rows = np.concatenate([mlp[:, None], embedded], 1)
    pairs = [(rows[:, i] * rows[:, j]).sum(1) for i in range(1, rows.shape[1]) for j in range(i)]
    return np.column_stack([mlp, *pairs, np.zeros(len(mlp))])


def reshape(model: Model, layer: Layer, x: Array) -> Array:
    if "selected" in layer:
        return x[:, layer["selected"] or list(range(x.shape[1]))].reshape(len(x), -1)
    leading = layer.get("leading_dim", x[0].size)
    return x.reshape(-1, layer["time_step"], leading) if layer.get("time_step") else x.reshape(-1, leading)


def slices(model: Model, layer: Layer, x: Array) -> list[Array]:
    return [x[..., start:end] for start, end in layer["ranges"]]


def concat(model: Model, layer: Layer, *xs: Array) -> Array:
    return np.concatenate(xs, 1 if xs[0].ndim == 2 else layer.get("axis", 1))


def fused_concat(model: Model, layer: Layer, *xs: Array) -> list[Array]:
    joined = np.concatenate(xs, 2)
    return [joined[:, :-1].reshape(-1, joined.shape[2]), joined[:, -1]]


def scale(model: Model, layer: Layer, x: Array) -> Array:
    param = layer["scale_param"]
    return np.repeat(x, int(param["factor"]), 1 if param["axis"] == 0 else 0)


def softmax_layer(model: Model, layer: Layer, x: Array, mask: Array | None = None) -> Array:
    if mask is None:
        return softmax(x)
    z = layer.get("factor", 1.0) * x - (1 - mask) * 10000
    z -= z.max(-1, keepdims=True)
    return np.exp(z) / (np.exp(z).sum(-1, keepdims=True) + 1e-6)


def sequence_mask(model: Model, layer: Layer, *lengths: Array) -> Array:
    if "max_sequence_len" in layer:
        steps = np.arange(layer["max_sequence_len"])
        return (steps < np.trunc(lengths[0])).astype(np.float64)[:, None, None]
    rows, columns = np.arange(layer["max_sequence_len_from"]), np.arange(layer["max_sequence_len_to"])
    valid = (rows < np.trunc(lengths[0]))[:, :, None] & (columns < np.trunc(lengths[1]))[:, None]
    return valid.astype(np.float64)[:, None]


def attention(model: Model, layer: Layer, *xs: Array) -> Array | list[Array]:
    heads = layer.get("num_attention_heads", 1)
    scaled = "transpose_b" in layer
    if len(xs) == 2 and xs[0].ndim == 4 and layer.get("transpose_b") is False:
        return (xs[0] @ xs[1]).transpose(0, 2, 1, 3).reshape(len(xs[0]), xs[0].shape[2], -1)
    q, k, *rest = [apart(x, heads) if x.ndim == 3 else x for x in xs]
    scores = q @ k.swapaxes(2, 3) / (np.sqrt(q.shape[-1]) if scaled else 1)
    if len(listed(layer["top"])) == 2:
        return [scores, rest[0]]
    if not rest:
        return scores
    weights = softmax_layer(model, {}, scores, *rest[1:])
    return (weights @ rest[0]).transpose(0, 2, 1, 3).reshape(xs[0].shape)


def apart(x: Array, heads: int) -> Array:
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def weight_multiply(model: Model, layer: Layer, x: Array) -> Array:
    return (x[:, :, None] * model.take(*layer["weight_dims"])).reshape(len(x), -1)


def fm_order2(model: Model, layer: Layer, x: Array) -> Array:
    v = x.reshape(len(x), -1, layer["out_dim"])
    return 0.5 * (v.sum(1) ** 2 - (v**2).sum(1))


LAYERS: dict[str, Callable[..., Any]] = {
    "InnerProduct": fully_connected,
    "FusedInnerProduct": fused_inner_product,
    "MLP": perceptron,
    "MultiCross": cross,
    "BatchNorm": batch_norm,
    "LayerNorm": layer_norm,
    "PReLU_Dice": dice,
    "Interaction": interaction,
    "Reshape": reshape,
    "Slice": slices,
    "Concat": concat,
    "FusedReshapeConcat": fused_concat,
    "Scale": scale,
    "Softmax": softmax_layer,
    "SequenceMask": sequence_mask,
    "MultiHeadAttention": attention,
    "WeightMultiply": weight_multiply,
    "Multiply": weight_multiply,
    "FmOrder2": fm_order2,
    "ReLU": lambda model, layer, x: np.maximum(x, 0),
    "Sigmoid": lambda model, layer, x: sigmoid(x),
    "Dropout": lambda model, layer, x: x,
    "Cast": lambda model, layer, x: x,
    "Add": lambda model, layer, *xs: sum(xs),
    "Sub": lambda model, layer, a, b: a - b,
    "ElementwiseMultiply": lambda model, layer, *xs: np.prod(xs, 0),
    "DotProduct": lambda model, layer, *xs: np.prod(xs, 0),
    "ReduceSum": lambda model, layer, x: x.sum(layer["axis"], keepdims=True),
    "ReduceMean": lambda model, layer, x: x.mean(layer["axis"], keepdims=True),
    "MatrixMultiply": lambda model, layer, a, b: a @ b,
}
