"""Key maps on disk for models whose inputs are rows: `KeyFile` writes one, `KeyMapper` answers from it.

8 bytes     b"h2okeys1"
4088 bytes  JSON: rows of the table, keys in the map, what each slot adds to its keys; padded with spaces
8 n bytes   the keys of 0 and more, ascending, int64 little-endian
8 n bytes   the row of each

Longer JSON makes the file begin with b"h2okeys2", then the number of bytes before the keys, a multiple of 4096, as int64.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.tables.key_index import column

MAGIC, MAGIC_LONG = b"h2okeys1", b"h2okeys2"
HEAD = 4096
INT64 = np.dtype("<i8")
LARGEST_KEY = np.iinfo(np.int64).max
SUFFIX = ".keys"
CHUNK = 1 << 19
_ESCAPES = {ord(sign): f"%{ord(sign):02X}" for sign in "%/\\"}
"""What no file name may hold, and the sign that begins an escape."""


@dataclass(frozen=True, eq=False)
class KeyFile:
    """The keys of one table, for the model input that takes its rows."""

    input: str
    table: str
    keys: NDArray[Any]
    offsets: tuple[int, ...] = ()

    def path(self, model: Path) -> Path:
        """Where the map lies beside a model file."""
        return map_path(model, self.input)

    @cached_property
    def head(self) -> bytes:
        """What stands before the keys, whole pages of it."""
        facts = {"input": self.input, "table": self.table, "rows": len(self.keys), "keys": self._count}
        text = json.dumps({**facts, "offsets": list(self.offsets)}).encode()
        if len(MAGIC) + len(text) <= HEAD:
            return (MAGIC + text).ljust(HEAD)
        size = -(-(len(MAGIC_LONG) + INT64.itemsize + len(text)) // HEAD) * HEAD
        return (MAGIC_LONG + size.to_bytes(INT64.itemsize, "little") + text).ljust(size)

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return len(self.head) + 2 * INT64.itemsize * self._count

    @cached_property
    def _count(self) -> int:
        return column(self.keys).count

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file, front to back."""
        yield self.head
        keys = np.asarray(self.keys)
        order = np.argsort(keys, kind="stable")[len(keys) - self._count :]
        for start in range(0, len(order), CHUNK):
            yield keys[order[start : start + CHUNK]].astype(INT64).tobytes()
        for start in range(0, len(order), CHUNK):
            yield order[start : start + CHUNK].astype(INT64).tobytes()


def map_path(model: Path, input: str) -> Path:
    """Where the map of an input lies: `a/b` becomes `a%2Fb`, so that no two inputs share a file."""
    return model.with_name(f"{model.name}.{input.translate(_ESCAPES)}{SUFFIX}")


def own_maps(model: Path) -> set[Path]:
    """The key maps in the folder that were saved for a model of this name."""
    begin = f"{model.name}."
    named = (path for path in model.parent.iterdir() if path.name.startswith(begin) and path.suffix == SUFFIX)
    return {path for path in named if is_own_map(path, model)}


def is_own_map(path: Path, model: Path) -> bool:
    """Whether a file is a key map that was saved for a model of this name, such as `a_b` for `a/b` as it was called once."""
    try:
        with open(path, "rb") as file:
            input = str(_read_head(file)[0]["input"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return path in (map_path(model, input), model.with_name(f"{model.name}.{input.replace('/', '_')}{SUFFIX}"))


def _read_head(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """What a map says of itself, and where its keys begin; ValueError for a file that is none."""
    start = file.read(HEAD)
    if start.startswith(MAGIC):
        return _facts(start[len(MAGIC) :]), HEAD
    if not start.startswith(MAGIC_LONG):
        raise ValueError("it begins otherwise")
    size = int.from_bytes(start[len(MAGIC_LONG) : len(MAGIC_LONG) + INT64.itemsize], "little")
    if not HEAD <= size <= os.fstat(file.fileno()).st_size:
        raise ValueError("its head is incomplete")
    return _facts((start + file.read(size - HEAD))[len(MAGIC_LONG) + INT64.itemsize :]), size


def _facts(text: bytes) -> dict[str, Any]:
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise ValueError("its head is no object")
    return facts


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
                facts, head = _read_head(file)
                size = os.fstat(file.fileno()).st_size
            count = int(facts["keys"])
            if size != head + 2 * INT64.itemsize * count:
                raise FeedError(f"{os.fspath(path)} is no complete key map of hugectr2onnx: save the model again")
            both = np.memmap(path, INT64, "r", head, (2, count)) if count else np.empty((2, 0), INT64)
            return cls(both[0], both[1], int(facts["rows"]), tuple(map(int, facts["offsets"])), str(facts["input"]))
        except HugeCTR2ONNXError:
            raise
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
