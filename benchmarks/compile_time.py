"""`python -m benchmarks compile`: seconds and peak memory of compiling, each time in a process of its own.

This module and what it imports stay small: on Linux a child's peak memory begins at that of the process it was forked from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.errors import BenchmarkError

COMMAND = (sys.executable, "-m", "benchmarks.compile_once")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class CompilePlan:
    """The models and levels to compile; `rows` None means the sample's own tables (WDL: 10,000 and 300,000 rows)."""

    models: Sequence[str] = ()
    levels: Sequence[int] = (0, 1, 2, 3)
    scale: str = "realistic"
    rows: int | None = None
    repeat: int = 1
    check: bool = True


def run(plan: CompilePlan, folder: Path, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A JSON-ready entry for each model and level."""
    for model in plan.models:
        progress(f"{model}: writing")
        order = {"model": model, "folder": str(folder / model), "scale": plan.scale, "rows": plan.rows}
        written = ask({"verb": "write", **order})
        for level in plan.levels:
            progress(f"{model}: level {level}")
            order |= {"verb": "compile", "level": level, "check": plan.check}
            runs = [ask(order) for _ in range(plan.repeat)]
            case = {
                "kind": "compile",
                "model": model,
                "scale": plan.scale,
                "level": level,
                "input_bytes": written["bytes"],
            }
            yield {**case, **combine(runs)}


def ask(order: Mapping[str, Any]) -> dict[str, Any]:
    """One order to a fresh process; raises BenchmarkError with what it said if it fails."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        COMMAND, input=json.dumps(order), capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise BenchmarkError(f"{order['verb']} of {order['model']} failed with status {done.returncode}: {said}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def combine(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run of median length, with how many there were and the seconds of all."""
    middle = median([run["seconds"] for run in runs])
    nearest = min(runs, key=lambda run: abs(run["seconds"] - middle))
    return {**nearest, "runs": len(runs), "all_seconds": [run["seconds"] for run in runs]}
