"""Runs cases in a worker, one after another, and notices where the worker dies, hangs or says that a case failed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fuzz.worker import Answer

MAX_SECONDS = 8.0
"""Of processor time for a case; what takes a fraction of one otherwise."""
MAX_WAIT = 60.0
"""Seconds on the clock for a case that waits without working; other processes may keep it from the processor."""
MAX_CASES = 2000
"""After so many the worker is replaced, so that what onnxruntime keeps does not add up."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Supervisor:
    """One worker at a time. Use it in a `with` statement."""

    def __init__(self, folder: Path, worker: Sequence[str] = ("-m", "fuzz.worker")) -> None:
        self.folder = folder
        self._arguments = worker
        self._process: subprocess.Popen[str] | None = None
        self._cases = 0

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def ask(self, command: Sequence[Any]) -> Answer:
        """Have a worker run a case; a worker that hangs or dies is the answer too."""
        worker = self._worker()
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps(command) + "\n")
        worker.stdin.flush()
        hang = self._wait(worker, worker.stdout)
        if hang:
            self._stop()
            return Answer("failed", hang)
        line = worker.stdout.readline()
        if line:
            return Answer(**json.loads(line))
        code = worker.wait()
        self._stop()
        return Answer(
            "failed",
            f"crash: the process ended with {code}",
            (self.folder / "stderr").read_text(errors="replace")[-6000:],
        )

    def _wait(self, worker: subprocess.Popen[str], output: IO[str]) -> str:
        """Wait for the answer; returns how it hangs, or nothing."""
        start, used = time.monotonic(), _processor_seconds(worker.pid)
        while not select.select([output], [], [], 0.5)[0]:
            taken, waited = _processor_seconds(worker.pid) - used, time.monotonic() - start
            if taken > MAX_SECONDS + self._grace:
                return f"hang: {taken:.0f} s of processor time"
            if waited > MAX_WAIT + self._grace and taken < MAX_SECONDS / 4:
                return f"hang: waits for {waited:.0f} s"
        self._cases += 1
        return ""

    @property
    def _grace(self) -> float:
        """Seconds for imports and for the models that a worker makes once."""
        return 0.0 if self._cases > 20 else 60.0

    def _worker(self) -> subprocess.Popen[str]:
        if self._process is None or self._cases >= MAX_CASES:
            self._stop()
            self.folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, *self._arguments, str(self.folder)]
            environment = {
                **os.environ,
                "ORT_DISABLE_TELEMETRY": "1",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            }
            with open(self.folder / "stderr", "w", encoding="utf-8") as errors:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
                )
            self._cases = 0
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
        self._process = None


def _processor_seconds(pid: int) -> float:
    """What a process has used so far, of the processor."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
