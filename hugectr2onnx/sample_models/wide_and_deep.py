"""Wide and deep: a linear model of crossed features beside a multilayer perceptron (NVIDIA's samples/wdl)."""

from __future__ import annotations

from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots


def wdl(size: Size) -> ModelBuilder:
    model = ModelBuilder(
        SparseParam("wide_data", 2),
        SparseParam("deep_data", 26, fixed=False),
        dense=13,
    )
    wide, deep = size.rows("sparse_embedding2", 10_000), size.rows("sparse_embedding1", 300_000)
    vec, width = size.width(16, 4), size.width(1024, 32)
    model.slot_size_array = (*skewed_slots(wide, 2), *skewed_slots(deep))
    model.embedding("wide_data", "sparse_embedding2", 1, wide)
    model.embedding("deep_data", "sparse_embedding1", vec, deep)
    model.reshape("sparse_embedding1", "reshape1", 26 * vec)
    model.reshape("sparse_embedding2", "reshape2", 2)
    model.add("ReduceSum", "reshape2", "wide_redn", axis=1)
    model.concat(["reshape1", "dense"], "concat1")
    model.tower("concat1", 1, width)
    model.tower("dropout1", 2, width)
    model.fc("dropout2", "fc3", 1)
    model.add("Add", ["fc3", "wide_redn"], "add1")
    model.loss("add1")
    return model
