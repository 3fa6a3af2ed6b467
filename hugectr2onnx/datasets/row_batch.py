"""Some samples as a model is fed with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.ir.feeds import PADDING
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
    padding: int = PADDING
    """What fills up keys [n, slots, width] that are joined to wider ones."""

    def __len__(self) -> int:
        return (
            self.rows if self.rows is not None else len(next(iter((*self.inputs.values(), *self.labels.values())), ()))
        )

    def part(self, start: int, stop: int) -> RowBatch:
        inputs, labels, ids = ({name: array[start:stop] for name, array in each.items()} for each in self._groups())
        return RowBatch(inputs, labels, ids, padding=self.padding)

    @staticmethod
    def joined(parts: Sequence[RowBatch]) -> RowBatch:
        padding = parts[0].padding
        groups = zip(*(part._groups() for part in parts), strict=True)
        inputs, labels, ids = (
            {name: np.concatenate(_in_one_width([part[name] for part in group], padding)) for name in group[0]}
            for group in groups
        )
        return RowBatch(inputs, labels, ids, padding=padding)

    def _groups(self) -> tuple[Mapping[str, Array], ...]:
        return self.inputs, self.labels, self.ids


def _in_one_width(arrays: Sequence[Array], padding: int) -> Sequence[Array]:
    """Return keys [n, slots, width] of several widths in that of the widest; other arrays as they are."""
    if any(array.ndim != 3 for array in arrays) or len({array.shape[2] for array in arrays}) == 1:
        return arrays
    widest = max(array.shape[2] for array in arrays)
    return [np.pad(array, ((0, 0), (0, 0), (0, widest - array.shape[2])), constant_values=padding) for array in arrays]
