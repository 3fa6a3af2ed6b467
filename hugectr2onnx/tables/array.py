"""The type of the arrays that the whole compiler passes around."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
"""A numpy array, which may be a memory map."""
