"""The options of one table: the format of its rows, the keys that are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import PerTable
from hugectr2onnx.tables.row_format import FORMATS, RowFormat, smallest


@dataclass(frozen=True)
class TableOptions:
    """For one table. `keep` are the keys that may be asked for, ascending; None for all."""

    n_gpus: int | None = None
    row_format: RowFormat = "fp32"
    keep: Array | None = None


def format_of(formats: PerTable, top: str, width: int, *, table: str | None = None) -> RowFormat:
    """The format of a table's rows: that of a look-up's top, else that of the table's own name.

    One format for all tables spares those where it saves nothing: with int8, rows of up to 4 numbers become fp16, which is
    as small and more exact.
    """
    if isinstance(formats, Mapping):
        return _known(formats.get(top, "fp32" if table is None else formats.get(table, "fp32")))
    return smallest(_known(formats), width)


def _known(format: str) -> RowFormat:
    return next(known for known in FORMATS if format == known)


def check_tops(option: str, named: Collection[str], tops: Collection[str], expected: str = "embedding's top") -> None:
    """Raise OptionError for a name that is not an embedding's top."""
    for name in named:
        if name not in tops:
            near = nearest(str(name)[:60], tops)
            raise OptionError(f"{option} names {str(name)[:60]!r}, which is no {expected} ({near})", option=option)
