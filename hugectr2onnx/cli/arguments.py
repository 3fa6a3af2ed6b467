"""Arguments that several verbs share, and what they stand for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hugectr2onnx.cli.entry import UsageError
from hugectr2onnx.errors import OptionError
from hugectr2onnx.options import Options, descriptions, flag_text
from hugectr2onnx.options.description import Flag, Group

if TYPE_CHECKING:
    from hugectr2onnx.frontend.weights.snapshot import Weights


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


_FLAG_GROUPS: Mapping[Group, tuple[str, str]] = {
    "model": ("model", "what the files do not say"),
    "tables": ("tables", "for all tables, or for that of one embedding top (may be repeated)"),
    "lookups": ("look-ups", "for all tables, or for that of one embedding top (may be repeated)"),
    "result": ("result", ""),
}


def add_flags(parser: argparse.ArgumentParser, *groups: Group, only: Collection[str] = ()) -> None:
    """Add the flags of `compile`'s options, made from their descriptions; `only` some of a group, by the options' names."""
    for group in groups:
        title, text = _FLAG_GROUPS[group]
        target = parser.add_argument_group(title, text or None)
        for name, described in descriptions():
            if described.group == group and described.flag is not None and (not only or name in only):
                _add_flag(target, name, described.flag, described.doc)


def _add_flag(target: argparse._ArgumentGroup, name: str, flag: Flag, doc: str) -> None:
    names = [flag.short, flag.name] if flag.short else [flag.name]
    help = (flag.help or doc[0].lower() + doc[1:].removesuffix(".")).replace("%", "%%")
    dest = _destination(name)
    if flag.constant is not None:
        target.add_argument(*names, dest=dest, action="store_const", const=flag.constant, help=help)
    else:
        action = "append" if flag.collect else "store"
        target.add_argument(*names, dest=dest, metavar=flag.metavar, action=action, help=help)


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the command line sets, by name. Raises OptionError, and GraphJsonError for a file of JSON."""
    given = {name: (d.flag, getattr(arguments, _destination(name), None)) for name, d in descriptions()}
    return {name: _value(name, flag, used) for name, (flag, used) in given.items() if flag and used is not None}


def options_of(arguments: argparse.Namespace, start: Options | None = None) -> Options:
    """Return the options: those of `start` (or the defaults), with what the command line sets in their place."""
    return (start or Options()).changed(**given_options(arguments))


def add_replay(group: argparse._ActionsContainer) -> None:
    """--options manifest.json[::MODEL]."""
    group.add_argument(
        "--options",
        metavar="manifest.json[::MODEL]",
        help="the options that a saved model was made with; flags given beside it come in their place",
    )


def replayed(manifest: str, model: str, given: Mapping[str, Any]) -> Options:
    """Return the options of a model in a manifest, `FILE` or `FILE::MODEL`, with what the command line gives in their place."""
    file, separator, named = manifest.rpartition("::")
    if separator and not os.path.exists(manifest):
        return Options.from_manifest(file, named, **given)
    return Options.from_manifest(manifest, prefer=model, **given)


def texts_of_flags(arguments: argparse.Namespace) -> list[str]:
    """Return the texts of flags that may each be the name of a file."""
    texts = [getattr(arguments, _destination(name), None) for name, _ in descriptions()]
    return [text for text in texts if isinstance(text, str)]


def _destination(name: str) -> str:
    """Apart from the arguments that a verb has of its own."""
    return f"option_{name}"


def _value(name: str, flag: Flag, used: Any) -> Any:
    if flag.constant is not None:
        return used
    try:
        return flag.collect([flag.parse(text) for text in used]) if flag.collect else flag.parse(used)
    except OptionError as error:
        raise OptionError(f"{flag.name}: {error}", option=name) from None


def byte_count(text: str) -> int:
    """`2GB`, `2GiB`, `500M`, `1000000`: units of a thousand, with an i of 1024."""
    try:
        return flag_text.byte_count(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def weights_of(arguments: argparse.Namespace) -> Weights | None:
    """Return the weights that the arguments name; None where they name none. Raises UsageError and WeightsError."""
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
    """Return the weights, where a verb cannot do without."""
    weights = weights_of(arguments)
    if weights is None:
        raise UsageError("give the weights: --weights FOLDER, or --dense FILE --sparse FOLDER... --ntp FILE")
    return weights
