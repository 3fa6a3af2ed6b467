"""A folder of models as a whole: is it what its manifest says, write the manifest anew, remove what nothing refers to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.saving import manifest
from hugectr2onnx.backend.saving.folder_lock import folder_lock
from hugectr2onnx.backend.saving.key_file import KEYS_METADATA
from hugectr2onnx.backend.saving.layout import content_id
from hugectr2onnx.backend.saving.manifest import FileRecord
from hugectr2onnx.backend.saving.save_record import OwnedFile, Ready, read_records
from hugectr2onnx.backend.saving.tidy import GRACE, Tidied, tidy
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave
from hugectr2onnx.backend.saving.writable import output_errors
from hugectr2onnx.errors import FeedError, OutputError
from hugectr2onnx.tables.regular_file import open_regular, path_text, shown


@dataclass(frozen=True)
class FolderReport:
    """A folder beside its manifest. `problems`: a sentence each; none where every model is as its entry says."""

    folder: str
    models: tuple[str, ...] = ()
    """Models of ours, by file name."""
    files: tuple[FileRecord, ...] = ()
    """What belongs to them, with sizes and SHA-256 as they are."""
    problems: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())
    """Data of replaced models, which the next save removes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def tidy_folder(folder: str | os.PathLike[str], *, grace: float = GRACE) -> Tidied:
    """Do what every save begins with: remove what dead saves left, and data replaced more than `grace` seconds ago."""
    path = _folder(folder)
    if not read_records(path):
        return Tidied()
    with output_errors(path), folder_lock(path), UnfinishedSave(path / manifest.MANIFEST_NAME, 1) as saving:
        return tidy(saving, 0, grace=grace)


