"""What a caller passes besides the files, of every wrong kind; and what numpy and pathlib users pass rightly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx

Survives = Callable[[Callable[[], object]], bool]
HUGE = 10**5000
"""More digits than Python prints."""
ODD: dict[str, Any] = {
    "true": True, "zero": 0, "one": 1, "negative": -1, "float": 1.5, "nan": float("nan"), "large": 2**70, "huge": HUGE,
    "empty text": "", "text": "x", "nul": "\0", "surrogate": "\ud800", "bytes": b"x", "list": [1], "texts": ["x"],
    "nested": [[1]], "dict": {"x": 1}, "odd keys": {1: 1}, "none key": {None: ()}, "object": object(), "class": int,
    "numpy int": np.int64(2), "array": np.array([1, 2]), "empty array": np.array([]), "matrix": np.array([[1.5]]),
    "set": {1}, "range": range(3),
}  # fmt: skip
odd = pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
OPTIONS = [
    "graph",
    "weights",
    "opt_level",
    "input_shapes",
    "layer_attrs",
    "slot_size_array",
    "graph_name",
    "opset",
    "n_gpus",
    "embedding_collection",
    "dump",
]


@odd
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_a_wrong_kind(
    model: Any, survives: Survives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)  # a text is a legal folder for `dump`
    assert survives(lambda: model.compile(**{option: value}))


@odd
def test_a_shape_or_a_dimension_of_a_wrong_kind(model: Any, survives: Survives, value: Any) -> None:
    assert survives(lambda: model.compile(input_shapes={"x": value}))
    assert survives(lambda: model.compile(input_shapes={"x": ("N", value)}))


@odd
def test_attributes_of_a_wrong_kind(model: Any, survives: Survives, value: Any) -> None:
    assert survives(lambda: model.compile(layer_attrs={"fc1": value}))
    assert survives(lambda: model.compile(layer_attrs={value: {}} if value.__hash__ else {}))


@odd
@pytest.mark.parametrize(
    ("top", "name"), [("fc1", "num_output"), ("flat1", "shape"), ("flat1", "selected"), ("bn", "eps")]
)
def test_an_attribute_of_a_wrong_kind(model: Any, survives: Survives, top: str, name: str, value: Any) -> None:
    assert survives(lambda: model.compile(layer_attrs={top: {name: value}}))
    assert survives(lambda: model.compile(layer_attrs={top: {name: [-1, value]}}))


@odd
def test_a_slot_size_of_a_wrong_kind(model: Any, survives: Survives, value: Any) -> None:
    assert survives(lambda: model.compile(slot_size_array=[1, value, 1]))


@pytest.mark.parametrize("sizes", [[1, 2], [1, 2, 3, 4], [], [0, 0, 0], [2**62, 2**62, 2**62], [-1, 1, 1]])
def test_slot_sizes_of_a_wrong_number_or_sum(model: Any, survives: Survives, sizes: list[int]) -> None:
    assert survives(lambda: model.compile(2, slot_size_array=sizes).run(model.feeds()))


@odd
@pytest.mark.parametrize("key", ["dense", "sparse", "ntp", "key_bytes", "embeddings"])
def test_weights_of_a_wrong_kind(model: Any, survives: Survives, key: str, value: Any) -> None:
    given = {"dense": model.folder / "model_dense_0.model", "sparse": sorted(model.folder.glob("*_sparse_*"))}
    assert survives(lambda: model.compile(weights={**given, key: value}))
    assert survives(lambda: model.compile(weights={**given, "sparse": [value, value]}))
    if key in ("dense", "sparse", "ntp", "key_bytes"):
        assert survives(lambda: model.compile(weights=hugectr2onnx.Weights(**{key: value})))


@pytest.mark.parametrize("option", ["opt_level", "opset"])
@pytest.mark.parametrize("value", [-1, 4, 16, 24, None, "2", 2.5, pytest.param(HUGE, id="huge"), [2]])
def test_levels_and_opsets_that_do_not_exist(model: Any, option: str, value: Any) -> None:
    assert option in model.refusal(**{option: value})


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "a\nb", "x" * 100_000])
def test_inputs_of_strange_names(model: Any, survives: Survives, name: str) -> None:
    assert survives(lambda: model.compile(input_shapes={name: ("N", 3)}))


@pytest.mark.parametrize("name", ["dense", "data1", "fc1"])
def test_inputs_that_the_graph_has_already(model: Any, name: str) -> None:
    assert f"input_shapes names {name!r}, which the graph has already" in model.refusal(input_shapes={name: ("N", 3)})


@pytest.mark.parametrize("name", ["exta", "EMB1_", "sparse_embedding1"])
def test_inputs_named_almost_like_a_tensor_that_lacks(model: Any, name: str) -> None:
    model.layers.insert(-1, {"type": "Concat", "bottom": ["extra", "sparse_embedding0"], "top": "y"})
    near = {"exta": "extra", "EMB1_": "emb1", "sparse_embedding1": "sparse_embedding0"}[name]
    message = model.refusal(input_shapes={name: ("N", 3)})
    assert f"input_shapes names {name!r}, which no layer reads (did you mean {near}" in message


def test_inputs_that_nothing_reads_are_left_out(model: Any) -> None:
    """A test that describes all tensors of a case, whether or not the layer reads them."""
    model.layers.insert(-1, {"type": "ReLU", "bottom": "in0", "top": "y"})
    feeds = {**model.feeds(), "in0": np.zeros((4, 2), np.float32), "in1": np.zeros((4, 5), np.float32)}
    compiled = model.compile(input_shapes={"in0": ("N", 2), "in1": ("N", 5)})
    assert "input_shapes names 'in1', which no layer reads" in " ".join(compiled.report.warnings)
    assert "in1" not in [value.node.name for value in compiled.ir.inputs]
    assert list(compiled.run(feeds)) == ["label"]


@pytest.mark.parametrize(
    "shape", [("N", 1 << 31), ("N", 1 << 29), ("N", 1 << 20, 1 << 20), (1 << 30,), ("N", 0), ("N", -2), ("N", "N")]
)
def test_shapes_that_no_input_has(model: Any, shape: Any) -> None:
    model.layers.insert(-1, {"type": "ReLU", "bottom": "x", "top": "y"})
    assert "x" in model.refusal(input_shapes={"x": shape})


def test_attributes_for_a_top_that_no_layer_has(model: Any) -> None:
    assert "layer_attrs names 'fc2', which is no layer's top (did you mean fc1" in model.refusal(
        layer_attrs={"fc2": {}}
    )


def test_attributes_that_a_layer_does_not_have(model: Any) -> None:
    message = model.refusal(layer_attrs={"fc1": {"num_outputs": 1}})
    assert (
        "layer_attrs gives InnerProduct 'num_outputs', which is no attribute of it: did you mean num_output?" in message
    )


class TestRightly:
    """Numpy scalars, arrays and Paths where users have them."""

    def test_paths_as_text_and_as_path(self, model: Any) -> None:
        expected = model.compile().model
        assert model.compile(weights=str(model.folder)).model == expected
        assert (
            model.compile(
                weights=hugectr2onnx.Weights(
                    str(model.folder / "model_dense_0.model"),
                    [os.fspath(p) for p in sorted(model.folder.glob("*_sparse_*"))],
                )
            ).model
            == expected
        )

    def test_a_numpy_level_and_opset(self, model: Any) -> None:
        assert list(model.compile(np.int64(2), opset=np.int32(18)).run(model.feeds())) == ["label"]

    @pytest.mark.parametrize("kind", [list, tuple, np.array])
    def test_slot_sizes(self, model: Any, kind: Callable[[list[int]], Any]) -> None:
        raw = model.compile(slot_size_array=kind([5, 3, 2]))
        feeds = model.feeds()
        moved = {**feeds, "data1": np.where(feeds["data1"] < 0, -1, feeds["data1"] + [[0], [5]])}
        moved["data2"] = np.where(feeds["data2"] < 0, -1, feeds["data2"] + 8)
        np.testing.assert_allclose(raw.run(feeds)["label"], model.compile().run(moved)["label"], rtol=1e-6)

    def test_a_graph_with_numpy_numbers(self, model: Any) -> None:
        model.layers[0]["dense"]["dense_dim"] = np.int32(3)
        model.layer("fc1")["fc_param"]["num_output"] = np.uint8(1)
        model.layer("bn")["bn_param"]["eps"] = np.float32(1e-5)
        assert list(model.compile().run(model.feeds())) == ["label"]

    @pytest.mark.parametrize(
        "shape", [[-1, 8], (-1, 8), (None, 8), ("N", 8), np.array([-1, 8]), (np.int64(-1), np.int64(8))]
    )
    def test_the_shape_of_a_reshape(self, model: Any, shape: Any) -> None:
        assert list(model.compile(layer_attrs={"flat1": {"shape": shape}}).run(model.feeds())) == ["label"]

    @pytest.mark.parametrize(
        "shape", [("N", 4), [None, 4], (-1, 4), np.array([-1, 4]), (None, np.int64(4)), (np.int64(-1), 4)]
    )
    def test_the_shape_of_an_input(self, model: Any, shape: Any) -> None:
        model.layers.insert(-1, {"type": "ReLU", "bottom": "x", "top": "y"})
        compiled = model.compile(input_shapes={"x": shape})
        assert [str(value.type) for value in compiled.ir.inputs if value.node.name == "x"] == ["f32[N, 4]"]
