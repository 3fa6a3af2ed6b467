"""How far from the float64 reference an answer may be: the one rule of parity and of translation validation.

`|d| <= max(1e-5 + 1e-5 * |ref|, 8 * noise)`, where noise is the largest error that the same reference makes when it is run
in float32.
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.types import Array

TOLERANCE = 1e-5
NOISE_FACTOR = 8
RULE = f"|d| <= max({TOLERANCE:g} + {TOLERANCE:g}*|ref|, {NOISE_FACTOR} x the error of the reference in float32)"


def errors(reference: Array, rounded: Array, found: Array) -> tuple[Array, Array]:
    """Error and tolerance of each element; where float32 overflows in the reference too, only the kind must agree.

    `reference` in float64, `rounded` the same worked out in float32; all three of one shape.
    """
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(np.float64) - reference)
        noise = np.abs(rounded.astype(np.float64) - reference)
    same = (found == reference) | (np.isnan(found) & np.isnan(reference))
    overflow = ~np.isfinite(rounded) & ~np.isfinite(found)
    error = np.where(same | overflow, 0.0, np.where(np.isnan(error), np.inf, error))
    finite = noise[np.isfinite(noise)]
    level = NOISE_FACTOR * float(finite.max()) if finite.size else 0.0
    with np.errstate(all="ignore"):
        tolerance = np.maximum(TOLERANCE + TOLERANCE * np.abs(reference), level)
    return error, np.where(np.isfinite(tolerance), tolerance, 0.0)
