"""The loop over the passes: verification, translation validation, errors that name the pass, dumps, logs."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest

from hugectr2onnx import passes
from hugectr2onnx.errors import CompilerError, PassError
from hugectr2onnx.ir.ops.elementwise import Add, Elu, Relu, Sigmoid, Sub
from hugectr2onnx.ir.ops.structural import Identity
from hugectr2onnx.ir.types import f32
from hugectr2onnx.passes.algebra.fuse_bias import fuse_bias
from hugectr2onnx.passes.cleanup.drop_identities import drop_identities
from hugectr2onnx.passes.pattern import P, Var
from hugectr2onnx.passes.rewriter import apply, rule

A = Var("a")


@pytest.fixture
def model(graph, x):
    product = x @ graph.const(np.ones((4, 2), np.float32), "w")
    graph.output({"y": graph.add(Relu(), Identity()(product + graph.const(np.float32([-1, -2]), "b")), name="relu1")})
    return graph


@pytest.fixture
def pipeline(monkeypatch):
    """Let a level run these passes."""

    def use(*each, level=2):
        monkeypatch.setattr(passes, "PIPELINES", {**passes.PIPELINES, level: each})

    return use


def wrong(graph):
    """Drops every relu."""

    @rule(P(Relu, A))
    def drop_relu(a):
        return a

    return apply(graph, [drop_relu])


def slightly_wrong(graph):
    """Adds a millionth, once."""
    if any(node.name == "done" for node in graph):
        return Counter()
    for name, value in graph.outputs.items():
        nudged = graph.add(Identity(), value * 1.000001, name="done")
        operands = [nudged if output == name else v for output, v in graph.outputs.items()]
        graph._set_operands(graph.sink, operands)
    return Counter({"slightly_wrong": 1})


def breaking(graph):
    next(node for node in graph if isinstance(node.op, Relu)).types = (f32(7),)
    return Counter({"breaking": 1})


def failing(graph):
    raise CompilerError("no luck")


def stumbling(graph):
    {}["items"]


def there(graph):
    return apply(graph, [rule(P(Relu, A))(lambda a: Elu()(a))])


def back(graph):
    return apply(graph, [rule(P(Elu, A))(lambda a: Relu()(a))])


def test_it_runs_until_nothing_changes(model, pipeline, body):
    pipeline(fuse_bias, drop_identities)
    done = passes.run(model, 2)
    assert [each.name for each in done] == ["fuse_bias", "drop_identities"]
    assert [dict(each.fires) for each in done] == [{"fuse_matmul_add": 1}, {"drop_identity": 1}]
    assert [(each.ops_before, each.ops_after) for each in done] == [(4, 3), (3, 2)]
    assert passes.run(model, 2) == ()


def test_what_one_pass_makes_possible_the_next_round_does(graph, x, pipeline):
    """The bias is behind an identity, and the pass that drops it runs last."""
    pipeline(fuse_bias, drop_identities)
    product = Identity()(x @ graph.const(np.ones((4, 2), np.float32)))
    graph.output({"y": product + graph.const(np.float32([1, 2]))})
    assert [each.name for each in passes.run(graph, 2)] == ["drop_identities", "fuse_bias"]


def test_level_0_does_nothing(model):
    before = str(model)
    assert passes.run(model, 0, validate=True) == ()
    assert str(model) == before


def test_a_failure_names_the_pass_and_what_ran_before(model, pipeline):
    pipeline(drop_identities, failing)
    with pytest.raises(PassError) as caught:
        passes.run(model, 2)
    first, second, third = str(caught.value).splitlines()[:3]
    assert (first, second, third) == ("pass failing failed: no luck", "ran before: drop_identities", "graph @g {")
    assert isinstance(caught.value.__cause__, CompilerError)


def test_a_failure_of_the_first_pass(model, pipeline):
    pipeline(failing)
    with pytest.raises(PassError, match="ran before: nothing"):
        passes.run(model, 2)


def test_a_mistake_in_a_pass_names_the_pass_too(model, pipeline):
    pipeline(drop_identities, stumbling)
    with pytest.raises(
        PassError, match="pass stumbling failed: KeyError\\('items'\\)\nran before: drop_ident"
    ) as caught:
        passes.run(model, 2)
    assert isinstance(caught.value.__cause__, KeyError)


def test_too_little_memory_is_no_mistake_of_the_pass(model, pipeline):
    def hungry(graph):
        raise MemoryError

    pipeline(hungry)
    with pytest.raises(MemoryError):
        passes.run(model, 2)


def test_a_pass_that_breaks_the_ir_is_named(model, pipeline):
    pipeline(fuse_bias, breaking)
    with pytest.raises(PassError, match=r"(?s)pass breaking failed: .*says f32\[7\].*ran before: fuse_bias"):
        passes.run(model, 2)


def test_passes_that_undo_one_another_are_named(model, pipeline):
    pipeline(there, back)
    with pytest.raises(PassError, match="the passes of level 2 undo one another: <lambda>"):
        passes.run(model, 2)


def test_validation_finds_the_wrong_pass(model, pipeline):
    pipeline(fuse_bias, wrong, drop_identities)
    with pytest.raises(
        PassError, match=r"(?s)pass wrong failed: wrong changes output y: by up to .*ran before: fuse_bias"
    ):
        passes.run(model, 2, validate=True)


def test_without_validation_it_goes_through(model, pipeline):
    pipeline(wrong)
    assert [each.name for each in passes.run(model, 2)] == ["wrong"]


def test_level_1_is_exact_and_level_2_has_a_tolerance(model, pipeline):
    pipeline(slightly_wrong, level=2)
    passes.run(model.clone(), 2, validate=True)
    pipeline(slightly_wrong, level=1)
    with pytest.raises(PassError, match="slightly_wrong changes output y"):
        passes.run(model, 1, validate=True)


def cancelling(graph):
    """`(x + big) - big` becomes x and a little more: 1 + 2**-14 times as much."""

    @rule(P(Sub, P(Add, A, Var("big", const=True)), Var("big", const=True)))
    def cancel(a):
        return a * (1 + 2**-14)

    return apply(graph, [cancel])


def there_and_back(graph, x, big):
    number = graph.const(np.float32([big]))
    graph.output({"y": (x + number) - number})


def test_validation_allows_what_the_layers_themselves_lose_in_float32(graph, x, pipeline):
    """As parity does: of what cancels, float32 leaves few digits, whoever computes it."""
    there_and_back(graph, x, 4096)
    pipeline(cancelling)
    assert [each.name for each in passes.run(graph, 2, validate=True)] == ["cancelling"]


def test_validation_refuses_as_much_where_the_layers_lose_nothing(graph, x, pipeline):
    there_and_back(graph, x, 1 / 16)
    pipeline(cancelling)
    with pytest.raises(PassError, match=r"cancelling changes output y: by up to 0.000\d+, where \S+ is allowed"):
        passes.run(graph, 2, validate=True)


def test_dumps_are_numbered(model, pipeline, tmp_path):
    pipeline(fuse_bias, drop_identities)
    imported = str(model)
    passes.run(model, 2, dump=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000_imported.txt",
        "001_fuse_bias.txt",
        "002_drop_identities.txt",
    ]
    assert (tmp_path / "000_imported.txt").read_text() == f"{imported}\n"
    assert (tmp_path / "002_drop_identities.txt").read_text() == f"{model}\n"


def test_fires_are_logged(model, pipeline, caplog):
    pipeline(fuse_bias)
    with caplog.at_level(logging.INFO, "hugectr2onnx.passes"):
        passes.run(model, 2)
    assert [record.getMessage() for record in caplog.records] == ["fuse_matmul_add: 1 fired, 4 -> 3 ops"]


def test_a_failure_shows_the_graph_before_the_pass_when_debugging(model, pipeline, caplog):
    pipeline(breaking)
    before = str(model)
    with caplog.at_level(logging.DEBUG, "hugectr2onnx.passes"), pytest.raises(PassError) as caught:
        passes.run(model, 2)
    assert str(caught.value).endswith(before)


def test_an_output_that_is_a_prediction_keeps_its_sigmoid(graph, x):
    graph.output({"y": Sigmoid()(x @ graph.const(np.ones((4, 1), np.float32)) + graph.const(np.float32([1])))})
    for level in passes.PIPELINES:
        copy = graph.clone()
        passes.run(copy, level)
        assert isinstance(copy.outputs["y"].op, Sigmoid)
