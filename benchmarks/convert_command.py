"""What `convert` prints and writes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import convert, machine
from benchmarks.markdown import markdown
from benchmarks.records import dump, write_text

STRATEGIES = ("auto", "plain", "direct", "label-encoder", "perfect-hash", "indices")
HEADER = (
    "keys", "rows", "vec", "strategy", "s", "GB/s", "of cp", "of cp + sync", "peak MB", "allowed MB", "file MB",
    "open ms", "private MB", "µs at 1", "µs at 64", "µs at 1024",
)  # fmt: skip


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--rows", type=_counts, default=_counts("1e4,1e5,1e6"), help="1e4,1e5,1e6 (1e7, 1e8 as the disk allows)"
    )
    verb.add_argument("--vec", type=_counts, default=[16, 128], help="16,128")
    verb.add_argument("--keys", type=_names("dense", "hashed"), default=["dense", "hashed"], help="dense,hashed")
    verb.add_argument("--strategies", type=_names(*STRATEGIES), default=["auto"], help=",".join(STRATEGIES))
    verb.add_argument("--repeat", type=int, default=3, help="take the fastest of so many conversions (3)")
    verb.add_argument("--cold", action="store_true", help="drop the table from the system's cache before each")
    verb.add_argument("--folder", type=Path, help="where to write tables and models; its disk is what is measured")
    verb.add_argument("--out", type=Path, help="folder for convert.md and convert.jsonl")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """Convert, print the table, write the files."""
    plan = convert.ConvertPlan(
        arguments.rows, arguments.vec, arguments.keys, arguments.strategies, arguments.repeat, arguments.cold
    )
    about = {"kind": "machine", **machine.describe()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        lines = list(convert.run(plan, Path(folder), _progress))
    text = convert_table(lines)
    print(text)
    entries = dump([about, *lines])
    if arguments.json:
        write_text(arguments.json, entries)
    if arguments.out:
        write_text(arguments.out / "convert.jsonl", entries)
        write_text(arguments.out / "convert.md", f"# Converting tables\n\n{text}")
    return 0


def convert_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each table and strategy; seconds are those beyond the same model with 1,000 rows."""
    return markdown(HEADER, [_row(line) for line in lines])


def _row(line: Mapping[str, Any]) -> list[str]:
    return [
        line["keys"],
        f"{line['rows']:,}",
        str(line["width"]),
        line["strategy"],
        f"{line['seconds']:.2f}",
        f"{line['bytes_per_second'] / 1e9:.2f}",
        f"{line['of_cp']:.0%}",
        f"{line['of_cp_and_sync']:.0%}",
        f"{line['peak_bytes'] / 1e6:,.0f}",
        f"{line['allowed_bytes'] / 1e6:,.0f}",
        f"{line['file_bytes'] / 1e6:,.1f}",
        f"{line['open_seconds'] * 1e3:.1f}",
        f"{line['private_bytes'] / 1e6:.1f}",
        *(f"{time:.1f}" for time in line["microseconds"].values()),
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
