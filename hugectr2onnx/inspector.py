"""`inspect`: tell what any file or folder of a model holds.

It stands above the packages, because a graph JSON is told by a dry run of `checking` and all other files by `inspection`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hugectr2onnx.errors import FeedError
from hugectr2onnx.inspection.weight_files import (
    DenseSummary,
    FolderSummary,
    TableSummary,
    inspect_dense,
    inspect_folder,
    inspect_table,
    is_table,
)
from hugectr2onnx.options import Options

if TYPE_CHECKING:
    from hugectr2onnx.checking.report import CheckReport
    from hugectr2onnx.frontend.weights.snapshot import WeightsLike
    from hugectr2onnx.inspection.onnx_model import OnnxSummary


def inspect(
    model: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike | None = None,
    options: Options | None = None,
    **changes: Any,
) -> CheckReport | OnnxSummary | FolderSummary | TableSummary | DenseSummary:
    """Tell what a model, or a file or folder of one, holds.

    model: a graph JSON (its path, or the parsed dict), whose layers, tables and interface are told, with their bytes where
    `weights` are given; an ONNX file; a folder of graph JSONs and snapshots; a table folder; a dense file. Nothing is
    compiled. `changes` are single options, as for `compile`. Raises HugeCTR2ONNXError where the file itself cannot be read.
    """
    path = None if isinstance(model, Mapping) else Path(model)
    if path is not None and os.path.isdir(path):
        return inspect_table(path) if is_table(path) else inspect_folder(path)
    if path is not None and path.suffix == ".model":
        return inspect_dense(path)
    from hugectr2onnx.inspection import onnx_model

    if isinstance(model, Mapping) or not onnx_model.is_onnx(model):
        return _inspect_graph(model, weights, (options or Options()).changed(**changes))
    if weights is not None:
        raise FeedError(
            f"{os.fspath(model)}: an ONNX file holds its weights: leave them out, or verify it against them"
        )
    return onnx_model.inspect_onnx(model)


def _inspect_graph(
    graph: str | os.PathLike[str] | Mapping[str, object], weights: WeightsLike | None, options: Options
) -> CheckReport:
    """Raise HugeCTR2ONNXError only if the graph JSON itself cannot be read; the report has all other problems."""
    from hugectr2onnx.checking.dry_run import check
    from hugectr2onnx.frontend.graph_json import reader
    from hugectr2onnx.frontend.layers.registration import layer_types

    reader.read(graph, layer_types(options))
    return check(graph, weights, options)
