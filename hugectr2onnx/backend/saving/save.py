"""Save a model: one rename of the model file is the commit, and what it refers to is never written again.

Data files and key maps are written first, under names that depend on their content. When they are complete on the disk, the
model file is; then it takes its place, and the manifest is derived from what stands there. A record (`save_record`) says which
files are ours, so that a later save removes what a crash left (`tidy`). docs/decisions/008 says what is promised.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.onnx import PROTOBUF_LIMIT
from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.onnx_file import begins_as_own_model
from hugectr2onnx.backend.saving.commit import Commit, NewFile
from hugectr2onnx.backend.saving.folder_lock import folder_lock
from hugectr2onnx.backend.saving.key_file import KEYS_METADATA, KeyFile
from hugectr2onnx.backend.saving.layout import Layout, Shard, beside, with_tables_outside
from hugectr2onnx.backend.saving.manifest import FileRecord, Manifest
from hugectr2onnx.backend.saving.model_file import Checksum, ModelFile
from hugectr2onnx.backend.saving.overwrite_guard import refuse_foreign_file, refuse_sources
from hugectr2onnx.backend.saving.standing import require_standing, standing_tensors
from hugectr2onnx.backend.saving.tidy import tidy
from hugectr2onnx.backend.saving.truncation import check_not_truncated
from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, finish
from hugectr2onnx.backend.saving.writable import output_errors, writable_path
from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import shown

Written = Callable[[int], None]
"""Called with the bytes written since the last call."""
Progress = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes in all."""


def save(
    artifact: Artifact,
    path: str | os.PathLike[str],
    *,
    external: bool = False,
    threshold: int = 1 << 20,
    limit: int = PROTOBUF_LIMIT - (1 << 16),
    message: int = PROTOBUF_LIMIT - (1 << 16),
    shard_size: int | None = None,
    checksums: bool | None = None,
    progress: Progress | None = None,
    key_files: Sequence[KeyFile] = (),
    facts: Callable[[], Mapping[str, Any]] | None = None,
    sources: Collection[Path] = (),
    force: bool = False,
    earlier: str | os.PathLike[str] | None = None,
) -> tuple[FileRecord, ...]:
    """Write the model, whole or not at all: the same artifact gives the same bytes. Returns what was written.

    A model of at most `limit` bytes becomes one file. Otherwise every tensor above `threshold` bytes goes to
    `<name>.<id>.data` in the same folder, at offsets that are multiples of 4096, in the model's order; with `shard_size` to
    `<name>.<id>.data-00001-of-00003` and so on, each of that size unless one tensor alone is larger. The id depends on the
    content. `external`: at any size. Payloads are streamed from their memory maps; what stays in the model file has
    `message` bytes at most. `key_files` go to `<name>.<id>.<input>.keys`.

    `earlier`: a model of the same folder, whose tensors of the same name and bytes are referred to where they lie; its data
    files then stay for as long as a model refers to them.

    `checksums`: whether the records have them, by default those of several files do. With `facts`, what a manifest says
    beside the files, they are entered in one; else the entry of an older model goes. `sources`: files that may not be touched.
    OutputError names the path and says what to do, also where a file stands there that is no model of ours and `force` is not
    given; WeightsError says that a source has become shorter. An existing model is then as it was, with all its files.
    """
    if shard_size is not None and shard_size < 1:
        raise OutputError(f"shard_size is {shard_size}; it is the bytes of a data file and must be at least 1")
    if external or shard_size is not None:
        artifact, threshold, limit = with_tables_outside(artifact), 0, 0
    target = writable_path(path)
    refuse_sources([target], sources)
    standing = {} if earlier is None else standing_tensors(artifact, earlier, target.parent)
    layout = Layout.of(artifact, target, threshold, limit, shard_size, standing)
    layout.require_message(message)
    check_not_truncated(artifact, (each.keys for each in key_files))
    hashed = bool(layout.shards or standing) if checksums is None else checksums
    known = facts() if hashed and facts is not None else None
    saving = _Save(artifact, layout, tuple(key_files), hashed=hashed)
    return saving.run(known, sources, progress, force=force)


def save_privately(artifact: Artifact, folder: Path) -> Path:
    """Write a model with its tables beside it to a folder that nobody else uses; nothing is synced or recorded."""
    target, content_id = folder / "model.onnx", "0" * 16
    layout = Layout.of(artifact, target, 1 << 20, 0, None)
    with output_errors(target):
        for shard in layout.shards:
            path = beside(target, content_id, shard.suffix)
            with open(path, "x+b") as opened, ModelFile(opened.fileno(), path, Checksum.NONE) as file:
                _write_shard(file, shard, layout.large)
        with open(target, "x+b") as opened, ModelFile(opened.fileno(), target, Checksum.NONE) as file:
            for piece in artifact.pieces(layout.located(artifact, content_id)):
                file.append(piece)
    return target


