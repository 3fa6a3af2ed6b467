"""Faults planted in one side of a comparison: the layer is named, and the cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import hugectr2onnx
from hugectr2onnx import passes
from hugectr2onnx.comparison.compare import compare
from hugectr2onnx.comparison.result import FirstDifference
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.sample_models import write_sample

from .conftest import HandModel


def first(a: Any, b: Any, **options: Any) -> FirstDifference:
    found = compare(a, b, **options).first
    assert found is not None
    return found


def compiled(hand: HandModel, folder: Path, level: int = 2, **options: Any) -> Path:
    path = folder / f"level{level}.onnx"
    hugectr2onnx.compile(hand.graph, hand.write(folder / "other"), level, simplify=False, **options).save(path)
    return path


def other(array: np.ndarray, place: tuple[int, ...], by: float = 1e-2) -> np.ndarray:
    copy = array.copy()
    copy[place] += by
    return copy


# Nothing planted


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_file_of_the_model_is_the_same(hand: HandModel, weights: Weights, tmp_path: Path, level: int) -> None:
    result = compare(hand.graph, compiled(hand, tmp_path, level), weights=weights)
    assert result.first is None
    assert {each.verdict for each in result.tensors} <= {"same", "not compared"}


def test_a_file_of_another_converter_and_recorded_tensors_are_the_same(
    hand: HandModel, weights: Weights, tmp_path: Path
) -> None:
    feeds = hand.feeds()
    assert compare(hand.graph, hand.foreign(tmp_path / "f.onnx"), weights=weights).passed
    result = compare(hand.graph, {**feeds, **hand.evaluate(feeds)}, weights=weights)
    assert result.passed
    assert {each.verdict for each in result.tensors} == {"same"}


# 1 to 6: a weight changed by 1e-2


@pytest.mark.parametrize(
    ("layer", "weight", "place"),
    [
        ("fc1", "fc1_weight", (2, 1)),
        ("bn1", "bn1_gamma", (3,)),
        ("fc2", "fc2_weight", (5, 0)),
        ("fc3", "fc3_bias", (0,)),
    ],
)
@pytest.mark.parametrize("level", [0, 2])
def test_a_changed_weight_in_a_file_of_ours(
    hand: HandModel, weights: Weights, tmp_path: Path, layer: str, weight: str, place: tuple[int, ...], level: int
) -> None:
    name = weight.replace("_", ".")
    changed = hand.changed(**{weight: other(hand.weights[name], place)})
    found = first(hand.graph, compiled(changed, tmp_path, level), weights=weights)
    assert found.layer == layer
    if level == 0:
        where = ", ".join(map(str, place))
        assert found.cause is not None
        assert f"the weight {name} differs in 1 of {hand.weights[name].size} elements, most at [{where}]" in found.cause
        assert found.cause.endswith("by 0.01")


def test_a_changed_weight_in_a_recording(hand: HandModel, weights: Weights) -> None:
    feeds = hand.feeds()
    changed = hand.changed(fc2_weight=other(hand.weights["fc2.weight"], (5, 0)))
    found = first(hand.graph, {**feeds, **changed.evaluate(feeds)}, weights=weights)
    assert (found.layer, found.tensor) == ("fc2", "fc2")
    assert found.cause == "the weight fc2.weight[5, 0] differs by 0.01"


def test_a_changed_weight_in_another_snapshot(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    changed = hand.changed(fc2_bias=other(hand.weights["fc2.bias"], (3,))).write(tmp_path / "other")
    found = first(hand.graph, hand.graph, weights=weights, other_weights=changed)
    assert found.layer == "fc2"
    assert "the weight fc2.bias differs in 1 of 4 elements, most at [3]" in str(found.cause)


# 7: two tables swapped


def test_swapped_tables(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    swapped = hand.changed(tables=hand.tables[::-1])
    found = first(hand.graph, compiled(swapped, tmp_path), weights=weights)
    assert found.layer == "emb"
    assert found.cause == (
        "it gives what would come of swapped tables: m0_sparse_0.model and m1_sparse_0.model in one another's place"
    )


# 8 to 11: what other converters and other software do


@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
def test_a_missing_bias(hand: HandModel, weights: Weights, tmp_path: Path, layer: str) -> None:
    found = first(hand.graph, hand.foreign(tmp_path / "f.onnx", without=[f"{layer}.bias"]), weights=weights)
    assert (found.layer, found.cause) == (layer, "its bias is missing")


def test_a_transposed_product(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    changed = hand.changed(fc1_weight=hand.weights["fc1.weight"].T)
    found = first(hand.graph, changed.foreign(tmp_path / "f.onnx"), weights=weights)
    assert (found.layer, found.cause) == ("fc1", "its weight is transposed")


def test_a_weight_that_was_read_column_by_column(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    in_columns = hand.weights["fc2.weight"].reshape(4, 8).T
    found = first(hand.graph, hand.changed(fc2_weight=in_columns).foreign(tmp_path / "f.onnx"), weights=weights)
    assert (found.layer, found.cause) == ("fc2", "its weight is transposed: read column by column")


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
def test_a_dropped_activation(hand: HandModel, weights: Weights, tmp_path: Path, layer: str) -> None:
    found = first(hand.graph, hand.foreign(tmp_path / "f.onnx", without=[layer]), weights=weights)
    assert (found.layer, found.cause) == (layer, "its activation (relu) is dropped")


def test_a_changed_weight_in_a_file_of_another_converter(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    changed = hand.changed(fc2_weight=other(hand.weights["fc2.weight"], (5, 0), 0.5))
    found = first(hand.graph, changed.foreign(tmp_path / "f.onnx"), weights=weights)
    assert found.layer == "fc2"
    assert "the weight fc2.weight differs in 1 of 32 elements, most at [5, 0]" in str(found.cause)


def test_exchanged_inputs_of_a_concat(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    found = first(hand.graph, hand.foreign(tmp_path / "f.onnx", concat=["flat", "relu1"]), weights=weights)
    assert (found.layer, found.cause) == ("concat1", "its two inputs are in each other's place")


def test_dense_features_without_their_logarithm(hand: HandModel, weights: Weights) -> None:
    feeds = hand.feeds()
    feeds["dense"] = np.abs(feeds["dense"])
    recorded = hand.evaluate({**feeds, "dense": np.log1p(feeds["dense"])})
    found = first(hand.graph, {**feeds, **recorded}, weights=weights)
    assert found.layer == "fc1"
    assert str(found.cause).startswith("it gives what would come of log(1 + x) of the dense features")


@pytest.mark.parametrize(("word", "change"), [("ignored", ("Mul", 0, 1)), ("inverted", ("Mul", -1, 1))])
def test_a_mask_that_is_not_what_it_should_be(tmp_path: Path, word: str, change: tuple[str, int, int]) -> None:
    sample = write_sample("bst", tmp_path / "bst")
    path = tmp_path / "m.onnx"
    hugectr2onnx.compile(sample.graph, sample.weights, 0, check=False, layer_attrs=sample.layer_attrs).save(path)
    model = onnx.load(path)
    operator, factor, addend = change
    made = [
        helper.make_node(operator, ["sequence_mask", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "addend"], ["wrong"]),
    ]
    for node in model.graph.node:
        node.input[:] = ["wrong" if name == "sequence_mask" else name for name in node.input]
    place = next(i for i, node in enumerate(model.graph.node) if "sequence_mask" in node.output)
    for node in reversed(made):
        model.graph.node.insert(place + 1, node)
    for name, number in (("factor", factor), ("addend", addend)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(number), name))
    onnx.save(model, path)
    found = first(sample.graph, path, weights=sample.weights)
    assert (found.layer, found.cause) == ("attention_out", f"the mask sequence_mask is {word}")


# 12, 13: BatchNorm by other statistics


@pytest.mark.parametrize("level", [0, 2])
def test_batch_norm_by_other_statistics_in_a_file_of_ours(
    hand: HandModel, weights: Weights, tmp_path: Path, level: int
) -> None:
    changed = hand.changed(mean=hand.mean + 0.1, var=hand.var * np.float32(1.5))
    found = first(hand.graph, compiled(changed, tmp_path, level), weights=weights)
    assert found.layer == "bn1"
    assert str(found.cause).startswith("BatchNorm by other statistics")


def test_batch_norm_by_the_statistics_of_the_batch(hand: HandModel, weights: Weights) -> None:
    feeds = hand.feeds()
    before = hand.evaluate(feeds)["fc1"]
    changed = hand.changed(mean=before.mean(0), var=before.var(0))
    found = first(hand.graph, {**feeds, **changed.evaluate(feeds)}, weights=weights)
    assert (found.layer, found.tensor) == ("bn1", "bn1")
    assert found.cause == "BatchNorm by other statistics: those of this batch, not those of training"


def test_batch_norm_by_unknown_statistics(hand: HandModel, weights: Weights) -> None:
    feeds = hand.feeds()
    changed = hand.changed(mean=hand.mean + 0.1, var=hand.var * 1.5)
    found = first(hand.graph, {**feeds, **changed.evaluate(feeds)}, weights=weights)
    assert found.layer == "bn1"
    assert str(found.cause).startswith("BatchNorm by other statistics (or another gamma or beta)")


# 14, 15: offsets


def test_offsets_that_one_side_adds(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    path = compiled(hand, tmp_path, slot_size_array=(3, 9))
    options = hugectr2onnx.Options()
    found = first(hand.graph, path, weights=weights, options=options)
    assert found.layer == "emb2"
    assert found.cause == "the file was compiled with slot_size_array=[3, 9], the source is read with None"


# 16, 17: a row of a table


def test_a_replaced_row_of_a_table(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    table = hand.tables[1].copy()
    table[7] = 0.25
    changed = hand.changed(tables=[hand.tables[0], table])
    found = first(hand.graph, compiled(changed, tmp_path), weights=weights)
    assert found.layer == "emb2"
    assert "table emb2: 1 of 12 keys have another vector: key 7" in str(found.cause)


def test_a_replaced_row_in_a_recording(hand: HandModel, weights: Weights) -> None:
    table, feeds = hand.tables[1].copy(), hand.feeds()
    table[7] = 0.25
    changed = hand.changed(tables=[hand.tables[0], table])
    found = first(hand.graph, {**feeds, **changed.evaluate(feeds)}, weights=weights)
    assert found.layer == "emb2"
    assert "rows of the table emb2 differ for 1 of 13 keys: 7" in str(found.cause)


# 18: another iteration


def test_a_model_of_another_iteration(hand: HandModel, tmp_path: Path) -> None:
    later = HandModel.random(seed=5)
    weights = hand.write(tmp_path / "snapshots", iteration=100)
    later.write(tmp_path / "snapshots", iteration=200)
    found = first(hand.graph, compiled(later, tmp_path), weights=weights)
    assert found.layer == "emb"
    assert found.cause == "it gives what would come of iteration 200, which lies in the same folder"


# 19: NVIDIA's mean


def test_a_mean_that_divides_by_the_padded_width(hand: HandModel, weights: Weights, tmp_path: Path) -> None:
    found = first(hand.graph, hand.foreign(tmp_path / "f.onnx", mean="padded"), weights=weights)
    assert (found.layer, found.tensor) == ("emb", "emb")
    assert found.cause == (
        "its mean divides by the padded width of 3, not by the number of keys (as NVIDIA's converter does)"
    )


# 20: half precision


def test_half_precision(hand: HandModel, weights: Weights) -> None:
    feeds = hand.feeds()
    found = first(hand.graph, {**feeds, **hand.evaluate(feeds, np.float16)}, weights=weights)
    assert str(found.cause).startswith("half precision: rounding to half in every layer")


# Weights that passes folded into one constant, in a file of level 2


@pytest.mark.parametrize(
    ("weight", "place", "layer", "cause"),
    [
        ("fc1_weight", (2, 1), "fc1", "the weight fc1.weight[2, 1] differs by 0.01: it is folded into const"),
        ("fc1_bias", (1,), "fc1", "fc1.bias[1] by 0.01, or bn1.mean[1] by -0.01, or bn1.beta[1] by 0.00982"),
        ("bn1_gamma", (3,), "bn1", "bn1.gamma[3] by 0.01, or bn1.var[3] by -0.0885"),
        ("bn1_beta", (2,), "bn1", "bn1.beta[2] by 0.01, or bn1.mean[2] by 0.0207, or fc1.bias[2] by -0.0207"),
        ("mean", (1,), "bn1", "bn1.mean[1] by 0.01, or fc1.bias[1] by -0.01, or bn1.beta[1] by -0.00982"),
        ("var", (1,), "bn1", "bn1.var[1] by 0.01, or bn1.gamma[1] by -0.00351"),
        ("fc3_bias", (0,), "fc3", "the weight fc3.bias[0] differs by 0.01: it is folded into const_12"),
        ("fc3_weight", (2, 0), "fc3", "the weight fc3.weight differs: it is folded into const_10"),
    ],
)
def test_a_changed_weight_that_was_folded(
    hand: HandModel, weights: Weights, tmp_path: Path, weight: str, place: tuple[int, ...], layer: str, cause: str
) -> None:
    before = getattr(hand, weight) if weight in ("mean", "var") else hand.weights[weight.replace("_", ".")]
    changed = hand.changed(**{weight: other(before, place)})
    found = first(hand.graph, compiled(changed, tmp_path, check=False), weights=weights)
    assert found.layer == layer
    assert cause in str(found.cause)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("din", "fc_att_i2.weight"),
        ("din", "fc_din_i2.weight"),
        ("bst", "query_emb.weight"),
        ("bst", "attention_layer_norm.beta"),
    ],
)
def test_a_changed_weight_of_a_sample_is_among_those_named(tmp_path: Path, name: str, weight: str) -> None:
    sample = write_sample(name, tmp_path / name, rows=60)
    changed = with_changed_weight(sample, weight, tmp_path / "other")
    path = tmp_path / "changed.onnx"
    hugectr2onnx.compile(sample.graph, changed, 2, simplify=False, check=False, layer_attrs=sample.layer_attrs).save(
        path
    )
    assert weight in str(first(sample.graph, path, weights=sample.weights).cause)


def with_changed_weight(sample: Any, weight: str, folder: Path) -> Weights:
    """The snapshot with the middle element of a dense weight raised by 1e-2."""
    graph = load(sample.graph, sample.weights, hugectr2onnx.Options(layer_attrs=sample.layer_attrs or {})).graph
    array = next(np.asarray(node.op.array).ravel() for node in graph if node.name == weight)
    dense = np.fromfile(sample.weights.dense, "<f4")
    starts = np.flatnonzero(dense[: len(dense) - len(array) + 1] == array[0])
    (start,) = (at for at in starts if np.array_equal(dense[at : at + len(array)], array))
    dense[start + len(array) // 2] += 0.01
    folder.mkdir()
    dense.tofile(folder / Path(sample.weights.dense).name)
    return replace(sample.weights, dense=folder / Path(sample.weights.dense).name)


# A fault of the compiler itself


def test_a_fault_of_the_compiler_is_told_from_one_of_the_file(
    hand: HandModel, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that makes Relu of a layer something else: the file holds every weight, and so does the source compiled again."""

    def spoil(graph: Graph) -> dict[str, int]:
        relu = next((node for node in graph if isinstance(node.op, Relu) and "relu2" in node.sources), None)
        if relu is None:
            return {}
        with graph.building(*relu.sources):
            graph.replace(relu.results[0], graph.add(Sigmoid(), relu.inputs[0], name=relu.name))
        return {"spoil": 1}

    monkeypatch.setattr(passes, "PIPELINES", {**passes.PIPELINES, 2: (spoil, *passes.PIPELINES[2])})
    path = compiled(hand, tmp_path, check=False)
    found = first(hand.graph, path, weights=weights)
    assert found.layer == "relu2"
    assert found.cause == "the compiler's own fault: relu2 departs when the source is compiled again"
