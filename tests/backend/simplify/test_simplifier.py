"""What onnxsim may do to a model, and which of its answers are refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hugectr2onnx.backend.onnx.artifact import Artifact, serialise
from hugectr2onnx.backend.runtime.sessions import run, session
from hugectr2onnx.backend.simplify.simplifier import SimplifyResult, simplify
from hugectr2onnx.backend.simplify.skeleton import SkeletonError, restore, strip
from hugectr2onnx.backend.simplify.worker import Worker
from tests.backend.simplify.models import INT64_MAX, INT64_MIN, encoder, model_of, node, reshaped, small, wide_and_deep

FEED = {"keys": np.array([[INT64_MIN, INT64_MAX, 0], [-1, 5, INT64_MIN + 1]], np.int64)}


@pytest.fixture(scope="module")
def before() -> Artifact:
    return wide_and_deep()


@pytest.fixture(scope="module")
def result(before: Artifact, worker: Worker) -> SimplifyResult:
    return simplify(before, worker=worker)


class TestResult:
    def test_what_does_nothing_is_gone(self, result: SimplifyResult) -> None:
        assert (result.changed, result.reason) == (True, None)
        ops = [node.op_type for node in result.artifact.skeleton.graph.node]
        assert ops == ["LabelEncoder", "Gather", "ReduceSum", "MatMul", "Add", "Relu", "Sigmoid"]

    def test_it_computes_the_same(self, before: Artifact, result: SimplifyResult) -> None:
        expected = run(session(before), FEED)["label"]
        np.testing.assert_array_equal(run(session(result.artifact), FEED)["label"], expected)

    def test_the_key_table_is_the_same(self, before: Artifact, result: SimplifyResult) -> None:
        encoders = [artifact.skeleton.graph.node[0].attribute for artifact in (before, result.artifact)]
        assert list(encoders[0]) == list(encoders[1])

    def test_large_weights_are_initializers_again(self, before: Artifact, result: SimplifyResult) -> None:
        graph = result.artifact.skeleton.graph
        assert [tensor.name for tensor in graph.initializer] == ["table", "weight", "axes", "bias"]
        assert graph.initializer[1] == before.skeleton.graph.initializer[1]
        assert result.artifact.tensors == before.tensors

    def test_the_interface_is_the_same(self, before: Artifact, result: SimplifyResult) -> None:
        old, new = before.skeleton, result.artifact.skeleton
        assert list(new.graph.input) == list(old.graph.input)
        assert list(new.graph.output) == list(old.graph.output)
        assert list(new.opset_import) == list(old.opset_import)
        assert (new.ir_version, new.producer_name, new.graph.name) == (8, "hugectr2onnx", "wdl")

    def test_metadata_is_ours_and_onnxsim_adds_none(self, result: SimplifyResult) -> None:
        model = result.artifact.skeleton
        assert [(p.key, p.value) for p in model.metadata_props] == [("hugectr2onnx.version", "1.0")]
        for kept in model.graph.node:
            name = kept.name.removesuffix(".node")
            assert [(p.key, p.value) for p in kept.metadata_props] == [("hugectr.layer", f"layer of {name}")]
            assert kept.doc_string == f"makes {name}"

    def test_the_artifact_before_is_not_changed(self, before: Artifact, result: SimplifyResult) -> None:
        assert serialise(before.skeleton) == serialise(wide_and_deep().skeleton)

    def test_a_second_time_changes_nothing(self, result: SimplifyResult, worker: Worker) -> None:
        again = simplify(result.artifact, worker=worker)
        assert (again.changed, again.reason) == (False, None)
        assert again.artifact is result.artifact


class TestDeterminism:
    def test_names_that_onnxsim_makes_up_are_numbered(self, worker: Worker) -> None:
        graph = simplify(reshaped(), worker=worker).artifact.skeleton.graph
        assert [(n.op_type, n.name, list(n.input)) for n in graph.node] == [
            ("Reshape", "simplified_0", ["x", "folded_0"])
        ]
        assert not graph.node[0].metadata_props

    def test_numbers_that_the_model_uses_are_left_out(self, worker: Worker) -> None:
        nodes = [
            node("ReduceSum", ["x", "folded_0"], "sum", keepdims=0),
            node("Reshape", ["sum", "shape"], "simplified_0"),
            node("Relu", ["simplified_0"], "y"),
        ]
        interface = {"x": (TensorProto.FLOAT, ["N", 4, 1, 8])}, {"y": (TensorProto.FLOAT, ["N", 32])}
        initializers = [small("folded_0", [2], np.int64), small("shape", [-1, 32], np.int64)]
        graph = simplify(Artifact(model_of(nodes, *interface, initializers), {}), worker=worker).artifact.skeleton.graph
        assert list(graph.node[0].input) == ["x", "folded_1"]

    def test_what_was_simplified_before_does_not_matter(self, worker: Worker) -> None:
        first = simplify(reshaped(), worker=worker).artifact.skeleton
        simplify(wide_and_deep(), worker=worker)
        assert serialise(simplify(reshaped(), worker=worker).artifact.skeleton) == serialise(first)
        worker.close()
        assert serialise(simplify(reshaped(), worker=worker).artifact.skeleton) == serialise(first)

    def test_the_hash_seed_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        results = []
        for seed in ("1", "2"):
            monkeypatch.setenv("PYTHONHASHSEED", seed)
            child = Worker()
            models = [simplify(artifact, worker=child).artifact for artifact in (wide_and_deep(), reshaped())]
            results.append([serialise(artifact.skeleton) for artifact in models])
            child.close()
        assert results[0] == results[1]

    @pytest.mark.parametrize("pattern", ["_v_{}", "{}", "Reshape_{}", "folded_{}"])
    def test_names_like_those_of_onnxsim_do_no_harm(self, pattern: str, worker: Worker) -> None:
        names = [pattern.format(i) for i in range(80)]
        nodes = [node("ReduceSum", ["x", "axes"], "sum", keepdims=0), node("Reshape", ["sum", "shape"], names[0])]
        nodes += [node("Add", [a, "one"], b) for a, b in itertools.pairwise(names)]
        interface = {"x": (TensorProto.FLOAT, ["N", 4, 1, 8])}, {names[-1]: (TensorProto.FLOAT, ["N", 32])}
        constants = [small("axes", [2], np.int64), small("shape", [-1, 32], np.int64), small("one", [1])]
        result = simplify(Artifact(model_of(nodes, *interface, constants), {}), worker=worker)
        x = np.arange(64, dtype=np.float32).reshape(2, 4, 1, 8)
        np.testing.assert_array_equal(run(session(result.artifact), {"x": x})[names[-1]], x.reshape(2, 32) + 79)


class TestKeyTables:
    def test_two_tables_over_the_same_keys_stay_apart(self, worker: Worker) -> None:
        nodes = [
            encoder("keys", "a", np.array([1, 2], np.int64)),
            encoder("keys", "b", np.array([3, 4], np.int64)),
            node("Identity", ["b"], "c"),
            node("Concat", ["a", "c"], "y", axis=1),
        ]
        interface = {"keys": (TensorProto.INT64, ["N", 2])}, {"y": (TensorProto.INT64, ["N", 4])}
        result = simplify(Artifact(model_of(nodes, *interface, []), {}), worker=worker)
        assert result.changed
        found = run(session(result.artifact), {"keys": np.array([[1, 4]], np.int64)})["y"]
        assert found.tolist() == [[0, 2, 2, 1]]

    def test_a_table_that_is_folded_away_is_refused(self, worker: Worker) -> None:
        nodes = [encoder("constant", "rows", np.array([5], np.int64)), node("Add", ["rows", "x"], "y")]
        interface = {"x": (TensorProto.INT64, ["N", 1])}, {"y": (TensorProto.INT64, ["N", 1])}
        before = Artifact(model_of(nodes, *interface, [small("constant", [5], np.int64)]), {})
        result = simplify(before, worker=worker)
        assert not result.changed and result.artifact is before
        assert result.reason == "onnxsim was not used: onnxsim changed the key table of node rows.node"

    def test_the_request_holds_neither_tables_nor_weights(self) -> None:
        assert wide_and_deep().skeleton.ByteSize() > 400_000
        assert strip(wide_and_deep().skeleton).model.ByteSize() < 10_000


class TestWhatIsRefused:
    def test_nodes_without_names(self, worker: Worker) -> None:
        artifact = reshaped()
        artifact.skeleton.graph.node[0].name = ""
        assert "names of their own" in (simplify(artifact, worker=worker).reason or "")

    def test_control_flow(self, worker: Worker) -> None:
        body = helper.make_graph([], "body", [], [])
        branch = node("If", ["x"], "y", then_branch=body, else_branch=body)
        artifact = Artifact(model_of([branch], {}, {}, [small("x", True, np.bool_)]), {})
        assert "control flow" in (simplify(artifact, worker=worker).reason or "")

    def test_a_model_that_onnxsim_rejects(self, worker: Worker) -> None:
        nodes = [node("Concat", ["x", "x"], "y")]  # the axis is missing
        interface = {"x": (TensorProto.FLOAT, ["N"])}, {"y": (TensorProto.FLOAT, ["N"])}
        before = Artifact(model_of(nodes, *interface, []), {})
        result = simplify(before, worker=worker)
        assert result.artifact is before and not result.changed
        assert "onnxsim was not used" in (result.reason or "")
        assert simplify(reshaped(), worker=worker).changed

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda m: m.graph.input[0].type.tensor_type.shape.dim.add(), "inputs"),
            (lambda m: m.graph.input.add(name="z"), "inputs"),
            (lambda m: m.graph.output[0].type.tensor_type.shape.dim[0].Clear(), "outputs"),
            (lambda m: setattr(m.graph.output[0], "name", "z"), "outputs"),
            (lambda m: setattr(m.opset_import[0], "version", 18), "operator sets"),
            (lambda m: setattr(m, "ir_version", 9), "IR version"),
            (lambda m: m.functions.add(name="f"), "functions"),
        ],
    )
    def test_an_answer_with_another_interface(self, change: Callable[[onnx.ModelProto], object], what: str) -> None:
        skeleton = strip(reshaped().skeleton)
        answer = onnx.ModelProto()
        answer.CopyFrom(skeleton.model)
        change(answer)
        with pytest.raises(SkeletonError, match=f"changed the model's {what}"):
            restore(skeleton, answer)

    def test_an_answer_with_the_wrong_placeholder(self) -> None:
        skeleton = strip(wide_and_deep().skeleton)
        answer = onnx.ModelProto()
        answer.CopyFrom(skeleton.model)
        answer.graph.node[0].attribute[0].t.raw_data = (99).to_bytes(8, "little")
        with pytest.raises(SkeletonError, match=r"key table of node rows\.node"):
            restore(skeleton, answer)

    def test_a_constant_is_not_folded_into_a_large_tensor(self, worker: Worker) -> None:
        nodes = [node("Expand", ["one", "shape"], "ones"), node("Identity", ["x"], "z")]
        nodes += [node("Add", ["z", "ones"], "y")]
        interface = {"x": (TensorProto.FLOAT, ["N", 50_000])}, {"y": (TensorProto.FLOAT, ["N", 50_000])}
        constants = [small("one", [[1]]), small("shape", [1, 50_000], np.int64)]
        result = simplify(Artifact(model_of(nodes, *interface, constants), {}), worker=worker)
        assert result.changed
        assert result.artifact.nbytes < 10_000
