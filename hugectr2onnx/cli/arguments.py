"""Arguments that several verbs share, and what they stand for."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.entry import UsageError

if TYPE_CHECKING:
    from hugectr2onnx.frontend.importer import ImportOptions
    from hugectr2onnx.frontend.weights.snapshot import Weights

Shape = tuple[int | str, ...]
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([KMGT])(i?))?B?", re.IGNORECASE)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights FOLDER, or the files one by one."""
    group = parser.add_argument_group("weights", "a snapshot folder, or its files one by one")
    group.add_argument("--weights", metavar="FOLDER", help="the snapshot folder, or the dense file of one in it")
    group.add_argument("--prefix", help="which model, where the folder holds several")
    group.add_argument("--iteration", type=int, metavar="N", help="which iteration (default: the last)")
    group.add_argument("--dense", metavar="FILE", help="the dense file")
    group.add_argument("--sparse", metavar="FOLDER", nargs="+", default=[], help="the tables, in JSON order")
    group.add_argument("--ntp", metavar="FILE", help="the statistics of BatchNorm (default: beside the dense file)")
    group.add_argument("--key-bytes", type=int, choices=(4, 8), help="of single-file tables of v2.x and v3.0")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the files do not say."""
    group = parser.add_argument_group("model", "what the files do not say")
    group.add_argument(
        "--no-embedding", action="store_true", help="the vectors [N, slot, vec] are inputs, not the keys"
    )
    group.add_argument(
        "--input-shape",
        metavar="NAME=N,26,16",
        type=named_shape,
        action="append",
        default=[],
        help="make a tensor that nothing in the JSON produces an input; N is the batch",
    )
    group.add_argument(
        "--layer-attrs",
        metavar="JSON",
        help='file or text such as {"reshape1": {"shape": [-1, 26, 16]}}: what graph_to_json loses',
    )
    group.add_argument(
        "--slot-size-array",
        metavar="10,0,4",
        help="the reader's list, or a JSON file that holds it: inputs are then raw keys, slot by slot",
    )
    group.add_argument(
        "--embedding-collection",
        metavar="FILE.json",
        help="the look-ups of an EmbeddingCollection, which graph_to_json loses, and the folder of embedding_dump",
    )
    group.add_argument(
        "--n-gpus", type=int, metavar="N", help="of the training, for Localized tables with repeated keys"
    )
    _add_tables(parser)


def _add_tables(parser: argparse.ArgumentParser) -> None:
    """How tables are stored."""
    group = parser.add_argument_group("tables", "for all tables, or for that of one embedding top (may be repeated)")
    group.add_argument(
        "--embedding",
        metavar="[TOP=]FORMAT",
        action="append",
        default=[],
        help="the format of the rows: fp32, fp16, int8 (default fp32); TOP may be a table of an EmbeddingCollection",
    )
    group.add_argument(
        "--keep-keys",
        metavar="TOP=FILE",
        type=named_file,
        action="append",
        default=[],
        help="drop the rows of all keys but these: int64 file, .npy, or FILE.parquet::COLUMN; several files for one TOP are "
        "united; keys are those of the key file, with the offsets of --slot-size-array added; TOP may be a table of an "
        "EmbeddingCollection",
    )


def add_keys(parser: argparse.ArgumentParser) -> None:
    """How keys find their rows."""
    parser.add_argument(
        "--keys",
        metavar="[TOP=]STRATEGY",
        action="append",
        default=[],
        help="how keys find their rows: auto, direct, label-encoder, perfect-hash, indices (default auto)",
    )


def choice_of(given: list[str], flag: str, usual: str) -> str | dict[str, str]:
    """One value for all tables, or {embedding top: value}. Raises UsageError for a mixture."""
    named = {top: value for top, equals, value in (each.rpartition("=") for each in given) if equals}
    plain = [each for each in given if "=" not in each]
    if len(plain) + bool(named) > 1 or len(named) + len(plain) < len(given):
        raise UsageError(f"{flag}: give one value for all tables, or TOP=VALUE once for each of some")
    return named or (plain[0] if plain else usual)


def named_file(text: str) -> tuple[str, str]:
    """`TOP=FILE`."""
    top, _, file = text.partition("=")
    if not top or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form TOP=FILE")
    return top, file


def kept_files(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The files of --keep-keys by TOP, in the order given."""
    files: dict[str, list[str]] = {}
    for top, file in arguments.keep_keys:
        files.setdefault(top, []).append(file)
    return files


