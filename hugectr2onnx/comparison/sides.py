"""The two sides of a comparison: a HugeCTR model, an ONNX file, or a recording of tensors by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.datasets.recorded_predictions import load_arrays
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.resolved_options import resolve_options
from hugectr2onnx.inspection.onnx_model import is_onnx
from hugectr2onnx.ir.types import Array
from hugectr2onnx.options import Options
from hugectr2onnx.tables.regular_file import open_regular
from hugectr2onnx.verification.causes import ModelSource
from hugectr2onnx.verification.verify_file import SuspectFile, source_of


@dataclass(frozen=True, eq=False)
class FileSide:
    """An ONNX file, or a CompiledModel in memory."""

    name: str
    file: SuspectFile

    @property
    def artifact(self) -> Artifact:
        return self.file.artifact

    @property
    def is_ours(self) -> bool:
        """Whether the file says how this compiler made it."""
        return self.file.metadata is not None

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs; old files list their constants among them."""
        graph = self.artifact.skeleton.graph
        constants = {tensor.name for tensor in graph.initializer}
        return [each.name for each in graph.input if each.name not in constants]

    @property
    def tensors(self) -> list[str]:
        """What nodes make, in their order."""
        return [name for node in self.artifact.skeleton.graph.node for name in node.output if name]

    @property
    def outputs(self) -> list[str]:
        return [each.name for each in self.artifact.skeleton.graph.output]


@dataclass(frozen=True, eq=False)
class Recording:
    """Tensors by name, as HugeCTR's `check_out_tensor` gave them; inputs may be among them."""

    name: str
    arrays: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class GraphSide:
    """A graph JSON, or the parsed dict; its weights come apart."""

    name: str
    graph: Any
    weights: Any


@dataclass(frozen=True, eq=False)
class ModelSide:
    """A HugeCTR model: its float64 evaluation, layer by layer."""

    name: str
    source: ModelSource


Side = FileSide | Recording | ModelSide


def open_sides(a: Any, b: Any, weights: Any, other_weights: Any, options: Options | None) -> tuple[Side, Side]:
    """Both sides. A HugeCTR model beside an ONNX file takes what the file says of its options, unless they are given.

    Raises OptionError for a graph without weights, and what opening the files raises.
    """
    first = _open(a, weights)
    second = _open(b, weights if other_weights is None else other_weights)
    return _loaded(first, second, options), _loaded(second, first, options)


def _open(given: Any, weights: Any) -> FileSide | Recording | GraphSide:
    if hasattr(given, "artifact"):
        return FileSide(
            "the compiled model", SuspectFile("the compiled model", given.artifact.skeleton, given.artifact)
        )
    if isinstance(given, Mapping):
        return (
            GraphSide("the graph", given, weights) if "layers" in given else Recording("the recording", _arrays(given))
        )
    path = Path(os.fspath(given))
    if path.suffix == ".npz":
        return Recording(str(given), load_arrays(str(path)))
    if path.is_dir():
        return Recording(str(given), _folder(path))
    if is_onnx(path):
        return FileSide(str(given), SuspectFile.open(path))
    return GraphSide(str(given), path, weights)


def _arrays(given: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(array) for name, array in given.items()}


def _folder(path: Path) -> dict[str, Array]:
    """Return the arrays of `fc1.npy`, `relu1.npy`, ... by name. Raises FeedError."""
    found = {}
    for file in sorted(path.glob("*.npy")):
        with open_regular(file, FeedError, "a recorded tensor") as opened:
            try:
                found[file.stem] = np.load(opened, allow_pickle=False)
            except (ValueError, EOFError, OSError) as error:
                raise FeedError(f"{file}: is not an .npy file that numpy can read: {error}") from None
    if not found:
        raise FeedError(f"{path}: holds no .npy files: give a folder with one for each tensor, named after it")
    return found


def _loaded(side: FileSide | Recording | GraphSide, other: object, options: Options | None) -> Side:
    if not isinstance(side, GraphSide):
        return side
    if side.weights is None:
        raise OptionError(f"{side.name} is a HugeCTR model: give its weights", option="weights")
    if isinstance(other, FileSide):
        return ModelSide(side.name, source_of(other.file, side.graph, side.weights, options)[0])
    resolved = resolve_options(options or Options())
    return ModelSide(
        side.name, ModelSource(side.graph, side.weights, resolved, load(side.graph, side.weights, resolved))
    )
