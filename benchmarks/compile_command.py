"""Run `compile`: print its table and write its files."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import compile_time
from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from benchmarks.records import dump, write_text
from hugectr2onnx.latency import machine

STAGES = ("read", "import", "reference", "passes", "emit", "simplify", "parity")
MIB = 1 << 20


def run(arguments: argparse.Namespace) -> int:
    """Compile, print the table, write the files."""
    from hugectr2onnx.sample_models import SAMPLES

    models = list(arguments.models) or list(SAMPLES)
    unknown = [name for name in models if name not in SAMPLES]
    if unknown:
        raise BenchmarkError(f"There is no sample model {', '.join(unknown)}; there are {', '.join(SAMPLES)}.")
    plan = compile_time.CompilePlan(
        models, arguments.levels, arguments.scale, arguments.rows, arguments.repeat, not arguments.no_check
    )
    about = {"kind": "machine", **machine.describe()}
    with tempfile.TemporaryDirectory() as folder:
        lines = list(compile_time.run(plan, Path(folder), _progress))
    text = compile_table(lines)
    print(text)
    entries = dump([about, *lines])
    if arguments.json:
        write_text(arguments.json, entries)
    if arguments.out:
        write_text(arguments.out / "compile.jsonl", entries)
        write_text(arguments.out / "compile.md", f"# Compiling\n\n{text}")
    return 0


def compile_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each model and level: seconds of every stage, peak memory at the end of every stage in brackets (MiB)."""
    header = ("model", "rows", "input MiB", "level", "nodes", "seconds", "peak MiB", "onnxsim MiB", *STAGES)
    return markdown(header, [_row(line) for line in lines])


def _row(line: Mapping[str, Any]) -> list[str]:
    stages = {name: [stage for stage in line["stages"] if stage["name"] == name] for name in STAGES}
    return [
        line["model"],
        " + ".join(f"{rows:,}" for rows in line["tables"].values()) or "none",
        _mebibytes(line["input_bytes"]),
        str(line["level"]),
        str(line["nodes"]),
        f"{line['seconds']:.2f}",
        _mebibytes(line["peak_bytes"]),
        _mebibytes(line["child_peak_bytes"]),
        *(_stage(stages[name]) for name in STAGES),
    ]


def _stage(entries: Sequence[Mapping[str, Any]]) -> str:
    """A stage that ran twice (parity of two attempts) counts together."""
    if not entries:
        return ""
    return f"{sum(entry['seconds'] for entry in entries):.2f} [{_mebibytes(entries[-1]['peak_bytes'])}]"


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / MIB:,.0f}"


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
