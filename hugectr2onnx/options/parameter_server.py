"""Read from the configuration of an HPS deployment (ps.json) the vectors of unknown keys of a model (formats 6.1)."""

from __future__ import annotations

import os
from typing import Any

from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.graph_json.fields import Fields

MODELS = "models"
SEPARATOR = "::"
Defaults = tuple[tuple[str, float], ...]


def read_defaults(path: str) -> Defaults:
    """(table, number) for each table of a model in a file, `FILE` or `FILE::MODEL`. Raises OptionError."""
    from hugectr2onnx.frontend.graph_json import json_text

    file, separator, model = path.rpartition(SEPARATOR)
    if not separator or os.path.exists(path):
        file, model = path, ""
    return defaults_of(json_text.load(file, OptionError), file, model)


def defaults_of(config: Any, where: str, model: str = "") -> Defaults:
    """Return the same of a parsed configuration; `model` may be empty where it has one model only."""
    entries = Fields(config, where, OptionError).children(MODELS)
    names = [entry.string("model", "") for entry in entries]
    chosen = [entry for entry, name in zip(entries, names, strict=True) if model in ("", name)]
    if len(chosen) != 1:
        found = ", ".join(names)[:200] or "no models"
        raise OptionError(f"{where}: holds {found}; name one of them, as {where}{SEPARATOR}MODEL")
    (entry,) = chosen
    count = len(_list(entry, "sparse_files"))
    values = [_number(each, entry) for each in _list(entry, "default_value_for_each_table")]
    tables = entry.strings("embedding_table_names", [f"sparse_embedding{i}" for i in range(max(count, len(values)))])
    if len(values) > len(tables):
        raise OptionError(f"{entry.where}: has {len(values)} default values for {len(tables)} tables")
    padded = [*values, *[0.0] * (len(tables) - len(values))]
    return tuple(zip(tables, padded, strict=True))


def _list(entry: Fields, key: str) -> list[Any]:
    found = entry.value(key) if entry.has(key) else []
    return found if isinstance(found, list) else []


def _number(value: object, entry: Fields) -> float:
    """Old files write numbers as strings."""
    try:
        return (
            float(value)
            if isinstance(value, str)
            else Fields({"value": value}, entry.where, OptionError).number("value")
        )
    except ValueError as error:
        raise OptionError(f"{entry.where}: default_value_for_each_table holds {value!r}, expected a number") from error
