"""Judge dense and ntp files by their sizes and contents against the layers whose weights they should hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from hugectr2onnx.checking.report import FLOAT_BYTES, DenseCheck, LayerCheck, place_layers
from hugectr2onnx.errors import HugeCTR2ONNXError, WeightsError
from hugectr2onnx.frontend.embeddings.embedding import has_nan
from hugectr2onnx.frontend.graph_json.clauses import LayerClause
from hugectr2onnx.frontend.weights.dense_file import DenseFile
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics

CROSS = "MultiCross"


def size_errors(dense: DenseCheck, layers: Sequence[LayerCheck]) -> Iterator[WeightsError]:
    """Yield the error of a file that is too short or too long; none where layers of unknown size leave it open."""
    found = dense.found_bytes
    if found is None or found == dense.expected_bytes:
        return
    if found < dense.expected_bytes:
        yield WeightsError(_short(dense, found, place_layers(layers, found)))
    elif dense.is_complete:
        yield WeightsError(_long(dense, found, layers))


def _short(dense: DenseCheck, found: int, layers: Sequence[LayerCheck]) -> str:
    least = "" if dense.is_complete else "at least "
    missing = dense.expected_bytes - found
    lines = [
        f"{dense.path}: has {found} bytes and the layers need {least}{dense.expected_bytes}: {missing} bytes are missing",
        *_end(found, layers),
        "the file is truncated, or the dense file of another graph",
    ]
    return "; ".join(lines)


def _end(found: int, layers: Sequence[LayerCheck]) -> Iterator[str]:
    """Yield the layer and the weight in which the file ends."""
    for layer in layers:
        if layer.offset is None or layer.expected_bytes is None:
            return
        if layer.offset + layer.expected_bytes > found:
            start = layer.offset
            for name, shape in layer.weights.items():
                end = start + FLOAT_BYTES * math.prod(shape)
                if end > found:
                    yield f"it ends in {layer.where}, whose {name} {list(shape)} takes the bytes {start} to {end}"
                    return
                start = end
            return


def _long(dense: DenseCheck, found: int, layers: Sequence[LayerCheck]) -> str:
    left = found - dense.expected_bytes
    last = next((layer for layer in reversed(layers) if layer.expected_bytes), None)
    behind = f" behind the last weights, those of {last.where}" if last else ": the graph has no layer with weights"
    text = (
        f"{dense.path}: has {found} bytes and the layers need {dense.expected_bytes}: {left} bytes ({left // FLOAT_BYTES} "
        f"floats) are left over{behind}; it is the dense file of another graph"
    )
    if any(layer.type == CROSS for layer in layers):
        text += ", or of a DCN v2 whose projection_dim must be given in layer_attrs"
    return text


def nan_warnings(file: DenseFile, layers: Sequence[LayerCheck]) -> Iterator[str]:
    """Yield a warning for each layer whose weights are not all finite."""
    for layer in layers:
        if layer.offset is None or not layer.found_bytes:
            continue
        start = layer.offset // FLOAT_BYTES
        if has_nan(file.floats[start : start + layer.found_bytes // FLOAT_BYTES]):
            yield f"{layer.where}: its weights hold NaN or infinite numbers, and so will the predictions that they reach"


def missing_statistics_error(norms: Sequence[LayerClause], dense: object) -> WeightsError:
    """Return the error of a model with BatchNorm and no ntp file."""
    name = f"{dense}.ntp.json" if dense is not None else "<dense file>.ntp.json"
    return WeightsError(
        f"no ntp file was given or found, and {len(norms)} BatchNorm layers need their running statistics: HugeCTR writes "
        f"it beside the dense file as {name}"
    )


def statistics_errors(
    norms: Sequence[LayerClause], widths: Mapping[int, int], entries: Sequence[BatchNormStatistics], path: str
) -> Iterator[HugeCTR2ONNXError]:
    """Yield the errors of an ntp file; `widths` has the features of the layers that could be reached, by their index."""
    if len(entries) != len(norms):
        yield WeightsError(
            f"{path}: has {len(entries)} BatchNorm entries and the graph {len(norms)} BatchNorm layers: it belongs to "
            "another model"
        )
        return
    for clause, entry in zip(norms, entries, strict=True):
        try:
            entry.features(widths.get(clause.index, entry.mean.size))
        except HugeCTR2ONNXError as error:
            error.add_note(f"while reading the statistics of {clause.where}")
            yield error
