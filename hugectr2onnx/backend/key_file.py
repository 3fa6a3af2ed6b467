"""Key maps on disk for models whose inputs are rows: `KeyFile` writes one, `KeyMapper` answers from it.

8 bytes     b"h2okeys1"
4088 bytes  JSON: rows of the table, keys in the map, what each slot adds to its keys; padded with spaces
8 n bytes   the keys of 0 and more, ascending, int64 little-endian
8 n bytes   the row of each
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.backend.atomic import atomic_files
from hugectr2onnx.backend.manifest import FileRecord
from hugectr2onnx.errors import FeedError, OutputError

MAGIC = b"h2okeys1"
HEAD = 4096
INT64 = np.dtype("<i8")
LARGEST_KEY = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class KeyFile:
    """The keys of one table, for the model input that takes its rows."""

    input: str
    table: str
    keys: NDArray[Any]
    offsets: tuple[int, ...] = ()

    def path(self, model: Path) -> Path:
        """Where the map lies beside a model file."""
        return model.with_name(f"{model.name}.{self.input.replace('/', '_')}.keys")

    def save(self, model: Path) -> FileRecord:
        """Write the map beside a model file. Raises OutputError."""
        keys = np.asarray(self.keys)
        order = np.argsort(keys, kind="stable")
        order = order[int(np.count_nonzero(keys < 0)) :]
        facts = {"input": self.input, "table": self.table, "rows": len(keys), "keys": len(order)}
        head = MAGIC + json.dumps({**facts, "offsets": list(self.offsets)}).encode()
        if len(head) > HEAD:
            raise OutputError(
                f"the key map of {self.table} has {len(self.offsets)} slot offsets, more than its head holds"
            )
        payload = (head.ljust(HEAD), keys[order].astype(INT64).tobytes(), order.astype(INT64).tobytes())
        digest = hashlib.sha256()
        with atomic_files(self.path(model)) as (file,):
            for piece in payload:
                digest.update(piece)
                file.write(piece)
        return FileRecord(self.path(model).name, sum(map(len, payload)), digest.hexdigest())


class KeyMapper:
    """From keys to the rows that a model with `keys="indices"` takes; the map stays on disk, mapped.

    mapper = KeyMapper.open("wdl.onnx.data1.keys")
    session.run(None, {"dense": x, "data1": mapper.rows(keys)})
    """

    def __init__(self, keys: NDArray[Any], rows: NDArray[Any], missing: int, offsets: tuple[int, ...], input: str):
        self._keys, self._rows, self._missing, self._offsets = keys, rows, missing, offsets
        self.input = input
        """The model input that takes the rows."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> KeyMapper:
        """Map a file that `CompiledModel.save` wrote. Raises FeedError for anything else."""
        try:
            with open(path, "rb") as file:
                head = file.read(HEAD)
                size = os.fstat(file.fileno()).st_size
            facts = json.loads(head[len(MAGIC) :]) if head.startswith(MAGIC) else None
            if not isinstance(facts, dict) or size != HEAD + 16 * facts["keys"]:
                raise FeedError(f"{os.fspath(path)} is no complete key map of hugectr2onnx: save the model again")
            count = int(facts["keys"])
            both = np.memmap(path, INT64, "r", HEAD, (2, count)) if count else np.empty((2, 0), INT64)
            return cls(both[0], both[1], int(facts["rows"]), tuple(map(int, facts["offsets"])), str(facts["input"]))
        except OSError as error:
            raise FeedError(f"Cannot read the key map {os.fspath(path)}: {error.strerror}. Check the path.") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FeedError(f"{os.fspath(path)!r} is no key map of hugectr2onnx: {error}") from error

    def __len__(self) -> int:
        return len(self._keys)

    def rows(self, keys: Any) -> NDArray[np.int64]:
        """int64 of the same shape: the row of each key, -1 for padding (negative keys), the table's length for a key that
        it lacks. Where slots add offsets, keys are [..., slot, max_nnz]."""
        wanted = np.asarray(keys)
        if wanted.dtype.kind not in "iu" or wanted.dtype == np.uint64:
            raise FeedError(f"keys are {wanted.dtype}; the map takes signed integers")
        moved = self._moved(wanted.astype(np.int64, copy=False))
        if not len(self._keys):
            return np.where(moved < 0, -1, self._missing)
        at = np.minimum(np.searchsorted(self._keys, moved), len(self._keys) - 1)
        found = np.where(self._keys[at] == moved, self._rows[at], self._missing)
        return np.where(moved < 0, -1, found)

    def _moved(self, keys: NDArray[Any]) -> NDArray[Any]:
        if not self._offsets:
            return keys
        if keys.ndim < 2 or keys.shape[-2] != len(self._offsets):
            raise FeedError(f"keys are {list(keys.shape)}; the map wants [..., {len(self._offsets)} slots, max_nnz]")
        offsets = np.array(self._offsets, np.int64)[:, None]
        return np.where(keys < 0, keys, np.minimum(keys, LARGEST_KEY - offsets) + offsets)