def byte_count(text: str) -> int:
    """`2GB`, `2GiB`, `500M`, `1000000`: units of a thousand, with an i of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give bytes, or such as 500MB or 2GiB")
    number, prefix, binary = match.groups()
    count = int(float(number) * (1024 if binary else 1000) ** " KMGT".index((prefix or " ").upper()))
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it is less than a byte")
    return count


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def weights_of(arguments: argparse.Namespace) -> Weights | None:
    """The weights that the arguments name; None where they name none. Raises UsageError and WeightsError."""
    from hugectr2onnx.frontend.weights.snapshot import Weights, resolve

    single = [f"--{name}" for name in ("dense", "sparse", "ntp") if getattr(arguments, name)]
    chosen = [f"--{name}" for name in ("prefix", "iteration") if getattr(arguments, name) is not None]
    if arguments.weights is None:
        if chosen:
            raise UsageError(
                f"{' and '.join(chosen)} choose among the snapshots of a folder: give --weights FOLDER too"
            )
        files = Weights(arguments.dense, arguments.sparse, arguments.ntp, arguments.key_bytes)
        return files if single else None
    if single:
        raise UsageError(f"--weights and {', '.join(single)} exclude each other: give a folder, or its files")
    folder, choice = arguments.weights, (arguments.prefix, arguments.iteration)
    found = Weights.discover(folder, *choice) if chosen else resolve(folder)
    return replace(found, key_bytes=arguments.key_bytes)


def required_weights(arguments: argparse.Namespace) -> Weights:
    """The weights, where a verb cannot do without."""
    weights = weights_of(arguments)
    if weights is None:
        raise UsageError("give the weights: --weights FOLDER, or --dense FILE --sparse FOLDER... --ntp FILE")
    return weights


def options_of(arguments: argparse.Namespace) -> ImportOptions:
    """What the caller says about the model, its EmbeddingCollection and keys to keep opened.

    Raises GraphJsonError and WeightsError.
    """
    options = plain_options(arguments)
    if arguments.keep_keys:
        from hugectr2onnx.frontend.weights.key_filter import read_all

        options = replace(options, keep_keys=read_all(kept_files(arguments)))
    if arguments.embedding_collection is None:
        return options
    from hugectr2onnx.frontend.embeddings.embedding_collection import open_collection

    return replace(options, collection=open_collection(arguments.embedding_collection, options.keep_keys))


def plain_options(arguments: argparse.Namespace) -> ImportOptions:
    """What the caller says about the model. Raises GraphJsonError for JSON that is none."""
    from hugectr2onnx.frontend import given
    from hugectr2onnx.frontend.importer import ImportOptions

    return ImportOptions(
        convert_embedding=not arguments.no_embedding,
        input_shapes=dict(arguments.input_shape),
        layer_attrs=_layer_attrs(arguments.layer_attrs),
        slot_size_array=_slot_sizes(arguments.slot_size_array),
        n_gpus=given.gpus(arguments.n_gpus),
        row_formats=choice_of(arguments.embedding, "--embedding", "fp32"),
    )


def named_shape(text: str) -> tuple[str, Shape]:
    """`NAME=N,26,16`."""
    name, equals, dims = text.rpartition("=")
    if not equals or not name or not dims:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=N,26,16")
    return name, tuple(_dim(text, dim.strip()) for dim in dims.split(","))


def _dim(text: str, dim: str) -> int | str:
    if dim in ("N", "-1"):
        return "N"
    if dim.isascii() and dim.isdigit() and len(dim) < 12 and int(dim) > 0:
        return int(dim)
    raise argparse.ArgumentTypeError(f"{text!r} has the dimension {dim!r}: give N for the batch, or a positive number")


def _layer_attrs(given: str | None) -> Any:
    if given is None:
        return {}
    from hugectr2onnx.errors import GraphJsonError
    from hugectr2onnx.frontend.graph_json import json_text

    is_text = given.lstrip().startswith("{")
    attributes = json_text.parse(given, "--layer-attrs") if is_text else json_text.load(given)
    if not isinstance(attributes, dict):
        raise GraphJsonError(
            f'--layer-attrs {given[:60]}: expected an object such as {{"reshape1": {{"shape": [-1, 4]}}}}'
        )
    return attributes


def _slot_sizes(given: str | None) -> tuple[int, ...] | None:
    """Numbers with commas between them, or a JSON file: a list, or an object with the key slot_size_array."""
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    if all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        return tuple(map(int, parts))
    if not Path(given).suffix and not Path(given).exists():
        raise UsageError(f"--slot-size-array {given!r}: give numbers such as 10,0,4, or a JSON file")
    from hugectr2onnx.frontend.graph_json import json_text
    from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields

    held = json_text.load(given)
    held = held if isinstance(held, dict) else {"slot_size_array": held}
    return Fields(held, given).integers("slot_size_array", minimum=0, maximum=INT64_MAX)
