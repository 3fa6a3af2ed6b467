"""Check that mapped files are still as long as they were: to touch what is missing would end the process (SIGBUS)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.errors import WeightsError
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData


def check_not_truncated(artifact: Artifact, arrays: Iterable[Any] = ()) -> None:
    """Raise WeightsError where a file behind a tensor, or behind one of the other arrays, has become shorter."""
    for array in (*_sources(artifact), *arrays):
        mapped = paging.map_of(array)
        if mapped is not None and mapped.size() < len(mapped):
            raise WeightsError(
                f"a file of {len(mapped):,} bytes that the model is made of has become shorter, {mapped.size():,} bytes, "
                "since it was opened: restore it, compile again, and let nobody write to it meanwhile"
            )


def _sources(artifact: Artifact) -> Iterator[Any]:
    for blob in artifact.tensors.values():
        for part in blob.parts:
            yield from _arrays(part)


def _arrays(part: TensorData) -> tuple[Any, ...]:
    if isinstance(part, Gathered):
        return part.source, part.order, part.keys
    return (part.source,) if isinstance(part, Converted) else (part,)
