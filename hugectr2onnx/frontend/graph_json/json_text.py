"""Strict JSON: every way in which a text can fail to be plain JSON gives one clear error.

Python's own reader lets NaN, repeated keys and numbers of any length pass, and its depth limit depends on the version
and on the C stack; here they are refused before they can do harm.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, NoReturn

import numpy as np

from hugectr2onnx.errors import GraphJsonError, HugeCTR2ONNXError
from hugectr2onnx.frontend.foreign_files import foreign_kind, is_script
from hugectr2onnx.tables.regular_file import read_regular, shown

Error = type[HugeCTR2ONNXError]
StrPath = str | os.PathLike[str]

MOST_BYTES = 16 << 20
MOST_LEVELS = 100
MOST_VALUES = 1_000_000
MOST_DIGITS = 400

# The closing quote is optional so that an unterminated string is one match and the scan stays linear.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STRING_OR_C_CONSTANT = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?\b(?:nan|inf|infinity)\b', re.DOTALL | re.IGNORECASE)


def load(path: StrPath, error: Error = GraphJsonError, c_constants: bool = False) -> Any:
    """Return the value that a JSON file holds, checked; `c_constants` lets C's nan, inf and -nan pass as floats."""
    return parse(_read_text(path, error), shown(path), error, c_constants)


def parse(text: str, where: str, error: Error = GraphJsonError, c_constants: bool = False) -> Any:
    """Return the value of a JSON text; `where` (a file name) begins every message."""
    _check_depth(text, where, error)
    if c_constants:
        text = _STRING_OR_C_CONSTANT.sub(_python_constant, text)
    reader = _Reader(where, error, c_constants)
    try:
        value = json.loads(
            text,
            object_pairs_hook=reader.object,
            parse_constant=reader.constant,
            parse_int=reader.integer,
            parse_float=reader.number,
        )
    except json.JSONDecodeError as failure:
        raise error(_syntax_message(failure, text, where) + _hint(text)) from None
    except (RecursionError, MemoryError):
        raise error(f"{where}: is too deep or too large to be read") from None
    return plain(value, error, where, finite=not c_constants)


def plain(value: object, error: Error, where: str, finite: bool = True) -> Any:
    """Return a copy of a JSON-like value in dicts, lists, str, int, float, bool and None; anything else raises `error`."""
    return _Copier(error, where, finite).copy(value, "", 0)


def _read_text(path: StrPath, error: Error) -> str:
    content = read_regular(path, error, "a JSON file", max_bytes=MOST_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        kind = foreign_kind(path)
        known = f"it is {kind}" if kind else "is this a JSON file?"
        raise error(f"{shown(path)}: is not UTF-8 text (byte {failure.start}); {known}") from None


def _check_depth(text: str, where: str, error: Error) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match[0]
        depth += (token in "[{") - (token in "]}")
        if depth > MOST_LEVELS:
            line = text.count("\n", 0, match.start()) + 1
            raise error(f"{where}: nested deeper than {MOST_LEVELS} levels at line {line}; no HugeCTR file is")


def _python_constant(match: re.Match[str]) -> str:
    token = match[0].lower()
    if token.startswith('"'):
        return match[0]
    return "NaN" if token.endswith("nan") else "-Infinity" if token.startswith("-") else "Infinity"


def _hint(text: str) -> str:
    return "; it is a Python script: give the JSON that Model.graph_to_json wrote" if is_script(text) else ""


def _syntax_message(failure: json.JSONDecodeError, text: str, where: str) -> str:
    place = f"line {failure.lineno}, column {failure.colno}"
    if not text.strip():
        return f"{where}: is empty, expected JSON"
    if failure.msg.startswith("Extra data"):
        return f"{where}: something follows the end of the JSON value at {place}"
    if failure.pos >= len(text.rstrip()) or failure.msg.startswith("Unterminated string"):
        return f"{where}: ends too early ({failure.msg} at {place}); the file is truncated"
    return f"{where}: is not JSON: {failure.msg} at {place}"


class _Reader:
    """The hooks of json.loads that refuse what Python would let pass."""

    def __init__(self, where: str, error: Error, c_constants: bool) -> None:
        self.where, self.error, self.c_constants = where, error, c_constants

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        named = [f'{key} "{result[key]}"' for key in ("type", "name", "top") if isinstance(result.get(key), str)]
        which = ", ".join(named)[:200] or f"with the keys {', '.join(result)[:200]}"
        raise self.error(f'{self.where}: the key "{twice[:60]}" appears twice in one object ({which})')

    def constant(self, token: str) -> float:
        return float(token) if self.c_constants else self._refuse(f"{token} is not JSON")

    def integer(self, digits: str) -> int:
        return int(digits) if len(digits) <= MOST_DIGITS else self._refuse(f"a number has {len(digits)} digits")

    def number(self, text: str) -> float:
        if len(text) <= MOST_DIGITS and math.isfinite(value := float(text)):
            return value
        return self._refuse(f"the number {text[:20]}{'...' if len(text) > 20 else ''} does not fit a float")

    def _refuse(self, what: str) -> NoReturn:
        raise self.error(f"{self.where}: {what}")


class _Copier:
    """Copies a JSON-like value and counts: a Python object may be cyclic, shared a million times or deep."""

    def __init__(self, error: Error, where: str, finite: bool) -> None:
        self.error, self.where, self.finite = error, where, finite
        self.left = MOST_VALUES

    def copy(self, value: object, path: str, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.error(f"{self.where}: has more than {MOST_VALUES} values")
        if depth > MOST_LEVELS:
            raise self.error(f"{self.where}: nested deeper than {MOST_LEVELS} levels")
        if isinstance(value, Mapping):
            return {key: self.copy(item, where, depth + 1) for key, where, item in self._members(value, path)}
        if isinstance(value, list | tuple):
            return [self.copy(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        return self._scalar(value, path)

    def _members(self, value: Mapping[object, object], path: str) -> Iterator[tuple[str, str, object]]:
        for key, item in value.items():
            if not isinstance(key, str):
                raise self._wrong(path, f"a key is a Python {type(key).__name__}, not a string")
            name = self._text(key, path)
            yield name, f"{path}.{name[:60]}" if path else name[:60], item

    def _scalar(self, value: object, path: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, float | np.floating):
            if self.finite and not math.isfinite(value):
                raise self._wrong(path, "the number is not finite")
            return float(value)
        raise self._wrong(path, f"a Python {type(value).__name__} is not a JSON value")

    def _text(self, value: str, path: str) -> str:
        # Half a surrogate pair is legal after \u, yet can be written to no file and no protobuf.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise self._wrong(path, "a string holds half of a surrogate pair")
        return str(value)

    def _wrong(self, path: str, what: str) -> HugeCTR2ONNXError:
        return self.error(f"{self.where}: {path or 'the top level'}: {what}")
