"""Gathering rows and adding up those of a slot, in the fewest and fastest ONNX operators.

onnxruntime's ReduceSum over a middle axis takes some 75 ns for each slot of each sample, however few keys it has. One key
needs no sum at all; a few keys are split, gathered apart and added; rows of one number are summed along the last axis.
"""

from __future__ import annotations

from typing import Any

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.ops.key_maps import rank3
from hugectr2onnx.ir.ops.stored_rows import StoredRows
from hugectr2onnx.ir.types import Batch, DType, TensorType

MOST_SPLIT = 8


def emit_pool(out: Emitter, keys: str, rows: str, table: StoredRows, width: int, mean: bool) -> str:
    """f32[N, slot, width] from row numbers [N, slot, max_nnz] of a table: [rows, width], or [rows] where width is 1."""
    keys_type = out.type(keys)
    _, slots, hotness = keys_type.shape
    assert isinstance(slots, int) and isinstance(hotness, int)
    if hotness == 1:
        one = rows if width == 1 or table.is_fused else out.node("Reshape", rows, out.const(_flat(keys_type), "i64"))
        return table.emit_gather(out, one, _flat(keys_type))
    total = _emit_sum(out, rows, table, (slots, hotness, width), keys_type)
    return out.node("Div", total, emit_count(out, keys)) if mean else total


def _emit_sum(out: Emitter, rows: str, table: StoredRows, sizes: tuple[int, int, int], keys_type: TensorType) -> str:
    slots, hotness, width = sizes
    if width == 1:
        return out.node("ReduceSum", table.emit_gather(out, rows), out.const([2], "i64"), keepdims=1)
    if hotness > min(MOST_SPLIT, max(2, slots)):
        gathered = table.emit_gather(out, rows, [*_flat(keys_type), hotness])
        return out.node("ReduceSum", gathered, out.const([2], "i64"), keepdims=0)
    # From opset 18 on the number of parts is said.
    said: dict[str, Any] = {} if out.opset < 18 else {"num_outputs": hotness}
    parts = [table.emit_gather(out, part, [-1]) for part in out.nodes("Split", rows, outputs=hotness, axis=2, **said)]
    total = parts[0]
    for part in parts[1:]:
        total = out.node("Add", total, part)
    return out.node("Reshape", total, out.const([*_flat(keys_type), width], "i64"))


def _flat(keys: TensorType) -> list[int]:
    """[N, slot], -1 for a batch that is not a number."""
    return [-1 if isinstance(dim, Batch) else dim for dim in keys.shape[:2]]


def emit_count(out: Emitter, keys: str) -> str:
    """f32[N, slot, 1]: how many keys of a slot are no padding, at least 1."""
    present = out.node("Cast", out.node("GreaterOrEqual", keys, rank3(out, 0)), to=DType.F32)
    count = out.node("ReduceSum", present, out.const([2], "i64"), keepdims=1)
    return out.node("Max", count, out.const([[[1.0]]]))
