"""Some samples as a model is fed with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.ir.types import Array


@dataclass(frozen=True, eq=False)
class RowBatch:
    """A batch that a model is fed with: `inputs` and `labels` by the names of the model's inputs and outputs.

    `rows` is given where the inputs do not have one row a sample.
    """

    inputs: Mapping[str, Array]
    labels: Mapping[str, Array]
    ids: Mapping[str, Array] = field(default_factory=dict)
    rows: int | None = None

    def __len__(self) -> int:
        return (
            self.rows if self.rows is not None else len(next(iter((*self.inputs.values(), *self.labels.values())), ()))
        )

    def part(self, start: int, stop: int) -> RowBatch:
        inputs, labels, ids = ({name: array[start:stop] for name, array in each.items()} for each in self._groups())
        return RowBatch(inputs, labels, ids)

    @staticmethod
    def joined(parts: Sequence[RowBatch]) -> RowBatch:
        groups = zip(*(part._groups() for part in parts), strict=True)
        inputs, labels, ids = (
            {name: np.concatenate([part[name] for part in group]) for name in group[0]} for group in groups
        )
        return RowBatch(inputs, labels, ids)

    def _groups(self) -> tuple[Mapping[str, Array], ...]:
        return self.inputs, self.labels, self.ids
