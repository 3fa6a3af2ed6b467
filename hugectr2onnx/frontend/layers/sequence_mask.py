"""SequenceMask."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import GraphJsonError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask

MOST_POSITIONS = 1 << 20
"""A mask has a number for each pair of positions, and how many there are comes from a JSON file."""


@dataclass(frozen=True)
class SequenceMaskLayer(Layer, types=("SequenceMask",)):
    """1.0 within the sequence lengths, else 0.0 (layers 3.16).

    One bottom of lengths, v3.9 to v23.06: [B, 1, 1, L], `t < int(len[b])`. Two bottoms, v23.08 on: [B, 1, F, T],
    `f < int(from[b]) and t < int(to[b])`.
    """

    bottoms = (1, 2)
    versions = ">= v3.9"
    max_sequence_len: int | None = param("max_sequence_len", default=None, minimum=1)
    max_sequence_len_from: int | None = param("max_sequence_len_from", default=None, minimum=1)
    max_sequence_len_to: int | None = param("max_sequence_len_to", default=None, minimum=1)

    def build(self, *lengths: Value) -> Value:
        before, after = self._steps(len(lengths))
        if before * after > MOST_POSITIONS:
            raise GraphJsonError(f"a mask of {before} x {after} positions a sample is larger than {MOST_POSITIONS}")
        return SequenceMask(before, after)(*lengths)

    def _steps(self, bottoms: int) -> tuple[int, int]:
        if bottoms == 1 and self.max_sequence_len is not None:
            return 1, self.max_sequence_len
        if bottoms == 2 and (self.max_sequence_len_from or self.max_sequence_len_to):
            return self.max_sequence_len_from or 1, self.max_sequence_len_to or 1
        raise GraphJsonError(
            "SequenceMask needs max_sequence_len with one bottom and max_sequence_len_from and _to with two"
        )
