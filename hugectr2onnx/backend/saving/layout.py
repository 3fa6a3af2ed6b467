"""Plan where the tensors of a model lie: in the model file while it is small, else in aligned files beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor, located_tensor
from hugectr2onnx.backend.onnx.onnx_file import ExternalTensor
from hugectr2onnx.errors import OutputError, Setting
from hugectr2onnx.tables.regular_file import shown

ALIGNMENT = 4096
MIN_OUTSIDE = 1024
"""Bytes of a small tensor from which on it is put beside a model that was asked for in several files."""
_FRAME = 64
"""Upper bound for the bytes that frame an inline tensor in a model file."""
_PLACE = 1024
"""Upper bound for the external-data entry of one tensor, or the entry of a key map (file name up to 255 bytes)."""
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


@dataclass(frozen=True)
class Shard:
    """One data file: its tensors with their offsets, and its length. Its name is that of the model, an id and `suffix`."""

    suffix: str
    offsets: Mapping[str, int]
    size: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The files of a model, and how many bytes the model file itself takes at most."""

    target: Path
    shards: tuple[Shard, ...]
    large: Mapping[str, Blob]
    message: int
    standing: Mapping[str, ExternalTensor] = field(default_factory=dict)

    @staticmethod
    def of(
        artifact: Artifact,
        target: Path,
        threshold: int,
        limit: int,
        shard_size: int | None,
        standing: Mapping[str, ExternalTensor] = MappingProxyType({}),
    ) -> Layout:
        """Return everything in one file of at most `limit` bytes, or what is larger than `threshold` beside it.

        `standing`: tensors that lie in files of the folder already, and are not written.
        """
        framed = artifact.nbytes + _FRAME * len(artifact.tensors)
        framed -= sum(artifact.tensors[name].nbytes for name in standing)
        others = {name: blob for name, blob in artifact.tensors.items() if name not in standing}
        large = {name: blob for name, blob in others.items() if blob.nbytes > threshold}
        shards = () if framed <= limit or not large else _shards(large, shard_size)
        outside = sum(large[name].nbytes for shard in shards for name in shard.offsets)
        message = framed - outside + _PLACE * (len(large) + len(standing))
        return Layout(target, shards, large, message, standing)

    @property
    def size(self) -> int:
        """The bytes of all files, at most."""
        return self.message + sum(shard.size for shard in self.shards)

    def require_message(self, limit: int) -> None:
        """Raise OutputError where the model file is more than a protobuf message."""
        if self.message > limit:
            raise OutputError(
                f"cannot write {shown(self.target)}: {self.message:,} bytes of the model are keys and small tensors, which "
                f"cannot lie beside it, and one protobuf message holds at most {limit:,}; leave out keys that are not "
                "used, or use ",
                Setting("keys", "perfect-hash"),
            )

    def located(self, artifact: Artifact, content_id: str) -> dict[str, onnx.TensorProto]:
        """Return the initializers that lie outside, each with its place."""
        place = {
            name: (beside(self.target, content_id, shard.suffix).name, offset)
            for shard in self.shards
            for name, offset in shard.offsets.items()
        }
        place |= {name: (each.path.name, each.offset) for name, each in self.standing.items()}
        return {
            tensor.name: located_tensor(tensor, *place[tensor.name], artifact.tensors[tensor.name].nbytes)
            for tensor in artifact.skeleton.graph.initializer
            if tensor.name in place
        }


def beside(model: Path, content_id: str, suffix: str) -> Path:
    """Tell where a file lies that a model refers to: a new one for every content, so that none is ever written again."""
    return model.with_name(f"{model.name}.{content_id}{suffix}")


def content_id(files: Iterable[tuple[str, int, str]], attempt: int = 0) -> str:
    """16 hexadecimal digits for files of some suffixes, sizes and checksums; other ones for another attempt."""
    text = "\n".join(f"{suffix} {size} {checksum}" for suffix, size, checksum in sorted(files))
    return hashlib.sha256(f"{text}\n{attempt or ''}".encode()).hexdigest()[:16]


def with_tables_outside(artifact: Artifact) -> Artifact:
    """Return the same model with its smaller tensors among the payloads that may lie beside it, one at least.

    Those of MIN_OUTSIDE bytes and more; where there is none, the largest of floats. Integers of rank 0 and 1 stay, since
    onnxruntime wants to know shapes, axes and indices before it opens other files.
    """
    inline = [t for t in artifact.skeleton.graph.initializer if t.name not in artifact.tensors and _may_move(t)]
    moved = [tensor for tensor in inline if _size(tensor) >= MIN_OUTSIDE]
    if not moved and not artifact.tensors:
        moved = sorted((t for t in inline if t.data_type in _FLOATS and _size(t)), key=_size)[-1:]
    if not moved:
        return artifact
    blobs = {t.name: Blob((onnx.numpy_helper.to_array(t),)) for t in moved}
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(artifact.skeleton)
    for tensor in skeleton.graph.initializer:
        if tensor.name in blobs:
            tensor.CopyFrom(external_tensor(tensor.name, blobs[tensor.name]))
    payloads = {**artifact.tensors, **blobs}
    order = [tensor.name for tensor in skeleton.graph.initializer if tensor.name in payloads]
    return Artifact(skeleton, {name: payloads[name] for name in order})


def _may_move(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in _FLOATS or len(tensor.dims) > 1


def _size(tensor: onnx.TensorProto) -> int:
    return int(onnx.numpy_helper.to_array(tensor).nbytes)


def _shards(blobs: Mapping[str, Blob], shard_size: int | None) -> tuple[Shard, ...]:
    groups: list[tuple[dict[str, int], int]] = []
    for name, blob in blobs.items():
        offset = -(-groups[-1][1] // ALIGNMENT) * ALIGNMENT if groups else 0
        if not groups or (shard_size is not None and offset + blob.nbytes > shard_size):
            groups.append(({}, 0))
            offset = 0
        groups[-1][0][name] = offset
        groups[-1] = groups[-1][0], offset + blob.nbytes
    if len(groups) == 1:
        return (Shard(".data", *groups[0]),)
    suffixes = (f".data-{number:05d}-of-{len(groups):05d}" for number in range(1, len(groups) + 1))
    return tuple(Shard(suffix, *group) for suffix, group in zip(suffixes, groups, strict=True))
