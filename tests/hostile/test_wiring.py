"""Graphs whose layers do not fit together: names without a producer, cycles, names that stand for two things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def add(model: Any, type: str, bottom: Any, top: Any, **params: Any) -> None:
    """A layer before the loss."""
    model.layers.insert(-1, {"type": type, "bottom": bottom, "top": top, **params})


def test_a_name_that_nobody_produces(model: Any) -> None:
    model.layer("fc1")["bottom"] = "bnn"
    message = model.refusal()
    assert "nothing in the JSON produces 'bnn' (did you mean bn?)" in message
    assert "layers[7] InnerProduct" in message


def test_a_layer_that_reads_itself(model: Any) -> None:
    model.layer("bn")["bottom"] = "bn"
    assert "'bn' is produced only by itself: the layers form a cycle" in model.refusal()


def test_a_cycle_of_two(model: Any) -> None:
    add(model, "ReLU", "b", "a")
    add(model, "ReLU", "a", "b")
    assert "'b' is produced only by layers[9] ReLU a -> b, which comes after it" in model.refusal()


def test_layers_out_of_order(model: Any) -> None:
    layers = model.layers
    layers[5], layers[6] = layers[6], layers[5]
    assert "list each layer after those that it reads" in model.refusal()


def test_data_that_is_not_first(model: Any) -> None:
    model.layers.insert(3, model.layers.pop(0))
    assert "expected Data, which is layers[3]" in model.refusal()


@pytest.mark.parametrize("top", ["joined", "emb1", "dense", "data1", "label"])
def test_a_top_that_exists_already(model: Any, top: str) -> None:
    add(model, "ReLU", "fc1", top)
    assert f'"{top}" is produced twice' in model.refusal()


@pytest.mark.parametrize(
    ("where", "name"), [("dense", "label"), ("label", "dense"), ("label", "data1"), ("label", "emb1")]
)
def test_an_input_named_like_another_tensor(model: Any, where: str, name: str) -> None:
    model.layers[0][where]["top"] = name
    assert f'"{name}" is produced twice' in model.refusal()


def test_two_sparse_inputs_of_one_name(model: Any) -> None:
    model.layers[0]["sparse"][1]["top"] = "data1"
    model.layers[2]["bottom"] = "data1"
    assert '"data1" is produced twice' in model.refusal()


def test_two_labels_of_one_name(model: Any) -> None:
    model.layers[0]["label"] = {"top": ["label", "label"], "label_dim": [1, 1]}
    assert "layers[0].label.top: expected labels with different names" in model.refusal()


@pytest.mark.parametrize("top", [["a", "a"], ["a", "joined"]])
def test_one_layer_with_a_top_twice(model: Any, top: list[str]) -> None:
    add(model, "Slice", "fc1", top, ranges=[[0, 1], [0, 1]])
    assert "is produced twice" in model.refusal()


def test_a_label_that_a_layer_reads(model: Any) -> None:
    add(model, "Concat", ["fc1", "label"], "peeked")
    assert "'label' is a label, which no layer but a loss can read" in model.refusal()


def test_a_label_that_a_layer_reads_after_a_cast(model: Any) -> None:
    add(model, "Cast", "label", "cast")
    add(model, "Concat", ["fc1", "cast"], "peeked")
    assert "'cast' is a label, which no layer but a loss can read" in model.refusal()


def test_a_label_that_is_cast_and_reshaped_before_its_loss(model: Any) -> None:
    expected = model.compile().run(model.feeds())
    add(model, "Cast", "label", "cast")
    add(model, "Reshape", "cast", "shaped", leading_dim=0, time_step=0)
    model.layers[-1]["bottom"] = ["fc1", "shaped"]
    answers = model.compile(layer_attrs={"shaped": {"shape": [-1, 1]}}).run(
        {**model.feeds(), "label": np.zeros((4, 1))}
    )
    assert list(answers) == ["label"]
    np.testing.assert_array_equal(answers["label"], expected["label"])


def test_keys_that_a_dense_layer_reads(model: Any) -> None:
    add(model, "ReLU", "data1", "peeked")
    assert "'data1' holds keys, which only an embedding layer can read" in model.refusal()


def test_vectors_that_an_embedding_reads(model: Any) -> None:
    model.layers[2]["bottom"] = "emb1"
    assert "layers[2].bottom: expected a sparse input of the Data layer (data1, data2)" in model.refusal()


def test_an_embedding_that_the_folder_has_no_table_for(model: Any) -> None:
    model.layers.insert(3, {**model.layers[2], "top": "emb3"})
    assert "2 tables were given for 3 embedding layers" in model.refusal()


def test_a_table_that_no_embedding_reads(model: Any) -> None:
    del model.layers[2]
    assert "2 tables were given for 1 embedding layers" in model.refusal()


@pytest.mark.parametrize("label", ["dense", "data1"])
def test_a_loss_whose_label_is_an_input(model: Any, label: str) -> None:
    """The output would have the name of an input."""
    model.layers[-1]["bottom"] = ["fc1", label]
    model.refusal()


@pytest.mark.parametrize("label", ["fc1", "bn", "emb1", "elsewhere"])
def test_a_loss_whose_label_is_any_other_tensor(model: Any, label: str) -> None:
    """Nobody needs the label for a prediction; whatever its name, the output has it."""
    model.layers[-1]["bottom"] = ["fc1", label]
    answers = model.compile(2).run(model.feeds())
    assert list(answers) == [label]
    assert answers[label].shape == (4, 1)


def test_two_losses_of_one_name(model: Any) -> None:
    model.layers.append(dict(model.layers[-1]))
    assert '"loss" is produced twice' in model.refusal()


@pytest.mark.parametrize("name", ["fc1.weight", "fc1.bias", "emb1.keys", "emb1.vectors", "fc1_1", "logits of label"])
def test_tensors_named_like_those_that_the_compiler_makes(model: Any, name: str) -> None:
    """Names of the model win, and the compiler's own step aside."""
    expected = model.compile().run(model.feeds())
    model.layer("joined")["top"] = name
    model.layer("bn")["bottom"] = name
    for level in (0, 2):
        np.testing.assert_allclose(model.compile(level).run(model.feeds())["label"], expected["label"], rtol=1e-5)