def clean_folder(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Remove at once what dead saves left in a folder, and the data of replaced models; returns the names.

    Only files that the records of this user's saves list, that are as they were written, and that no model in the folder
    refers to. A program that has such a file open keeps it; one that is about to open the data of a model that was replaced
    within the last minute fails. Raises OutputError.
    """
    return tidy_folder(folder, grace=0.0).removed


def verify_manifest(folder: str | os.PathLike[str]) -> FolderReport:
    """Compare the models of a folder, and all that they refer to, with the manifest: sizes and SHA-256.

    Raises OutputError for a folder that cannot be read.
    """
    path = _folder(folder)
    stated, models = manifest.entries(path), _models(path)
    records: list[FileRecord] = []
    problems: list[str] = []
    for model in models:
        try:
            found = list(_records(path, model))
        except FeedError as error:
            problems.append(str(error))
            continue
        records += found
        if model in stated:
            problems += _differences(model, stated[model], found)
    missing = sorted(stated.keys() - set(models))
    problems += [f"{shown(name)}: is in the manifest and not in the folder" for name in missing]
    with_data = {record.name for record in records} - set(models)
    problems += [
        f"{shown(model)}: has files beside it and no entry in the manifest"
        for model in models
        if model not in stated and any(name.startswith(f"{model}.") for name in with_data)
    ]
    owned = {file.name for record in read_records(path) for file in record.beside}
    return FolderReport(str(path), tuple(models), tuple(records), tuple(problems), tuple(sorted(owned - with_data)))


def rebuild_manifest(folder: str | os.PathLike[str]) -> FolderReport:
    """Write the entries of all models of ours in a folder anew, from the models and from what our records know of them.

    Files that a model refers to, and whose names are those of their content, become ours again where a record was lost: a
    later save removes them when nothing refers to them. What was made of which sources is known from records only. Raises
    OutputError.
    """
    path = _folder(folder)
    stated = manifest.entries(path)
    with output_errors(path), folder_lock(path), UnfinishedSave(path / manifest.MANIFEST_NAME, 1) as saving:
        tidy(saving, 0)
        known = {record.target: record.ready for record in read_records(path) if record.ready and record.is_current}
        models = _models(path)
        for model in models:
            with suppress(FeedError):
                records = list(_records(path, model))
                entry = _entry(path, model, records, known.get(model), stated.get(model, {}))
                manifest.enter(saving, 0, path / model, entry)
                _adopt(path, model, records)
        for gone in stated.keys() - set(models):
            manifest.enter(saving, 0, path / gone, None)
    return verify_manifest(path)


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(os.path.realpath(path_text(folder, OutputError, "a folder")))
    if not os.path.isdir(path):
        raise OutputError(f"{shown(folder)}: is not a folder: give the folder that holds the models")
    return path


def _models(folder: Path) -> list[str]:
    """Return the model files of ours in a folder."""
    from hugectr2onnx.backend.onnx.onnx_file import begins_as_own_model

    found = []
    with output_errors(folder):
        names = sorted(os.listdir(folder))
    for name in names:
        with suppress(OutputError), open_regular(folder / name, OutputError) as file:
            if not name.startswith(".hugectr2onnx-") and begins_as_own_model(file.read(64)):
                found.append(name)
    return found


def _records(folder: Path, model: str) -> Iterator[FileRecord]:
    """Yield a model and the files that it refers to, as they are: data files, the model, key maps. Raises FeedError."""
    from hugectr2onnx.backend.onnx.onnx_file import external_tensors, read_model

    message = read_model(folder / model)
    data = sorted({place.path.name for place in external_tensors(message, folder / model).values()})
    maps = sorted(entry.value for entry in message.metadata_props if entry.key.startswith(KEYS_METADATA))
    for name in (*data, model, *maps):
        if Path(name).name != name:
            raise FeedError(f"{shown(model)}: refers to {shown(name)}, outside of its folder")
        with open_regular(folder / name, FeedError, f"a file of {shown(model)}") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            yield FileRecord(name, os.fstat(file.fileno()).st_size, checksum)


def _differences(model: str, entry: Mapping[str, Any], found: list[FileRecord]) -> Iterator[str]:
    listed = entry.get("files")
    files = [file for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    stated = {str(file.get("name")): file for file in files}
    for record in found:
        file = stated.pop(record.name, None)
        if file is None:
            yield f"{shown(record.name)}: belongs to {shown(model)} and is not in its entry"
        elif file.get("bytes") != record.bytes:
            yield f"{shown(record.name)}: has {record.bytes:,} bytes, the manifest says {shown(file.get('bytes'))}"
        elif file.get("sha256") != record.sha256:
            yield f"{shown(record.name)}: has another SHA-256 than the manifest says"
    for name in stated:
        yield f"{shown(name)}: is in the entry of {shown(model)}, which does not refer to it"


def _entry(
    folder: Path, model: str, found: list[FileRecord], ready: Ready | None, stated: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the save's record says beside the files; else the old entry if it is of this model; else the model alone."""
    from hugectr2onnx.backend.onnx.onnx_file import read_model

    files = [asdict(record) for record in found]
    if ready is not None and ready.entry is not None:
        return {**ready.entry, "files": files}
    own = next(record for record in found if record.name == model)
    listed = stated.get("files")
    if isinstance(listed, list) and asdict(own) in listed:
        return {**stated, "files": files}
    return {"files": files, "metadata": {e.key: e.value for e in read_model(folder / model).metadata_props}}


def _adopt(folder: Path, model: str, found: list[FileRecord]) -> None:
    """Make a record for the files beside a model that none lists, where their names prove that we wrote them."""
    owned = {file for record in read_records(folder) for file in record.beside}
    beside = [record for record in found if record.name != model]
    lost = [file for record in beside if (file := OwnedFile.of(folder / record.name)) not in owned]
    suffixes = [record.name.removeprefix(f"{model}.")[16:] for record in beside]
    own_id = content_id((suffix, record.bytes, record.sha256) for suffix, record in zip(suffixes, beside, strict=True))
    if not lost or not all(
        record.name == f"{model}.{own_id}{suffix}" for record, suffix in zip(beside, suffixes, strict=True)
    ):
        return
    with UnfinishedSave(folder / model, 0) as saving:
        saving.append(Ready(OwnedFile.of(folder / model), tuple(lost)))
        saving.keeps_record = True
