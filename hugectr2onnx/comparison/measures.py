"""Measure one tensor against another, in one or several batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.comparison.result import TensorComparison, Verdict
from hugectr2onnx.comparison.tensors import NamedTensor
from hugectr2onnx.ir.types import Array


@dataclass
class Measure:
    """Sums over the batches so far."""

    shape: tuple[int, ...] = ()
    elements: int = 0
    exceeding: int = 0
    nan: int = 0
    inf: int = 0
    max_error: float = 0.0
    sum_error: float = 0.0
    largest: float = 0.0
    products: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """a * b, a * a and b * b, of the finite elements."""

    def add(self, a: Array, b: Array, error: Array, tolerance: Array) -> None:
        """Take in one batch: both sides in one shape, with the error and the tolerance of each element."""
        self.shape = a.shape
        self.elements += a.size
        self.exceeding += int(np.count_nonzero(error > tolerance))
        self.nan += int(np.count_nonzero(np.isnan(a) | np.isnan(b)))
        self.inf += int(np.count_nonzero(np.isinf(a) | np.isinf(b)))
        finite = np.isfinite(a) & np.isfinite(b)
        x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
        self.max_error = max(self.max_error, float(error.max(initial=0.0)))
        self.sum_error += float(error.sum())
        self.largest = max(self.largest, float(np.abs(x).max(initial=0.0)))
        for place, product in enumerate((x @ y, x @ x, y @ y)):
            self.products[place] += float(product)

    @property
    def differs(self) -> bool:
        return self.exceeding > 0

    def row(self, tensor: NamedTensor) -> TensorComparison:
        """Return the row of the table."""
        verdict: Verdict = "differs" if self.differs else "same"
        relative = self.max_error / self.largest if self.largest else (0.0 if not self.max_error else math.inf)
        return TensorComparison(
            name=tensor.name,
            layer=tensor.layer,
            type=tensor.type,
            shape=self.shape,
            max_error=self.max_error,
            mean_error=self.sum_error / max(self.elements, 1),
            relative_error=relative,
            cosine=self._cosine(),
            share=self.exceeding / max(self.elements, 1),
            nan=self.nan,
            inf=self.inf,
            verdict=verdict,
        )

    def _cosine(self) -> float:
        product, a, b = self.products
        if not a or not b:
            return 1.0 if a == b else 0.0
        return max(-1.0, min(1.0, product / math.sqrt(a) / math.sqrt(b)))
