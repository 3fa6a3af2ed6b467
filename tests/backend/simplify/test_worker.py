"""The child process that runs onnxsim: everything that can go wrong with it, and whom it outlives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hugectr2onnx.backend.onnx.artifact import serialise
from hugectr2onnx.backend.simplify import worker as module
from hugectr2onnx.backend.simplify.simplifier import simplify
from hugectr2onnx.backend.simplify.worker import Worker, WorkerError
from hugectr2onnx.backend.simplify.worker_main import FAILED, OK
from tests.backend.simplify.models import reshaped

CHILD = {"PYTHONPATH": str(Path(module.__file__).parents[3])}
needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX's")


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
