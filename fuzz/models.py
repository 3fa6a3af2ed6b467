"""Models of every kind of layer, small enough to be compiled in a moment, and their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx import HugeCTR2ONNXError
from hugectr2onnx.sample_models import generate_weights

Files = dict[str, bytes]
GRAPH = "graph.json"
ROWS = 6
"""Of each table."""


def data(dense: int, labels: dict[str, int], *sparse: tuple[str, list[int]]) -> dict[str, Any]:
    tops, dims = list(labels), list(labels.values())
    entries = [{"top": top, "slot_num": len(nnz), "nnz_per_slot": nnz, "is_fixed_length": False} for top, nnz in sparse]
    label = {"top": tops[0] if len(tops) == 1 else tops, "label_dim": dims[0] if len(dims) == 1 else dims}
    return {"type": "Data", "label": label, "dense": {"top": "dense", "dense_dim": dense}, "sparse": entries}


def embedding(kind: str, bottom: str, top: str, vec: int, combiner: str, **more: Any) -> dict[str, Any]:
    hparam = {"embedding_vec_size": vec, "combiner": combiner, **more}
    return {"type": kind, "bottom": bottom, "top": top, "sparse_embedding_hparam": hparam}


def layer(kind: str, bottom: str | list[str], top: str | list[str], **more: Any) -> dict[str, Any]:
    return {"type": kind, "bottom": bottom, "top": top, **more}


CLICKS = [
    data(3, {"label": 1}, ("data1", [1, 3]), ("data2", [2, 2, 2])),
    embedding("DistributedSlotSparseEmbeddingHash", "data1", "emb1", 4, "mean"),
    embedding("LocalizedSlotSparseEmbeddingHash", "data2", "emb2", 2, "sum"),
    layer("Reshape", "emb1", "flat1", leading_dim=8),
    layer("Reshape", "emb2", "flat2", selected=[0, 2]),
    layer("Concat", ["dense", "flat1", "flat2"], "joined"),
    layer("Slice", "joined", ["joined1", "joined2"], ranges=[[0, 15], [0, 15]]),
    layer("BatchNorm", "joined1", "bn", bn_param={"factor": 0.9, "eps": 1e-5}),
    layer("InnerProduct", "bn", "fc1", fc_param={"num_output": 5}),
    layer("ReLU", "fc1", "relu1"),
    layer("Dropout", "relu1", "dropout1", rate=0.5),
    layer("MultiCross", "joined2", "cross", mc_param={"num_layers": 2}),
    layer("FmOrder2", "flat1", "fm", out_dim=4),
    layer("Concat", ["dropout1", "cross", "fm"], "joined3"),
    layer("InnerProduct", "joined3", "fc2", fc_param={"num_output": 1}),
    layer("BinaryCrossEntropyLoss", ["fc2", "label"], "loss"),
]
SEQUENCES = [
    data(2, {"label": 1}, ("data1", [1, 1, 1, 1])),
    embedding("DistributedSlotSparseEmbeddingHash", "data1", "emb1", 4, "sum", default_emb_vec_value=0.5),
    layer("LayerNorm", "emb1", "ln", ln_param={"eps": 1e-5}),
    layer("Slice", "dense", ["length"], ranges=[[0, 1]]),
    layer("SequenceMask", "length", "mask", max_sequence_len=4),
    layer("MultiHeadAttention", ["ln", "ln"], "scores", num_attention_heads=2),
    layer("Softmax", ["scores", "mask"], "probabilities", factor=0.5),
    layer("MultiHeadAttention", ["ln", "ln", "ln"], "attention", num_attention_heads=2),
    layer("ReduceSum", "attention", "summed", axis=1),
    layer("Reshape", "summed", "pooled", leading_dim=4),
    layer("FusedReshapeConcat", ["emb1", "attention"], ["history", "item"]),
    layer("Scale", "item", "items", scale_param={"axis": 1, "factor": 3}),
    layer("Sub", ["items", "history"], "difference"),
    layer("ElementwiseMultiply", ["items", "history"], "product"),
    layer("Concat", ["difference", "product"], "pairs"),
    layer("InnerProduct", "pairs", "weights", fc_param={"num_output": 4}),
    layer("PReLU_Dice", "weights", "dice", prelu_dice_param={"alpha": 0.2, "eps": 1e-5}),
    layer("ReduceMean", "dice", "score", axis=1),
    layer("Reshape", "score", "per_sample", leading_dim=3),
    layer("Softmax", "per_sample", "normal"),
    layer("Scale", "normal", "spread", scale_param={"axis": 0, "factor": 2}),
    layer("GRU", "history", "gru", gru_param={"num_output": 2, "batchsize": 2, "SeqLength": 3, "vector_size": 8}),
    layer("Reshape", "gru", "states", leading_dim=6),
    layer("MatrixMultiply", ["attention", "emb1"], "multiplied"),
    layer("Concat", ["emb1", "multiplied"], "stacked", axis=2),
    layer("Reshape", "stacked", "unstacked", leading_dim=32),
    layer("Concat", ["pooled", "spread", "item", "states", "unstacked"], "joined"),
    layer("InnerProduct", "joined", "fc", fc_param={"num_output": 1}),
    layer("BinaryCrossEntropyLoss", ["fc", "label"], "loss"),
]
TASKS = [
    data(4, {"a": 1, "b": 2}, ("data1", [1, 1, 1])),
    embedding("LocalizedSlotSparseEmbeddingOneHot", "data1", "emb1", 4, "sum", slot_size_array=[3, 2, 4]),
    layer("MLP", "dense", "bottom", mlp_param={"num_outputs": [5, 4], "activation": "Relu", "biases": [True, False]}),
    layer("Interaction", ["bottom", "emb1"], ["inter", "gradient"]),
    layer("FusedInnerProduct", "inter", "fused", fc_param={"num_output": 3}, position="Head", activation="None"),
    layer("WeightMultiply", "dense", "multiplied", weight_dims=[4, 2]),
    layer("ELU", "multiplied", "elu", elu_param={"alpha": 0.7}),
    layer("Sigmoid", "elu", "sigmoid"),
    layer("Add", ["multiplied", "elu", "sigmoid"], "sum"),
    layer("Cast", "sum", "cast"),
    layer("Select", "cast", "selected", dim=1, index=[0, 0, 5]),
    layer("Gather", "cast", "rows", indices=[1, 0]),
    layer("FusedReshapeConcatGeneral", ["emb1", "emb1"], "general"),
    layer("Reshape", "general", "flat", leading_dim=24),
    layer("MultiCross", "flat", "cross", mc_param={"num_layers": 1, "projection_dim": 2}),
    layer("Concat", ["fused", "selected", "cross"], "joined"),
    layer("InnerProduct", "joined", "fca", fc_param={"num_output": 1}),
    layer("InnerProduct", "joined", "fcb", fc_param={"num_output": 2}),
    layer("BinaryCrossEntropyLoss", ["fca", "a"], "lossa"),
    layer("CrossEntropyLoss", ["fcb", "b"], "lossb"),
]
MODELS = {"clicks": CLICKS, "sequences": SEQUENCES, "tasks": TASKS}


def model_files(graph: Any, scratch: Path) -> Files:
    """The files of a model with random weights, its graph among them."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    generate_weights(graph, scratch, rows=ROWS)
    (scratch / GRAPH).write_text(json.dumps(graph))
    return read_files(scratch)


