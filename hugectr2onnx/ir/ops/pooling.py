"""Gathering rows and adding up those of a slot, in the fewest and fastest ONNX operators.

onnxruntime's ReduceSum over a middle axis takes some 75 ns for each slot of each sample, however few keys it has. One key
needs no sum at all; a few keys are split, gathered apart and added; rows of one number are summed along the last axis, and
those of a free width along the first.
"""

from __future__ import annotations

from typing import Any

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.ops.key_maps import is_padding, rank3
from hugectr2onnx.ir.ops.stored_rows import StoredRows
from hugectr2onnx.ir.types import Batch, DType, TensorType, Width

MAX_SPLIT = 8


def is_apart_for_free(keys: TensorType, width: int, mean: bool) -> bool:
    """Tell whether the rows of a slot are added up without a Reshape among them, so that [N, slot, 1, width] comes out."""
    hotness = keys.shape[2]
    return width > 1 and (hotness == 1 or (not mean and _is_split(keys)))


def emit_pool(
    out: Emitter,
    keys: str,
    rows: str,
    table: StoredRows,
    width: int,
    *,
    mean: bool,
    apart: bool,
    padding_key: int | None = None,
) -> str:
    """f32[N, slot, width] from row numbers [N, slot, max_nnz] of a table: [rows, width], or [rows] where width is 1.

    `apart` gives [N, slot, 1, width].
    """
    keys_type = out.type(keys)
    if apart and not table.is_fused and is_apart_for_free(keys_type, width, mean):
        return _emit_rows(out, rows, table, keys_type)
    pooled = _emit_pooled(out, rows, table, width, keys_type)
    if mean and keys_type.shape[2] != 1:
        pooled = out.node("Div", pooled, emit_count(out, keys, padding_key))
    return emit_apart(out, pooled, keys_type, width) if apart else pooled


def emit_apart(out: Emitter, pooled: str, keys_type: TensorType, width: int) -> str:
    """[N, slot, 1, width] from [N, slot, width]"""
    return out.node("Reshape", pooled, out.const([*_flat(keys_type), 1, width], "i64"))


def _emit_pooled(out: Emitter, rows: str, table: StoredRows, width: int, keys_type: TensorType) -> str:
    hotness = keys_type.shape[2]
    assert isinstance(hotness, int)
    if hotness == 1:
        one = rows if width == 1 or table.is_fused else out.node("Reshape", rows, out.const(_flat(keys_type), "i64"))
        return table.emit_gather(out, one, _flat(keys_type))
    if width == 1:
        return out.node("ReduceSum", table.emit_gather(out, rows), out.const([2], "i64"), keepdims=1)
    if isinstance(hotness, Width) and not table.is_fused:
        # Sums along the first axis take half the time of those along one in the middle, and row numbers are few.
        places = out.node("Transpose", rows, perm=[2, 0, 1])
        return out.node("ReduceSum", table.emit_gather(out, places), out.const([0], "i64"), keepdims=0)
    if not _is_split(keys_type):
        gathered = table.emit_gather(out, rows, None if isinstance(hotness, Width) else [*_flat(keys_type), hotness])
        return out.node("ReduceSum", gathered, out.const([2], "i64"), keepdims=0)
    total = _emit_rows(out, rows, table, keys_type)
    return out.node("Reshape", total, out.const([*_flat(keys_type), width], "i64"))


def _emit_rows(out: Emitter, rows: str, table: StoredRows, keys_type: TensorType) -> str:
    """Return the rows of each key gathered apart and added, f32[N, slot, 1, width]; fused ones are f32[N * slot, width]."""
    hotness = keys_type.shape[2]
    assert isinstance(hotness, int)
    # From opset 18 on the number of parts is said.
    said: dict[str, Any] = {} if out.opset < 18 else {"num_outputs": hotness}
    numbers = out.nodes("Split", rows, outputs=hotness, axis=2, **said) if hotness > 1 else [rows]
    total, *others = [table.emit_gather(out, each, [-1]) for each in numbers]
    for other in others:
        total = out.node("Add", total, other)
    return total


def _is_split(keys: TensorType) -> bool:
    """Tell whether the keys of a slot are few enough to be gathered one by one."""
    _, slots, hotness = keys.shape
    assert isinstance(slots, int) and isinstance(hotness, int)
    # A Split needs the number of its parts.
    return not isinstance(hotness, Width) and 1 < hotness <= min(MAX_SPLIT, max(2, slots))


def _flat(keys: TensorType) -> list[int]:
    """[N, slot], -1 for a batch that is not a number, and for the number of keys where each is looked up alone."""
    return [-1 if isinstance(dim, Batch | Width) else dim for dim in keys.shape[:2]]


def emit_count(out: Emitter, keys: str, padding_key: int | None = None) -> str:
    """f32[N, slot, 1]: how many keys of a slot are no padding, at least 1."""
    present = out.node("Cast", emit_present(out, keys, padding_key), to=DType.F32)
    count = out.node("ReduceSum", present, out.const([2], "i64"), keepdims=1)
    return out.node("Max", count, out.const([[[1.0]]]))


def emit_present(out: Emitter, keys: str, padding_key: int | None) -> str:
    """Tell which keys are no padding."""
    if padding_key is None:
        return out.node("GreaterOrEqual", keys, rank3(out, 0))
    return out.node("Not", is_padding(out, keys, padding_key))
