"""`export_split`: a trained model as a dense part in a folder and rows in a store, a new version each time."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.onnx.onnx_file import EXPORTED_NAME
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import OptionError, StoreError
from hugectr2onnx.options import Options, Progress
from hugectr2onnx.stores.file_store import keep_record
from hugectr2onnx.stores.record import VersionRecord, check_version_name
from hugectr2onnx.stores.split_folder import DEFAULT_PREFIX, StoreAddress, addresses_of, keep_address
from hugectr2onnx.stores.split_model import SplitModel, split_model
from hugectr2onnx.stores.store import RowStore, check_switch, next_version
from hugectr2onnx.stores.version_folder import VersionFolder


@dataclass(frozen=True)
class ExportedTable:
    """A table in the store; `bytes` are those of its rows, keys left out."""

    name: str
    rows: int
    width: int
    bytes: int


@dataclass(frozen=True)
class SplitExport:
    """The result of an export; `current`: whether readers take it now."""

    folder: str
    version: str
    current: bool
    tables: tuple[ExportedTable, ...]
    dense_bytes: int
    seconds: float
    removed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same, ready for JSON."""
        return asdict(self)


def export_split(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    folder: str | os.PathLike[str],
    *,
    store: str = "parquet",
    addresses: str | Sequence[str] = (),
    prefix: str = DEFAULT_PREFIX,
    version: str | None = None,
    switch: bool = True,
    keep_versions: int | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> SplitExport:
    """Write a new version of a split model: its dense part to a folder, its rows to a store.

    graph, weights, options: as `compile` takes them. store: "parquet" or "rocksdb" (in the folder), or "redis" at
    `addresses` (HOST:PORT, one that answers is enough) under a prefix. version: by default the next number. Readers take the
    new version, in one step, when all of it is in place (not with switch=False): what fails leaves them the old one.
    keep_versions: so many of the newest stay, the current one among them, and the others are removed; None removes nothing.

    Rows are streamed: no table is held in memory. Raises HugeCTR2ONNXError: StoreError where the store does not do as told.
    """
    started = time.monotonic()
    if keep_versions is not None and keep_versions < 1:
        raise OptionError(f"keep_versions is {keep_versions}; one version stays at least", option="keep_versions")
    address = StoreAddress(store, addresses_of(addresses), prefix)
    versions = VersionFolder(folder)
    opened = address.open(versions)
    try:
        name = check_version_name(version) if version is not None else _free_version(opened, versions)
        split = split_model(graph, weights, options, progress=progress)
        if progress is not None:
            progress("write", 0.7)
        versions.prepare()
        keep_address(versions, address)
        record, dense_bytes = _write(split, opened, versions, name)
        if switch:
            opened.switch(name)
        removed = remove_old(opened, versions, keep_versions) if keep_versions is not None else ()
    finally:
        opened.close()
    if progress is not None:
        progress("done", 1.0)
    tables = tuple(ExportedTable(t.name, t.rows, t.width, t.rows * t.row_bytes) for t in record.tables)
    seconds = time.monotonic() - started
    return SplitExport(str(versions.path), name, switch, tables, dense_bytes, seconds, removed, split.warnings)


def _free_version(store: RowStore, folder: VersionFolder) -> str:
    taken = {*store.versions(), *folder.versions()}
    return next(name for name in next_version(sorted(taken)) if name not in taken)


def _write(split: SplitModel, store: RowStore, folder: VersionFolder, version: str) -> tuple[VersionRecord, int]:
    """Return the record, and the bytes of the dense part."""
    with folder.writing(version) as place:
        save(split.artifact, place / EXPORTED_NAME, sources=split.sources)
        with open(place / EXPORTED_NAME, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        dense_bytes = sum(path.stat().st_size for path in place.iterdir() if path.name.startswith(EXPORTED_NAME))
        with store.writing(version, place) as writer:
            for table in split.tables:
                writer.write(table)
            record = replace(split.record, version=version, model_sha256=checksum, store=writer.facts())
            writer.finish(record)
        keep_record(Path(place), record)
    return record, dense_bytes


def remove_old(store: RowStore, folder: VersionFolder, kept: int) -> tuple[str, ...]:
    """Remove all versions but so many of the newest and the current one; returns their names."""
    old = [version for version in store.versions()[:-kept] if version != store.current()]
    for version in old:
        remove_version(store, folder, version)
    return tuple(old)


def switch_version(store: RowStore, folder: VersionFolder, version: str) -> None:
    """Make a version the current one. Raises StoreError where its rows are not in the store, or its dense part not here."""
    check_switch(store, version)
    if version not in folder.versions():
        raise StoreError(
            f"the store has version {version}, and {folder.path} has no dense part of it: bring the folder up to date, or "
            "remove the version"
        )
    store.switch(version)


def remove_version(store: RowStore, folder: VersionFolder, version: str) -> None:
    """Remove the rows of a version, and its dense part. Raises StoreError for the current one."""
    store.remove(version)
    if version in folder.versions():
        folder.remove(version)
