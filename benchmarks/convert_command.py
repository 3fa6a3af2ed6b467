"""Run `convert`: print its tables, write its files and draw its plots."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import convert, convert_plots
from benchmarks.errors import BenchmarkError
from benchmarks.markdown import markdown
from benchmarks.plots import require_matplotlib
from benchmarks.records import dump, write_text
from hugectr2onnx.latency import machine
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME

STRATEGIES = ("auto", "plain", "direct", "label-encoder", "perfect-hash", "indices")
HEADER = (
    "keys", "rows", "vec", "strategy", "rows as", "s", "GB/s", "of cp", "of cp + sync", "peak MB", "allowed MB", "file MB",
    "open ms", "private MB", "µs at 1", "at 64", "at 1024", "of gather at 1", "at 64", "at 1024",
)  # fmt: skip


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--rows", type=_counts, default=_counts("1e4,1e5,1e6"), help="1e4,1e5,1e6 (1e7, 1e8 as the disk allows)"
    )
    verb.add_argument("--vec", type=_counts, default=[16, 128], help="16,128")
    verb.add_argument("--keys", type=_names("dense", "hashed"), default=["dense", "hashed"], help="dense,hashed")
    verb.add_argument("--strategies", type=_names(*STRATEGIES), default=["auto"], help=",".join(STRATEGIES))
    verb.add_argument("--formats", type=_names(*FORMATS_BY_NAME), default=["fp32"], help=",".join(FORMATS_BY_NAME))
    verb.add_argument("--hotness", type=int, default=1, help="keys of each of the 26 slots (1)")
    verb.add_argument("--repeat", type=int, default=3, help="take the fastest of so many conversions (3)")
    verb.add_argument("--cold", action="store_true", help="drop the table from the system's cache before each")
    verb.add_argument("--no-manifest", dest="manifest", action="store_false", help="write no checksums")
    verb.add_argument("--folder", type=Path, help="where to write tables and models; its disk is what is measured")
    verb.add_argument("--read", type=Path, nargs="+", help="files of --json: show what was measured, measure nothing")
    verb.add_argument("--out", type=Path, help="folder for convert.md, convert.jsonl and the plots")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """Convert, print the table, write the files."""
    if arguments.out:
        require_matplotlib()
    entries = _read(arguments.read) if arguments.read else _measure(arguments)
    lines = [entry for entry in entries if entry["kind"] != "machine"]
    text = convert_table(lines)
    print(text)
    if arguments.json:
        write_text(arguments.json, dump(entries))
    if arguments.out:
        write_text(arguments.out / "convert.jsonl", dump(entries))
        write_text(arguments.out / "convert.md", f"# Converting tables\n\n{text}")
        about = next((entry for entry in entries if entry["kind"] == "machine"), None)
        convert_plots.draw(arguments.out, lines, machine.caption(about) if about else "")
    return 0


def _measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    plan = convert.ConvertPlan(
        given.rows,
        given.vec,
        given.keys,
        given.strategies,
        given.formats,
        given.repeat,
        given.cold,
        given.hotness,
        given.manifest,
    )
    about = {"kind": "machine", **machine.describe()}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return [about, *convert.run(plan, Path(folder), _progress)]


def _read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    try:
        texts = [path.read_text(encoding="utf-8") for path in paths]
        return [json.loads(line) for text in texts for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"Cannot read {', '.join(map(str, paths))}: {error}. Give files of --json.") from error


def convert_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each table and strategy; seconds are those beyond the same model with 1,000 rows."""
    return markdown(HEADER, [_row(line) for line in lines])


def _row(line: Mapping[str, Any]) -> list[str]:
    about = [line["keys"], f"{line['rows']:,}", str(line["width"])]
    times = [f"{time:.1f}" for time in line["microseconds"].values()]
    opening = [f"{line['open_seconds'] * 1e3:.1f}", f"{line['private_bytes'] / 1e6:.1f}"]
    if line["kind"] == convert.GATHER:
        return [*about, "gather of known rows", "fp32", *[""] * 7, *opening, *times, *["1"] * len(times)]
    return [
        *about,
        line["strategy"],
        line["format"],
        f"{line['seconds']:.2f}",
        f"{line['bytes_per_second'] / 1e9:.2f}",
        f"{line['of_cp']:.0%}",
        f"{line['of_cp_and_sync']:.0%}",
        f"{line['peak_bytes'] / 1e6:,.0f}",
        f"{line['allowed_bytes'] / 1e6:,.0f}",
        f"{line['file_bytes'] / 1e6:,.1f}",
        *opening,
        *times,
        *(f"{share:.2f}" for share in line["of_gather"].values()),
    ]


def _counts(text: str) -> list[int]:
    found = [int(float(part)) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text}: numbers from 1 up")
    return found


def _names(*known: str) -> Any:
    def parse(text: str) -> list[str]:
        found = text.split(",")
        if not set(found) <= set(known):
            raise argparse.ArgumentTypeError(f"{text}: of {', '.join(known)}")
        return found

    return parse


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
