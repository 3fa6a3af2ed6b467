"""The flags that say how a data set is read and scored, for the verbs that take one."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.cli.output import Output
from hugectr2onnx.datasets import DATA_FORMATS
from hugectr2onnx.scoring import ENGINES

if TYPE_CHECKING:
    from hugectr2onnx.scoring.predict import Predictions


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how DATA is read."""
    parser.add_argument("model", metavar="MODEL.onnx", help="the converted model")
    parser.add_argument(
        "data", metavar="DATA", help="a data file, folder, glob or file list: Parquet, Norm, Raw, npz, CSV or Arrow"
    )
    add_data_options(parser)


def add_data_options(parser: argparse.ArgumentParser, format_flag: str = "--format") -> None:
    """Add the flags for what a data set does not say itself, for verbs that name it by a flag too."""
    group = parser.add_argument_group("data", "what DATA does not say itself")
    group.add_argument(
        format_flag, dest="format", choices=DATA_FORMATS, help="read DATA so (default: found from its content)"
    )
    group.add_argument("--limit", type=positive, metavar="N", help="read the first N samples only")
    group.add_argument(
        "--columns",
        metavar="SPEC",
        help="which columns are which where no _metadata.json says, such as "
        "'labels=click;dense=I1..I13;keys=C1..C26;ids=user'",
    )
    group.add_argument(
        "--slot-size-array",
        metavar="10,0,4",
        help="the list of HugeCTR's Parquet reader: its running sums are added to the keys (a number for each slot, or a "
        "JSON file)",
    )
    group.add_argument("--float-dense", action="store_true", help="Raw: dense values are float32, not int32 counts")
    group.add_argument("--int64-keys", action="store_true", help="Raw and Norm: keys have 64 bits")
    group.add_argument("--num-samples", type=positive, metavar="N", help="Raw: so many samples")
    group.add_argument("--hotness", metavar="1,1,30", help="Raw: keys of each slot (default: as the model takes them)")


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how samples are scored."""
    parser.add_argument("--batch-size", type=positive, default=8192, metavar="N", help="samples at once (default 8192)")
    parser.add_argument("--threads", type=positive, metavar="N", help="processor cores to use (default: all)")
    parser.add_argument(
        "--engine", choices=ENGINES, default="local", help="where the job runs (default: on this machine)"
    )
    parser.add_argument("--address", metavar="URL", help="a running cluster (default: the engine starts one here)")
    parser.add_argument("--group", metavar="COLUMN", help="the id column of hitrate@K and ndcg@K")


def scored(arguments: argparse.Namespace, output: Output, **options: Any) -> Predictions:
    """Run the job that the arguments describe, with a progress line, and show its warnings and what it took."""
    from hugectr2onnx.cli.text_scores import show_run
    from hugectr2onnx.scoring.predict import predict

    given = dataset_options(arguments)
    with output.counting() as progress:
        done = predict(
            arguments.model,
            arguments.data,
            threads=arguments.threads,
            engine=arguments.engine,
            address=arguments.address,
            progress=progress,
            group=arguments.group,
            keep=False,
            **options,
            **given,
        )
    for warning in done.warnings:
        output.warning(warning)
    show_run(done, output)
    return done


def dataset_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tell what `open_dataset` is told. Raises UsageError for values that cannot be read."""
    return {
        "format": arguments.format,
        "limit": arguments.limit,
        **({"batch_size": arguments.batch_size} if hasattr(arguments, "batch_size") else {}),
        "columns": arguments.columns,
        "slot_size_array": _sizes(arguments.slot_size_array),
        "float_dense": arguments.float_dense,
        "int64_keys": arguments.int64_keys or None,
        "num_samples": arguments.num_samples,
        "hotness": _numbers(arguments.hotness, "--hotness") if arguments.hotness else (),
    }


def positive(text: str) -> int:
    """Return a whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """`auc,logloss` as two names."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not os.path.isfile(text):
        return _numbers(text, "--slot-size-array")
    from hugectr2onnx.frontend.graph_json import json_text
    from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields

    held = json_text.load(text)
    held = held if isinstance(held, dict) else {"slot_size_array": held}
    return Fields(held, text).integers("slot_size_array", minimum=0, maximum=INT64_MAX)


def _numbers(text: str, flag: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise UsageError(f"{flag} {text[:60]!r}: give numbers with commas between them, such as 10,0,4")
    return tuple(map(int, parts))
