"""Converting tables: time against `cp` of the same bytes in the same run, peak memory, opening, look-up latency by strategy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError

SMALL_ROWS = 1000
"""The table whose conversion is taken off the time of the others: what a model costs apart from its rows."""
LIMITS = {"dense": 16, "hashed": 48}
"""Bytes of memory a key, beside 300 MB."""


@dataclass(frozen=True)
class ConvertPlan:
    """What to measure."""

    rows: Sequence[int]
    widths: Sequence[int]
    keys: Sequence[str]
    strategies: Sequence[str]
    repeat: int
    cold: bool


def run(plan: ConvertPlan, folder: Path, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A line for each table and strategy."""
    for keys in plan.keys:
        for width in plan.widths:
            base = _base(folder, keys, width)
            for rows in plan.rows:
                progress(f"{rows:,} rows of {width}, {keys} keys")
                yield from _table(plan, folder, keys, width, rows, base)


def _base(folder: Path, keys: str, width: int) -> float:
    place = _write(folder, keys, width, SMALL_ROWS)
    found = [_ask({"verb": "convert", "folder": place, "strategy": "auto", "level": 2}) for _ in range(3)]
    shutil.rmtree(place)
    return min(float(each["compile_seconds"] + each["save_seconds"]) for each in found)


def _table(plan: ConvertPlan, folder: Path, keys: str, width: int, rows: int, base: float) -> Iterator[dict[str, Any]]:
    _require_space(folder, 3 * rows * (4 * width + 8))
    place = _write(folder, keys, width, rows)
    try:
        for strategy in plan.strategies:
            level = 0 if strategy == "plain" else 2
            wanted = "auto" if strategy == "plain" else strategy
            if not _is_sensible(strategy, keys, rows):
                continue
            runs = [_convert(place, wanted, level, plan.cold) for _ in range(plan.repeat)]
            best = min(runs, key=lambda each: float(each["compile_seconds"] + each["save_seconds"]))
            found = _ask({"verb": "look_up", "folder": place})
            yield {
                "kind": "convert", "keys": keys, "rows": rows, "width": width, "asked": strategy, "base_seconds": base,
                **best, **found, **_rates(rows * width * 4, base, best),
                "allowed_bytes": 300_000_000 + LIMITS[keys] * rows, "cold": plan.cold,
            }  # fmt: skip
            for path in place.glob("model.onnx*"):
                path.unlink()
    finally:
        shutil.rmtree(place)


def _is_sensible(strategy: str, keys: str, rows: int) -> bool:
    if strategy == "direct":
        return keys == "dense"
    return strategy not in ("label-encoder", "plain") or rows <= 1_000_000


def _convert(place: Path, strategy: str, level: int, cold: bool) -> dict[str, Any]:
    """One conversion with a copy of the same bytes right before and after it."""
    copies = [_copy(place, cold)]
    if cold:
        _forget(place)
    found = _ask({"verb": "convert", "folder": place, "strategy": strategy, "level": level})
    copies.append(_copy(place, cold))
    return {**found, "copy_seconds": min(c[0] for c in copies), "copy_sync_seconds": min(c[1] for c in copies)}


def _copy(place: Path, cold: bool) -> tuple[float, float]:
    """Seconds of `cp`, and of `cp` with the bytes on the disk, as our files are when they get their name."""
    source, target = place / "model0_sparse_0.model" / "emb_vector", place / "copy"
    if cold:
        _forget(place)
    begin = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    copied = time.perf_counter()
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    done = time.perf_counter()
    target.unlink()
    return copied - begin, done - begin


def _rates(size: int, base: float, best: Mapping[str, Any]) -> dict[str, float]:
    own = max(best["compile_seconds"] + best["save_seconds"] - base, 1e-9)
    return {
        "seconds": own,
        "bytes_per_second": size / own,
        "of_cp": best["copy_seconds"] / own,
        "of_cp_and_sync": best["copy_sync_seconds"] / own,
    }


def _forget(place: Path) -> None:
    """Drop the table from the system's cache, as far as it lets us."""
    for path in (place / "model0_sparse_0.model").iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write(folder: Path, keys: str, width: int, rows: int) -> Path:
    place = folder / f"{keys}_{width}_{rows}"
    _ask({"verb": "write", "folder": place, "keys": keys, "width": width, "rows": rows})
    os.sync()
    return place


def _ask(order: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in order.items()})
    command = [sys.executable, "-m", "benchmarks.convert_once"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BenchmarkError(f"The {order['verb']} step failed with exit code {done.returncode}: {last[0]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BenchmarkError(f"{folder}: {needed:,} bytes are needed and {free:,} are left. Ask for fewer rows.")
