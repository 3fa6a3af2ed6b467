"""The files that a model is read from: no output may take their place, and a manifest names them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hugectr2onnx.errors import GraphJsonError, WeightsError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.weights import snapshot as weights_module
from hugectr2onnx.frontend.weights.key_filter import COLUMN
from hugectr2onnx.tables.regular_file import open_regular

TABLE_FILES = ("key", "slot_id", "emb_vector")
DUMP_FOLDERS = "embedding_collection_*"


@dataclass(frozen=True)
class SourceFile:
    """One file as it was found: its bytes and its time of change, None where there was none.

    `name` is the last part of the path as it was given. `hashed`: whether a manifest has its checksum; tables take longer to
    hash than to convert, and theirs is left out.
    """

    name: str
    path: Path
    size: int | None
    changed: int | None
    hashed: bool

    @staticmethod
    def of(path: str | os.PathLike[str], *, hashed: bool = False) -> SourceFile:
        """Return a file with links followed, wherever this process may go later."""
        found = Path(os.path.realpath(path))
        return SourceFile(Path(path).name, found, *_state(found), hashed)

    @property
    def is_shorter(self) -> bool:
        """Whether it has lost bytes since."""
        size, _ = _state(self.path)
        return self.size is not None and (size is None or size < self.size)

    def sha256(self) -> str | None:
        """Return the checksum of what was read; None where it is not wanted, or the file has changed since."""
        if not self.hashed or self.size is None or _state(self.path) != (self.size, self.changed):
            return None
        try:
            with open_regular(self.path, WeightsError) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except (OSError, WeightsError):
            return None


def _state(path: Path) -> tuple[int | None, int | None]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns


def source_files(
    graph: object, weights: object, description: object, keep_keys: Mapping[str, object]
) -> tuple[SourceFile, ...]:
    """Return every file that compiling reads, by the arguments of `compile`; what was given as an object in memory is none.

    `description` is that of an EmbeddingCollection. Raises WeightsError and GraphJsonError as compiling would.
    """
    files = weights_module.resolve(weights)
    small = [each for each in (graph, files.dense, files.ntp, description) if isinstance(each, str | os.PathLike)]
    tables = (part for table in files.tables for part in _table_files(table))
    kept = (_without_column(path) for given in keep_keys.values() for path in _paths(given))
    large: Iterable[str | os.PathLike[str]] = (*tables, *_dump_files(description), *kept)
    return (*(SourceFile.of(path, hashed=True) for path in small), *map(SourceFile.of, large))


def _table_files(table: Path) -> Iterator[Path]:
    """Yield files that a folder lacks too: an output of that name would become a part of the table."""
    yield from (table / name for name in TABLE_FILES) if os.path.isdir(table) else (table,)


def _dump_files(description: object) -> Iterator[Path]:
    """Yield all files of the folder of `embedding_dump` that a description names."""
    beside = ""
    if isinstance(description, str | os.PathLike):
        beside, description = os.path.dirname(os.fspath(description)), json_text.load(description, GraphJsonError)
    named = description.get("path") if isinstance(description, Mapping) else None
    if isinstance(named, str | os.PathLike):
        dump = Path(beside, named)
        with suppress(OSError, ValueError):  # opening the dump says what is wrong with its path
            for folder in (dump, *dump.glob(DUMP_FOLDERS)):
                yield from (path for path in folder.glob("*") if path.is_file())


def _paths(given: object) -> list[str | os.PathLike[str]]:
    """Return a file, or those of a list; an array is none."""
    listed = given if isinstance(given, list | tuple) else [given]
    return [each for each in listed if isinstance(each, str | os.PathLike)]


def _without_column(given: str | os.PathLike[str]) -> str:
    """`FILE.parquet::COLUMN` is a file and a column, unless a file has that name."""
    path = os.fspath(given)
    file, separator, _ = path.rpartition(COLUMN)
    return file if separator and file and not os.path.exists(path) else path
