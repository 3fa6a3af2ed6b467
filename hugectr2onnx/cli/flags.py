"""Write the options that an error names as flags of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hugectr2onnx.errors import HugeCTR2ONNXError, Setting
from hugectr2onnx.options import descriptions
from hugectr2onnx.options.description import Flag

ELLIPSIS = "\0..."

_FLAGS_OF_ARGUMENTS = {
    "weights": Flag("--weights", "FOLDER"),
    "dense": Flag("--dense", "FILE"),
    "sparse": Flag("--sparse", "FOLDER..."),
    "ntp": Flag("--ntp", "FILE"),
    "prefix": Flag("--prefix", "PREFIX"),
    "iteration": Flag("--iteration", "N"),
    "key_bytes": Flag("--key-bytes", "N"),
    "shard_size": Flag("--shard-size", "2GB"),
    "options": Flag("--options", "manifest.json::MODEL"),
    "budget": Flag("--budget", "auc:99.9%"),
}
"""Flags of what is not an option of `compile`."""


def described(error: HugeCTR2ONNXError) -> str:
    """Return the error's text, and a line with the flags of the options that it is about, unless the text has them."""
    text = error.describe(setting)
    flags = [flag for flag in (_flag(option) for option in error.options) if flag and flag.name not in text]
    return f"{text}\n  on the command line: {', '.join(flag.usage for flag in flags)}" if flags else text


def setting(given: Setting) -> str:
    """`--n-gpus 4` for `n_gpus=4`."""
    flag = _flag(given.option)
    if flag is None:
        return str(given)
    if flag.constant is not None or not given.has_value:
        return flag.name
    if given.value is Ellipsis:
        return flag.usage
    return " ".join(f"{flag.name} {text}" for text in _texts(given.option, given.value))


def _texts(option: str, value: object) -> list[str]:
    """Tell what follows the flag, once for each of its uses."""
    if option == "layer_attrs":
        return [f"'{json.dumps(value, default=lambda _: ELLIPSIS).replace(json.dumps(ELLIPSIS), '...')}'"]
    if isinstance(value, Mapping):
        return [f"{name}={_listed(each)}" for name, each in value.items()]
    return [str(value)]


def _listed(value: object) -> str:
    if value is Ellipsis:
        return "..."
    return ",".join(map(_listed, value)) if isinstance(value, list | tuple) else str(value)


def _flag(option: str) -> Flag | None:
    if option in _FLAGS_OF_ARGUMENTS:
        return _FLAGS_OF_ARGUMENTS[option]
    return next((described.flag for name, described in descriptions() if name == option), None)
