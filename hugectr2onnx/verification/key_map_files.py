"""The `.keys` files beside a model whose inputs take rows: every key is looked up in them, as a server would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hugectr2onnx.backend.saving.key_file import KeyFile, KeyMapper
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.lookups.row_number_inputs import RowInput

_COMPARED_KEYS = 1 << 16
_MAX_EXAMPLES = 4


def compare_key_files(model: Path, inputs: Sequence[RowInput]) -> Iterator[tuple[str, bool]]:
    """(what is wrong, whether it is a difference): a file that is not there is told, but proves nothing."""
    for each in inputs:
        try:
            mapper = KeyMapper.open(model, each.input)
        except FeedError as error:
            yield f"the keys of {each.table} were not compared: {error}", _is_there(model, each)
            continue
        yield from ((text, True) for text in _compare(mapper, each))


def _is_there(model: Path, wanted: RowInput) -> bool:
    """Tell whether some file beside the model says that it is its key map."""
    suffix = KeyFile(wanted.input, wanted.table, wanted.keys).suffix
    return any(path.name.startswith(f"{model.name}.") and path.name.endswith(suffix) for path in model.parent.iterdir())


def _compare(mapper: KeyMapper, wanted: RowInput) -> Iterator[str]:
    wrong: list[str] = []
    count = 0
    for start in range(0, len(wanted.keys), _COMPARED_KEYS):
        keys = np.asarray(wanted.keys[start : start + _COMPARED_KEYS])
        rows = _rows(mapper, keys, np.array(wanted.offsets, np.int64))
        differ = np.flatnonzero((rows != start + np.arange(len(keys))) & (keys >= 0))
        count += len(differ)
        wrong += [
            f"key {keys[at]} gives row {rows[at]} instead of {start + at}"
            for at in differ[: _MAX_EXAMPLES - len(wrong)]
        ]
    if count:
        yield f"the key map of {wanted.input} gives another row for {count:,} keys of {wanted.table}: {'; '.join(wrong)}"


def _rows(mapper: KeyMapper, keys: Array, offsets: Array) -> Array:
    """Return the row of each key of the table, asked for in the slot with the largest offset that does not exceed it."""
    if not len(offsets):
        return mapper.rows(keys)
    order = np.argsort(offsets, kind="stable")
    slots = order[np.maximum(np.searchsorted(offsets[order], keys, "right") - 1, 0)]
    asked = np.zeros((len(keys), len(offsets), 1), np.int64)
    each = np.arange(len(keys))
    asked[each, slots, 0] = keys - offsets[slots]
    return np.asarray(mapper.rows(asked)[each, slots, 0])
