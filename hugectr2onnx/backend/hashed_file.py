"""A file that is hashed while it is written, by a thread of its own: hashing takes longer than writing."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from hugectr2onnx.backend.artifact import Blob
from hugectr2onnx.backend.manifest import FileRecord
from hugectr2onnx.backend.reorder import BUFFERS, Scratch
from hugectr2onnx.backend.wire import Piece


class HashedFile:
    """Writes front to back and remembers the SHA-256 of it all."""

    def __init__(self, file: BinaryIO, written: Callable[[int], None]):
        self._file = file
        self._written = written
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "hugectr2onnx-sha256")
        self._pending: deque[Future[None]] = deque()
        self._size = 0

    def write(self, piece: Piece) -> None:
        """Append a piece, which must stay as it is until BUFFERS - 1 more were written."""
        self._pending.append(self._thread.submit(self._digest.update, piece))
        self._file.write(piece)
        self._size += len(piece)
        self._written(len(piece))
        while len(self._pending) > BUFFERS - 2:
            self._pending.popleft().result()

    def write_blob(self, blob: Blob, offset: int) -> None:
        """Append a tensor at an offset, with zeros up to there."""
        self.write(bytes(offset - self._size))
        self._file.flush()
        scratch = Scratch(self._file.fileno(), offset) if hasattr(os, "pwrite") else None
        for chunk in blob.chunks(scratch=scratch):
            self.write(chunk)

    def record(self, name: str) -> FileRecord:
        """The file as it stands; nothing may be written after this."""
        self._thread.shutdown()
        return FileRecord(name, self._size, self._digest.hexdigest())
