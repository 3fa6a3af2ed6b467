"""What each layer of HugeCTR computes, in plain numpy by the literal formulas of the specification (layers 3).

A function takes the model (for its weights), the JSON clause and the bottoms, and returns the top or a list of tops. None of
it is shared with the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .numpy_reference import Model

Array = np.ndarray
Layer = Mapping[str, Any]


def listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


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
    """DCN's layers have the bias outside the product, those of DCN v2 inside it."""
    x, n, rank = x0, x0.shape[1], model.attribute(layer, "projection_dim", 0)
    for _ in range(layer["mc_param"]["num_layers"]):
        if rank:
            u, v, bias = model.take(n, rank), model.take(rank, n), model.take(n)
            x = x0 * ((x @ u) @ v + bias) + x
        else:
            weight, bias = model.take(n), model.take(n)
            x = x0 * (x @ weight)[:, None] + x + bias
    return x


def batch_norm(model: Model, layer: Layer, x: Array) -> Array:
    gamma, beta = model.take(x.shape[1]), model.take(x.shape[1])
    entry = model.ntp[model.norms]
    model.norms += 1
    mean, var = (np.float32(entry[key]).astype(x.dtype) for key in ("mean", "var"))
    return gamma * (x - mean) / np.sqrt(var + layer["bn_param"]["eps"]) + beta


def layer_norm(model: Model, layer: Layer, x: Array) -> Array:
    gamma, beta = model.take(x.shape[-1]), model.take(x.shape[-1])
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer["ln_param"]["eps"]) * gamma + beta


def dice(model: Model, layer: Layer, x: Array) -> Array:
    """With the statistics of the batch, or with frozen ones that the caller gives."""
    param = layer["prelu_dice_param"]
    mean, var = (model.attribute(layer, name, None) for name in ("mean", "var"))
    mean, var = (
        x.mean(0) if mean is None else np.array(mean, x.dtype),
        x.var(0) if var is None else np.array(var, x.dtype),
    )
    p = sigmoid((x - mean) / np.sqrt(var + param["eps"]))
    return p * x + (1 - p) * param.get("alpha", param.get("elu_alpha")) * x


def interaction(model: Model, layer: Layer, mlp: Array, embedded: Array) -> Array:
    rows = np.concatenate([mlp[:, None], embedded], 1)
    pairs = [(rows[:, i] * rows[:, j]).sum(1) for i in range(1, rows.shape[1]) for j in range(i)]
    return np.column_stack([mlp, *pairs, np.zeros(len(mlp))])


def reshape(model: Model, layer: Layer, x: Array) -> Array:
    shape = model.attribute(layer, "shape", None)
    if shape is not None:
        return x.reshape(shape)
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
    """A mask is subtracted in float32 whatever the precision here, which rounds what it drops (layers 3.15)."""
    if mask is None:
        return softmax(x)
    scores = layer.get("factor", 1.0) * x
    scores = scores + model.nudge * np.maximum(np.abs(scores).max(-1, keepdims=True), 1)
    dropped = (1 - mask) * np.ones_like(scores) * 10000
    z = np.where(dropped != 0, (scores.astype(np.float64) - dropped).astype(np.float32), scores).astype(x.dtype)
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
    scores = q @ k.swapaxes(2, 3) / (math.sqrt(q.shape[-1]) if scaled else 1)
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


def fused_concat_general(model: Model, layer: Layer, *xs: Array) -> Array:
    joined = np.concatenate(xs, 2)
    return joined.reshape(-1, joined.shape[2])


def select(model: Model, layer: Layer, x: Array) -> Array:
    return np.take(x, model.attribute(layer, "index", None), model.attribute(layer, "dim", None))


def elu(model: Model, layer: Layer, x: Array) -> Array:
    return np.where(x < 0, layer["elu_param"]["alpha"] * (np.exp(np.minimum(x, 0)) - 1), x)


def matrix_multiply(model: Model, layer: Layer, a: Array, b: Array) -> Array:
    return np.tensordot(a, b, 1) if (a.ndim, b.ndim) == (2, 3) else a @ b


def gru(model: Model, layer: Layer, x: Array) -> Array:
    """The memory of the bottom is [T, M, v], time first; the top is the first rows of all hidden states."""
    param = layer["gru_param"]
    h, steps, v = param["num_output"], param["SeqLength"], param["vector_size"]
    w_r, w_z, w_n = (model.take(h, v) for _ in range(3))
    r_r, r_z, r_n = (model.take(h, h) for _ in range(3))
    b_r, b_z, b_n = (model.take(h) for _ in range(3))
    model.take(param["batchsize"], h)  # an initial state that evaluation never reads
    sequences = x.reshape(steps, -1, v)
    state, states = np.zeros((sequences.shape[1], h), x.dtype), []
    for now in sequences:
        r = sigmoid(now @ w_r.T + state @ r_r.T + b_r)
        z = sigmoid(now @ w_z.T + state @ r_z.T + b_z)
        n = np.tanh(now @ w_n.T + r * (state @ r_n.T) + b_n)
        state = (1 - z) * n + z * state
        states.append(state)
    return np.concatenate(states)[: x.shape[0]]


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
    "MatrixMultiply": matrix_multiply,
    "FusedReshapeConcatGeneral": fused_concat_general,
    "Gather": lambda model, layer, x: x[layer["indices"]],
    "Select": select,
    "GRU": gru,
    "ELU": elu,
}

TYPE_OF_KEY = {
    "scale_param": "Scale",
    "indices": "Gather",
    "gru_param": "GRU",
    "prelu_dice_param": "PReLU_Dice",
}
"""Layers of mixed-precision runs have `"type": ""` where half precision lacks them (formats 1.5); these keys tell which."""


def type_of(layer: Layer) -> str:
    return layer["type"] or next(type for key, type in TYPE_OF_KEY.items() if key in layer)
