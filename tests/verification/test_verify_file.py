"""An ONNX file against the HugeCTR model that it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hugectr2onnx
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import FeedError, ParityError, WeightsError
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.options import Options
from hugectr2onnx.verification.verify_file import stored_options, verify

WEIGHT, BIAS = np.array([[0.5], [-1.0]], np.float32), np.array([0.25], np.float32)
DENSE = np.array([[1.0, 2.0], [0.0, -3.0], [4.0, 0.5]], np.float32)
PREDICTIONS = 1 / (1 + np.exp(-(DENSE.astype(np.float64) @ WEIGHT + BIAS)))
GRAPH: dict[str, Any] = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 2},
            "sparse": [],
        },
        {"type": "InnerProduct", "bottom": "dense", "top": "fc", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"},
    ]
}


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    (tmp_path / "m_dense_0.model").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    return Weights(tmp_path / "m_dense_0.model")


def by_hand(path: Path, weight: np.ndarray = WEIGHT, **names: str) -> Path:
    """The model as another converter might write it: no metadata, other operators."""
    x, y = names.get("x", "dense"), names.get("y", "label")
    nodes = [
        helper.make_node("MatMul", [x, "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], [y]),
    ]
    inputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [None, 2])]
    outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, [None, 1])]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(BIAS, "b")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return by_hand(tmp_path / "m.onnx")


def save_samples(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"dense": DENSE, "label": PREDICTIONS} | arrays)
    return path


# Against the reference


def test_a_file_of_another_converter(file: Path, weights: Weights) -> None:
    result = verify(file, GRAPH, weights)
    assert [each.name for each in result.parity.outputs] == ["label", "logits of label"]
    assert all(each.max_error <= each.tolerance for each in result.parity.outputs)
    assert result.comparisons == ()


def test_a_wrong_weight(tmp_path: Path, weights: Weights) -> None:
    wrong = by_hand(tmp_path / "wrong.onnx", WEIGHT * np.float32(1.001))
    with pytest.raises(ParityError, match="output 'label' differs from the float64 reference") as caught:
        verify(wrong, GRAPH, weights)
    assert "wrong.onnx" in caught.value.describe()


def test_logits_show_what_a_saturated_prediction_hides(tmp_path: Path) -> None:
    """With weights of 1000 every prediction is 0 or 1, whether or not the weights are a thousandth off."""
    large = np.array([[1000.0], [-2000.0]], np.float32)
    dense = tmp_path / "m_dense_0.model"
    dense.write_bytes(large.tobytes() + BIAS.tobytes())
    with pytest.raises(ParityError, match="logits of label"):
        verify(by_hand(tmp_path / "wrong.onnx", large * np.float32(1.001)), GRAPH, Weights(dense))


@pytest.mark.parametrize("level", range(4))
def test_our_own_files(level: int, tmp_path: Path, weights: Weights) -> None:
    hugectr2onnx.compile(GRAPH, weights, level, simplify=False).save(tmp_path / "own.onnx")
    assert verify(tmp_path / "own.onnx", GRAPH, weights).parity.batches == (1, 7, 64)


def test_tables_in_a_file_of_their_own(tmp_path: Path) -> None:
    data = GRAPH["layers"][0] | {"dense": {"top": "dense", "dense_dim": 512}}
    graph = {"layers": [data, GRAPH["layers"][1] | {"fc_param": {"num_output": 600}}]}
    generator = np.random.default_rng(0)
    dense = tmp_path / "m_dense_0.model"
    dense.write_bytes(generator.normal(0, 0.05, 513 * 600).astype("<f4").tobytes())
    compiled = hugectr2onnx.compile(graph, Weights(dense), 1, simplify=False)
    save(compiled.artifact, tmp_path / "large.onnx", threshold=1000, limit=100_000)
    (data,) = tmp_path.glob("large.onnx.*.data")
    assert verify(tmp_path / "large.onnx", graph, Weights(dense)).parity.outputs[0].name == "fc"
    data.unlink()
    with pytest.raises(FeedError, match=r"\.data: no such file, expected the data of an ONNX file"):
        verify(tmp_path / "large.onnx", graph, Weights(dense))


@pytest.mark.parametrize(("names", "kind"), [({"x": "data"}, "inputs data"), ({"y": "prob"}, "outputs prob")])
def test_another_interface(names: dict[str, str], kind: str, tmp_path: Path, weights: Weights) -> None:
    with pytest.raises(FeedError, match=f"has the {kind}, the HugeCTR model gives"):
        verify(by_hand(tmp_path / "other.onnx", **names), GRAPH, weights)


def test_another_width_is_not_the_same_model(tmp_path: Path, weights: Weights) -> None:
    model = onnx.load(by_hand(tmp_path / "other.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((3, 1), np.float32), "w"))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ParityError, match="does not run on inputs of the model's interface"):
        verify(tmp_path / "other.onnx", GRAPH, weights)


def test_a_hugectr_model_that_is_wrong(file: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"\0" * 8)
    with pytest.raises(WeightsError, match=r"bias needs 1 floats .* the file is truncated or belongs to another graph"):
        verify(file, GRAPH, Weights(tmp_path / "short"))


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model(content: bytes, file: Path, weights: Weights) -> None:
    file.write_bytes(content)
    with pytest.raises(FeedError, match="is not an ONNX file"):
        verify(file, GRAPH, weights)


# Options


def embedded(tmp_path: Path) -> tuple[dict[str, Any], Weights]:
    """keys -> embedding -> output."""
    table = tmp_path / "m0_sparse_0.model"
    table.mkdir()
    (table / "key").write_bytes(np.array([4, 6], "<i8").tobytes())
    (table / "emb_vector").write_bytes(np.array([1.5, -2.5], "<f4").tobytes())
    (tmp_path / "m_dense_0.model").write_bytes(b"")
    sparse = {"top": "keys", "slot_num": 2, "nnz_per_slot": [1, 1], "is_fixed_length": True}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    hparam = {"embedding_vec_size": 1, "combiner": "sum"}
    layers = [
        data | {"sparse": [sparse]},
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": hparam,
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": 2},
    ]
    return {"layers": layers}, Weights(tmp_path / "m_dense_0.model", [table])


@pytest.mark.parametrize("options", [{}, {"slot_size_array": [5, 2]}, {"convert_embedding": False}], ids=str)
def test_the_file_knows_its_options(options: dict[str, Any], tmp_path: Path) -> None:
    graph, weights = embedded(tmp_path)
    hugectr2onnx.compile(graph, weights, simplify=False, **options).save(tmp_path / "m.onnx")
    verify(tmp_path / "m.onnx", graph, weights)


def test_the_caller_may_say_otherwise(tmp_path: Path) -> None:
    graph, weights = embedded(tmp_path)
    hugectr2onnx.compile(graph, weights, simplify=False, slot_size_array=[5, 2]).save(tmp_path / "m.onnx")
    with pytest.raises(
        ParityError,
        match="output 'flat' differs from the float64 reference in 1 of 2 elements",
    ):
        verify(tmp_path / "m.onnx", graph, weights, options=Options())


def test_inputs_tell_the_options_of_a_file_without_metadata(tmp_path: Path) -> None:
    graph, weights = embedded(tmp_path)
    compiled = hugectr2onnx.compile(graph, weights, simplify=False, convert_embedding=False, keep_empty_dense=True)
    model = compiled.model
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    verify(tmp_path / "m.onnx", graph, weights)


def test_no_metadata_means_the_usual_options(file: Path) -> None:
    assert stored_options(file) == Options()


@pytest.mark.parametrize("text", ["{", "[]", '{"convert_embedding": 7, "input_shapes": 3, "slot_size_array": ["x"]}'])
def test_changed_metadata_is_an_error(text: str, file: Path) -> None:
    model = onnx.load(file)
    helper.set_model_props(model, {"hugectr2onnx.options": text})
    onnx.save(model, file)
    with pytest.raises(FeedError, match=r"the metadata hugectr2onnx\.options"):
        stored_options(file)


# Against predictions


def test_predictions_that_agree(file: Path, weights: Weights, tmp_path: Path) -> None:
    result = verify(file, GRAPH, weights, save_samples(tmp_path / "s.npz"))
    assert [(each.output, each.answers_of, each.exceeding) for each in result.comparisons] == [
        ("label", "the file", 0),
        ("label", "the reference", 0),
    ]
    assert result.rows == 3
    json.dumps(result.to_dict())


def test_a_plain_list_of_predictions_and_wider_inputs(file: Path, weights: Weights, tmp_path: Path) -> None:
    samples = save_samples(tmp_path / "s.npz", dense=DENSE.astype(np.float64), label=PREDICTIONS.ravel())
    assert verify(file, GRAPH, weights, samples).rows == 3


def test_keys_may_be_of_any_integer_type(tmp_path: Path) -> None:
    graph, weights = embedded(tmp_path)
    hugectr2onnx.compile(graph, weights, simplify=False).save(tmp_path / "m.onnx")
    for dtype in (np.int32, np.uint32, np.uint64):
        keys = np.array([[[4], [6]], [[6], [9]]], dtype)
        np.savez(tmp_path / "s.npz", keys=keys, flat=[[1.5, -2.5], [-2.5, 0.0]])
        assert verify(tmp_path / "m.onnx", graph, weights, tmp_path / "s.npz").rows == 2


def test_predictions_that_differ_name_both(file: Path, weights: Weights, tmp_path: Path) -> None:
    samples = save_samples(tmp_path / "s.npz", label=PREDICTIONS + np.array([[0.0], [0.01], [0.0]]))
    with pytest.raises(ParityError) as caught:
        verify(file, GRAPH, weights, samples)
    message = str(caught.value)
    assert "label: the file differs in 1 of 3 elements, by up to 0.01" in message
    assert "label: the reference differs in 1 of 3 elements" in message
    assert verify(file, GRAPH, weights, samples, atol=0.02).rows == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers(value: float, file: Path, weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="the file differs in 3 of 3 elements, by up to inf"):
        verify(file, GRAPH, weights, save_samples(tmp_path / "s.npz", label=np.full((3, 1), value)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"label": np.zeros(4)}, r"label has the shape \[4\]; the model gives \[3, 1\]"),
        ({"label": np.array(["a", "b", "c"])}, "predictions are numbers"),
        ({"dense": np.zeros((3, 2), complex)}, "dense is complex128"),
        ({"dense": np.zeros((3, 5))}, "input dense is float64"),
        ({"wide": np.zeros(3)}, "has the unknown wide; the inputs are dense, the outputs label"),
    ],
)
def test_samples_that_do_not_fit(
    arrays: dict[str, Any], message: str, file: Path, weights: Weights, tmp_path: Path
) -> None:
    with pytest.raises(FeedError, match=message):
        verify(file, GRAPH, weights, save_samples(tmp_path / "s.npz", **arrays))


def test_samples_that_lack_something(file: Path, weights: Weights, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", label=PREDICTIONS)
    with pytest.raises(FeedError, match="lacks dense"):
        verify(file, GRAPH, weights, tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", dense=DENSE)
    with pytest.raises(FeedError, match="holds no predictions"):
        verify(file, GRAPH, weights, tmp_path / "s.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"text", None])
def test_files_that_hold_no_samples(content: bytes | None, file: Path, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FeedError, match=r"s\.npz: (is not an \.npz file|no such file)"):
        verify(file, GRAPH, weights, path)


def test_one_array_is_no_set_of_samples(file: Path, weights: Weights, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", DENSE)
    with pytest.raises(FeedError, match=r"numpy\.savez"):
        verify(file, GRAPH, weights, tmp_path / "s.npy")


def test_nothing_is_unpickled(file: Path, weights: Weights, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", dense=np.array([object()], dtype=object), label=PREDICTIONS)
    with pytest.raises(FeedError, match=r"is not an \.npz file that numpy can read"):
        verify(file, GRAPH, weights, tmp_path / "s.npz")
