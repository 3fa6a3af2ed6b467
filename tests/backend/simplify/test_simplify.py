"""onnxsim in its child process: what it may do to a model, and everything that can go wrong."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor, serialise
from hugectr2onnx.backend.runtime.sessions import run, session
from hugectr2onnx.backend.simplify import simplifier as module
from hugectr2onnx.backend.simplify.simplifier import SimplifyResult, simplify
from hugectr2onnx.backend.simplify.skeleton import SkeletonError, restore, strip
from hugectr2onnx.backend.simplify.worker import Worker, WorkerError
from hugectr2onnx.backend.simplify.worker_main import FAILED, OK

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
KEY_COUNT, VECTOR = 20_000, 20
CHILD = {"PYTHONPATH": str(Path(module.__file__).parents[3])}
needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX's")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    child = Worker()
    yield child
    child.close()


@pytest.fixture
def fake() -> Iterator[Callable[[str], Worker]]:
    """A worker whose child runs the given Python instead."""
    made: list[Worker] = []

    def make(script: str) -> Worker:
        made.append(Worker([sys.executable, "-c", f"import os, sys, time\n{script}"]))
        return made[-1]

    yield make
    for child in made:
        child.close()


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[object]]],
    outputs: dict[str, tuple[int, list[object]]],
    initializers: list[onnx.TensorProto],
    opset: int = 17,
) -> onnx.ModelProto:
    infos = [[helper.make_tensor_value_info(n, t, s) for n, (t, s) in side.items()] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "wdl", *infos, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="hugectr2onnx")
    helper.set_model_props(model, {"hugectr2onnx.version": "1.0"})
    return model


def small(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def node(op_type: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    text = f"makes {output}"
    made = helper.make_node(op_type, inputs, [output], name=f"{output}.node", doc_string=text, **attributes)
    made.metadata_props.add(key="hugectr.layer", value=f"layer of {output}")
    return made


def encoder(keys_from: str, output: str, keys: np.ndarray) -> onnx.NodeProto:
    return node(
        "LabelEncoder",
        [keys_from],
        output,
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(keys, "keys"),
        values_tensor=numpy_helper.from_array(np.arange(len(keys)), "values"),
        default_tensor=numpy_helper.from_array(np.array([len(keys)]), "default"),
    )


def keys_of_the_table() -> np.ndarray:
    inner = np.unique(np.random.default_rng(1).integers(INT64_MIN + 1, INT64_MAX, KEY_COUNT - 2))
    return np.array([INT64_MIN, INT64_MAX, *inner], np.int64)


def wide_and_deep() -> Artifact:
    """keys -> rows -> summed vectors -> Relu(x @ w + b), then an Identity and an addition of 0 to take away."""
    keys = keys_of_the_table()
    table = np.random.default_rng(2).standard_normal((len(keys), VECTOR)).astype(np.float32)
    blob = Blob((table, np.zeros((1, VECTOR), np.float32)))
    weight = np.random.default_rng(3).standard_normal((VECTOR, 1000)).astype(np.float32)
    nodes = [
        encoder("keys", "rows", keys),
        node("Gather", ["table", "rows"], "vectors"),
        node("ReduceSum", ["vectors", "axes"], "sum", keepdims=0),
        node("MatMul", ["sum", "weight"], "product"),
        node("Add", ["product", "bias"], "fc1"),
        node("Relu", ["fc1"], "relu1"),
        node("Identity", ["relu1"], "dropout1"),
        node("Add", ["dropout1", "zero"], "logit"),
        node("Sigmoid", ["logit"], "label"),
    ]
    initializers = [
        external_tensor("table", blob),
        numpy_helper.from_array(weight, "weight"),
        small("axes", [1], np.int64),
        small("bias", np.linspace(-1, 1, 1000)),
        small("zero", [0]),
    ]
    interface = {"keys": (TensorProto.INT64, ["N", 3])}, {"label": (TensorProto.FLOAT, ["N", 1000])}
    return Artifact(model_of(nodes, *interface, initializers), {"table": blob})


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


def reshaped() -> Artifact:
    """A sum over an axis of one and a reshape, in place of which onnxsim puts a node and a constant of its own."""
    nodes = [node("ReduceSum", ["x", "axes"], "sum", keepdims=0), node("Reshape", ["sum", "shape"], "y")]
    interface = {"x": (TensorProto.FLOAT, ["N", 4, 1, 8])}, {"y": (TensorProto.FLOAT, ["N", 32])}
    initializers = [small("axes", [2], np.int64), small("shape", [-1, 32], np.int64)]
    return Artifact(model_of(nodes, *interface, initializers), {})


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


class TestWorker:
    def test_it_stays_between_calls(self, worker: Worker) -> None:
        simplify(reshaped(), worker=worker)
        first = worker.pid
        simplify(reshaped(), worker=worker)
        assert first is not None and worker.pid == first

    def test_prewarm_starts_it_once(self, worker: Worker) -> None:
        worker.close()
        worker.prewarm()
        first = worker.pid
        worker.prewarm()
        assert first is not None and worker.pid == first

    @needs_posix
    def test_killed_between_calls_it_starts_again(self, worker: Worker) -> None:
        simplify(reshaped(), worker=worker)
        first = worker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while worker.pid is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert simplify(reshaped(), worker=worker).changed
        assert worker.pid != first

    @needs_posix
    def test_killed_during_a_call(self, fake: Callable[[str], Worker]) -> None:
        result = simplify(reshaped(), worker=fake("os.read(0, 1); os.kill(os.getpid(), 9)"))
        assert result.reason == "onnxsim was not used: its worker process ended with status -9"
        assert not result.changed

    def test_it_ends_without_an_answer(self, fake: Callable[[str], Worker]) -> None:
        result = simplify(reshaped(), worker=fake("sys.exit(3)"))
        assert result.reason == "onnxsim was not used: its worker process ended with status 3"

    @pytest.mark.parametrize("first", ["", "os.read(0, 1)", "os.write(1, b'H2OF')"])
    def test_it_takes_too_long(self, first: str, fake: Callable[[str], Worker]) -> None:
        result = simplify(reshaped(), timeout=0.3, worker=fake(f"{first}\ntime.sleep(60)"))
        assert result.reason == "onnxsim was not used: it took longer than 0.3 seconds and was stopped"

    def test_it_does_not_read_a_large_request(self, fake: Callable[[str], Worker]) -> None:
        with pytest.raises(WorkerError, match="longer than"):
            fake("time.sleep(60)").ask(bytes(10_000_000), 0.3)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"hello, this is no frame at all",
            b"H2OF" + b"\xff" * 8,
            b"H2OF" + bytes(8),
            b"H2OF" + (1).to_bytes(8, "big") + b"\x07",
        ],
    )
    def test_it_sends_garbage(self, garbage: bytes, fake: Callable[[str], Worker]) -> None:
        child = fake(f"os.write(1, {garbage!r}); time.sleep(60)")
        result = simplify(reshaped(), worker=child)
        assert "sent garbage" in (result.reason or "")
        assert child.pid is None

    @pytest.mark.parametrize("answer", [b"not a model", b"", b"\x08\x08"])
    def test_it_answers_with_something_that_is_no_model(self, answer: bytes, fake: Callable[[str], Worker]) -> None:
        frame = b"H2OF" + (len(answer) + 1).to_bytes(8, "big") + OK + answer
        result = simplify(reshaped(), worker=fake(f"os.write(1, {frame!r}); time.sleep(60)"))
        assert not result.changed and result.reason

    def test_it_says_why_it_failed(self, fake: Callable[[str], Worker]) -> None:
        frame = b"H2OF" + (4).to_bytes(8, "big") + FAILED + b"why"
        child = fake(f"os.write(1, {frame!r}); time.sleep(60)")
        assert simplify(reshaped(), worker=child).reason == "onnxsim was not used: why"
        assert child.pid is not None

    def test_it_cannot_be_started(self) -> None:
        result = simplify(reshaped(), worker=Worker(["/no/such/program"]))
        assert "cannot be started" in (result.reason or "")
        Worker(["/no/such/program"]).prewarm()

    def test_onnxsim_is_not_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "onnxsim.py").write_text("raise ImportError('no such library')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        child = Worker()
        reason = simplify(reshaped(), worker=child).reason
        child.close()
        assert reason == "onnxsim was not used: RuntimeError: onnxsim cannot be imported (ImportError: no such library)"

    def test_modules_in_the_current_folder_are_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "onnx.py").write_text("raise ImportError('the wrong one')")
        monkeypatch.chdir(tmp_path)
        child = Worker()
        assert simplify(reshaped(), worker=child).changed
        child.close()

    @pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
    def test_its_memory_is_limited(self, fake: Callable[[str], Worker]) -> None:
        script = """
