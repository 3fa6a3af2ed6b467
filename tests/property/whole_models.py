"""Random models as files: every generation of the graph JSON, every kind of embedding, the snapshot, and feeds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx.sample_models import generate_weights

from .attention_motifs import add_attention, add_attention_by_layers
from .growing import Growing, Tensor
from .models import ROWS, Model, draw_embedding, grow

TABLE_WIDTHS = (3, 2)
"""Numbers a row of the tables 0 and 1 of an EmbeddingCollection."""
PADDING, UNKNOWN = -1, 2**61 + 5
RENAMED = {"WeightMultiply": "Multiply", "ElementwiseMultiply": "DotProduct"}
"""Layers by the names of v3.0 (formats 1.8)."""
UNNAMED = {"Scale", "Gather", "GRU", "PReLU_Dice"}
"""Layers that have no name in the JSON of a mixed-precision run (formats 1.5)."""


@st.composite
def whole_models(draw: Callable[[Any], Any]) -> Model:
    """A model of any generation; its JSON is the only thing that its files are made of."""
    g = Growing(draw)
    sparse = [draw_any_embedding(g, i) for i in range(g.number(0, 2))]
    if sparse and g.one_of(True, False, False):
        _share(g, sparse[0])
    lookups = draw_lookups(g, sparse) if g.one_of(True, False, False) else ()
    motif = g.one_of(None, None, None, add_attention, add_attention_by_layers)
    model = replace(grow(g, sparse, motif), lookups=tuple(lookups))
    return replace(model, json=g.one_of(_as_it_is, _as_it_is, _of_v30, _of_v39, _of_mixed_precision)(model.json))


def draw_any_embedding(g: Growing, index: int) -> dict[str, Any]:
    """A sparse input and its embedding: slots of different widths, or OneHot with offsets of its own."""
    entry = draw_embedding(g, index)
    clause = next(layer for layer in g.layers if layer["top"] == f"emb{index}")
    if g.one_of(True, False, False):
        clause["type"] = "LocalizedSlotSparseEmbeddingOneHot"
        clause["sparse_embedding_hparam"]["slot_size_array"] = [g.number(1, 9) for _ in range(entry["slot_num"])]
        entry["nnz_per_slot"] = [1] * entry["slot_num"]
    else:
        entry["nnz_per_slot"] = [g.number(1, max(entry["nnz_per_slot"])) for _ in range(entry["slot_num"])]
    return entry


def _share(g: Growing, entry: Mapping[str, Any]) -> None:
    """A second table that reads the keys of the first."""
    first = next(layer for layer in g.layers if layer["bottom"] == entry["top"])
    width, top = g.number(1, 3), f"shared_{first['top']}"
    hparam = {**first["sparse_embedding_hparam"], "embedding_vec_size": width}
    g.layers.append({**first, "top": top, "sparse_embedding_hparam": hparam})
    g.tensors.append(Tensor(top, Fraction(1), (entry["slot_num"], width)))


def draw_lookups(g: Growing, sparse: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One or two calls of an EmbeddingCollection with two tables, which several calls may share."""
    lookups = []
    for number in range(g.number(1, 2)):
        calls = [(g.number(0, 1), g.one_of("sum", "average", "concat"), g.number(1, 3)) for _ in range(g.number(1, 2))]
        if len(calls) == 1 and number == 0:
            calls[0] = (0, *calls[0][1:])
        bottoms = [f"bag{number}_{i}" for i in range(len(calls))]
        for bottom, (_, _, hotness) in zip(bottoms, calls, strict=True):
            sparse.append({"top": bottom, "slot_num": 1, "nnz_per_slot": [hotness], "is_fixed_length": False})
        widths = [TABLE_WIDTHS[table] * (hotness if combiner == "concat" else 1) for table, combiner, hotness in calls]
        lists = {
            "table": [table for table, _, _ in calls],
            "bottom": bottoms,
            "combiner": [combiner for _, combiner, _ in calls],
        }
        batch_major = len(calls) > 1 or g.chance()
        entry = lists if batch_major else {key: each[0] for key, each in lists.items()}
        lookups.append({**entry, "top": f"bags{number}"})
        g.tensors.append(Tensor(f"bags{number}", Fraction(1), (sum(widths),) if batch_major else (1, widths[0])))
    return lookups


# The same model as other writers spell it (formats 1.3 to 1.8)


def _as_it_is(graph: dict[str, Any]) -> dict[str, Any]:
    return graph


def _of_v30(graph: dict[str, Any]) -> dict[str, Any]:
    """By hand, as up to v3.0: keys a sample instead of keys a slot, combiners as numbers, older names of layers."""
    data, *layers = graph["layers"]
    entries = [_entry_of_v30(entry) for entry in data["sparse"]]
    return {"layers": [{**data, "sparse": entries, "name": "data"}, *map(_layer_of_v30, layers)]}


def _entry_of_v30(entry: dict[str, Any]) -> dict[str, Any]:
    slots, widest = entry["slot_num"], max(entry["nnz_per_slot"])
    sizes = {"max_feature_num_per_sample": slots * widest, "max_nnz": widest}
    return {"top": entry["top"], "type": "DistributedSlot", "slot_num": slots, **sizes}


def _layer_of_v30(layer: dict[str, Any]) -> dict[str, Any]:
    older = {**layer, "name": f"a_layer_{layer['top']}", "type": RENAMED.get(layer["type"], layer["type"])}
    if isinstance(layer["bottom"], str):
        older["bottom"] = [layer["bottom"]]
    if "prelu_dice_param" in layer:
        older["prelu_dice_param"] = {
            "elu_alpha": layer["prelu_dice_param"]["alpha"],
            "eps": layer["prelu_dice_param"]["eps"],
        }
    if "sparse_embedding_hparam" in layer:
        combiner = {"sum": 0, "mean": 1}[layer["sparse_embedding_hparam"]["combiner"]]
        older["sparse_embedding_hparam"] = {**layer["sparse_embedding_hparam"], "combiner": combiner}
    return older