def with_fitting_weights(files: Mapping[str, bytes], scratch: Path) -> Files:
    """Weights of the sizes that a damaged graph asks for, so that the damage reaches the layers."""
    try:
        return model_files(json.loads(files[GRAPH]), scratch)
    except (KeyError, ValueError, HugeCTR2ONNXError):
        return dict(files)


def read_files(folder: Path) -> Files:
    """The content of every file in a folder, by its path there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def dump_files(folder: str, keys: list[list[int]], widths: list[int]) -> Files:
    """An `embedding_dump` of an EmbeddingCollection: a table for each list of keys (formats 2.5)."""
    count = len(keys)
    meta = np.array([count, 1, 0, 0, 0, *range(count)], "<i4").tobytes()
    meta += np.array([len(own) for own in keys], "<u8").tobytes() + np.array(widths, "<i4").tobytes()
    files = {f"{folder}/embedding_collection_0/meta_data": meta}
    for table, (own, width) in enumerate(zip(keys, widths, strict=True)):
        rows = np.arange(len(own) * width, dtype="<f4").tobytes()
        for kind, name, content in ((1, "key", np.array(own, "<i8").tobytes()), (2, "weight", rows)):
            head = np.array([kind, table, *[0] * 30], "<i4").tobytes()
            files[f"{folder}/embedding_collection_0/{name}{table}"] = head + content
    return files
