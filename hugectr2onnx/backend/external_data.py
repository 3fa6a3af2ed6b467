"""A model on disk: one file while it fits protobuf, else large tensors in one aligned file beside it."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from hugectr2onnx.backend.artifact import PROTOBUF_LIMIT, Artifact, Blob, located_tensor
from hugectr2onnx.backend.atomic import atomic_files, writable_path
from hugectr2onnx.backend.wire import text_entry
from hugectr2onnx.errors import OutputError

ALIGNMENT = 4096
_FRAME = 64
"""More bytes than the frame of an inline tensor takes in a model file."""
_PLACE = 512
"""More bytes than the place of a tensor in another file takes, with a name of 255 bytes."""


def save(
    artifact: Artifact,
    path: str | os.PathLike[str],
    *,
    threshold: int = 1 << 20,
    limit: int = PROTOBUF_LIMIT - (1 << 16),
) -> None:
    """Write the model, whole or not at all: the same artifact gives the same bytes.

    A model of at most `limit` bytes becomes one file. Otherwise every tensor above `threshold` bytes goes to
    `<name>.data` in the same folder, at offsets that are multiples of 4096, in the model's order. Payloads are streamed
    from their memory maps. OutputError names the path and says what to do; an existing model is then left as it was.
    """
    target = writable_path(path)
    framed = artifact.nbytes + _FRAME * len(artifact.tensors)
    if framed <= limit:
        _save_inline(artifact, target, framed)
    else:
        _save_pair(artifact, target, threshold, limit)


def _save_inline(artifact: Artifact, target: Path, size: int) -> None:
    _require_space(target, size)
    stale = data_path(target) if _refers_to_data(target) else None
    with atomic_files(target) as (file,):
        file.writelines(artifact.stream())
    # After the new model stands, nothing refers to it: a crash before this line leaves a file too many, no more.
    if stale is not None:
        stale.unlink(missing_ok=True)


def _save_pair(artifact: Artifact, target: Path, threshold: int, limit: int) -> None:
    large = {name: blob for name, blob in artifact.tensors.items() if blob.nbytes > threshold}
    rest = artifact.nbytes + _PLACE * len(artifact.tensors) - sum(blob.nbytes for blob in large.values())
    if rest > limit:
        raise OutputError(
            f"Cannot write {target}: {rest:,} bytes of the model are keys and small tensors, which cannot lie beside "
            f"it, and one protobuf message holds at most {limit:,}. Leave out keys that are not used."
        )
    offsets, total = _layout(large)
    _require_space(target, total + rest)
    data = data_path(target)
    located = {
        tensor.name: located_tensor(tensor, data.name, offsets[tensor.name], large[tensor.name].nbytes)
        for tensor in artifact.skeleton.graph.initializer
        if tensor.name in large
    }
    with atomic_files(data, target) as (data_file, model_file):
        for name, blob in large.items():
            _write_at(data_file, offsets[name], blob)
        model_file.writelines(artifact.stream(located))


def data_path(model: Path) -> Path:
    """Where the large tensors of a model file lie."""
    return model.with_name(model.name + ".data")


def _layout(blobs: Mapping[str, Blob]) -> tuple[dict[str, int], int]:
    offsets, end = {}, 0
    for name, blob in blobs.items():
        offsets[name] = -(-end // ALIGNMENT) * ALIGNMENT
        end = offsets[name] + blob.nbytes
    return offsets, end


def _write_at(file: BinaryIO, offset: int, blob: Blob) -> None:
    file.write(bytes(offset - file.tell()))
    file.writelines(blob.chunks())


def _require_space(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return
    if needed > free:
        raise OutputError(
            f"Cannot write {target}: the model needs {needed:,} bytes and the disk has {free:,} left. "
            "Free space there, or choose another disk."
        )


def _refers_to_data(model: Path) -> bool:
    """Whether a model file of an earlier save has a data file of ours, so that nobody else's file is removed."""
    try:
        with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text_entry("location", data_path(model).name)) >= 0
    except (OSError, ValueError):
        return False
