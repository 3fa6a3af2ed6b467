"""Weights [k, n] as signed bytes with a scale for each column, such that no processor saturates on the way.

    w ~ q * scale          |w - q * scale| <= scale / 2

Processors without VNNI multiply unsigned by signed bytes in pairs of neighbouring rows, and a pair's sum must fit 16 bits or it
is cut (x86, VPMADDUBSW; onnxruntime's AVX2 and SSE kernels): `255 * (q[2i] + q[2i+1]) <= 32767`. So for any processor the scale
of a column is at least a 127th of its largest sum of a pair, of positive and of negative parts apart: with the two roundings
no sum exceeds 128, and 255 * 128 fits. Weights of 7 bits fit too, and are up to twice as coarse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.types import Array

ANY, VNNI = "any", "vnni"
CPUS = (ANY, VNNI)
"""Processors that the weights are for: any at all, or those that add products of bytes without cutting their sums."""
INT8_STEPS = int(np.iinfo(np.int8).max)


@dataclass(frozen=True, eq=False)
class WeightBytes:
    """The bytes [k, n], the scales [n], and the errors of the weights that they stand for."""

    q: Array
    scales: Array
    max_error: float
    rms_error: float


def weight_bytes(weight: Array, cpu: str = ANY) -> WeightBytes | None:
    """Return the bytes of a float32 matrix; None where a weight, or an error, is not finite."""
    exact = weight.astype(np.float64)
    if not np.isfinite(exact).all():
        return None
    largest = np.abs(exact).max(axis=0, initial=0.0) if cpu == VNNI else _largest_pair_sums(exact)
    scales = (largest / INT8_STEPS).astype(np.float32)
    # A column of zeros has any scale; one of the smallest numbers has a scale that float32 rounds too far, and becomes zeros.
    usable = scales > np.finfo(np.float32).tiny
    scales = np.where(usable, scales, np.float32(1))
    q = np.clip(np.rint(exact / scales), -INT8_STEPS, INT8_STEPS).astype(np.int8)
    error = np.abs(exact - q * scales.astype(np.float64))
    return WeightBytes(q, scales, float(error.max(initial=0.0)), float(np.sqrt(np.mean(error * error))))


def largest_pair_sum(q: Array) -> int:
    """Return the largest sum, by its size, of the parts of one sign of two neighbouring bytes of a column."""
    return int(_largest_pair_sums(q.astype(np.int64)).max(initial=0))


def _largest_pair_sums(weight: Array) -> Array:
    """For each column; a single weight is a pair with nothing."""
    even = weight if len(weight) % 2 == 0 else np.vstack([weight, np.zeros_like(weight[:1])])
    sums = (np.maximum(sign * even, 0).reshape(-1, 2, even.shape[1]).sum(axis=1) for sign in (1, -1))
    return np.asarray(np.maximum(*(each.max(axis=0, initial=0) for each in sums)))
