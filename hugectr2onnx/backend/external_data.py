"""A model on disk: one file while it is small, else large tensors in aligned files beside it."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from hugectr2onnx.backend.artifact import PROTOBUF_LIMIT, Artifact, Blob, located_tensor
from hugectr2onnx.backend.atomic import atomic_files, writable_path
from hugectr2onnx.backend.manifest import FileRecord
from hugectr2onnx.backend.model_file import ModelFile
from hugectr2onnx.backend.wire import text_entry
from hugectr2onnx.errors import OutputError

ALIGNMENT = 4096
_FRAME = 64
"""More bytes than the frame of an inline tensor takes in a model file."""
_PLACE = 512
"""More bytes than the place of a tensor in another file takes, with a name of 255 bytes."""

Written = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes in all."""


@dataclass(frozen=True)
class Shard:
    """One data file: its tensors with their offsets, and its length."""

    path: Path
    offsets: Mapping[str, int]
    size: int


def save(
    artifact: Artifact,
    path: str | os.PathLike[str],
    *,
    threshold: int = 1 << 20,
    limit: int = PROTOBUF_LIMIT - (1 << 16),
    message: int = PROTOBUF_LIMIT - (1 << 16),
    shard_size: int | None = None,
    checksums: bool | None = None,
    progress: Written | None = None,
) -> tuple[FileRecord, ...]:
    """Write the model, whole or not at all: the same artifact gives the same bytes. Returns what was written.

    `checksums`: whether the records have them, by default those of several files do.

    A model of at most `limit` bytes becomes one file. Otherwise every tensor above `threshold` bytes goes to
    `<name>.data` in the same folder, at offsets that are multiples of 4096, in the model's order; with `shard_size` to
    `<name>.data-00001-of-00003` and so on, each of that size unless one tensor alone is larger. Payloads are streamed
    from their memory maps; what stays in the model file has `message` bytes at most. OutputError names the path and says
    what to do; an existing model is then left as it was.
    """
    if shard_size is not None and shard_size < 1:
        raise OutputError(f"shard_size is {shard_size}; it is the bytes of a data file and must be at least 1.")
    target = writable_path(path)
    framed = artifact.nbytes + _FRAME * len(artifact.tensors)
    large = {name: blob for name, blob in artifact.tensors.items() if blob.nbytes > threshold}
    shards = () if framed <= limit or not large else _shards(large, target, shard_size)
    outside = sum(large[name].nbytes for shard in shards for name in shard.offsets)
    rest = framed - outside + _PLACE * len(large)
    _require_message(target, rest, message)
    total = rest + sum(shard.size for shard in shards)
    _require_space(target, total)
    stale = _data_files(target) - {shard.path for shard in shards}
    with atomic_files(*(shard.path for shard in shards), target) as files:
        report = _Progress(progress, total)
        hashed = bool(shards) if checksums is None else checksums
        written = [ModelFile(file, report, hashed=hashed) for file in files]
        for shard, file in zip(shards, written, strict=False):
            file.reserve(shard.size)
            for name, offset in shard.offsets.items():
                file.write(bytes(offset - file.size))
                file.write_blob(large[name])
        for piece in artifact.pieces(_located(artifact, large, shards)):
            _append(written[-1], piece)
        names = [*(shard.path.name for shard in shards), target.name]
        records = tuple(file.record(name) for name, file in zip(names, written, strict=True))
        report.finish()
    # After the new model stands, nothing refers to them: a crash before this line leaves files too many, no more.
    for old in stale:
        old.unlink(missing_ok=True)
    return records


def _append(file: ModelFile, piece: bytes | Blob) -> None:
    file.write_blob(piece) if isinstance(piece, Blob) else file.write(piece)


class _Progress:
    """Adds up what all files of a model have written."""

    def __init__(self, report: Written | None, total: int):
        self._report, self._total, self._done = report, total, 0

    def __call__(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._report is not None:
            self._report(self._done, self._total)

    def finish(self) -> None:
        self(self._total)


def data_path(model: Path) -> Path:
    """Where the large tensors of a model file lie."""
    return model.with_name(model.name + ".data")


def _shards(blobs: Mapping[str, Blob], target: Path, shard_size: int | None) -> tuple[Shard, ...]:
    groups: list[tuple[dict[str, int], int]] = []
    for name, blob in blobs.items():
        offset = -(-groups[-1][1] // ALIGNMENT) * ALIGNMENT if groups else 0
        if not groups or (shard_size is not None and offset + blob.nbytes > shard_size):
            groups.append(({}, 0))
            offset = 0
        groups[-1][0][name] = offset
        groups[-1] = groups[-1][0], offset + blob.nbytes
    data = data_path(target)
    if len(groups) == 1:
        return (Shard(data, *groups[0]),)
    names = (f"{data.name}-{number:05d}-of-{len(groups):05d}" for number in range(1, len(groups) + 1))
    return tuple(Shard(data.with_name(name), *group) for name, group in zip(names, groups, strict=True))


def _located(artifact: Artifact, large: Mapping[str, Blob], shards: Sequence[Shard]) -> dict[str, onnx.TensorProto]:
    place = {name: (shard.path.name, offset) for shard in shards for name, offset in shard.offsets.items()}
    return {
        tensor.name: located_tensor(tensor, *place[tensor.name], large[tensor.name].nbytes)
        for tensor in artifact.skeleton.graph.initializer
        if tensor.name in place
    }


def _require_message(target: Path, needed: int, limit: int) -> None:
    if needed > limit:
        raise OutputError(
            f"Cannot write {target}: {needed:,} bytes of the model are keys and small tensors, which cannot lie beside "
            f"it, and one protobuf message holds at most {limit:,}. Leave out keys that are not used, or use "
            'keys="perfect-hash".'
        )


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


def _data_files(model: Path) -> set[Path]:
    """The data files that a model file of an earlier save refers to, so that nobody else's file is removed."""
    stem = data_path(model).name
    try:
        beside = [path for path in model.parent.iterdir() if path.name == stem or _is_shard(path.name, stem)]
        with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {path for path in beside if content.find(text_entry("location", path.name)) >= 0}
    except (OSError, ValueError):
        return set()


def _is_shard(name: str, stem: str) -> bool:
    number, of, count = name.removeprefix(f"{stem}-").partition("-of-")
    return name.startswith(f"{stem}-") and bool(of) and number.isdigit() and count.isdigit()
