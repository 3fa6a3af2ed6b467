"""`hugectr2onnx sample`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.datasets import HUGECTR_FORMATS
from hugectr2onnx.errors import OutputError

if TYPE_CHECKING:
    from hugectr2onnx.sample_models.catalog import SamplePaths

DEFAULT_SAMPLES = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from hugectr2onnx.sample_models import SAMPLES

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["samples:", *(f"  {name:14} {each.description}" for name, each in SAMPLES.items())])
    parser.add_argument("name", metavar="NAME", help="which sample, such as wdl")
    parser.add_argument("folder", metavar="FOLDER", help="where to write it: an empty folder, or a new one")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default 0)")
    parser.add_argument("--scale", choices=("small", "realistic"), default="small", help="widths and table sizes")
    parser.add_argument(
        "--rows",
        type=positive,
        metavar="N",
        help=f"with --dataset: samples of the data set (default {DEFAULT_SAMPLES}); without it: the same as --table-rows",
    )
    parser.add_argument("--table-rows", type=positive, metavar="N", help="of every table (default: by the scale)")
    parser.add_argument(
        "--dataset",
        type=formats,
        metavar="FORMAT,...",
        help="write train/ and val/ too, with labels that the model itself draws: parquet, norm, raw; of several formats, "
        "each in a folder of its name",
    )


def positive(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")


def formats(text: str) -> tuple[str, ...]:
    """`parquet,raw` as two formats of data sets."""
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [each for each in chosen if each not in HUGECTR_FORMATS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no format {unknown[0]!r}; there are {', '.join(HUGECTR_FORMATS)}")
    return chosen


def run(arguments: argparse.Namespace, output: Output) -> int:
    from hugectr2onnx.sample_models import SAMPLES, write_sample
    from hugectr2onnx.sample_models.writer import staged

    name, folder = arguments.name, Path(arguments.folder)
    if name not in SAMPLES:
        raise UsageError(f"there is no sample {name!r}; there are {', '.join(SAMPLES)}")
    rows = _table_rows(arguments)
    with fresh(folder), staged(folder) as scratch:
        sample = write_sample(name, scratch, seed=arguments.seed, scale=arguments.scale, rows=rows)
        places = _write_data_sets(arguments, sample, scratch)
    dense = folder / Path(str(sample.weights.dense)).name
    output.say(f"wrote the sample {name}: {SAMPLES[name].description}", "good")
    output.say(f"next: hugectr2onnx compile {folder / sample.graph.name} --weights {dense} -o {name}.onnx")
    for place, kind in places.items():
        output.say(f"then: hugectr2onnx evaluate {name}.onnx {folder / place / 'val'}{_reading(folder / place, kind)}")
    return 0


def _reading(place: Path, kind: str) -> str:
    """Return the flags that reading a data set in a folder takes."""
    sizes = place / "slot_size_array.json"
    offsets = f" --slot-size-array {sizes}" if sizes.exists() else ""
    return offsets + (" --float-dense --int64-keys" if kind == "raw" else "")


def _table_rows(arguments: argparse.Namespace) -> int | None:
    """Return rows of every table: --table-rows, or --rows where there is no data set that it could mean."""
    if arguments.dataset is None and arguments.rows is not None and arguments.table_rows is not None:
        raise UsageError("--rows and --table-rows are the same without --dataset; give one of them")
    rows: int | None = arguments.table_rows if arguments.dataset or arguments.table_rows else arguments.rows
    return rows


def _write_data_sets(arguments: argparse.Namespace, sample: SamplePaths, folder: Path) -> dict[str, str]:
    """Return the data set in each format that was asked for; returns the places in the folder with their formats."""
    chosen = arguments.dataset or ()
    if not chosen:
        return {}
    from hugectr2onnx.sample_models import write_data_set

    places = {each if len(chosen) > 1 else "": each for each in chosen}
    for place, each in places.items():
        rows = arguments.rows or DEFAULT_SAMPLES
        write_data_set(sample, folder / place, rows=rows, format=each, seed=arguments.seed)
    return places


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
