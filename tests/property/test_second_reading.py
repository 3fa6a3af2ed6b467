"""Random models as files against the second reading of the specification; `second_reading` runs as many as one likes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import hugectr2onnx.frontend.importer  # fills the registry of layers
from hugectr2onnx.frontend.layers.layer import REGISTRY
from tests.end_to_end.numpy_layers import LAYERS, LOSSES, listed, type_of

from .models import BOUNDED, Model
from .second_reading import search
from .whole_models import whole_models

ENOUGH = settings(BOUNDED, max_examples=300, phases=[Phase.generate], database=None)
assert hugectr2onnx.frontend.importer


@pytest.fixture(scope="module")
def drawn() -> list[Model]:
    models: list[Model] = []

    @ENOUGH
    @given(whole_models())
    def draw(model: Model) -> None:
        models.append(model)

    draw()
    return models


def dense_layers(model: Model) -> list[dict[str, Any]]:
    return [layer for layer in model.layers[1:] if "sparse_embedding_hparam" not in layer]


def test_every_layer_is_in_some_random_model(drawn: list[Model]) -> None:
    found = Counter(type_of(layer) for model in drawn for layer in dense_layers(model))
    assert sorted(set(REGISTRY) - set(found)) == [], "let tests/property/layers.py or a motif draw these layers"


def test_the_second_reading_knows_every_layer() -> None:
    assert sorted(set(REGISTRY) - set(LAYERS) - set(LOSSES)) == []


FEATURES = {
    "keys a slot": lambda model: any("nnz_per_slot" in entry for entry in model.layers[0]["sparse"]),
    "keys a sample, as up to v3.0": lambda model: any(
        "max_feature_num_per_sample" in entry for entry in model.layers[0]["sparse"]
    ),
    "layers without a type": lambda model: any(not layer["type"] for layer in model.layers),
    "one matrix of labels": lambda model: model.layers[0]["label"]["top"] == "combined_multi_label",
    "several losses": lambda model: sum(layer["type"].endswith("Loss") for layer in model.layers) > 1,
    "several keys a slot": lambda model: any(
        max(entry.get("nnz_per_slot", [entry.get("max_nnz")])) > 1 for entry in model.layers[0]["sparse"]
    ),
    "masks by one length": lambda model: any("max_sequence_len" in layer for layer in model.layers),
    "masks by two lengths": lambda model: any("max_sequence_len_from" in layer for layer in model.layers),
    "a masked Softmax": lambda model: any(
        type_of(layer) == "Softmax" and len(listed(layer["bottom"])) == 2 for layer in dense_layers(model)
    ),
    "tables that share their keys": lambda model: any(
        str(listed(layer["top"])[0]).startswith("shared_") for layer in model.layers[1:]
    ),
    "a table with several look-ups": lambda model: any(
        count > 1 for count in Counter(table for each in model.lookups for table in listed_tables(each)).values()
    ),
    "OneHot tables": lambda model: any(layer["type"].endswith("OneHot") for layer in model.layers),
    "DCN v2": lambda model: any("projection_dim" in attrs for attrs in model.layer_attrs.values()),
}


def listed_tables(lookup: dict[str, Any]) -> list[int]:
    return lookup["table"] if isinstance(lookup["table"], list) else [lookup["table"]]


@pytest.mark.parametrize("feature", FEATURES)
def test_random_models_have(feature: str, drawn: list[Model]) -> None:
    assert any(FEATURES[feature](model) for model in drawn)


@pytest.mark.slow
def test_every_level_computes_what_the_second_reading_says() -> None:
    findings = search(models=10, seed=20)
    assert findings.differences == []
    assert findings.models == 10
