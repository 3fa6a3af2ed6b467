"""The commit of a save: new files get their names, the model file last, and the manifest follows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.saving import layout
from hugectr2onnx.backend.saving.manifest import FileRecord, Manifest
from hugectr2onnx.backend.saving.save_record import OwnedFile, Ready, SaveRecord, read_records
from hugectr2onnx.backend.saving.tidy import mentioned_in
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, sync_folder
from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import shown

_COMPARED_BYTES = 1 << 22


@dataclass(frozen=True)
class NewFile:
    """A file beside the model, complete on the disk under its first name."""

    number: int
    suffix: str
    size: int
    checksum: str


class Commit:
    """Files beside a model, data files (`shards` of them) before key maps, on their way to their names.

    `shared` are files of an earlier model that this one refers to.

    A name is free where there is no file, or one of the same content: that one stays as it is.
    """

    def __init__(
        self,
        unfinished: UnfinishedSave,
        files: Sequence[NewFile],
        shards: int,
        *,
        hashed: bool,
        shared: tuple[FileRecord, ...] = (),
    ):
        self.unfinished, self.files, self.shards, self.hashed = unfinished, tuple(files), shards, hashed
        self.shared = shared
        self.target, self.folder = unfinished.target, unfinished.folder
        self._compared: dict[Path, tuple[int, ...]] = {}
        self.content_id = self._free_id()

    def _free_id(self) -> str:
        described = [(file.suffix, file.size, file.checksum) for file in self.files]
        earlier, attempt = self._earlier(), 0
        while True:
            found = layout.content_id(described, attempt)
            places = [(file, layout.beside(self.target, found, file.suffix)) for file in self.files]
            if all(not os.path.lexists(path) or self._is_same(file, path, earlier) for file, path in places):
                return found
            attempt += 1

    def _earlier(self) -> set[OwnedFile]:
        """Return files of earlier saves in the folder, as they were written."""
        return {file for record in self._other_records() for file in record.beside}

    def _other_records(self) -> list[SaveRecord]:
        return [record for record in read_records(self.folder) if record.token != self.unfinished.token]

    def _is_same(self, file: NewFile, path: Path, earlier: set[OwnedFile]) -> bool:
        """Tell whether a file that has the name of a new one has its content too."""
        try:
            owned, status = OwnedFile.of(path), path.lstat()
            if owned.bytes != file.size or not os.path.isfile(path) or os.path.islink(path):
                return False
            if self.hashed and owned in earlier:  # its name is the checksum of what was written there
                return True
            seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._compared.get(path) != seen and not _have_same_bytes(path, self.unfinished.path(file.number)):
                return False
            self._compared[path] = seen
            return True
        except OSError:
            return False

    def run(self, model: FileRecord, model_number: int, known: Mapping[str, Any] | None) -> tuple[FileRecord, ...]:
        """Commit, in a locked folder. `known`: what a manifest says of the model beside its files.

        Returns the records of shared files, data files, model, key maps. Raises OSError and OutputError; before the
        model's own rename nothing has changed then.
        """
        told = self._told(model)
        entry = None if known is None else {"files": [asdict(record) for record in told], **known}
        manifest = Manifest.of(self.target, enters=entry is not None)
        if manifest.path is not None:
            self.unfinished.write_new(model_number + 1, manifest.text(entry))
        earlier = self._earlier()
        places = {file: layout.beside(self.target, self.content_id, file.suffix) for file in self.files}
        new = {file: path for file, path in places.items() if not self._stands(file, path, earlier)}
        owned = tuple(self._owned(places, new, earlier))
        self._mark_superseded({path.name for path in places.values()} | {record.name for record in self.shared})
        model_file = OwnedFile.of(self.unfinished.path(model_number), self.target.name)
        self.unfinished.append(Ready(model_file, owned, manifest.changes, entry))
        self._rename(new, model_number)
        self._finish(manifest, model_number + 1)
        self.unfinished.keeps_record = bool(owned)
        return told

    def _told(self, model: FileRecord) -> tuple[FileRecord, ...]:
        records = [
            FileRecord(
                layout.beside(self.target, self.content_id, file.suffix).name,
                file.size,
                file.checksum if self.hashed else "",
            )
            for file in self.files
        ]
        return (*self.shared, *records[: self.shards], model, *records[self.shards :])

    def _stands(self, file: NewFile, path: Path, earlier: set[OwnedFile]) -> bool:
        if not os.path.lexists(path):
            return False
        if not self._is_same(file, path, earlier):
            raise OutputError(
                f"cannot write {shown(path)}: another program has just made a file of this name; save again"
            )
        return True

    def _owned(
        self, places: Mapping[NewFile, Path], new: Mapping[NewFile, Path], earlier: set[OwnedFile]
    ) -> Iterator[OwnedFile]:
        """Yield the files beside the model that are ours to remove one day: new ones, and those of earlier saves."""
        for file, path in places.items():
            if file in new:
                yield OwnedFile.of(self.unfinished.path(file.number), path.name)
            elif (found := OwnedFile.of(path)) in earlier:
                yield found

    def _mark_superseded(self, own: set[str]) -> None:
        """Give readers of the model that stands here now the time to open its data."""
        records = [record for record in self._other_records() if record.target == self.target.name]
        others = {file.name for record in records for file in record.beside} - own
        mentioned = mentioned_in(self.target, others)
        for record in records:
            if any(file.name in mentioned for file in record.beside):
                record.mark_superseded()

    def _rename(self, new: Mapping[NewFile, Path], model_number: int) -> None:
        """Rename the data files, then the model, which is the commit. Where it fails, what was renamed before goes again."""
        new_model = self.unfinished.path(model_number)
        self.unfinished.keeps_record = True
        try:
            for file, path in new.items():
                os.replace(self.unfinished.path(file.number), path)
            sync_folder(self.folder)
            os.replace(new_model, self.target)
        except BaseException:
            if new_model.exists():
                self._take_back(new)
            raise
        with suppress(OSError):  # the new model stands; if the disk fails now, it may be the old one again
            sync_folder(self.folder)

    def _take_back(self, new: Mapping[NewFile, Path]) -> None:
        for file, path in new.items():
            if not self.unfinished.path(file.number).exists():
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        self.unfinished.keeps_record = any(path.exists() for path in new.values())

    def _finish(self, manifest: Manifest, number: int) -> None:
        try:
            if manifest.path is not None:
                os.replace(self.unfinished.path(number), manifest.path)
            for path in manifest.emptied:
                path.unlink(missing_ok=True)
            if manifest.changes:
                sync_folder(self.folder)
        except OSError as error:
            raise OutputError(
                f"the model {shown(self.target)} is complete, but its manifest could not be written: "
                f"{error.strerror or error}; run `hugectr2onnx manifest {shown(self.folder)} --rebuild`"
            ) from error
        with suppress(OSError):  # who finds the line missing looks whether the writer lives, and at the manifest
            self.unfinished.mark_done()


def _have_same_bytes(one: Path, other: Path) -> bool:
    with open(one, "rb", buffering=0) as left, open(other, "rb", buffering=0) as right:
        while True:
            first, second = left.read(_COMPARED_BYTES), right.read(_COMPARED_BYTES)
            if first != second:
                return False
            if not first:
                return True
