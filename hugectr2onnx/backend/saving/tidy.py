"""Remove what dead saves left in a folder, and the data of models that were replaced, by the word of our records alone.

A file is removed only where a record that this user's save wrote lists it, it is still as it was written, no save that runs
lists it, and no model in the folder mentions it. The data of a replaced model stay for GRACE seconds: a reader may have read
the old model file and not opened its data yet.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hugectr2onnx.backend.saving import manifest
from hugectr2onnx.backend.saving.save_record import OwnedFile, SaveRecord, read_records
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, sync_folder
from hugectr2onnx.errors import OutputError

GRACE = 60.0
"""Seconds between the reading of a model file and the opening of its data that a reader may take."""
MAX_MODEL_BYTES = 2**31
"""A larger file is not a model: protobuf messages end there."""
_FIRST_BYTE = b"\x08"
"""An ONNX file begins with the field `ir_version`."""
_READ_BYTES = 8 << 20


@dataclass(frozen=True)
class Tidied:
    """Names of the files that were removed, and of those that a reader may still want."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def tidy(saving: UnfinishedSave, manifest_number: int, *, grace: float = GRACE, kept: Collection[Path] = ()) -> Tidied:
    """Put a locked folder in order, on behalf of a save whose own files are left alone.

    `manifest_number`: of that save's new file for a manifest that has to be mended. `kept`: files that stay.
    """
    records = [record for record in read_records(saving.folder) if record.token != saving.token]
    alive = {record.token for record in records if record.is_alive()}
    dead = [_mended(record, saving, manifest_number) for record in records if record.token not in alive]
    busy = {file.name for record in records if record.token in alive for file in record.beside}
    busy |= {file.name for record in dead if _is_fresh(record, grace) for file in record.beside}
    spare = {file.name: file for record in dead for file in record.beside if file.name not in busy}
    mentioned = mentions(saving.folder, spare, dead) if spare else set()
    removed = {name: file for name, file in spare.items() if name not in mentioned and not _is_any(file, saving, kept)}
    _remove(saving.folder, removed.values(), dead)
    fresh = {file.name for record in dead if _is_fresh(record, grace) for file in record.beside}
    return Tidied(tuple(sorted(removed)), tuple(sorted(fresh - mentions(saving.folder, fresh, dead))) if fresh else ())


def _is_fresh(record: SaveRecord, grace: float) -> bool:
    return record.superseded is not None and abs(time.time() - record.superseded) < grace


def _is_any(file: OwnedFile, saving: UnfinishedSave, kept: Iterable[Path]) -> bool:
    """Tell whether it is one of the files that stay, by whatever name."""
    path = saving.folder / file.name
    for other in kept:
        with suppress(OSError, ValueError):
            if path.samefile(other):
                return True
    return False


def _mended(record: SaveRecord, saving: UnfinishedSave, number: int) -> SaveRecord:
    """Finish a save that died between its model and the manifest."""
    if not record.waits_for_manifest or record.ready is None:
        return record
    with suppress(OSError, OutputError):
        manifest.enter(saving, number, saving.folder / record.target, record.ready.entry)
        record.mark_done()
        return replace(record, is_done=True)
    return record


def _remove(folder: Path, files: Iterable[OwnedFile], dead: list[SaveRecord]) -> None:
    files = list(files)
    new = [path for record in dead for path in record.new_files if path.exists()]
    if files or new:
        # The model that refers to others must last before theirs go.
        sync_folder(folder)
        for path in (*(folder / file.name for file in files), *new):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        sync_folder(folder)
    for record in _needless(dead):
        with suppress(OSError):
            record.path.unlink(missing_ok=True)


def _needless(dead: list[SaveRecord]) -> Iterator[SaveRecord]:
    """Yield records that tell of no file any more, or of none that another does not tell of."""
    told: set[str] = set()
    # Those with the latest mark first, since a mark must not be lost.
    for record in sorted(dead, key=lambda record: -(record.superseded or 0.0)):
        names = {file.name for file in record.beside}
        if any(path.exists() for path in record.new_files):
            continue
        if names <= told and not record.waits_for_manifest:
            yield record
        told |= names


def mentions(folder: Path, names: Collection[str], records: Iterable[SaveRecord] = ()) -> set[str]:
    """Return the names that some model in the folder holds; all of them where one cannot be read.

    Of `m.onnx.<id>.data` and the like the id is looked for, with the dots beside it.
    """
    found: set[str] = set()
    for path in _models(folder, set(_no_models(records))):
        left = set(names) - found
        if not left:
            break
        found |= mentioned_in(path, left)
    return found


def mentioned_in(model: Path, names: Collection[str]) -> set[str]:
    """Return the names that one file holds, if it may be a model; all of them where it cannot be read."""
    wanted = {name: _needle(name) for name in names}
    if not wanted:
        return set()
    try:
        held = _search(model, set(wanted.values()))
    except OSError:
        return set(names)
    return {name for name, needle in wanted.items() if needle in held}


def _no_models(records: Iterable[SaveRecord]) -> Iterator[str]:
    """Data files, and what dead saves left unfinished."""
    for record in records:
        yield from (file.name for file in record.beside)
        yield from (path.name for path in record.new_files)


def _needle(name: str) -> bytes:
    """Return the part of a name that no other save's files share, with its target before it."""
    parts = name.split(".")
    ids = [at for at, part in enumerate(parts) if len(part) == 16 and set(part) <= set("0123456789abcdef")]
    last = max(ids, default=len(parts) - 1)
    return ".".join(parts[: last + 1]).encode()


def _models(folder: Path, others: Collection[str]) -> Iterator[Path]:
    """Yield the files in a folder that may be models."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name not in others)
    for name in names:
        path = folder / name
        with suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAX_MODEL_BYTES:
                yield path


def _search(path: Path, needles: Collection[bytes]) -> set[bytes]:
    """Return those of the needles that an ONNX file holds."""
    found: set[bytes] = set()
    overlap = max(map(len, needles)) - 1
    try:
        with open(path, "rb", buffering=0) as file:
            block = file.read(_READ_BYTES)
            if not block.startswith(_FIRST_BYTE):
                return found
            while block:
                found |= {needle for needle in needles if needle in block}
                more = file.read(_READ_BYTES)
                block = block[-overlap:] + more if more else b""
    except FileNotFoundError:
        pass
    return found
