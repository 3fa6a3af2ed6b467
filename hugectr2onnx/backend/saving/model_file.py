"""A model file while it is written: front to back, tensors put in order on the way, hashed where that is wanted."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import BinaryIO, Self

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Blob, part_chunks
from hugectr2onnx.backend.reorder import reorder
from hugectr2onnx.backend.reorder.ordered_map import in_order, thread_count
from hugectr2onnx.backend.saving import direct_io
from hugectr2onnx.backend.saving.direct_io import Place
from hugectr2onnx.backend.saving.manifest import FileRecord
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Converted, Gathered, Part
from hugectr2onnx.tables.row_format import CHUNK_BYTES as CACHED_BYTES

CHUNK_BYTES = 1 << 22
SMALL = 1 << 20
"""Bytes of a tensor up to which no thread is worth it."""
POSITIONAL = hasattr(os, "pwrite")


class ModelFile:
    """Appends to a file; `size` is what was appended so far. A thread of its own hashes: that takes longer than writing.

    A context manager, which leaves the file itself open.
    """

    def __init__(self, file: BinaryIO, written: Callable[[int], None], *, hashed: bool):
        self._file = file
        self._place = Place(file.fileno(), 0)
        self._written = written
        self._digest = hashlib.sha256() if hashed else None
        self._thread = ThreadPoolExecutor(1, "hugectr2onnx-sha256")
        self._hashing: Future[None] | None = None
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        if self._place.direct is not None:
            os.close(self._place.direct)

    def record(self, name: str) -> FileRecord:
        """The file as it stands, its checksum empty where none was wanted; nothing may be written after this."""
        self._thread.shutdown()
        return FileRecord(name, self.size, self._digest.hexdigest() if self._digest else "")

    def reserve(self, size: int) -> None:
        """Say how many bytes will come. The file system sets room aside: a full disk shows at once, and writing is faster.

        A large file goes past the system's cache from here on.
        """
        if size >= direct_io.LARGE:
            self._place = replace(self._place, direct=direct_io.open_direct(self._file))
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes, which must stay as they are until the next ones were appended."""
        if len(piece) > SMALL and POSITIONAL:
            self._file.flush()
            self._place.write(np.frombuffer(piece, np.uint8), self.size)
            self._file.seek(self.size + len(piece))
        else:
            self._file.write(piece)
        self._count(piece)
        self._written(len(piece))

    def write_blob(self, blob: Blob) -> None:
        """Append a tensor."""
        for part in blob.parts:
            if isinstance(part, Gathered) and part.nbytes > SMALL and POSITIONAL:
                self._write_in_order(part)
            else:
                for chunk in _chunks(part):
                    self.write(chunk)

    def _write_in_order(self, part: Gathered) -> None:
        self._file.flush()
        for rows in reorder.write(part, replace(self._place, offset=self.size), self._written):
            self._count(rows.reshape(-1).view(np.uint8).data)
        self._file.seek(self.size)

    def _count(self, piece: bytes | memoryview) -> None:
        self.size += len(piece)
        if self._hashing is not None:
            self._hashing.result()
        if self._digest is not None:
            self._hashing = self._thread.submit(self._digest.update, piece)


def _chunks(part: Part) -> Iterator[memoryview]:
    """The bytes of a part, converted by several threads where there is something to convert."""
    if not isinstance(part, Converted) or part.nbytes <= SMALL:
        yield from part_chunks(part, CHUNK_BYTES)
        return
    step = max(1, CACHED_BYTES * len(part) // part.source.nbytes)
    slices = (slice(start, start + step) for start in range(0, len(part), step))
    pages = paging.Pages(part.source)
    for rows in in_order(part.__getitem__, slices, thread_count()):
        yield from part_chunks(rows, CHUNK_BYTES)
        pages.passed(rows)
