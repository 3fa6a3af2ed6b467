"""Models that JAX trains and that are written as HugeCTR would: each layer is said once, for both.

The forward pass follows the specification of HugeCTR's layers (layers 3) in JAX, so that a model that was trained here and the
ONNX file of its snapshot agree only where both are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_data import Clicks
from hugectr2onnx.ir.types import Array
from hugectr2onnx.sample_models import writer
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam

VECTOR = 16
Step = Callable[[Mapping[str, Any], dict[str, Any]], None]


@dataclass
class Trainable:
    """A model under construction: its graph JSON, its first weights in file order, its steps for JAX."""

    clicks: Clicks
    slots: int
    labels: tuple[str, ...] = ("label",)
    seed: int = 0
    weights: dict[str, Array] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.offsets = np.concatenate([[0], np.cumsum(self.clicks.slot_sizes[: self.slots])]).astype(np.int64)
        dense = self.clicks.dense.shape[1]
        self.builder = ModelBuilder(SparseParam("keys", self.slots), dense=dense, labels=dict.fromkeys(self.labels, 1))
        self.builder.embedding("keys", "emb", VECTOR, int(self.offsets[-1]))
        self.table = self.random.normal(0, 0.05, (int(self.offsets[-1]), VECTOR)).astype(np.float32)
        self.widths |= {"dense": dense, "emb": self.slots * VECTOR}

    def flat(self) -> str:
        self.builder.reshape("emb", "flat", self.slots * VECTOR)
        self.widths["flat"] = self.slots * VECTOR
        self.steps.append(_set("flat", lambda p, t: t["emb"].reshape(t["emb"].shape[0], -1)))
        return "flat"

    def concat(self, bottoms: Sequence[str], top: str) -> str:
        self.builder.concat(list(bottoms), top)
        self.widths[top] = sum(self.widths[each] for each in bottoms)
        self.steps.append(_set(top, lambda p, t: _jnp().concatenate([t[each] for each in bottoms], axis=1)))
        return top

    def fc(self, bottom: str, top: str, width: int) -> str:
        self.builder.fc(bottom, top, width)
        k = self.widths[bottom]
        self.weights[f"{top}.w"] = self.random.normal(0, (2 / (k + width)) ** 0.5, (k, width)).astype(np.float32)
        self.weights[f"{top}.b"] = np.zeros(width, np.float32)
        self.widths[top] = width
        self.steps.append(_set(top, lambda p, t: t[bottom] @ p[f"{top}.w"] + p[f"{top}.b"]))
        return top

    def relu(self, bottom: str, top: str) -> str:
        self.builder.relu(bottom, top)
        self.widths[top] = self.widths[bottom]
        self.steps.append(_set(top, lambda p, t: _jnp().maximum(t[bottom], 0)))
        return top

    def perceptron(self, bottom: str, widths: Sequence[int], name: str = "") -> str:
        for number, width in enumerate(widths, 1):
            bottom = self.relu(self.fc(bottom, f"{name}fc{number}", width), f"{name}relu{number}")
        return bottom

    def cross(self, bottom: str, top: str, layers: int) -> str:
        """MultiCross of the first version (layers 3.4)."""
        n = self.widths[bottom]
        self.builder.add("MultiCross", bottom, top, mc_param={"num_layers": layers})
        for layer in range(layers):
            self.weights[f"{top}.w{layer}"] = self.random.normal(0, n**-0.5, n).astype(np.float32)
            self.weights[f"{top}.b{layer}"] = np.zeros(n, np.float32)
        self.widths[top] = n

        def forward(p: Mapping[str, Any], t: Mapping[str, Any]) -> Any:
            x = t[bottom]
            for layer in range(layers):
                x = t[bottom] * (x @ p[f"{top}.w{layer}"])[:, None] + x + p[f"{top}.b{layer}"]
            return x

        self.steps.append(_set(top, forward))
        return top

    def machine(self, bottom: str, top: str) -> str:
        """FmOrder2 and the sum of its result (layers 3.14)."""
        self.builder.add("FmOrder2", bottom, f"{top}_fm", out_dim=VECTOR)
        self.builder.add("ReduceSum", f"{top}_fm", top, axis=1)
        self.widths[top] = 1

        def forward(p: Mapping[str, Any], t: Mapping[str, Any]) -> Any:
            v = t[bottom].reshape(t[bottom].shape[0], -1, VECTOR)
            return (0.5 * (v.sum(1) ** 2 - (v * v).sum(1))).sum(1, keepdims=True)

        self.steps.append(_set(top, forward))
        return top

    def interaction(self, vector: str, top: str) -> str:
        """Dot products of a vector and the embeddings (layers 3.13)."""
        self.builder.add("Interaction", [vector, "emb"], top)
        count = self.slots + 1
        self.widths[top] = VECTOR + count * (count - 1) // 2 + 1
        later, earlier = np.tril_indices(count, -1)

        def forward(p: Mapping[str, Any], t: Mapping[str, Any]) -> Any:
            jnp = _jnp()
            x = jnp.concatenate([t[vector][:, None], t["emb"]], axis=1)
            products = jnp.einsum("biv,bjv->bij", x, x)[:, later, earlier]
            return jnp.concatenate([t[vector], products, jnp.zeros((len(x), 1))], axis=1)

        self.steps.append(_set(top, forward))
        return top

    def add(self, bottoms: Sequence[str], top: str) -> str:
        self.builder.add("Add", list(bottoms), top)
        self.widths[top] = self.widths[bottoms[0]]
        self.steps.append(_set(top, lambda p, t: sum(t[each] for each in bottoms)))
        return top

    def gated(self, gate: str, experts: Sequence[str], top: str) -> str:
        """Experts weighed by the softmax of a gate."""
        width = self.widths[experts[0]]
        self.builder.add("Softmax", gate, f"{top}_soft", factor=1.0)
        parts = [f"{top}_g{number}" for number in range(len(experts))]
        self.builder.slice(f"{top}_soft", parts, [(number, number + 1) for number in range(len(experts))])
        products = []
        for part, expert in zip(parts, experts, strict=True):
            wide = self.builder.add("Scale", part, f"{part}_wide", scale_param={"axis": 0, "factor": float(width)})
            products.append(self.builder.add("ElementwiseMultiply", [expert, wide], f"{part}_x"))
        self.builder.add("Add", products, top)
        self.widths[top] = width

        def forward(p: Mapping[str, Any], t: Mapping[str, Any]) -> Any:
            weights = _jax().nn.softmax(t[gate], axis=1)
            return sum(t[expert] * weights[:, number, None] for number, expert in enumerate(experts))

        self.steps.append(_set(top, forward))
        return top

    def loss(self, *logits: str) -> Trainable:
        for label, logit in zip(self.labels, logits, strict=True):
            self.builder.loss(logit, label, f"loss_{label}")
        self.logits = logits
        return self

    def forward(self, weights: Mapping[str, Any], rows: Any, dense: Any) -> Any:
        """Logits [n, labels] of looked-up rows [n, slots, vector]."""
        tensors: dict[str, Any] = {"emb": rows, "dense": dense}
        for step in self.steps:
            step(weights, tensors)
        return _jnp().concatenate([tensors[logit] for logit in self.logits], axis=1)

    def write(self, folder: Path, weights: Mapping[str, Array], table: Array) -> Path:
        """The snapshot and the graph JSON (formats 2.1 and 5); returns the JSON."""
        folder.mkdir(parents=True)
        rows = folder / "m0_sparse_0.model"
        rows.mkdir()
        writer.write_array(rows / "key", np.arange(len(table)), "<i8")
        writer.write_array(rows / "emb_vector", table, "<f4")
        dense = np.concatenate([np.asarray(weights[name]).reshape(-1) for name in self.weights])
        writer.write_array(folder / "m_dense_0.model", dense, "<f4")
        writer.write_text(folder / "m.json", self.builder.text())
        return folder / "m.json"


def _set(top: str, forward: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]) -> Step:
    def step(weights: Mapping[str, Any], tensors: dict[str, Any]) -> None:
        tensors[top] = forward(weights, tensors)

    return step


def _jax() -> Any:
    import jax

    return jax


def _jnp() -> Any:
    import jax.numpy

    return jax.numpy


HIDDEN = (512, 256, 128)


def wdl(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, len(clicks.slot_sizes))
    joined = model.concat([model.flat(), "dense"], "joined")
    deep = model.fc(model.perceptron(joined, HIDDEN), "deep", 1)
    return model.loss(model.add([deep, model.fc("joined", "wide", 1)], "logit"))


def deepfm(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, len(clicks.slot_sizes))
    flat = model.flat()
    deep = model.fc(model.perceptron(model.concat([flat, "dense"], "joined"), HIDDEN), "deep", 1)
    return model.loss(model.add([deep, model.machine(flat, "fm")], "logit"))


def dlrm(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, len(clicks.slot_sizes))
    vector = model.perceptron("dense", (512, 256, VECTOR), "bottom_")
    top = model.perceptron(model.interaction(vector, "interaction"), (512, 512, 256), "top_")
    return model.loss(model.fc(top, "logit", 1))


def dcn(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, len(clicks.slot_sizes))
    joined = model.concat([model.flat(), "dense"], "joined")
    both = model.concat([model.perceptron(joined, HIDDEN), model.cross(joined, "cross", 3)], "both")
    return model.loss(model.fc(both, "logit", 1))


def ncf(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, 2)
    return model.loss(model.fc(model.perceptron(model.flat(), (512, 256, 128)), "logit", 1))


def mmoe(clicks: Clicks) -> Trainable:
    model = Trainable(clicks, len(clicks.slot_sizes), labels=("label", "second"))
    joined = model.concat([model.flat(), "dense"], "joined")
    experts = [model.perceptron(joined, (512, 256), f"e{number}_") for number in range(3)]
    logits = []
    for task in "ab":
        mixed = model.gated(model.fc(joined, f"{task}_gate", 3), experts, f"{task}_mixed")
        logits.append(model.fc(model.perceptron(mixed, (64,), f"{task}_"), f"{task}_logit", 1))
    return model.loss(*logits)


MODELS: Mapping[str, Callable[[Clicks], Trainable]] = {
    "wdl": wdl,
    "deepfm": deepfm,
    "dlrm": dlrm,
    "dcn": dcn,
    "ncf": ncf,
    "mmoe": mmoe,
}