from hugectr2onnx.backend.simplify import worker_main as w
w.limit_memory()
w.serve(0, 1, lambda model: bytes(5 << 30))
"""
        assert "MemoryError" in (simplify(reshaped(), worker=fake(script)).reason or "")

    def test_what_it_prints_is_not_an_answer(self, fake: Callable[[str], Worker]) -> None:
        script = """
from hugectr2onnx.backend.simplify import worker_main as w
w.load_onnxsim = lambda: lambda model: (print('noise', flush=True), os.write(1, b'more'), model)[-1]
w.main()
"""
        assert simplify(reshaped(), worker=fake(script)).reason is None

    def test_threads_take_turns(self, worker: Worker) -> None:
        results: list[bytes] = []

        def work() -> None:
            results.append(serialise(simplify(reshaped(), worker=worker).artifact.skeleton))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 6 and len(set(results)) == 1

    def test_an_interrupt_ends_the_call_and_the_child(
        self, fake: Callable[[str], Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*args: object) -> None:
            raise KeyboardInterrupt

        child = fake("time.sleep(60)")
        monkeypatch.setattr("hugectr2onnx.backend.simplify.worker.read_frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            simplify(reshaped(), worker=child)
        assert child.pid is None


def outcome(script: str) -> str:
    """What a fresh Python prints; its own standard error must stay empty."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={**os.environ, **CHILD},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


