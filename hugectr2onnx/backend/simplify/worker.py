"""The parent's side of a child process that answers one frame with one frame."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from hugectr2onnx.backend.simplify.worker_main import FAILED, OK, FrameError, read_frame, write_frame

COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "hugectr2onnx.backend.simplify.worker_main")


class WorkerError(Exception):
    """The child gave no result; the message says why. It never leaves the backend."""


class Worker:
    """A child process, started when first needed, kept for the next request and started again when it has died.

    Any thread may use it, one at a time. A fork of this process starts a child of its own.
    """

    def __init__(self, command: Sequence[str] = COMMAND):
        self._command = tuple(command)
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._starter = _Starter()
        atexit.register(self._end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._disown)

    def prewarm(self) -> None:
        """Start the child without waiting for it, so that its imports overlap with what the caller does next."""
        self._disown()
        if self._lock.acquire(blocking=False):
            with contextlib.suppress(WorkerError):
                self._running()
            self._lock.release()

    def ask(self, request: bytes, timeout: float) -> bytearray:
        """Return the child's answer; WorkerError after `timeout` seconds, when the child dies or says that it failed."""
        self._disown()
        with self._lock:
            process = self._running()
            expired = threading.Event()
            watchdog = threading.Timer(timeout, self._expire, (process, expired))
            watchdog.daemon = True
            watchdog.start()
            try:
                reply = _exchange(process, request)
            except (OSError, EOFError, FrameError, MemoryError) as error:
                self._stop()
                raise WorkerError(_fault(process, error, timeout if expired.is_set() else None)) from error
            except BaseException:
                # The answer to this request must not be taken for the answer to the next.
                self._stop()
                raise
            finally:
                watchdog.cancel()
        if reply[:1] != OK:
            raise WorkerError(reply[1:].decode(errors="replace") or "the worker failed without a reason")
        return reply[1:]

    def close(self) -> None:
        """End the child; the next request starts another."""
        self._disown()
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now, if one does."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _disown(self) -> None:
        """After a fork, drop the parent's child: a copy of its pipes would keep it alive when the parent ends."""
        if self._owner != os.getpid():
            process, self._process = self._process, None
            self._lock, self._owner, self._starter = threading.RLock(), os.getpid(), _Starter()
            if process is not None:
                _close_pipes(process)
                process.returncode = 0

    def _end(self) -> None:
        """At exit: do not wait for a thread that is still asking."""
        self._disown()
        if self._lock.acquire(blocking=False):
            self._stop()
            self._lock.release()
        elif self._process is not None:
            _kill(self._process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        try:
            self._process = self._starter.start(self._command)
        except (OSError, ValueError, TypeError) as error:
            raise WorkerError(f"the worker process cannot be started: {error}") from error
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        _close_pipes(process)
        process.wait()

    @staticmethod
    def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
        expired.set()
        _kill(process)


class _Starter:
    """A thread that starts children and then lives as long as this process.

    Linux ends the child with the *thread* that started it (`worker_main.end_with_parent`), even a stopped one, which no
    longer looks at its standard input.
    """

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[tuple[Sequence[str], Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a child. Raises what `subprocess.Popen` does."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="hugectr2onnx-starter", daemon=True)
            self._thread.start()
        started: Future[subprocess.Popen[bytes]] = Future()
        self._commands.put((command, started))
        return started.result()

    def _serve(self) -> None:
        while True:
            command, started = self._commands.get()
            try:
                started.set_result(_start(command))
            except BaseException as error:
                started.set_exception(error)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=_environment(),
        start_new_session=True,
    )


SHARED = Worker()
"""The child that every compilation of this process uses."""


def prewarm() -> None:
    """Start the shared child now, so that it has done its imports (2 seconds) when `simplify` needs it.

    This module imports nothing large: call it before importing anything that does.
    """
    SHARED.prewarm()


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> bytearray:
    assert process.stdin is not None and process.stdout is not None
    write_frame(process.stdin.fileno(), request)
    reply = read_frame(process.stdout.fileno())
    if reply[:1] not in (OK, FAILED):
        raise FrameError(f"the reply begins with the unknown status {bytes(reply[:1])!r}")
    return reply


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it has started: a grandchild would hold the pipe open."""
    if process.returncode is not None:
        return  # its id may belong to another process by now
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _fault(process: subprocess.Popen[bytes], error: BaseException, timeout: float | None) -> str:
    if timeout is not None:
        return f"it took longer than {timeout:g} seconds and was stopped"
    if isinstance(error, FrameError):
        return f"its worker process sent garbage: {error}"
    if isinstance(error, MemoryError):
        return "there was not enough memory for its result"
    return f"its worker process ended with status {process.returncode}"


def _environment() -> dict[str, str]:
    """Return the parent's environment, and the package found where the parent found it.

    Threads are kept few because each reserves address space, which the child has a limited amount of.
    """
    root, path = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    few_threads = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **few_threads, "PYTHONPATH": os.pathsep.join([root, path] if path else [root])}