@pytest.mark.parametrize("name", ["fc1.weight", "emb1.keys", "bn.mean", "logits of label"])
def test_inputs_named_like_tensors_that_the_compiler_makes(model: Any, name: str) -> None:
    model.layers[0]["dense"]["top"] = name
    model.layer("joined")["bottom"][0] = name
    feeds = model.feeds()
    feeds[name] = feeds.pop("dense")
    for level in (0, 2):
        assert list(model.compile(level).run(feeds)) == ["label"]


@pytest.mark.parametrize(("bottoms", "tops"), [([], "t"), ("fc1", []), (["fc1", "bn"], "t"), ("fc1", ["t", "u"])])
def test_too_few_and_too_many_bottoms_and_tops(model: Any, bottoms: Any, tops: Any) -> None:
    add(model, "ReLU", bottoms, tops)
    assert "layers[8]" in model.refusal()


def test_a_layer_type_that_nobody_knows(model: Any) -> None:
    add(model, "InnerProducts", "fc1", "t")
    assert "layers[8] InnerProducts fc1 -> t: did you mean" in model.refusal()


def test_no_layers_after_the_inputs(model: Any) -> None:
    del model.layers[1:]
    model.refusal(weights={"dense": None})


def test_every_unsupported_layer_is_named(model: Any) -> None:
    add(model, "Mystery", "fc1", "m")
    add(model, "Riddle", "m", "n")
    message = model.refusal()
    assert "Mystery" in message
    assert "Riddle" in message
