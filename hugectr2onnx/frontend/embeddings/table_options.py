"""What the caller wants of single tables: the format of their rows, the keys that are worth keeping."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.row_format import FORMATS, RowFormat, smallest


@dataclass(frozen=True)
class TableWishes:
    """For one table. `keep` are the keys that may be asked for, ascending; None for all."""

    n_gpus: int | None = None
    row_format: RowFormat = "fp32"
    keep: Array | None = None


def format_of(formats: str | Mapping[str, str], top: str, width: int, *, table: str | None = None) -> RowFormat:
    """The format of a table's rows: that of a look-up's top, else that of the table's own name.

    One format for all tables spares those where it saves nothing: with int8, rows of up to 4 numbers become fp16, which is
    as small and more exact.
    """
    if isinstance(formats, Mapping):
        return _known(formats.get(top, "fp32" if table is None else formats.get(table, "fp32")))
    return smallest(_known(formats), width)


def check_formats(formats: object) -> None:
    """Raise UnsupportedError for a format that does not exist."""
    for format in formats.values() if isinstance(formats, Mapping) else [formats]:
        _known(format)


def _known(format: object) -> RowFormat:
    for known in FORMATS if isinstance(format, str) else ():
        if format == known:
            return known
    found = repr(format[:60]) if isinstance(format, str) else f"a Python {type(format).__name__}"
    raise UnsupportedError(f"embedding is {found}; a row format is one of {', '.join(FORMATS)}")


def check_tops(what: str, named: Collection[str], tops: Collection[str], expected: str = "embedding's top") -> None:
    """Raise UnsupportedError for a name that is no embedding's top."""
    for name in named:
        if name not in tops:
            near = nearest(str(name)[:60], tops)
            raise UnsupportedError(f"{what} names {str(name)[:60]!r}, which is no {expected} ({near})")