def _of_v39(graph: dict[str, Any]) -> dict[str, Any]:
    """As v3.9 and v4.0 write several labels: one matrix, and a Slice of it."""
    data, *layers = graph["layers"]
    names, dims = data["label"]["top"], data["label"]["label_dim"]
    if len(names) < 2:
        return {"layers": [{**data, "label": {"top": names[0], "label_dim": dims[0]}}, *layers]}
    ends = np.cumsum([0, *dims]).tolist()
    ranges = [list(each) for each in pairwise(ends)]
    cut = {"type": "Slice", "bottom": "combined_multi_label", "top": names, "ranges": ranges}
    place = sum("sparse_embedding_hparam" in layer for layer in layers)
    label = {"top": "combined_multi_label", "label_dim": ends[-1]}
    return {"layers": [{**data, "label": label}, *layers[:place], cut, *layers[place:]]}


def _of_mixed_precision(graph: dict[str, Any]) -> dict[str, Any]:
    return {
        "layers": [{**layer, "type": "" if layer["type"] in UNNAMED else layer["type"]} for layer in graph["layers"]]
    }


# Files and feeds


@dataclass(frozen=True)
class Files:
    """What `compile` takes beside the JSON."""

    weights: hugectr2onnx.Weights
    dump: Path | None

    def collection(self, model: Model) -> dict[str, Any] | None:
        return {"path": str(self.dump), "lookups": list(model.lookups)} if self.dump else None


def write_files(model: Model, folder: Path, seed: int) -> Files:
    """The snapshot and the dump of a model, with random weights."""
    shapes = {lookup["top"]: [None, *_dims(lookup, model)] for lookup in model.lookups}
    weights = generate_weights(
        model.json, folder, seed=seed, rows=ROWS, layer_attrs=model.layer_attrs, input_shapes=shapes
    )
    if not model.lookups:
        return Files(weights, None)
    dump = folder / "dump"
    dump.mkdir()
    _write_dump(dump, np.random.default_rng(seed))
    return Files(weights, dump)


def _dims(lookup: Mapping[str, Any], model: Model) -> list[int]:
    listed = isinstance(lookup["table"], list)
    calls = [tuple(lookup[key] if listed else [lookup[key]]) for key in ("table", "bottom", "combiner")]
    widest = {entry["top"]: _widest(entry) for entry in model.layers[0]["sparse"]}
    width = sum(
        TABLE_WIDTHS[table] * (widest[bottom] if combiner == "concat" else 1)
        for table, bottom, combiner in zip(*calls, strict=True)
    )
    return [width] if listed else [1, width]


def _widest(entry: Mapping[str, Any]) -> int:
    return int(entry["max_nnz"] if "max_nnz" in entry else max(entry["nnz_per_slot"]))


def _write_dump(dump: Path, random: np.random.Generator) -> None:
    """What `Model.embedding_dump` writes (formats 2.5)."""
    count = len(TABLE_WIDTHS)
    head = struct.pack("<5i", count, 1, 0, 0, 0) + struct.pack(f"<{count}i", *range(count))
    sizes = struct.pack(f"<{count}Q", *[ROWS] * count) + struct.pack(f"<{count}i", *TABLE_WIDTHS)
    (dump / "meta_data").write_bytes(head + sizes)
    for table, width in enumerate(TABLE_WIDTHS):
        keys = random.permutation(3 * ROWS)[:ROWS].astype("<i8")
        rows = random.normal(0, 0.5, (ROWS, width)).astype("<f4")
        for name, kind, array in (("key", 1, keys), ("weight", 2, rows)):
            (dump / f"{name}{table}").write_bytes(struct.pack("<32i", kind, table, *[0] * 30) + array.tobytes())


def feeds_of(model: Model, files: Files, batch: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Dense values, some of them whole numbers as lengths are; keys that are known, unknown or repeated, and empty places."""
    data, *layers = model.layers
    dense = random.normal(0, 1, (batch, data["dense"]["dense_dim"]))
    whole = random.random(dense.shape[1]) < 0.5
    dense[:, whole] = random.integers(0, 5, dense.shape)[:, whole]
    feeds = {"dense": dense.astype(np.float32)}
    for entry in data["sparse"]:
        known = _known_keys(entry["top"], layers, files)
        feeds[entry["top"]] = _keys(entry, known, batch, random)
    return feeds


def _known_keys(top: str, layers: list[dict[str, Any]], files: Files) -> np.ndarray:
    embeddings = [layer for layer in layers if "sparse_embedding_hparam" in layer]
    for place, layer in enumerate(embeddings):
        if top in (layer["bottom"], layer["bottom"][0]):
            one_hot = layer["type"].endswith("OneHot")
            return np.arange(9) if one_hot else np.fromfile(files.weights.tables[place] / "key", "<i8")
    return np.arange(3 * ROWS)


def _keys(entry: Mapping[str, Any], known: np.ndarray, batch: int, random: np.random.Generator) -> np.ndarray:
    shape = batch, entry["slot_num"], _widest(entry)
    kind = random.random(shape)
    keys = np.where(kind < 0.1, UNKNOWN, random.choice(known, shape))
    limits = np.broadcast_to(entry.get("nnz_per_slot", shape[2]), shape[1])
    kept = random.integers(0, limits + 1, shape[:2])
    return np.where(np.arange(shape[2]) < kept[:, :, None], keys, PADDING).astype(np.int64)
