"""Graph JSONs that are damaged as text, or that hold values of the wrong kind anywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hugectr2onnx
from hugectr2onnx import GraphJsonError

Survives = Callable[[Callable[[], object]], bool]
WRONG: list[Any] = [
    None, True, False, 0, -1, 2.5, 1e308, -1e308, 1e-300, 10**4000, -(10**30), float("nan"), float("inf"), "", "a\nb",
    "\0", "\ud800", "x" * 5000, [], {}, [None], [[]], [{}], {"": 1}, [1] * 100, "label", "dense",
]  # fmt: skip


def refused(model: Any, content: bytes) -> str:
    path = model.path("graph.json")
    path.write_bytes(content)
    with pytest.raises(GraphJsonError) as caught:
        hugectr2onnx.compile(path, model.folder, 0, simplify=False)
    assert str(path) in caught.value.describe()
    return str(caught.value)


def test_a_file_that_ends_anywhere(model: Any) -> None:
    text = json.dumps(model.graph, indent=1).encode()
    for end in range(0, len(text), 7):
        assert "graph.json" in refused(model, text[:end])


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"layers:\n- 1", b"<xml/>", b"\x80\x04\x95", b"\xff\xfe{\0}\0", b"PK\3\4"]
)
def test_a_file_that_is_not_json(model: Any, content: bytes) -> None:
    assert "graph.json" in refused(model, content)


@pytest.mark.parametrize("content", [b"null", b"1", b"[]", b'"graph"', b"{}", b'{"layers": null}', b'{"layers": []}'])
def test_json_that_is_no_graph(model: Any, content: bytes) -> None:
    refused(model, content)


@pytest.mark.parametrize("opening", [b"[", b'{"layers":'])
def test_a_file_that_is_10000_levels_deep(model: Any, opening: bytes) -> None:
    assert "nested deeper than" in refused(model, opening * 10_000)


def test_a_value_that_is_10000_levels_deep(model: Any) -> None:
    for _ in range(10_000):
        model.graph = {"layers": [model.graph]}
    assert "nested deeper than" in model.refusal()


def test_a_value_that_holds_itself(model: Any) -> None:
    model.layers.append(model.graph)
    assert "nested deeper than" in model.refusal()


def test_a_key_that_appears_twice(model: Any) -> None:
    text = json.dumps(model.graph).replace('"leading_dim": 8', '"leading_dim": 8, "leading_dim": 4')
    assert '"leading_dim" appears twice in one object' in refused(model, text.encode())


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "9" * 5000, "0x10", "01", "1."])
def test_numbers_that_json_or_a_float_cannot_hold(model: Any, number: str) -> None:
    refused(model, json.dumps(model.graph).replace('"leading_dim": 8', f'"leading_dim": {number}').encode())


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (key,)
        yield from ((key, *rest) for rest in places(item))


@pytest.mark.parametrize(
    "wrong", WRONG, ids=lambda value: f"{type(value).__name__} {str(value)[:12]!a}" if value != 10**4000 else "huge"
)
def test_a_wrong_value_in_every_place(model: Any, survives: Survives, wrong: Any) -> None:
    original = copy.deepcopy(model.graph)
    for *holders, key in places(original):
        model.graph = copy.deepcopy(original)
        holder: Any = model.graph
        for step in holders:
            holder = holder[step]
        holder[key] = wrong
        assert survives(model.compile), (*holders, key)


def test_every_place_left_out(model: Any, survives: Survives) -> None:
    original = copy.deepcopy(model.graph)
    for *holders, key in places(original):
        model.graph = copy.deepcopy(original)
        holder: Any = model.graph
        for step in holders:
            holder = holder[step]
        del holder[key]
        assert survives(model.compile), (*holders, key)


PARAMETERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("Reshape", "emb1", {"selected": [0]}),
    ("Reshape", "emb1", {"leading_dim": 4, "time_step": 2}),
    ("Reshape", "emb1", {"shape": [-1, 8]}),
    ("Slice", "dense", {"ranges": [[0, 3]]}),
    ("ELU", "dense", {"elu_param": {"alpha": 0.5}}),
    ("LayerNorm", "emb1", {"ln_param": {"eps": 1e-5}}),
    ("Scale", "dense", {"scale_param": {"axis": 0, "factor": 2}}),
    ("Select", "dense", {"dim": 1, "index": [0, 2]}),
    ("Gather", "dense", {"indices": [0]}),
    ("ReduceSum", "emb1", {"axis": 1}),
    ("ReduceMean", "emb1", {"axis": 1}),
    ("FmOrder2", "flat1", {"out_dim": 4}),
    ("Softmax", "dense", {"factor": 2.0}),
    ("PReLU_Dice", "dense", {"prelu_dice_param": {"alpha": 0.2, "eps": 1e-5}}),
    ("PReLU_Dice", "dense", {"mean": [0.0, 0.0, 0.0], "var": [1.0, 1.0, 1.0]}),
    ("Dropout", "dense", {"rate": 0.5}),
    ("Concat", ["emb1", "emb1"], {"axis": 2}),
    ("MultiHeadAttention", ["emb1", "emb1"], {"num_attention_heads": 2, "transpose_b": True}),
    ("MultiHeadAttention", ["emb1", "emb1", "emb1"], {"num_attention_heads": 2}),
    ("SequenceMask", "fc1", {"max_sequence_len": 3}),
    ("SequenceMask", ["fc1", "fc1"], {"max_sequence_len_from": 3, "max_sequence_len_to": 2}),
    ("InnerProduct", "dense", {"fc_param": {"num_output": 2}}),
    ("FusedInnerProduct", "dense", {"fc_param": {"num_output": 2}, "position": "Head", "activation": "Relu"}),
    ("MLP", "dense", {"mlp_param": {"num_outputs": [2, 2], "activations": ["Relu", "None"], "biases": [True, False]}}),
    ("MultiCross", "dense", {"mc_param": {"num_layers": 1, "projection_dim": 2}}),
    ("WeightMultiply", "dense", {"weight_dims": [3, 2]}),
    ("GRU", "dense", {"gru_param": {"num_output": 2, "batchsize": 1, "SeqLength": 1, "vector_size": 3}}),
    ("BatchNorm", "dense", {"bn_param": {"factor": 0.5, "eps": 1e-5}}),
]


@pytest.mark.parametrize(
    ("type_name", "bottom", "params"), PARAMETERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_value_in_every_parameter_of_a_layer(
    model: Any, survives: Survives, type_name: str, bottom: Any, params: dict[str, Any]
) -> None:
    """The layer stands at the end, where nothing reads it and where the dense file has no weights for it."""
    for *holders, key in places(params):
        for wrong in WRONG:
            changed = copy.deepcopy(params)
            holder: Any = changed
            for step in holders:
                holder = holder[step]
            holder[key] = wrong
            extra = {"type": type_name, "bottom": bottom, "top": "extra", **changed}
            graph = {"layers": [*model.layers, extra]}
            assert survives(lambda graph=graph: hugectr2onnx.compile(graph, model.folder, 0, simplify=False)), changed


def chain(length: int) -> list[dict[str, str]]:
    return [{"type": "ReLU", "bottom": f"r{i}" if i else "bn", "top": f"r{i + 1}"} for i in range(length)]


def test_a_hundred_thousand_layers(model: Any) -> None:
    model.layers.extend(chain(100_000))
    assert "layers: 100009 of them; no HugeCTR model has more than" in model.refusal()


@pytest.mark.parametrize("level", [0, 2])
def test_a_thousand_layers_in_a_row_work(model: Any, level: int) -> None:
    """Nothing recurses from layer to layer."""
    model.layers[7:7] = chain(1500)
    model.layer("fc1")["bottom"] = "r1500"
    assert list(model.compile(level).run(model.feeds())) == ["label"]


@pytest.mark.parametrize(
    "name", ["λ", "a/b", "a b", "日本", "🙂", "..", "%s", "{x}", "'", '"', "a:0", "fc1.weight", "x" * 1000]
)
def test_names_of_all_kinds_work(model: Any, name: str) -> None:
    model.layer("fc1")["top"] = name
    model.layers[-1]["bottom"] = [name, "label"]
    compiled = model.compile()
    assert list(compiled.run(model.feeds())) == ["label"]


@pytest.mark.parametrize("name", ["", "\0", "a\nb", "\x1b[31m", "\x7f", "\ud800", "x" * 1001, 7, None, ["a", ["b"]]])
def test_names_that_no_tensor_can_have(model: Any, name: Any) -> None:
    model.layer("fc1")["top"] = name
    assert "layers[7]" in model.refusal()
