"""Assign the columns of a table to labels, dense values and keys: by `_metadata.json`, the caller's word, or their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError

FORM = "labels=click;dense=I1..I13;keys=C1..C26;ids=user_id"
_RANGE = re.compile(r"(.*?)([0-9]+)\.\.(.*?)([0-9]+)")
MAX_COLUMNS = 100_000
_MAX_LISTED = 12
COLUMN_GROUPS = ("labels", "dense", "keys", "ids")


@dataclass(frozen=True)
class Columns:
    """Column names in the order in which HugeCTR numbers them; `ids` pass through to the predictions."""

    labels: tuple[str, ...]
    dense: tuple[str, ...]
    keys: tuple[str, ...]
    ids: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.labels, *self.dense, *self.keys, *self.ids)))


def parse_columns(text: str) -> Columns:
    """`labels=click;dense=I1..I13;keys=C1..C26;ids=user_id` as columns. Raises FeedError for another form."""
    groups: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        group, equals, names = part.partition("=")
        if not equals or group not in COLUMN_GROUPS or group in groups:
            raise FeedError(f"columns has {part[:60]!r}; expected the form {FORM!r}")
        groups[group] = tuple(name for each in names.split(",") if each.strip() for name in _expanded(each.strip()))
    return columns_of(groups)


def columns_of(given: str | Columns | Mapping[str, Sequence[str]]) -> Columns:
    """Return columns from text, or from a mapping with the keys labels, dense, keys and ids."""
    if isinstance(given, Columns):
        return given
    if isinstance(given, str):
        return parse_columns(given)
    if not isinstance(given, Mapping) or any(group not in COLUMN_GROUPS for group in given):
        raise FeedError(f"columns must be text such as {FORM!r}, or a mapping with the keys {', '.join(COLUMN_GROUPS)}")
    listed = {group: (names,) if isinstance(names, str) else tuple(names) for group, names in given.items()}
    return Columns(*(listed.get(group, ()) for group in COLUMN_GROUPS))


def _expanded(name: str) -> Iterator[str]:
    """`I1..I13` as thirteen names; any other text as one."""
    match = _RANGE.fullmatch(name)
    if match is None or match[1] != match[3]:
        yield name
        return
    first, last = int(match[2]), int(match[4])
    if last - first >= MAX_COLUMNS:
        raise FeedError(f"columns has the range {name!r}, which is longer than {MAX_COLUMNS} columns")
    width = len(match[2]) if match[2].startswith("0") else 0
    yield from (f"{match[1]}{number:0{width}d}" for number in range(first, last + 1))


def by_name(names: Sequence[str], kinds: Mapping[str, str], schema: Schema) -> Columns:
    """Return the columns of a table without `_metadata.json`.

    Names are tried first: labels by the names of the model's outputs or `label...`, dense values `I1, I2, ...`, keys
    `C1, C2, ...`. Then types: float columns are labels and dense values in the order of the table, integer columns are
    keys. `kinds` maps each name to "float", "integer" or "other". Raises FeedError where neither fits the model.
    """
    for guess in (_by_criteo_names(names, schema), _by_kinds(names, kinds, schema)):
        if guess is not None:
            return guess
    listed = ", ".join(f"{name} ({kinds.get(name, 'other')})" for name in names[:_MAX_LISTED])
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    raise FeedError(
        f"the table has the columns {listed}{more}, and the model takes {schema}: say which is which, such as "
        f"--columns {FORM!r}"
    )


def _by_criteo_names(names: Sequence[str], schema: Schema) -> Columns | None:
    labels = _labels(names, schema)
    dense, keys = _numbered(names, "I"), _numbered(names, "C")
    if len(dense) != schema.dense_dim or len(keys) != schema.slots:
        return None
    return Columns(labels, dense, keys)


def _by_kinds(names: Sequence[str], kinds: Mapping[str, str], schema: Schema) -> Columns | None:
    floats = [name for name in names if kinds.get(name) == "float"]
    keys = tuple(name for name in names if kinds.get(name) == "integer")
    labels = _labels(names, schema)
    if labels:
        floats = [name for name in floats if name not in labels]
        keys = tuple(name for name in keys if name not in labels)
    elif len(floats) == schema.label_columns + schema.dense_dim:
        labels, floats = tuple(floats[: schema.label_columns]), floats[schema.label_columns :]
    if len(floats) != schema.dense_dim or len(keys) != schema.slots:
        return None
    warning = "the table has no _metadata.json: its columns were told apart by their types and taken in their order"
    return Columns(labels, tuple(floats), keys, warnings=(warning,))


def _labels(names: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """Return columns named as the model's outputs, or `label`, `label0`, ...; none where their number is another."""
    own = tuple(label.name for label in schema.labels if label.name in names)
    if len(own) == len(schema.labels) and all(label.columns == 1 for label in schema.labels):
        return own
    called = tuple(name for name in names if re.fullmatch(r"labels?_?[0-9]*", name, re.IGNORECASE))
    return called if len(called) == schema.label_columns else ()


def _numbered(names: Sequence[str], letter: str) -> tuple[str, ...]:
    found = [name for name in names if re.fullmatch(rf"{letter}[0-9]+", name)]
    return tuple(sorted(found, key=lambda name: int(name[1:])))


def check_counts(columns: Columns, schema: Schema, where: str, lengths: Mapping[str, int] | None = None) -> None:
    """Raise FeedError where the columns are not as many as the model takes, with both sides in the message.

    `lengths` has the number of values of each fixed-length list column, which counts as so many columns (formats 4.2).
    """
    wide = lengths or {}
    found = (
        sum(wide.get(name, 1) for name in columns.labels),
        sum(wide.get(name, 1) for name in columns.dense),
        len(columns.keys),
    )
    wanted = (schema.label_columns, schema.dense_dim, schema.slots)
    for what, have, want in zip(("label columns", "dense columns", "key columns (slots)"), found, wanted, strict=True):
        if what == "label columns" and not have:
            continue  # data without labels can still be predicted
        if have != want:
            raise FeedError(
                f"{where}: has {found[0]} label columns, {found[1]} dense columns and {found[2]} key columns; the model "
                f"takes {schema}: the number of {what} differs"
            )
