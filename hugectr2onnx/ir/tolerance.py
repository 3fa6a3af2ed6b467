"""The tolerance: how far from the float64 reference an answer may be. Parity and translation validation share it.

`|d| <= max(1e-5 + 1e-5 * |ref|, 8 * noise)`, where noise is the largest error that the same reference makes in the same row
when it is run in float32. A row is what lies along the last axis, so that one that float32 ruins does not loosen the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hugectr2onnx.ir.types import Array

TOLERANCE = 1e-5
NOISE_FACTOR = 8
RULE = (
    f"|d| <= max({TOLERANCE:g} + {TOLERANCE:g}*|ref|, "
    f"{NOISE_FACTOR} x the error of the reference in float32 in the same row)"
)


def errors(
    reference: Array, rounded: Array, found: Array, more_rounded: Callable[[], Sequence[Array]] = tuple
) -> tuple[Array, Array]:
    """Error and tolerance of each element; where float32 overflows in the reference too, only the kind must agree.

    `reference` in float64, `rounded` the same worked out in float32; all three of one shape. `more_rounded` gives the same
    with other roundings, and is asked only where an error exceeds what one evaluation allows: that one may have been lucky.
    """
    error, tolerance = _errors(reference, [rounded], found)
    if (error > tolerance).any() and (more := more_rounded()):
        return _errors(reference, [rounded, *more], found)
    return error, tolerance


def _errors(reference: Array, rounded: Sequence[Array], found: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(np.float64) - reference)
        base = TOLERANCE + TOLERANCE * np.abs(reference)
    same = (found == reference) | (np.isnan(found) & np.isnan(reference))
    overflow = ~np.isfinite(rounded).all(axis=0) & ~np.isfinite(found)
    error = np.where(same | overflow, 0.0, np.where(np.isnan(error), np.inf, error))
    tolerance = np.maximum(base, NOISE_FACTOR * np.max([_noise(reference, each) for each in rounded], axis=0))
    return error, np.where(np.isfinite(tolerance), tolerance, 0.0)


def _noise(reference: Array, rounded: Array) -> Array:
    """Return the largest finite error of each row, for each of its elements."""
    with np.errstate(all="ignore"):
        noise = np.abs(rounded.astype(np.float64) - reference)
    noise = np.where(np.isfinite(noise), noise, 0.0)
    return noise if noise.ndim < 2 else np.broadcast_to(noise.max(axis=-1, keepdims=True, initial=0.0), noise.shape)
