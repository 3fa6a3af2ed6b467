"""Converting tables: time against `cp` of the same bytes in the same run, peak memory, opening, look-ups by map and format."""

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

from benchmarks import page_cache
from benchmarks.convert_tables import TABLE
from benchmarks.errors import BenchmarkError
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME

SMALL_ROWS = 1000
"""The table whose conversion is taken off the time of the others: what a model costs apart from its rows."""
LIMITS = {"dense": 16, "hashed": 48}
"""Bytes of memory a key, beside 300 MB."""
MAP_BYTES = 24
"""Bytes of the largest key map for each row; used to find out whether the disk has room."""
SPARE_BYTES = 1 << 30
MUCH = 1 << 26
"""Bytes of a file that a disk takes some time to take back."""
GATHER = "gather"
"""The name that stands for a strategy where row numbers are known."""


@dataclass(frozen=True)
class ConvertPlan:
    """The tables and strategies to measure; `hotness` are the keys of each slot, `manifest` asks for checksums."""

    rows: Sequence[int]
    widths: Sequence[int]
    keys: Sequence[str]
    strategies: Sequence[str]
    formats: Sequence[str]
    repeat: int
    cold: bool
    hotness: int = 1
    manifest: bool = True


@dataclass(frozen=True)
class Table:
    """One table of a plan."""

    keys: str
    rows: int
    width: int

    @property
    def nbytes(self) -> int:
        return 4 * self.rows * self.width