class _Save:
    """One save: its new files are numbered, those beside the model first, then the model, then the manifest."""

    def __init__(self, artifact: Artifact, layout: Layout, key_files: tuple[KeyFile, ...], *, hashed: bool):
        self.artifact, self.layout, self.key_files = artifact, layout, key_files
        self.hashed, self.target = hashed, layout.target
        self.model_number = len(layout.shards) + len(key_files)
        self.unfinished = UnfinishedSave(self.target, self.model_number + 2)

    @property
    def manifest_number(self) -> int:
        return self.model_number + 1

    @property
    def size(self) -> int:
        """The bytes of all files but the manifest, at most."""
        return self.layout.size + sum(each.size for each in self.key_files)

    def run(
        self,
        known: Mapping[str, Any] | None,
        sources: Collection[Path],
        report: Progress | None,
        *,
        force: bool,
    ) -> tuple[FileRecord, ...]:
        """Write all files, then commit. The lock of the folder is held at the beginning and at the end."""
        progress = _Progress(report, self.size)
        with ExitStack() as ending, output_errors(self.target):
            with folder_lock(self.target.parent):
                refuse_foreign_file(self.target, begins_as_own_model, force=force)
                Manifest.of(self.target, enters=known is not None)
                ending.enter_context(self.unfinished)
                tidy(self.unfinished, self.manifest_number, kept=sources)
                _require_room(self.target, self.size)
            beside_model = self._write_beside(progress)
            shared = tuple(self._shared())
            commit = Commit(self.unfinished, beside_model, len(self.layout.shards), hashed=self.hashed, shared=shared)
            model = self._write_model(commit.content_id, progress)
            progress.finish()
            # Whoever holds the lock for so long can do no harm: at worst the manifest has to be built again.
            with folder_lock(self.target.parent, required=False):
                refuse_foreign_file(self.target, begins_as_own_model, force=force)
                require_standing(self.layout.standing)
                return commit.run(model, self.model_number, known)

    def _write_beside(self, progress: Written) -> list[NewFile]:
        """Data files, then key maps."""
        found = []
        for number, shard in enumerate(self.layout.shards):
            with self._new_file(number, self._checksum, progress) as file:
                _write_shard(file, shard, self.layout.large)
            found.append(NewFile(number, shard.suffix, file.size, file.checksum()))
        for number, keys in enumerate(self.key_files, len(self.layout.shards)):
            with self._new_file(number, self._checksum, progress) as file:
                file.reserve(keys.size)
                for chunk in keys.pieces():
                    file.append(chunk)
            found.append(NewFile(number, keys.suffix, file.size, file.checksum()))
        return found

    def _shared(self) -> Iterator[FileRecord]:
        """Yield the files of an earlier model that this one refers to."""
        for path in sorted({place.path for place in self.layout.standing.values()}):
            with open(path, "rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest() if self.hashed else ""
                yield FileRecord(path.name, os.fstat(file.fileno()).st_size, checksum)

    def _write_model(self, content_id: str, progress: Written) -> FileRecord:
        maps = {
            KEYS_METADATA + each.input: beside(self.target, content_id, each.suffix).name for each in self.key_files
        }
        checksum = Checksum.SHA256 if self.hashed else Checksum.NONE
        with self._new_file(self.model_number, checksum, progress) as file:
            for piece in self.artifact.pieces(self.layout.located(self.artifact, content_id), maps):
                file.append(piece)
        return FileRecord(self.target.name, file.size, file.checksum())

    @property
    def _checksum(self) -> Checksum:
        """A name needs a checksum of the content even where nobody wants to know it."""
        return Checksum.SHA256 if self.hashed else Checksum.CRC32

    @contextmanager
    def _new_file(self, number: int, checksum: Checksum, progress: Written) -> Iterator[ModelFile]:
        """Open a new file that is complete on the disk when the block ends well."""
        descriptor = self.unfinished.open_new(number)
        try:
            with ModelFile(descriptor, self.unfinished.path(number), checksum, progress) as file:
                yield file
                file.flush()
            finish(descriptor, self.target)
        finally:
            os.close(descriptor)


def _write_shard(file: ModelFile, shard: Shard, tensors: Mapping[str, Blob]) -> None:
    file.reserve(shard.size)
    for name, offset in shard.offsets.items():
        file.append(bytes(offset - file.size))
        file.append(tensors[name])


class _Progress:
    """Adds up what all files of a model have written."""

    def __init__(self, report: Progress | None, total: int):
        self._report, self._total, self._done = report, total, 0

    def __call__(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._report is not None:
            self._report(self._done, self._total)

    def finish(self) -> None:
        self(self._total)


def _require_room(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return
    if needed > free:
        raise OutputError(
            f"cannot write {shown(target)}: the model needs {needed:,} bytes and the disk has {free:,} left; free space "
            "there (`hugectr2onnx manifest FOLDER --clean` removes the data of replaced models), or choose another disk"
        )
