"""Whole models: inputs, embeddings, motifs among random layers, and losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hugectr2onnx.frontend import importer
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.importer import Sources
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.dense_file import DenseRecorder
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.frontend.weights.statistics import InventedStatistics
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.options import Options

from .growing import Growing, Tensor, flat
from .layers import GROWTH, add_columns_of_slots, add_inner_product
from .motifs import MOTIFS, Motif

ROWS = 20
LOSSES = {1: "BinaryCrossEntropyLoss", 2: "CrossEntropyLoss"}
BOUNDED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@dataclass(frozen=True)
class Model:
    """The parsed JSON, and what it cannot say."""

    json: dict[str, Any]
    layer_attrs: dict[str, dict[str, Any]]
    lookups: tuple[dict[str, Any], ...] = ()
    """The calls of an EmbeddingCollection (formats 3.6), whose tables are numbers."""

    @property
    def layers(self) -> list[dict[str, Any]]:
        return self.json["layers"]


@st.composite
def models(draw: Callable[[Any], Any], motif: Motif | None = None) -> Model:
    """Random layers around the given motif, or around one or two of any."""
    g = Growing(draw)
    sparse = [draw_embedding(g, i) for i in range(g.number(0, 2))]
    return grow(g, sparse, motif)


def grow(g: Growing, sparse: list[dict[str, Any]], motif: Motif | None = None) -> Model:
    """The dense part of a model, around what its embeddings give."""
    width, losses = g.number(1, 6), g.one_of(0, 0, 0, 1, 2, 3)  # without a loss, nothing is pruned
    labels = [f"label{i}" for i in range(max(losses, 1))]
    dims = [g.number(1, 3) for _ in labels]
    g.tensors.insert(0, Tensor("dense", Fraction(1), (width,)))
    if sparse and g.chance():
        add_columns_of_slots(g)
    motifs = [motif] if motif else [g.one_of(*MOTIFS.values()) for _ in range(g.number(0, 2))]
    for each in motifs:
        _grow(g, g.number(0, 3))
        each(g)
    _grow(g, g.number(0, 4) if motifs else g.number(1, 14))
    if not any(layer["type"] == "InnerProduct" for layer in g.layers):
        add_inner_product(g)
    for label, dim in zip(labels[:losses], dims, strict=False):
        _add_loss(g, label, dim)
    label, dense = {"top": labels, "label_dim": dims}, {"top": "dense", "dense_dim": width}
    data = {"type": "Data", "label": label, "dense": dense, "sparse": sparse}
    return Model({"layers": [data, *g.layers]}, g.layer_attrs)


def _grow(g: Growing, count: int) -> None:
    for _ in range(count):
        g.one_of(*GROWTH)(g)


def _add_loss(g: Growing, label: str, dim: int) -> None:
    top = g.fc(g.pick(lambda t: flat(t) and t.rows == 1), dim)
    type = g.one_of(*sorted({LOSSES.get(dim, "MultiCrossEntropyLoss"), "MultiCrossEntropyLoss"}))
    g.layers.append({"type": type, "bottom": [top.name, label], "top": f"loss_{label}"})


def draw_embedding(g: Growing, index: int) -> dict[str, Any]:
    slots, hotness, width = g.number(1, 4), g.number(1, 3), g.number(1, 4)
    clause = {
        "type": g.one_of("DistributedSlotSparseEmbeddingHash", "LocalizedSlotSparseEmbeddingHash"),
        "bottom": f"keys{index}",
        "top": f"emb{index}",
        "sparse_embedding_hparam": {"embedding_vec_size": width, "combiner": g.one_of("sum", "mean")},
    }
    g.layers.append(clause)
    g.tensors.append(Tensor(f"emb{index}", Fraction(1), (slots, width)))
    return {"top": f"keys{index}", "slot_num": slots, "nnz_per_slot": [hotness] * slots, "is_fixed_length": False}


def imported(model: Model, seed: int = 0) -> Graph:
    """The IR with random weights, all in memory."""
    random = np.random.default_rng(seed)
    clauses = reader.read(model.json, REGISTRY.keys())
    tables = {
        clause.top: SparseTable(
            None, random.permutation(3 * ROWS)[:ROWS], random.normal(0, 1, (ROWS, clause.vec_size)).astype(np.float32)
        )
        for clause in clauses.embeddings
    }
    sources = Sources(DenseRecorder(random), InventedStatistics(random), tables)
    return importer.build(clauses, sources, ResolvedOptions(Options(layer_attrs=model.layer_attrs))).graph