def run(plan: ConvertPlan, folder: Path, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A line for each table, strategy and format, and one for the gather of known rows.

    Tables for which the disk has no room are left out; raises BenchmarkError where that leaves nothing.
    """
    tables = [Table(keys, rows, width) for keys in plan.keys for width in plan.widths for rows in plan.rows]
    bases: dict[tuple[str, int], float] = {}
    measured = False
    for table in tables:
        needed, free = bytes_needed(table, _variants(plan, table)), shutil.disk_usage(folder).free
        what = f"{table.rows:,} rows of {table.width}, {table.keys} keys"
        if needed > free:
            progress(f"left out: {what} need {needed:,} bytes in {folder}, and {free:,} are left")
            continue
        progress(what)
        kind = table.keys, table.width
        bases[kind] = bases[kind] if kind in bases else _base(folder, *kind)
        yield from _measure(plan, folder, table, bases[kind])
        measured = True
    if not measured:
        raise BenchmarkError(f"{folder} has no room for any of the tables. Ask for fewer rows, or choose another disk.")


def bytes_needed(table: Table, variants: Sequence[tuple[str, str]]) -> int:
    """The table, a copy of it for `cp`, one for the compiler to work in, and all its models."""
    models = sum(table.rows * (FORMATS_BY_NAME[format].row_bytes(table.width) + MAP_BYTES) for _, format in variants)
    return 3 * table.nbytes + 8 * table.rows + models + SPARE_BYTES


def _variants(plan: ConvertPlan, table: Table) -> list[tuple[str, str]]:
    sensible = [strategy for strategy in plan.strategies if _is_sensible(strategy, table)]
    return [(strategy, format) for strategy in sensible for format in plan.formats]


def _is_sensible(strategy: str, table: Table) -> bool:
    if strategy == "direct":
        return table.keys == "dense"
    return strategy not in ("label-encoder", "plain") or table.rows <= 1_000_000


def _base(folder: Path, keys: str, width: int) -> float:
    place = _write(folder, Table(keys, SMALL_ROWS, width), 1)
    found = [_ask(_order(place, "auto", "fp32")) for _ in range(3)]
    shutil.rmtree(place)
    return min(float(each["compile_seconds"] + each["save_seconds"]) for each in found)


def _measure(plan: ConvertPlan, folder: Path, table: Table, base: float) -> Iterator[dict[str, Any]]:
    about = {"keys": table.keys, "rows": table.rows, "width": table.width, "hotness": plan.hotness}
    about |= {"cold": plan.cold, "manifest": plan.manifest}
    place = _write(folder, table, plan.hotness)
    try:
        variants = _variants(plan, table)
        lines = {}
        for strategy, format in variants:
            runs = [_convert(place, strategy, format, plan) for _ in range(plan.repeat)]
            best = min(runs, key=lambda each: float(each["compile_seconds"] + each["save_seconds"]))
            lines[_name(strategy, format)] = {"asked": strategy, "format": format, **best, **_rates(table, base, best)}
        found = _look_up(place, table, variants, plan.hotness)
    finally:
        shutil.rmtree(place)
    limit = found["limit"]
    yield {"kind": GATHER, **about, **limit}
    for name, line in lines.items():
        times = found["models"][name]
        shares = {batch: time / limit["microseconds"][batch] for batch, time in times["microseconds"].items()}
        allowed = 300_000_000 + LIMITS[table.keys] * table.rows
        own = {**line, **times, "of_gather": shares, "base_seconds": base, "allowed_bytes": allowed}
        yield {"kind": "convert", **about, **own}


def _look_up(
    place: Path, table: Table, variants: Sequence[tuple[str, str]], hotness: int
) -> dict[str, Mapping[str, Any]]:
    models = {_name(strategy, format): strategy == "indices" for strategy, format in variants}
    exact = [_name(strategy, format) for strategy, format in variants if format == "fp32"]
    about = {"folder": place, "width": table.width, "hotness": hotness}
    return _ask({"verb": "look_up", "models": models, "exact": exact, **about})


def _name(strategy: str, format: str) -> str:
    return f"{strategy}_{format}"


def _order(place: Path, strategy: str, format: str) -> dict[str, Any]:
    level, wanted = (0, "auto") if strategy == "plain" else (2, strategy)
    about = {"folder": place, "name": _name(strategy, format), "format": format}
    return {"verb": "convert", "strategy": wanted, "level": level, "manifest": True, **about}


def _convert(place: Path, strategy: str, format: str, plan: ConvertPlan) -> dict[str, Any]:
    """One conversion with a copy of the same bytes right before and after it."""
    copies = [_copy(place, plan.cold)]
    if plan.cold:
        _forget(place)
    found = _ask({**_order(place, strategy, format), "manifest": plan.manifest})
    copies.append(_copy(place, plan.cold))
    return {**found, "copy_seconds": min(c[0] for c in copies), "copy_sync_seconds": min(c[1] for c in copies)}


def _copy(place: Path, cold: bool) -> tuple[float, float]:
    """Seconds of `cp`, and of `cp` with the bytes on the disk, as our files are when they get their name."""
    source, target = place / TABLE / "emb_vector", place / "copy"
    if cold:
        _forget(place)
    page_cache.warm(place, source.stat().st_size)
    begin = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    copied = time.perf_counter()
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    done = time.perf_counter()
    freed = target.stat().st_size
    target.unlink()
    if freed > MUCH:
        os.sync()  # a disk that takes back what is freed does it now, not while the next step is timed
    return copied - begin, done - begin


def _rates(table: Table, base: float, best: Mapping[str, Any]) -> dict[str, float]:
    own = max(best["compile_seconds"] + best["save_seconds"] - base, 1e-9)
    return {
        "seconds": own,
        "bytes_per_second": table.nbytes / own,
        "of_cp": best["copy_seconds"] / own,
        "of_cp_and_sync": best["copy_sync_seconds"] / own,
    }


def _forget(place: Path) -> None:
    """Drop the table from the system's cache, as far as it lets us."""
    for path in (place / TABLE).iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _write(folder: Path, table: Table, hotness: int) -> Path:
    place = folder / f"{table.keys}_{table.width}_{table.rows}"
    about = {"keys": table.keys, "width": table.width, "rows": table.rows, "hotness": hotness}
    _ask({"verb": "write", "folder": place, **about})
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
