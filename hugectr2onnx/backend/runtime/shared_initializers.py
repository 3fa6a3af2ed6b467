"""Large tables of a model file, mapped for reading only.

onnxruntime's own map of a table is private and writable. Linux counts such a map as memory that may be needed, and refuses one
that is larger than all there is, although nobody will write to it. A shared map that is read-only counts for nothing.
"""

from __future__ import annotations

from pathlib import Path

from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.ir.types import Array

LARGE = 1 << 28
"""Bytes of a tensor from which on it is mapped here."""


def large_tensors(path: Path) -> dict[str, Array]:
    """Return the large tensors that lie beside a model file, by name. Raises FeedError where one lies elsewhere."""
    model = read_model(path)
    blobs = as_artifact(model, path).tensors
    return {name: blob.materialise() for name, blob in blobs.items() if blob.nbytes >= LARGE}
