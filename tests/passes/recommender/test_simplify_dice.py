"""simplify_dice: two sums, one sigmoid, and the factor 1 - alpha in the next weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.dice import Dice, FrozenDice
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.passes.recommender.simplify_dice import simplify_dice

RNG = np.random.default_rng(2)


def layer(op, *, linear: bool = True, public: bool = False, var: float = 0.5, scale: float = 1.0, rows=N) -> Graph:
    graph = Graph("g")
    x = graph.input("x", f32(rows, 3))
    frozen = (np.array([0.1, -0.2, 0.3], np.float32), np.full(3, var, np.float32)) if isinstance(op, FrozenDice) else ()
    dice = op(x, *(graph.const(array, name) for array, name in zip(frozen, ("mean", "var"), strict=False)))
    w = graph.const((scale * RNG.normal(size=(3, 2))).astype(np.float32), "w")
    b = graph.const(RNG.normal(size=2).astype(np.float32), "b")
    y = Linear()(dice, w, b) if linear else dice
    graph.output({"y": y, "dice": dice} if public else {"y": y})
    return graph


def reference(x, alpha, eps):
    """The specification's formula, in numpy (layers 3.26)."""
    p = 1 / (1 + np.exp(-(x - x.mean(0)) / np.sqrt(x.var(0) + eps)))
    return p * x + (1 - p) * alpha * x


def test_before_a_linear(prove, lines):
    graph = layer(Dice(0.2, 1e-3))
    assert prove(graph, simplify_dice) == {"expand_dice_before_linear": 1}
    assert lines(graph) == [
        "%equal_shares = equal_shares(%x) : f32[1, N]",
        "%column_sum = column_sum(%equal_shares, %x) : f32[1, 3]",
        "%sub = sub(%x, %column_sum) : f32[N, 3]",
        "%mul = mul(%sub, %sub) : f32[N, 3]",
        "%column_sum_2 = column_sum(%equal_shares, %mul) {plus=0.001} : f32[1, 3]",
        "%sqrt = sqrt(%column_sum_2) : f32[1, 3]",
        "%div = div(%sub, %sqrt) : f32[N, 3]",
        "%sigmoid = sigmoid(%div) : f32[N, 3]",
        "%add = add(%sigmoid, %const) : f32[N, 3]",
        "%mul_2 = mul(%add, %x) : f32[N, 3]",
        "%linear = linear(%mul_2, %const_2, %b) : f32[N, 2]",
    ]


@pytest.mark.parametrize("op", [Dice(0.2, 1e-3), FrozenDice(0.2, 1e-3)])
@pytest.mark.parametrize("how", [{"linear": False}, {"public": True}], ids=["no linear", "other readers"])
def test_alone(prove, op, how):
    fires = prove(layer(op, **how), simplify_dice)
    assert set(fires) == {f"expand_{op.mnemonic}"}


def test_frozen_statistics(prove, lines):
    graph = layer(FrozenDice(0.25, 0.0))
    assert prove(graph, simplify_dice) == {"expand_frozen_dice_before_linear": 1}
    assert lines(graph)[:3] == [
        "%sub = sub(%x, %mean) : f32[N, 3]",
        "%mul = mul(%sub, %const) : f32[N, 3]",
        "%sigmoid = sigmoid(%mul) : f32[N, 3]",
    ]


def test_two_dice_share_the_shares(lines):
    graph = Graph("g")
    x = graph.input("x", f32(N, 3))
    graph.output({"y": Dice(0.1, 1e-3)(Dice(0.3, 1e-3)(x))})
    assert simplify_dice(graph)["merge_shares"] == 1
    assert [line for line in lines(graph) if "equal_shares(" in line] == [
        "%equal_shares = equal_shares(%x) : f32[1, N]"
    ]


def test_a_fixed_batch_needs_no_counting(lines):
    graph = layer(Dice(0.2, 1e-3), rows=4)
    simplify_dice(graph)
    assert not any("equal_shares(" in line for line in lines(graph))
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    before = evaluate(layer(Dice(0.2, 1e-3), linear=False, rows=4), {"x": x})["y"]
    np.testing.assert_allclose(before, reference(x.astype(np.float64), np.float64(0.2), 1e-3), rtol=1e-6)


def test_an_alpha_of_one_does_nothing(prove, lines):
    graph = layer(Dice(1.0, 1e-3))
    assert prove(graph, simplify_dice) == {"expand_dice": 1}
    assert [line.split(" = ")[1][:7] for line in lines(graph)] == ["linear("]


def test_an_alpha_of_nothing_adds_nothing(prove, lines):
    graph = layer(Dice(0.0, 1e-3))
    prove(graph, simplify_dice)
    assert lines(graph)[-2] == "%mul_2 = mul(%sigmoid, %x) : f32[N, 3]"


def test_an_alpha_next_to_one_leaves_the_weight(prove):
    assert prove(layer(Dice(1 - 1e-5, 1e-3)), simplify_dice) == {"expand_dice": 1}


def test_a_weight_that_would_overflow_stays():
    assert simplify_dice(layer(Dice(-50.0, 1e-3), scale=1e37)) == {"expand_dice": 1}


def test_a_deviation_of_zero_declines():
    graph = layer(FrozenDice(0.2, 0.0), var=0.0)
    assert not simplify_dice(graph)


def test_statistics_that_are_computed_decline():
    graph = Graph("g")
    x, mean, var = graph.input("x", f32(N, 3)), graph.input("mean", f32(3)), graph.input("var", f32(3))
    graph.output({"y": FrozenDice(0.2, 1e-3)(x, mean, var)})
    assert not simplify_dice(graph)


@settings(max_examples=40, deadline=None)
@given(
    alpha=st.floats(-3, 3, width=32),
    eps=st.sampled_from([1e-8, 1e-3, 1.0]),
    rows=st.integers(1, 9),
    offset=st.floats(-5, 5),
    seed=st.integers(0, 1 << 20),
)
def test_the_algebra(alpha, eps, rows, offset, seed):
    x = (np.random.default_rng(seed).normal(size=(rows, 3)) + offset).astype(np.float32)
    after = layer(Dice(alpha, eps), linear=False)
    simplify_dice(after)
    expected = reference(x.astype(np.float64), alpha, np.float64(np.float32(eps)))
    np.testing.assert_allclose(evaluate(after, {"x": x})["y"], expected, rtol=1e-5, atol=1e-6 * (1 + abs(alpha)))
