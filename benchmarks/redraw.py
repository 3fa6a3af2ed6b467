"""`redraw`: the plots of measurements that were kept as JSON lines, such as those of the documentation."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import convert_plots, plots, records
from benchmarks.errors import BenchmarkError
from benchmarks.records import CandidateLine, FloorLine
from hugectr2onnx.latency import machine


def add_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "files", type=Path, nargs="+", metavar="FILE.jsonl", help="what --json of runtime or convert wrote"
    )
    verb.add_argument("--out", type=Path, required=True, help="folder for the plots")


def run(arguments: argparse.Namespace) -> int:
    """Draw what each file has: speed-up, latency and operators, or look-ups and rates."""
    for file in arguments.files:
        written = draw(file, arguments.out)
        if not written:
            raise BenchmarkError(f"{file} has nothing to draw: give a file that --json of runtime or convert wrote.")
        print(*written, sep="\n")
    return 0


def draw(file: Path, folder: Path) -> list[Path]:
    """The plots of one file of measurements."""
    entries = records.load(file)
    about = next((entry for entry in entries if entry["kind"] == "machine"), None)
    measured_on = machine.caption(about) if about else ""
    lines = records.lines_of(entries)
    floors = [line for line in lines if isinstance(line, FloorLine)]
    candidates = [line for line in lines if isinstance(line, CandidateLine)]
    if candidates:
        return plots.draw(folder, candidates, floors, measured_on)
    return convert_plots.draw(folder, [entry for entry in entries if entry["kind"] != "machine"], measured_on)
