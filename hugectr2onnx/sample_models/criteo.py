"""One slot that holds all the keys of a sample, averaged, and a perceptron with BatchNorm (NVIDIA's samples/criteo)."""

from __future__ import annotations

from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size


def criteo_bn(size: Size) -> ModelBuilder:
    model = ModelBuilder(SparseParam("data1", 1, nnz=39, fixed=False))
    vec, rows = size.width(64, 8), size.rows("sparse_embedding1", 300_000)
    model.embedding("data1", "sparse_embedding1", vec, rows, keys="hashes", combiner="mean")
    last = model.reshape("sparse_embedding1", "reshape1", vec)
    for number in range(1, 4):
        model.fc(last, f"fc{number}", size.width(200, 16))
        model.add("BatchNorm", f"fc{number}", f"bn{number}", bn_param={"factor": 1.0, "eps": 1e-5})
        last = model.relu(f"bn{number}", f"relu{number}")
    model.fc(last, "fc4", 1)
    model.loss("fc4")
    return model
