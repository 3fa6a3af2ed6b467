"""The dense file: float32 weights of all layers, end to end, in layer order (layers 2.1).

A file, a recorder that invents weights and a counter that only adds up sizes share one protocol, so that the same walk
over the layers reads a model, makes one up, or says how large it would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import CompilerError, WeightsError
from hugectr2onnx.frontend.foreign_files import foreign_kind
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.frontend.weights.mapped_file import FLOAT32, map_file, read_only

MOST_INVENTED = 1 << 29
MOST_COUNTED = 1 << 40


class DenseSource(Protocol):
    """The source of the layers' weights, in file order."""

    def take(self, count: int, shape: Sequence[int], what: str) -> NDArray[Any]:
        """Return the next `count` floats as a read-only float32 array of `shape`; `what` names layer and weight in errors."""

    def finish(self) -> None:
        """Raises WeightsError where floats are left over."""


class DenseFile:
    """A cursor over a dense file; `size` and `position` are in floats."""

    def __init__(self, floats: NDArray[Any], path: Path | None = None) -> None:
        self.path = path
        self.position = 0
        self._floats = floats

    @classmethod
    def open(cls, source: StrPath | NDArray[Any]) -> DenseFile:
        """Return maps a file, or wraps an array of floats; raises WeightsError for a size that is no multiple of 4 bytes."""
        if isinstance(source, np.ndarray):
            return cls(_as_floats(source))
        return cls(map_file(source, FLOAT32, "the float32 weights of the dense layers"), Path(source))

    @property
    def floats(self) -> NDArray[Any]:
        """The whole file, read-only."""
        return self._floats

    @property
    def size(self) -> int:
        return int(self._floats.size)

    def take(self, count: int, shape: Sequence[int], what: str) -> NDArray[Any]:
        """Return a read-only view; raises WeightsError where the file is too short."""
        _check_shape(count, shape, what)
        left = self.size - self.position
        if count > left:
            raise WeightsError(
                f"{self._name}: {what} needs {count} floats ({4 * count} bytes, shape {list(shape)}) at byte "
                f"{4 * self.position}, but only {4 * left} of {4 * self.size} bytes are left; the file is truncated or "
                f"belongs to another graph{self._kind}"
            )
        view = self._floats[self.position : self.position + count].reshape(tuple(shape))
        self.position += count
        return view

    def finish(self) -> None:
        left = self.size - self.position
        if left:
            raise WeightsError(
                f"{self._name}: {4 * left} bytes ({left} floats) are left over: the layers of the graph hold "
                f"{4 * self.position} bytes, the file has {4 * self.size}; is it the dense file of another graph or of "
                f"another run?{self._kind}"
            )

    @property
    def _name(self) -> str:
        return str(self.path) if self.path is not None else "the dense weights"

    @property
    def _kind(self) -> str:
        kind = foreign_kind(self.path) if self.path is not None else None
        return f" (it looks like a file that is {kind})" if kind else ""


class DenseRecorder:
    """Invents weights that keep activations of the order of one, and records them in file order."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._taken: list[NDArray[Any]] = []
        self.position = 0

    def take(self, count: int, shape: Sequence[int], what: str) -> NDArray[Any]:
        """Return random weights: N(0, 1/fan_in) for matrices, near one for gamma, small for other vectors."""
        _check_shape(count, shape, what)
        self.position += count
        if self.position > MOST_INVENTED:
            raise WeightsError(f"{what}: {self.position} floats so far; at most {MOST_INVENTED} weights are invented")
        values = self._random.standard_normal(count, dtype=np.float32).reshape(tuple(shape)) * _scale(shape)
        weights = read_only((values + np.float32(1 if "gamma" in what.lower() else 0)).astype(np.float32, copy=False))
        self._taken.append(weights)
        return weights

    def finish(self) -> None:
        """Nothing can be left over."""

    def array(self) -> NDArray[Any]:
        """Return the dense file that the layers have asked for: float32, one dimension."""
        return np.concatenate([np.empty(0, np.float32), *(weights.ravel() for weights in self._taken)])


class DenseCounter:
    """Counts the floats that the layers ask for and allocates none; `position` is the number so far."""

    def __init__(self) -> None:
        self.position = 0

    def take(self, count: int, shape: Sequence[int], what: str) -> NDArray[Any]:
        """Return zeros of the shape that share one element."""
        _check_shape(count, shape, what)
        self.position += count
        if self.position > MOST_COUNTED:
            raise WeightsError(f"{what}: {4 * self.position} bytes of weights so far; no dense file is so large")
        return np.broadcast_to(np.float32(0), tuple(shape))

    def finish(self) -> None:
        """Nothing can be left over."""


def _as_floats(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fiu":
        raise WeightsError(f"the dense weights are an array of {array.dtype}, expected float32")
    with np.errstate(over="ignore"):
        flat = array.astype(FLOAT32, copy=False).reshape(-1)
    return read_only(flat.view())


def _check_shape(count: int, shape: Sequence[int], what: str) -> None:
    if min(shape, default=0) < 0 or math.prod(shape) != count:
        raise CompilerError(f"{what}: {count} floats do not make the shape {list(shape)}")


def _scale(shape: Sequence[int]) -> np.float32:
    if len(shape) >= 2 and shape[-2] > 1:
        return np.float32(shape[-2] ** -0.5)
    return np.float32(min(0.1, max(1, math.prod(shape)) ** -0.5))
