"""Turn the text of a flag into the value of its option. Each function raises OptionError."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from hugectr2onnx.errors import OptionError

Shape = tuple[int | str, ...]
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([KMGT])(i?))?B?", re.IGNORECASE)


def names(texts: Sequence[str]) -> tuple[str, ...]:
    """`label,fc3` or one name for each use of the flag."""
    return tuple(each.strip() for text in texts for each in text.split(",") if each.strip())


def integer(text: str) -> int:
    """`4`."""
    digits = text.strip().removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return int(text)
    raise OptionError(f"{text[:60]!r} is not a whole number")


def byte_count(text: str) -> int:
    """`2GB`, `2GiB`, `500M`, `1000000`: units of a thousand, with an i of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise OptionError(f"{text[:60]!r} is no size: give bytes, or such as 500MB or 2GiB")
    number, prefix, binary = match.groups()
    count = int(float(number) * (1024 if binary else 1000) ** " KMGT".index((prefix or " ").upper()))
    if count < 1:
        raise OptionError(f"{text[:60]!r} is no size: it is less than a byte")
    return count


def named_shape(text: str) -> tuple[str, Shape]:
    """`NAME=N,26,16`."""
    name, equals, dims = text.rpartition("=")
    if not equals or not name or not dims:
        raise OptionError(f"{text!r} is not of the form NAME=N,26,16")
    return name, tuple(_dim(text, dim.strip()) for dim in dims.split(","))


def _dim(text: str, dim: str) -> int | str:
    if dim in ("N", "-1"):
        return "N"
    if dim.isascii() and dim.isdigit() and len(dim) < 12 and int(dim) > 0:
        return int(dim)
    raise OptionError(f"{text!r} has the dimension {dim!r}: give N for the batch, or a positive number")


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object, or the name of a file that holds one. Raises GraphJsonError for such a file that is wrong."""
    from hugectr2onnx.frontend.graph_json import json_text

    is_text = text.lstrip().startswith("{")
    value = json_text.parse(text, "the value", OptionError) if is_text else json_text.load(text)
    if not isinstance(value, dict):
        raise OptionError(f'{text[:60]}: expected an object such as {{"reshape1": {{"shape": [-1, 4]}}}}')
    return value


def sizes(text: str) -> tuple[int, ...]:
    """`10,0,4`, or a JSON file: a list, or an object with the key slot_size_array."""
    parts = [part.strip() for part in text.split(",")]
    if all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        return tuple(map(int, parts))
    if not os.path.splitext(text)[1] and not os.path.exists(text):
        raise OptionError(f"{text[:60]!r}: give numbers such as 10,0,4, or a JSON file")
    from hugectr2onnx.frontend.graph_json import json_text
    from hugectr2onnx.frontend.graph_json.fields import INT64_MAX, Fields

    held = json_text.load(text)
    held = held if isinstance(held, dict) else {"slot_size_array": held}
    return Fields(held, text).integers("slot_size_array", minimum=0, maximum=INT64_MAX)


def named_file(text: str) -> tuple[str, str]:
    """`TOP=FILE`."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise OptionError(f"{text!r} is not of the form TOP=FILE")
    return name, file


# Flags that may be repeated


def by_name(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """{name: value}, the last of each name."""
    return dict(pairs)


def lists_by_name(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """{name: values}, each name's values in the order given."""
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    return lists


def per_table(texts: Sequence[str]) -> str | dict[str, str]:
    """Return one value for all tables, or {TOP: value} where each text is TOP=VALUE."""
    named = {top: value for top, equals, value in (each.rpartition("=") for each in texts) if equals}
    plain = [each for each in texts if "=" not in each]
    if len(plain) + bool(named) > 1 or len(named) + len(plain) < len(texts):
        raise OptionError("give one value for all tables, or TOP=VALUE once for each of some")
    return named or plain[0]


def per_layer(texts: Sequence[str]) -> str | dict[str, str]:
    """`int8`, or `int8,fc3=fp32`: one value for all layers, and LAYER=VALUE for some."""
    parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    named = {
        layer.strip(): value.strip() for layer, equals, value in (each.rpartition("=") for each in parts) if equals
    }
    plain = [each for each in parts if "=" not in each]
    if len(plain) > 1 or not parts or len(named) + len(plain) < len(parts):
        raise OptionError("give one value for all layers, and LAYER=VALUE once for each of some")
    if not named:
        return plain[0]
    return {"*": plain[0], **named} if plain else named


def numbers_per_table(texts: Sequence[str]) -> object:
    """Return a number, {TOP: number}, or the name of a file."""
    given = per_table(texts)
    if isinstance(given, dict):
        return {top: _number(text) for top, text in given.items()}
    try:
        return float(given)
    except ValueError:
        return given


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{text[:60]!r} is not a number") from None
