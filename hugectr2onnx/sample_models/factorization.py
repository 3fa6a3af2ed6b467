"""Factorization machine beside a perceptron on the same embeddings (NVIDIA's samples/deepfm)."""

from __future__ import annotations

from hugectr2onnx.frontend.graph_json.embedding import LOCALIZED
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots


def deepfm(size: Size) -> ModelBuilder:
    """Return the last number of each vector is the weight of its key in the linear part."""
    model = ModelBuilder(SparseParam("data1", 26, fixed=False), dense=13)
    rows, vec, width = size.rows("sparse_embedding1", 300_000), size.width(10, 4), size.width(400, 32)
    model.slot_size_array = tuple(skewed_slots(rows))
    model.embedding("data1", "sparse_embedding1", vec + 1, rows, type=LOCALIZED, slot_sizes=model.slot_size_array)
    model.reshape("sparse_embedding1", "reshape1", vec + 1)
    model.slice("reshape1", ["slice11", "slice12"], [(0, vec), (vec, vec + 1)])
    model.reshape("slice11", "reshape2", 26 * vec)
    model.reshape("slice12", "reshape3", 26)
    model.add("WeightMultiply", "dense", "weight_multiply1", weight_dims=[13, vec])
    model.add("WeightMultiply", "dense", "weight_multiply2", weight_dims=[13, 1])
    model.concat(["reshape2", "weight_multiply1"], "concat1")
    model.tower("concat1", 1, width)
    model.tower("dropout1", 2, width)
    model.tower("dropout2", 3, width)
    model.fc("dropout3", "fc4", 1)
    model.add("FmOrder2", "concat1", "fmorder2", out_dim=vec)
    model.add("ReduceSum", "fmorder2", "reducesum1", axis=1)
    model.concat(["reshape3", "weight_multiply2"], "concat2")
    model.add("ReduceSum", "concat2", "reducesum2", axis=1)
    model.add("Add", ["fc4", "reducesum1", "reducesum2"], "add")
    model.loss("add")
    return model
