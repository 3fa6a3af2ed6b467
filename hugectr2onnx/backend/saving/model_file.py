"""A file of a model while it is written: front to back, tensors put in order on the way, a checksum where it is wanted."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Blob, part_chunks
from hugectr2onnx.backend.reorder import reorder
from hugectr2onnx.backend.reorder.ordered_map import ordered_map, thread_count
from hugectr2onnx.backend.saving import direct_io
from hugectr2onnx.backend.saving.direct_io import FileRegion
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData
from hugectr2onnx.tables.vectors import CACHED_BYTES

_WRITTEN_BYTES = 1 << 22
READ_BYTES = 1 << 24
"""Of a large table that goes from file to file."""
SMALL = 1 << 20
"""Bytes of a tensor up to which no thread is worth it."""
POSITIONAL = hasattr(os, "pwrite")


class Checksum(Enum):
    """The checksum of a file, worked out while it is written: SHA-256 takes three times as much CPU as CRC-32."""

    NONE = ""
    CRC32 = "crc32"
    SHA256 = "sha256"

    def start(self) -> _Digest | None:
        """Return a new digest; None where none is wanted."""
        if self is Checksum.NONE:
            return None
        return hashlib.sha256() if self is Checksum.SHA256 else _Crc32()


class _Digest(Protocol):
    def update(self, piece: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, piece: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(piece, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


class ModelFile:
    """Appends to an open file; `size` is what was appended so far. A thread of its own hashes: that takes longer than writing.

    A context manager, which leaves the file itself open.
    """

    def __init__(
        self, descriptor: int, path: Path, checksum: Checksum, written: Callable[[int], None] = lambda count: None
    ):
        self._descriptor, self._path, self._written = descriptor, path, written
        self._region = FileRegion(descriptor, 0)
        self._digest = checksum.start()
        self._thread = ThreadPoolExecutor(1, "hugectr2onnx-checksum")
        self._hashing: Future[None] | None = None
        self._pending = bytearray()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._thread.shutdown()
            if self._region.direct is not None:
                os.close(self._region.direct)

    def checksum(self) -> str:
        """Return the checksum of the file as it stands, empty where none was wanted; nothing may be written after this."""
        self._thread.shutdown()
        return self._digest.hexdigest() if self._digest else ""

    def reserve(self, size: int) -> None:
        """Say how many bytes will come. The file system sets room aside: a full disk shows at once, and writing is faster.

        A large file goes past the system's cache from here on.
        """
        if size >= direct_io._DIRECT_BYTES:
            self._region = replace(self._region, direct=direct_io.open_direct(self._path))
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise

    def append(self, piece: bytes | memoryview | Blob) -> None:
        """Append a tensor, or bytes, which must stay as they are until the next ones were appended."""
        if isinstance(piece, Blob):
            self._append_tensor(piece)
        else:
            self._append_bytes(piece)

    def flush(self) -> None:
        """Hand everything that was appended to the system."""
        data, at = bytes(self._pending), self.size - len(self._pending)
        self._pending.clear()
        if data:
            self._region.write(np.frombuffer(data, np.uint8), at)

    def _append_bytes(self, piece: bytes | memoryview) -> None:
        if len(piece) > SMALL:
            self.flush()
            self._region.write(np.frombuffer(piece, np.uint8), self.size)
        else:
            self._pending += piece
        self._count(piece)
        if len(self._pending) > SMALL:
            self.flush()
        self._written(len(piece))

    def _append_tensor(self, blob: Blob) -> None:
        for part in map(_safe, blob.parts):
            if isinstance(part, Gathered) and part.nbytes > SMALL and POSITIONAL:
                self._write_in_order(part)
            else:
                for chunk in _chunks(part):
                    self._append_bytes(chunk)

    def _write_in_order(self, part: Gathered) -> None:
        self.flush()
        for rows in reorder.write(part, replace(self._region, offset=self.size), self._written):
            self._count(rows.reshape(-1).view(np.uint8).data)

    def _count(self, piece: bytes | memoryview) -> None:
        self.size += len(piece)
        if self._hashing is not None:
            self._hashing.result()
        if self._digest is not None:
            self._hashing = self._thread.submit(self._digest.update, piece)


def _read_in_turn(array: Array) -> Iterator[memoryview]:
    """Yield the bytes of a large mapped array past its map, in two buffers: one is filled while the other one is hashed."""
    step = direct_io.whole_pages(max(1, READ_BYTES * len(array) // array.nbytes), array.nbytes // len(array))
    buffers = [paging.buffer((min(step, len(array)), *array.shape[1:]), array.dtype) for _ in range(2)]
    for number, start in enumerate(range(0, len(array), step)):
        rows = array[start : start + step]
        read = buffers[number % 2][: len(rows)]
        paging.read(rows, read)
        yield read.reshape(-1).view(np.uint8).data


def _safe(part: TensorData) -> TensorData:
    """Return the same with a source in memory of our own, as far as memory allows: a file may be cut short while it is read."""
    source = part.source if isinstance(part, Gathered | Converted) else part
    if source.nbytes > reorder.AT_RANDOM:
        return part
    own = paging.copied(source)
    if own is source:
        return part
    return replace(part, source=own) if isinstance(part, Gathered | Converted) else own


def _chunks(part: TensorData) -> Iterator[memoryview]:
    """Yield the bytes of a part, converted by several threads where there is something to convert."""
    if not isinstance(part, Gathered | Converted) and part.dtype.isnative and paging.has_file(part):
        yield from _read_in_turn(part)
        return
    if not isinstance(part, Converted) or part.nbytes <= SMALL:
        yield from part_chunks(part, _WRITTEN_BYTES)
        return
    step = max(1, CACHED_BYTES * len(part) // part.source.nbytes)
    slices = (slice(start, start + step) for start in range(0, len(part), step))
    pages = paging.Pages(part.source)
    for rows in ordered_map(part.__getitem__, slices, thread_count()):
        yield from part_chunks(rows, _WRITTEN_BYTES)
        pages.passed(rows)
