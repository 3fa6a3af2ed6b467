"""The ntp file: running statistics of every BatchNorm, in layer order (layers 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.frontend.graph_json.json_text import StrPath


@dataclass(frozen=True, eq=False)
class BatchNormStatistics:
    """Mean and variance of one BatchNorm, float32, as the file has them; `where` names the entry in errors."""

    mean: NDArray[Any]
    var: NDArray[Any]
    where: str = "the ntp file"

    def features(self, count: int) -> BatchNormStatistics:
        """Return the statistics of `count` features; a list of twice the length is what float16 runs write (layers 2.2).

        The second half of such a list is memory that did not belong to the layer: it is neither used nor judged. Raises
        WeightsError for another length, for nan and inf, and for a negative variance.
        """
        if self.mean.size not in (count, 2 * count):
            raise WeightsError(
                f"{self.where}: has {self.mean.size} means and variances, the layer has {count} features; is this the "
                "ntp file of another model?"
            )
        first = BatchNormStatistics(self.mean[:count], self.var[:count], self.where)
        _check_values(first.mean, f"{self.where}.mean")
        _check_values(first.var, f"{self.where}.var", minimum=0.0)
        return first


def read_ntp(path: StrPath) -> tuple[BatchNormStatistics, ...]:
    """Return one entry for each BatchNorm; raises WeightsError that names the entry which is wrong."""
    text = Fields(json_text.load(path, WeightsError, c_constants=True), str(path), WeightsError)
    return tuple(_entry(fields) for fields in text.children("layers"))


def _entry(fields: Fields) -> BatchNormStatistics:
    fields.string("type", choices=("BatchNorm",))
    mean, var = (_float32(fields, key) for key in ("mean", "var"))
    if mean.size != var.size:
        raise WeightsError(f"{fields.where}: {mean.size} means but {var.size} variances")
    if mean.size == 0:
        raise WeightsError(f"{fields.where}: is empty")
    statistics = BatchNormStatistics(mean, var, fields.where)
    # Half of the list is certain to mean something, whatever the number of features turns out to be.
    statistics.features(mean.size if mean.size % 2 else mean.size // 2)
    return statistics


def _float32(fields: Fields, key: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return np.array(fields.numbers(key), dtype=np.float64).astype(np.float32)


def _check_values(values: NDArray[Any], where: str, minimum: float = -np.inf) -> None:
    bad = np.flatnonzero(~np.isfinite(values) | (values < minimum))
    if bad.size:
        found = values[bad[0]]
        why = "a variance is never negative" if np.isfinite(found) else "the training diverged, or the file is damaged"
        raise WeightsError(f"{where}[{bad[0]}]: is {found}; {why} ({bad.size} such values)")
