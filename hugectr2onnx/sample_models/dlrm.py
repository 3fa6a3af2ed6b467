"""DLRM: dot products of all pairs of embeddings between two perceptrons (NVIDIA's samples/dlrm)."""

from __future__ import annotations

from hugectr2onnx.frontend.graph_json.embedding import LOCALIZED
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots


def dlrm(size: Size) -> ModelBuilder:
    model = ModelBuilder(SparseParam("data1", 26), dense=13)
    rows, vec = size.rows("sparse_embedding1", 300_000), size.width(128, 8)
    model.slot_size_array = tuple(skewed_slots(rows))
    model.embedding("data1", "sparse_embedding1", vec, rows, type=LOCALIZED, slot_sizes=model.slot_size_array)
    bottom = [size.width(512, 32), size.width(256, 16), vec]
    top = [size.width(width, 32) for width in (1024, 1024, 512, 256)]
    last = _perceptron(model, "dense", bottom, first=1)
    interaction = model.add("Interaction", [last, "sparse_embedding1"], "interaction1")
    last = _perceptron(model, interaction, top, first=4)
    model.fc(last, "fc8", 1)
    model.loss("fc8")
    return model


def _perceptron(model: ModelBuilder, bottom: str, widths: list[int], first: int) -> str:
    for number, width in enumerate(widths, start=first):
        bottom = model.relu(model.fc(bottom, f"fc{number}", width), f"relu{number}")
    return bottom
