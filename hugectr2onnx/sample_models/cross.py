"""Deep and cross networks: explicit feature crosses beside a perceptron (NVIDIA's samples/dcn; DCN v2 as in MLPerf)."""

from __future__ import annotations

from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots

MULTI_HOT = (3, 2, 1, 2, 5, 1, 1, 1, 1, 5, 3, 5, 1, 5, 5, 5, 1, 1, 1, 5, 5, 5, 5, 3, 1, 1)


def dcn(size: Size) -> ModelBuilder:
    model = ModelBuilder(SparseParam("data1", 26, nnz=2, fixed=False), dense=13)
    vec, width = size.width(16, 4), size.width(1024, 32)
    model.embedding("data1", "sparse_embedding1", vec, size.rows("sparse_embedding1", 300_000), keys="hashes")
    model.reshape("sparse_embedding1", "reshape1", 26 * vec)
    model.concat(["reshape1", "dense"], "concat1")
    model.add("MultiCross", "concat1", "multicross1", mc_param={"num_layers": 6})
    model.tower("concat1", 1, width)
    model.tower("dropout1", 2, width)
    model.concat(["dropout2", "multicross1"], "concat2")
    model.fc("concat2", "fc3", 1)
    model.loss("fc3")
    return model


def dcnv2(size: Size) -> ModelBuilder:
    """Low-rank crosses; graph_to_json loses their `projection_dim`."""
    model = ModelBuilder(SparseParam("data1", 26, nnz=MULTI_HOT, fixed=False), dense=13)
    rows = size.rows("sparse_embedding1", 300_000)
    vec, bottom = size.width(128, 4), [size.width(512, 16), size.width(256, 8)]
    top = [size.width(width, 16) for width in (1024, 1024, 512, 256)]
    model.slot_size_array = tuple(skewed_slots(rows))
    model.embedding("data1", "sparse_embedding1", vec, rows)
    model.add("MLP", "dense", "mlp1", mlp_param=_mlp([*bottom, vec], last="Relu"))
    model.reshape("sparse_embedding1", "reshape1", 26 * vec)
    model.concat(["mlp1", "reshape1"], "concat1")
    model.add("MultiCross", "concat1", "multicross1", mc_param={"num_layers": 3})
    model.layer_attrs["multicross1"] = {"projection_dim": size.width(512, 8)}
    model.add("MLP", "multicross1", "mlp2", mlp_param=_mlp([*top, 1], last="None"))
    model.loss("mlp2")
    return model


def _mlp(widths: list[int], last: str) -> dict[str, object]:
    activations = ["Relu"] * (len(widths) - 1) + [last]
    return {"num_output": 1, "num_outputs": widths, "use_bias": True, "activations": activations}
