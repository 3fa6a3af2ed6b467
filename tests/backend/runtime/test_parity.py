"""Proof by comparison: the rule, what it lets pass, what it refuses and how it says so."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.backend.runtime.parity import Expectation
from hugectr2onnx.errors import ParityError
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.elementwise import Relu, Sigmoid
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.shape import Repeat, Take
from hugectr2onnx.ir.types import N, f32


def expectation(reference, rounded=None, batch: int = 1) -> Expectation:
    exact = np.asarray(reference, np.float64)
    return Expectation(batch, {}, {"y": exact}, {"y": np.asarray(exact if rounded is None else rounded, np.float32)})


def verdict(reference, found, rounded=None) -> parity.OutputParity:
    (output,) = parity.compare([expectation(reference, rounded)], [{"y": np.asarray(found, np.float32)}]).outputs
    return output


def model(weight: float = 1.0, *, sigmoid: bool = True) -> Graph:
    graph = Graph()
    logits = graph.input("x", f32(N, 3)) @ graph.const(np.full((3, 2), weight, np.float32), "w")
    graph.output({"label": Sigmoid()(logits) if sigmoid else Relu()(logits)})
    return graph


def emitted(graph: Graph) -> Artifact:
    return emit(graph, graph_name="test", opset=17, version="0", metadata={})


# The rule


def test_equal_answers_pass():
    output = verdict([1.0, -2.0], [1.0, -2.0])
    assert (output.name, output.max_error, output.elements) == ("y", 0.0, 2)


@pytest.mark.parametrize("reference, error", [(0.0, 0.9e-5), (1.0, 1.9e-5), (100.0, 1e-3)])
def test_within_the_tolerance(reference, error):
    assert verdict([reference], [reference + error], [reference]).max_error == pytest.approx(error, rel=0.1)


@pytest.mark.parametrize("reference, error", [(0.0, 1.1e-5), (1.0, 2.2e-5), (100.0, 1.1e-3)])
def test_beyond_the_tolerance(reference, error):
    with pytest.raises(ParityError, match=r"output 'y' differs from the float64 reference in 1 of 1 elements"):
        verdict([reference], [reference + error], [reference])


def test_eight_times_the_noise_of_float32_is_allowed():
    noisy = [1000.0, 0.5 + 1e-3]
    assert verdict([1000.0, 0.5], [1000.0, 0.5 + 7.9e-3], noisy).tolerance == pytest.approx(1e-2, rel=0.3)
    with pytest.raises(
        ParityError,
        match=r"differs from the float64 reference in 1 of 2 elements .*off by 0\.011 where 0\.008 is allowed",
    ):
        verdict([1000.0, 0.5], [1000.0, 0.5 + 1.1e-2], noisy)


def test_every_element_counts():
    reference = np.zeros((50, 40))
    found = reference.copy()
    found[31, 7] = 1e-4
    message = r"in 1 of 2000 elements at a batch of 1: \[31, 7\] is .*, off by 0\.0001 where 1e-05"
    with pytest.raises(ParityError, match=message):
        verdict(reference, found)


@pytest.mark.parametrize("found", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(found):
    with pytest.raises(ParityError, match=r"in 1 of 1 elements .*off by inf where 1\.5e-05 is allowed"):
        verdict([0.5], [found])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_same_nan_or_infinity_passes(value):
    assert verdict([value], [value]).max_error == 0


def test_a_finite_answer_where_the_reference_has_none_is_refused():
    for value in (np.nan, np.inf):
        with pytest.raises(ParityError, match=r"in 1 of 1 elements .*off by inf where 0 is allowed"):
            verdict([value], [0.0])


@pytest.mark.parametrize("found", [np.inf, np.nan])
def test_where_float32_overflows_in_the_reference_too_it_may_overflow(found):
    assert verdict([1e60, 1.0], [found, 1.0], [np.inf, 1.0]).max_error == 0


def test_an_overflow_does_not_excuse_its_neighbours():
    with pytest.raises(ParityError, match=r"\[1\]"):
        verdict([1e60, 1.0], [np.inf, 1.1], [np.inf, 1.0])


def test_another_shape_is_refused():
    with pytest.raises(ParityError, match=r"output 'y' has shape \(1, 2\) at a batch of 1, not \(2, 1\)"):
        verdict([[1.0], [2.0]], [[1.0, 2.0]])


def test_no_elements_pass():
    assert verdict(np.zeros((0, 2)), np.zeros((0, 2))).elements == 0


def test_the_worst_of_all_feeds_is_reported():
    expected = [expectation([0.0], batch=batch) for batch in (1, 7)]
    found = [{"y": np.float32([4e-6])}, {"y": np.float32([8e-6])}]
    result = parity.compare(expected, found)
    assert result.batches == (1, 7)
    assert (result.outputs[0].max_error, result.outputs[0].elements) == (pytest.approx(8e-6), 2)


# The feeds


def test_batches_are_one_an_odd_number_and_many():
    expected = parity.expect(model())
    assert [each.batch for each in expected] == [1, 7, 64]
    assert [each.feeds["x"].shape for each in expected] == [(1, 3), (7, 3), (64, 3)]


def test_batches_are_multiples_of_the_smallest():
    graph = Graph()
    graph.output({"y": Take(0, (0, 2))(graph.input("x", f32(N, 3)))})
    assert [each.batch for each in parity.expect(graph)] == [3, 21, 192]


def test_a_fixed_interface_gets_three_feeds():
    graph = Graph()
    graph.output({"y": Relu()(graph.input("x", f32(2, 3)))})
    feeds = [each.feeds["x"] for each in parity.expect(graph)]
    assert [feed.shape for feed in feeds] == [(2, 3)] * 3
    assert not np.array_equal(feeds[0], feeds[1])


def test_large_batches_are_left_out_where_tensors_are_wide():
    graph = Graph()
    graph.output({"y": Take(1, (0,))(Repeat(1, 1 << 20)(graph.input("x", f32(N, 1))))})
    assert [each.batch for each in parity.expect(graph)] == [1, 7]


def test_seeds_give_other_feeds():
    one, two = parity.expect(model(), seeds=(0, 1))[:2]
    assert (one.batch, two.batch) == (1, 1)
    assert not np.array_equal(one.feeds["x"], two.feeds["x"])


def test_the_reference_is_in_float64_and_its_noise_in_float32():
    each = parity.expect(model())[0]
    assert each.reference["label"].dtype == np.float64
    assert each.rounded["label"].dtype == np.float32


# The model


def test_the_model_that_was_built_passes():
    graph = model()
    result = parity.check(emitted(graph), parity.expect(graph))
    assert result.batches == (1, 7, 64)
    assert [output.name for output in result.outputs] == ["label", "logits of label"]
    assert all(output.max_error <= output.tolerance for output in result.outputs)


def test_another_model_does_not():
    with pytest.raises(ParityError, match=r"output 'label' differs from the float64 reference in \d+ of \d+ elements"):
        parity.check(emitted(model(1.01)), parity.expect(model(1.0)))


@pytest.mark.parametrize("prediction", [Sigmoid(), Softmax()], ids=str)
def test_logits_show_what_a_saturated_prediction_hides(prediction):
    """sigmoid(1000) = sigmoid(2000) in every precision."""

    def saturated(weight: float) -> Graph:
        graph = Graph()
        logits = graph.input("x", f32(N, 2)) * 0 + graph.const(np.float32([weight, -weight]))
        graph.output({"label": prediction(logits)})
        return graph

    expected = parity.expect(saturated(1000))
    parity.check(emitted(saturated(1000)), expected)
    with pytest.raises(ParityError, match="output 'logits of label' differs"):
        parity.check(emitted(saturated(2000)), expected)


def test_logits_that_are_an_input_need_no_output_of_their_own():
    graph = Graph()
    graph.output({"label": Sigmoid()(graph.input("x", f32(N, 2)))})
    assert [output.name for output in parity.check(emitted(graph), parity.expect(graph)).outputs] == ["label"]


def test_the_model_itself_is_left_alone():
    graph = model()
    artifact = emitted(graph)
    before = artifact.skeleton.SerializeToString(deterministic=True)
    parity.check(artifact, parity.expect(graph))
    assert artifact.skeleton.SerializeToString(deterministic=True) == before


def test_a_model_that_lost_an_output_is_refused():
    graph = Graph()
    x = graph.input("x", f32(N, 2))
    graph.output({"a": Relu()(x), "b": x + x})
    artifact = emitted(graph)
    lost = onnx.ModelProto()
    lost.CopyFrom(artifact.skeleton)
    del lost.graph.output[1]
    with pytest.raises(ParityError, match=r"the model has no output 'b'"):
        parity.check(Artifact(lost, artifact.tensors), parity.expect(graph))


# Rows of their own


def test_a_row_that_float32_ruins_does_not_loosen_the_others():
    """The first row is wrong by 1e-2 in float32, the second is exact: it may be off by 1e-5 and not by 1e-3."""
    reference, rounded = [[0.5, 0.5], [0.25, 0.25]], [[0.51, 0.5], [0.25, 0.25]]
    verdict(reference, [[0.57, 0.5], [0.25, 0.25]], rounded)
    with pytest.raises(ParityError, match=r"\[1, 0\] is .*, off by 0\.001 where 1\.25e-05 is allowed"):
        verdict(reference, [[0.5, 0.5], [0.251, 0.25]], rounded)


def test_a_lucky_rounding_is_not_taken_for_the_noise():
    """10,001 - 10,000 loses 13 bits in float32; that one evaluation got them right proves nothing."""
    graph = Graph()
    x = graph.input("x", f32(N, 1))
    weights = graph.const(np.array([[1 / 3]], np.float32), "w")
    graph.output({"y": (x @ weights + np.float32(3333.7)) - np.float32(3333.7)})
    (each, *_) = parity.expect(graph)
    lucky = Expectation(1, each.feeds, each.reference, each.reference, each.graph, each.values)
    found = {"y": (each.reference["y"] + 2e-4).astype(np.float32)}
    assert parity.compare([lucky], [found]).outputs[0].tolerance > 2e-4
    with pytest.raises(ParityError, match=r"off by 0\.1 where 0\.012 is allowed"):
        parity.compare([lucky], [{"y": found["y"] + np.float32(0.1)}])


# Every output, every batch


def test_all_outputs_of_all_batches_are_reported():
    expected = [Expectation(b, {}, *[{name: np.zeros((b, 1)) for name in "yz"}] * 2) for b in (1, 7)]
    found = [{"y": np.full((b, 1), 0.1), "z": np.full((b, 1), 0.1)} for b in (1, 7)]
    with pytest.raises(ParityError) as caught:
        parity.compare(expected, found)
    assert [line[:34] for line in str(caught.value).splitlines()] == [
        "output 'y' differs from the float6",
        "output 'y' differs from the float6",
        "output 'z' differs from the float6",
        "output 'z' differs from the float6",
    ]


def test_measure_gives_what_differs_as_data():
    reference = np.zeros((5, 2))
    found = reference.copy()
    found[3] = 0.1, 0.2
    (output,) = parity.measure([expectation(reference)], [{"y": found}]).outputs
    assert (output.passed, output.exceeding) == (False, 2)
    (difference,) = output.differences
    assert (difference.place, difference.error) == ((3, 1), pytest.approx(0.2))


# Hidden units


def dead(bias: float) -> Graph:
    graph = Graph()
    hidden = Relu()(graph.input("x", f32(N, 3)) @ graph.const(np.ones((3, 4), np.float32)) + np.float32(bias))
    hidden.node.name = "relu1"
    graph.output({"y": hidden @ graph.const(np.ones((4, 1), np.float32))})
    return graph


@pytest.mark.parametrize("bias", [0.0, -100.0, -5000.0])
def test_feeds_grow_until_they_wake_up_a_layer(bias: float):
    expected = parity.expect(dead(bias))
    (units,) = parity.compare(expected, [each.reference for each in expected]).hidden_units
    assert (units.layer, units.units, units.active) == ("relu1", 4, 4)


def test_units_that_nothing_wakes_up_are_counted():
    graph = dead(0.0)
    asleep = Relu()(graph.input("z", f32(N, 3)) @ graph.const(np.zeros((3, 5), np.float32)) - np.float32(1.0))
    asleep.node.name = "relu2"
    expected = parity.expect(graph)
    found = {
        units.layer: (units.units, units.active)
        for units in parity.measure(expected, [each.reference for each in expected]).hidden_units
    }
    assert found == {"relu1": (4, 4), "relu2": (5, 0)}
