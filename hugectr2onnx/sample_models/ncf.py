"""Neural collaborative filtering: a user and an item, by perceptron, by product, and both (NVIDIA's samples/ncf)."""

from __future__ import annotations

from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots

_ROWS = 300_000


def ncf(size: Size) -> ModelBuilder:
    vec = size.width(64, 8)
    model = _ratings(size, "mlp_embedding", vec)
    model.reshape("mlp_embedding", "reshape_mlp", 2 * vec)
    model.fc(_towers(model, size, "reshape_mlp"), "mlp_out", 1)
    model.loss("mlp_out")
    return model


def gmf(size: Size) -> ModelBuilder:
    """Generalized matrix factorization."""
    vec = size.width(16, 4)
    model = _ratings(size, "gmf_embedding", vec)
    model.fc(_product(model, "gmf_embedding", vec), "gmf_out", 1)
    model.loss("gmf_out")
    return model


def neumf(size: Size) -> ModelBuilder:
    """Both, from one table: the first numbers of each vector go to the perceptron, the last to the product."""
    deep, wide = size.width(64, 8), size.width(8, 4)
    model = _ratings(size, "mixed_embedding", deep + wide)
    model.slice("mixed_embedding", ["mlp_embedding", "gmf_embedding"], [(0, deep), (deep, deep + wide)])
    model.reshape("mlp_embedding", "reshape_mlp", 2 * deep)
    perceptron = _towers(model, size, "reshape_mlp")
    model.concat([_product(model, "gmf_embedding", wide), perceptron], "concat")
    model.fc("concat", "neumf_out", 1)
    model.loss("neumf_out")
    return model


def _ratings(size: Size, embedding: str, vec: int) -> ModelBuilder:
    """Return a user and an item; the reader wants a dense feature, which no layer reads."""
    model = ModelBuilder(SparseParam("data", 2), dense=1)
    rows = size.rows(embedding, _ROWS)
    model.slot_size_array = tuple(skewed_slots(rows, 2))
    model.embedding("data", embedding, vec, rows)
    return model


def _product(model: ModelBuilder, embedding: str, vec: int) -> str:
    model.reshape(embedding, "reshape_gmf", 2 * vec)
    model.slice("reshape_gmf", ["user", "item"], [(0, vec), (vec, 2 * vec)])
    return model.add("ElementwiseMultiply", ["user", "item"], "gmf_multiply")


def _towers(model: ModelBuilder, size: Size, bottom: str) -> str:
    for number, width in enumerate((256, 256, 128, 64), start=1):
        bottom = model.tower(bottom, number, size.width(width, 16))
    return bottom
