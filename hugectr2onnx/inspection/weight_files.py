"""Tell what a folder of HugeCTR files, a table or a dense file holds, without a graph JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import HugeCTR2ONNXError, WeightsError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.weights.mapped_file import map_file
from hugectr2onnx.frontend.weights.snapshot import Weights, iterations_in

FLOAT32, INT64 = np.dtype("<f4"), np.dtype("<i8")
_REQUIRED_FILES = ("key", "emb_vector")


@dataclass(frozen=True)
class DenseSummary:
    """A dense file: its float32 weights, and how many of them are NaN or infinite."""

    path: str
    bytes: int
    floats: int
    not_finite: int
    smallest: float | None
    largest: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True)
class TableSummary:
    """A table folder: rows of `width` numbers, None where there is no row to tell; keys; whether rows have slot ids."""

    path: str
    rows: int
    width: int | None
    smallest_key: int | None
    largest_key: int | None
    has_slot_ids: bool

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True)
class SnapshotSummary:
    """The files of one iteration of one model; `problem` says why they are no whole snapshot."""

    prefix: str
    iteration: int
    dense: str | None = None
    tables: tuple[str, ...] = ()
    statistics: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class FolderSummary:
    """A folder: its graph JSONs with their number of layers, its snapshots, and the number of its other entries."""

    path: str
    graphs: dict[str, int]
    snapshots: tuple[SnapshotSummary, ...]
    others: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return asdict(self)


def is_table(path: Path) -> bool:
    """Tell whether a folder is the table of an embedding layer (formats 2.1)."""
    return all((path / name).exists() for name in _REQUIRED_FILES)


def inspect_folder(path: str | os.PathLike[str]) -> FolderSummary:
    """List the graph JSONs and the snapshots of a folder (formats 5). Raises WeightsError where there are none."""
    folder = Path(path)
    snapshots = tuple(
        _snapshot(folder, prefix, iteration)
        for prefix, iterations in iterations_in(folder).items()
        for iteration in iterations
    )
    graphs = dict(_graphs(folder))
    if not (graphs or snapshots):
        raise WeightsError(
            f"{path}: is a folder without a graph JSON, a dense file PREFIX_dense_N.model or a table's files"
        )
    listed = {*graphs, *(name for each in snapshots for name in (each.dense, each.statistics, *each.tables))}
    return FolderSummary(str(path), graphs, snapshots, sum(name not in listed for name in os.listdir(folder)))


def _snapshot(folder: Path, prefix: str, iteration: int) -> SnapshotSummary:
    try:
        weights = Weights.discover(folder, prefix, iteration)
    except WeightsError as error:
        return SnapshotSummary(prefix, iteration, problem=str(error))
    names = [Path(path).name if path is not None else None for path in (weights.dense, weights.ntp)]
    return SnapshotSummary(prefix, iteration, names[0], tuple(path.name for path in weights.tables), names[1])


def _graphs(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.glob("*.json")):
        try:
            graph = json_text.load(path)
        except HugeCTR2ONNXError:
            continue
        if isinstance(graph, dict) and isinstance(graph.get("layers"), list):
            yield path.name, len(graph["layers"])


def inspect_table(path: str | os.PathLike[str]) -> TableSummary:
    """Tell the rows, the width and the keys of a table folder. Raises WeightsError where its files do not fit."""
    folder = Path(path)
    keys = map_file(folder / "key", INT64, "the int64 keys of an embedding table")
    floats = map_file(folder / "emb_vector", FLOAT32, "the float32 vectors of an embedding table").size
    if (floats % len(keys) if len(keys) else floats) != 0:
        raise WeightsError(f"{folder}: has {len(keys)} keys and {floats} floats of vectors, no multiple of that")
    return TableSummary(
        path=str(path),
        rows=len(keys),
        width=floats // len(keys) if len(keys) else None,
        smallest_key=int(keys.min()) if len(keys) else None,
        largest_key=int(keys.max()) if len(keys) else None,
        has_slot_ids=(folder / "slot_id").exists(),
    )


def inspect_dense(path: str | os.PathLike[str]) -> DenseSummary:
    """Tell how many float32 weights a dense file holds. Raises WeightsError for a size that is no multiple of 4."""
    floats = map_file(path, FLOAT32, "the float32 weights of the dense layers, or a table of v2.x")
    finite = floats[np.isfinite(floats)]
    return DenseSummary(
        path=str(path),
        bytes=floats.nbytes,
        floats=floats.size,
        not_finite=floats.size - finite.size,
        smallest=float(finite.min()) if finite.size else None,
        largest=float(finite.max()) if finite.size else None,
    )
