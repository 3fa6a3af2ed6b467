"""Two labels from shared layers (NVIDIA's samples/mmoe, on the census data set)."""

from __future__ import annotations

from hugectr2onnx.frontend.graph_json.embedding import LOCALIZED
from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size, skewed_slots

_SLOTS = 32
EXPERTS = 3
TASKS = {"A": "50k_label", "B": "married_label"}


def mmoe(size: Size) -> ModelBuilder:
    """Multi-gate mixture of experts: each task weighs the experts with a Softmax gate of its own."""
    width = size.width(128, 16)
    model = _census(size)
    experts = [_expert(model, number, 2 * width, width) for number in range(EXPERTS)]
    for task in TASKS:
        gated = _gate(model, task, experts, width)
        _tower(model, task, gated, size.width(64, 8))
    _losses(model)
    return model


def shared_bottom(size: Size) -> ModelBuilder:
    model = _census(size)
    model.tower("reshape_embedding", 1, size.width(256, 32))
    model.tower("dropout1", 2, size.width(256, 32))
    for task in TASKS:
        _tower(model, task, "dropout2", size.width(64, 8))
    _losses(model)
    return model


def _census(size: Size) -> ModelBuilder:
    """32 slots of one key, no dense features, `reshape_embedding` [N, 32 * vec]."""
    model = ModelBuilder(SparseParam("data", _SLOTS), labels=dict.fromkeys(TASKS.values(), 1))
    rows, vec = size.rows("embedding", 300_000), size.width(16, 4)
    model.slot_size_array = tuple(skewed_slots(rows, _SLOTS))
    model.embedding("data", "embedding", vec, rows, type=LOCALIZED)
    model.reshape("embedding", "reshape_embedding", _SLOTS * vec)
    return model


def _expert(model: ModelBuilder, number: int, hidden: int, width: int) -> str:
    last = "reshape_embedding"
    for layer, wide in enumerate((hidden, width), start=1):
        name = f"e{number}_{{}}{layer}".format
        last = model.dropout(model.relu(model.fc(last, name("fc"), wide), name("relu")), name("dropout"))
    return last


def _gate(model: ModelBuilder, task: str, experts: list[str], width: int) -> str:
    """sum_i softmax(gate)_i * expert_i; Scale repeats a weight over the width of its expert."""
    model.fc("reshape_embedding", f"g{task}_dense", len(experts))
    model.add("Softmax", f"g{task}_dense", f"g{task}_softmax", factor=1.0)
    weights = [f"g{task}_e{number}" for number in range(len(experts))]
    model.slice(f"g{task}_softmax", weights, [(number, number + 1) for number in range(len(experts))])
    gated = []
    for number, (expert, weight) in enumerate(zip(experts, weights, strict=True)):
        scaled = model.add("Scale", weight, f"{weight}_scaled", scale_param={"axis": 0, "factor": float(width)})
        gated.append(model.add("ElementwiseMultiply", [expert, scaled], f"e{number}_{task}_gated"))
    return model.add("Add", gated, f"tower_{task}_input")


def _tower(model: ModelBuilder, task: str, bottom: str, width: int) -> None:
    model.relu(model.fc(bottom, f"{task}_fc1", width), f"{task}_relu1")
    model.fc(model.dropout(f"{task}_relu1", f"{task}_dropout1"), f"{task}_fc2", 1)


def _losses(model: ModelBuilder) -> None:
    for task, label in TASKS.items():
        model.loss(f"{task}_fc2", label, f"loss{task}")
