"""The command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    convert_command,
    interfaces_command,
    precision_command,
    predict_command,
    quality_command,
    redraw,
    serving_command,
    stores_command,
    thresholds_command,
)

BATCHES = "1,16,64,256,1024,4096"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks of hugectr2onnx.")
    verbs = top.add_subparsers(dest="verb", required=True)
    _add_runtime(verbs.add_parser("runtime", help="latency of every level, beside the floor of each model"))
    _add_compile(verbs.add_parser("compile", help="seconds and peak memory of compiling, by stage"))
    convert_command.add_arguments(verbs.add_parser("convert", help="tables of any size against cp, and their look-ups"))
    thresholds_command.add_arguments(
        verbs.add_parser("thresholds", help="the tuned thresholds of the passes, measured")
    )
    interfaces_command.add_arguments(
        verbs.add_parser(
            "interfaces", help="a look-up with keys padded, in compressed sparse rows, and as HugeCTR's clients"
        )
    )
    predict_command.add_arguments(
        verbs.add_parser("predict", help="predict on data sets, beside a loop over arrays made beforehand")
    )
    serving_command.add_arguments(
        verbs.add_parser("serving", help="what a server adds, a long load, a restart after kill -9")
    )
    stores_command.add_arguments(verbs.add_parser("stores", help="a request with its rows in a store, and in one file"))
    precision_command.add_arguments(
        verbs.add_parser("precision", help="products in bytes against level 2, onnxruntime's quantizer and OpenVINO")
    )
    quality_command.add_arguments(
        verbs.add_parser("quality", help="AUC, log-loss and calibration of trained models in smaller formats")
    )
    redraw.add_arguments(verbs.add_parser("redraw", help="the plots of earlier measurements; nothing is measured"))
    return top


def _add_runtime(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("models", nargs="*", metavar="MODEL", help="sample models; all of them if none is named")
    verb.add_argument(
        "--levels", type=numbers(0, 3), default=numbers(0, 3)("0,2,3"), help="0,2,3 (0 always takes part)"
    )
    verb.add_argument("--batch", type=numbers(1, 1 << 20), default=numbers(1, 1 << 20)(BATCHES), help=BATCHES)
    verb.add_argument("--threads", type=numbers(1, 1024), default=[1, 2], help="1,2")
    verb.add_argument("--rounds", type=number(1), default=15, help="how often the candidates take turns (15)")
    verb.add_argument("--seconds", type=seconds, default=3.0, help="for all candidates of a case and its floor (3)")
    verb.add_argument("--sessions", type=number(1), default=3, help="how often everything is opened anew meanwhile (3)")
    verb.add_argument("--against", action="append", default=[], metavar="[MODEL:]NAME=FILE", help="another ONNX file")
    verb.add_argument(
        "--time-different", action="store_true", help="time an --against that computes something else, too"
    )
    verb.add_argument(
        "--scale", choices=("small", "realistic"), default="realistic", help="widths and tables (realistic)"
    )
    verb.add_argument("--rows", type=number(1), help="of every table, instead of the sample's own")
    verb.add_argument("--profile-runs", type=number(0), default=30, help="for the times by operator; 0 leaves them out")
    verb.add_argument("--no-spinning", action="store_true", help="worker threads sleep at once: for a busy machine")
    verb.add_argument("--opset", type=int, default=17)
    verb.add_argument("--samples", type=Path, help="keep the model folders here, for other converters")
    verb.add_argument("--out", type=Path, help="folder for report.md, runtime.jsonl and the plots")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")
    verb.add_argument("--slowest", action="store_true", help="also list the slowest nodes and the parts of the floor")
    verb.add_argument("--baseline", type=Path, help="JSON lines of an earlier run to compare the ratios with")
    verb.add_argument(
        "--fail-if-slower", default="5%", help="by how much a ratio may fall before the exit code is 1 (5%%)"
    )


def _add_compile(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("models", nargs="*", metavar="MODEL", help="sample models; all of them if none is named")
    verb.add_argument("--levels", type=numbers(0, 3), default=[0, 1, 2, 3], help="0,1,2,3")
    verb.add_argument(
        "--scale", choices=("small", "realistic"), default="realistic", help="widths and tables (realistic)"
    )
    verb.add_argument("--rows", type=number(1), help="of every table, instead of the sample's own")
    verb.add_argument("--repeat", type=number(1), default=1, help="take the median of so many compilations (1)")
    verb.add_argument("--no-check", action="store_true", help="without parity check and onnxsim")
    verb.add_argument("--out", type=Path, help="folder for compile.md and compile.jsonl")
    verb.add_argument("--json", type=Path, help="file for the JSON lines")


def number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return int(text)

    parse.__name__ = "number"
    return parse


def numbers(least: int, most: int) -> Callable[[str], list[int]]:
    def parse(text: str) -> list[int]:
        found = [int(part) for part in text.split(",")]
        if not all(least <= each <= most for each in found):
            raise argparse.ArgumentTypeError(f"{text}: numbers from {least} to {most}, separated by commas")
        return list(dict.fromkeys(found))

    parse.__name__ = "list of numbers"
    return parse


def seconds(text: str) -> float:
    if not 0 < float(text) < 86400:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return float(text)
