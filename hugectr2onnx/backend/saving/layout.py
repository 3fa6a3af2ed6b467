"""Where the tensors of a model will lie: in the model file while it is small, else in aligned files beside it."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, located_tensor
from hugectr2onnx.backend.onnx.protobuf_stream import text_entry
from hugectr2onnx.errors import OutputError

ALIGNMENT = 4096
_FRAME = 64
"""More bytes than the frame of an inline tensor takes in a model file."""
_PLACE = 512
"""More bytes than the place of a tensor in another file takes, with a name of 255 bytes."""


@dataclass(frozen=True)
class Shard:
    """One data file: its tensors with their offsets, and its length."""

    path: Path
    offsets: Mapping[str, int]
    size: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The files of a model, and how many bytes the model file itself takes at most."""

    target: Path
    shards: tuple[Shard, ...]
    large: Mapping[str, Blob]
    message: int

    @staticmethod
    def of(artifact: Artifact, target: Path, threshold: int, limit: int, shard_size: int | None) -> Layout:
        """Everything in one file of at most `limit` bytes, or what is larger than `threshold` beside it."""
        framed = artifact.nbytes + _FRAME * len(artifact.tensors)
        large = {name: blob for name, blob in artifact.tensors.items() if blob.nbytes > threshold}
        shards = () if framed <= limit or not large else _shards(large, target, shard_size)
        outside = sum(large[name].nbytes for shard in shards for name in shard.offsets)
        return Layout(target, shards, large, framed - outside + _PLACE * len(large))

    @property
    def size(self) -> int:
        """The bytes of all files, at most."""
        return self.message + sum(shard.size for shard in self.shards)

    def require_message(self, limit: int) -> None:
        """Raise OutputError where the model file is more than a protobuf message."""
        if self.message > limit:
            raise OutputError(
                f"Cannot write {self.target}: {self.message:,} bytes of the model are keys and small tensors, which "
                f"cannot lie beside it, and one protobuf message holds at most {limit:,}. Leave out keys that are not "
                'used, or use keys="perfect-hash".'
            )

    def located(self, artifact: Artifact) -> dict[str, onnx.TensorProto]:
        """The initializers that lie outside, each with its place."""
        place = {name: (shard.path.name, offset) for shard in self.shards for name, offset in shard.offsets.items()}
        return {
            tensor.name: located_tensor(tensor, *place[tensor.name], self.large[tensor.name].nbytes)
            for tensor in artifact.skeleton.graph.initializer
            if tensor.name in place
        }


def data_path(model: Path) -> Path:
    """Where the large tensors of a model file lie."""
    return model.with_name(model.name + ".data")


def is_data_name(name: str, model: Path) -> bool:
    """Whether a file of this name would be a data file of the model."""
    stem = data_path(model).name
    number, of, count = name.removeprefix(f"{stem}-").partition("-of-")
    return name == stem or (name.startswith(f"{stem}-") and bool(of) and number.isdigit() and count.isdigit())


def own_data_files(model: Path) -> set[Path]:
    """The data files that a model file of an earlier save refers to, so that nobody else's file is removed."""
    try:
        beside = [path for path in model.parent.iterdir() if is_data_name(path.name, model)]
        with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {path for path in beside if content.find(text_entry("location", path.name)) >= 0}
    except (OSError, ValueError):
        return set()


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
