"""`hugectr2onnx sample`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.errors import OutputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from hugectr2onnx.sample_models import SAMPLES

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["samples:", *(f"  {name:14} {each.description}" for name, each in SAMPLES.items())])
    parser.add_argument("name", metavar="NAME", help="which sample, such as wdl")
    parser.add_argument("folder", metavar="FOLDER", help="where to write it: an empty folder, or a new one")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default 0)")
    parser.add_argument("--rows", type=positive, metavar="N", help="of every table (default: by the scale)")
    parser.add_argument("--scale", choices=("small", "realistic"), default="small", help="widths and table sizes")


def positive(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.sample_models import SAMPLES, write_sample

    name, folder = arguments.name, Path(arguments.folder)
    if name not in SAMPLES:
        raise UsageError(f"there is no sample {name!r}; there are {', '.join(SAMPLES)}")
    with fresh(folder):
        sample = write_sample(name, folder, seed=arguments.seed, scale=arguments.scale, rows=arguments.rows)
    output.say(f"wrote the sample {name}: {SAMPLES[name].description}", "good")
    output.say(f"next: hugectr2onnx compile {sample.graph} --weights {sample.weights.dense} -o {name}.onnx")
    return 0


@contextmanager
def fresh(folder: Path) -> Iterator[None]:
    """Guard what is written into a folder: raises OutputError where anything is in it, takes the folder away on failure.

    A folder that was there before stays, and so does one that something else has come into.
    """
    try:
        was_there = os.path.lexists(folder)
        if was_there and any(folder.iterdir()):
            raise OutputError(
                f"cannot write a sample to {folder}: there are files in it; choose a folder that is empty or new"
            )
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write to {folder}: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield
    except BaseException:
        if not was_there:
            with suppress(OSError):
                folder.rmdir()
        raise
