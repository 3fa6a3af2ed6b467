"""The options of one table: the format of its rows, the keys that are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import DefaultVectors, PerTable
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME, FP32, RowFormat

DEFAULT = "default_embedding"


@dataclass(frozen=True)
class TableOptions:
    """For one table. `keep` are the keys that may be asked for, ascending; None for all."""

    n_gpus: int | None = None
    row_format: RowFormat = FP32
    keep: Array | None = None


def format_of(formats: PerTable, top: str, width: int, *, table: str | None = None) -> RowFormat:
    """Return the format of a table's rows: that of a look-up's top, else that of the table's own name.

    One format for all tables spares those where it saves nothing: with int8, rows of up to 4 numbers become fp16, which is
    as small and more exact.
    """
    if isinstance(formats, Mapping):
        return _known(formats.get(top, FP32.name if table is None else formats.get(table, FP32.name)))
    return _known(formats).at_width(width)


def _known(format: str) -> RowFormat:
    return FORMATS_BY_NAME[format]


def check_tops(option: str, named: Collection[str], tops: Collection[str], expected: str = "embedding's top") -> None:
    """Raise OptionError for a name that is not an embedding's top."""
    for name in named:
        if name not in tops:
            near = nearest(str(name)[:60], tops)
            raise OptionError(f"{option} names {str(name)[:60]!r}, which is no {expected} ({near})", option=option)


def defaults_of(option: DefaultVectors, tops: Sequence[str], tables: Sequence[str] = ()) -> dict[str, float]:
    """Return the number of the vectors of unknown keys, by embedding top or table of an EmbeddingCollection.

    The tables of a ps.json go by their names where all of them are known, else by their order, that of the embedding layers.
    Raises OptionError.
    """
    known = [*tops, *tables]
    if option is None:
        return {}
    if isinstance(option, int | float):
        return dict.fromkeys(known, float(option))
    if isinstance(option, Mapping):
        check_tops(DEFAULT, option, known, "embedding's top or table of an EmbeddingCollection")
        return dict(option)
    if all(name in known for name, _ in option):
        return dict(option)
    if len(option) != len(known):
        raise OptionError(
            f"{DEFAULT}: the configuration has the tables {_named(name for name, _ in option)}, the model "
            f"{_named(known)}: give a number for each table instead",
            option=DEFAULT,
        )
    return {name: value for name, (_, value) in zip(known, option, strict=True)}


def _named(names: Iterable[str]) -> str:
    return ", ".join(names)[:200] or "none"