START = """
import os, sys, time
from hugectr2onnx.backend.simplify.worker import Worker
ECHO = "import sys; from hugectr2onnx.backend.simplify import worker_main as w; w.serve(0, 1, lambda m: m)"
worker = Worker([sys.executable, "-c", ECHO])
worker.ask(b"one", 30)
"""
IS_GONE = """
def is_gone(pid):
    for _ in range(500):
        try:
            state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
"""


@needs_posix
class TestProcesses:
    def test_a_fork_has_a_child_of_its_own(self) -> None:
        script = """
first = worker.pid
pid = os.fork()
if pid == 0:
    same = bytes(worker.ask(b"two", 30)) == b"two" and worker.pid != first
    worker.close()
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), bytes(worker.ask(b"three", 30)).decode(), worker.pid == first)
"""
        assert outcome(START + script) == "0 three True"

    def test_a_fork_during_a_call_does_not_hang(self) -> None:
        script = """
import threading
slow = Worker([sys.executable, "-c", "import time; time.sleep(60)"])
thread = threading.Thread(target=lambda: slow._lock.acquire() and time.sleep(5), daemon=True)
thread.start()
time.sleep(0.2)
pid = os.fork()
if pid == 0:
    slow._command = worker._command
    os._exit(0 if bytes(slow.ask(b"two", 30)) == b"two" else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
        assert outcome(START + script) == "0"

    def test_the_parent_ends_and_so_does_the_child(self) -> None:
        pid = int(outcome(START + "print(worker.pid)"))
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_the_parent_is_killed_and_the_child_ends_though_a_fork_lives_on(self) -> None:
        script = """
import signal, subprocess
code = START + "fork = os.fork(); fork and print(worker.pid, fork, flush=True); time.sleep(60)"
parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True)
child, fork = map(int, parent.stdout.readline().split())
parent.kill()
print(is_gone(child))
os.kill(fork, signal.SIGKILL)
"""
        assert outcome(f"START = {START!r}\nimport os, sys, time\n" + IS_GONE + script) == "True"

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_the_parent_is_killed_and_a_stopped_child_ends_too(self) -> None:
        code = """
import os, signal, time
from hugectr2onnx.backend.simplify.worker import Worker, WorkerError
worker = Worker()
try:
    worker.ask(b"not a model", 60)
except WorkerError:
    pass
os.kill(worker.pid, signal.SIGSTOP)
print(worker.pid, flush=True)
time.sleep(60)
"""
        script = """
import subprocess
parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CODE], stdout=subprocess.PIPE, text=True)
child = int(parent.stdout.readline())
parent.kill()
print(is_gone(child))
"""
        assert outcome(f"CODE = {code!r}\nimport os, sys, time\n" + IS_GONE + script) == "True"
