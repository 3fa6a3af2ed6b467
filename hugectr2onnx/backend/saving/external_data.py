"""A model on disk with everything that belongs to it: all of its files are replaced together, or none is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hugectr2onnx.backend.onnx.artifact import PROTOBUF_LIMIT, Artifact, Blob
from hugectr2onnx.backend.saving import stale_temporaries
from hugectr2onnx.backend.saving.atomic import atomic_files, writable_path
from hugectr2onnx.backend.saving.key_file import KeyFile, own_maps
from hugectr2onnx.backend.saving.layout import Layout, own_data_files
from hugectr2onnx.backend.saving.manifest import FileRecord, Manifest
from hugectr2onnx.backend.saving.model_file import ModelFile
from hugectr2onnx.backend.saving.overwrite_guard import require_apart, require_own
from hugectr2onnx.backend.saving.truncation import require_intact
from hugectr2onnx.errors import OutputError

Written = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes in all."""


def save(
    artifact: Artifact,
    path: str | os.PathLike[str],
    *,
    threshold: int = 1 << 20,
    limit: int = PROTOBUF_LIMIT - (1 << 16),
    message: int = PROTOBUF_LIMIT - (1 << 16),
    shard_size: int | None = None,
    checksums: bool | None = None,
    progress: Written | None = None,
    key_files: Sequence[KeyFile] = (),
    facts: Callable[[], Mapping[str, Any]] | None = None,
    sources: Collection[Path] = (),
) -> tuple[FileRecord, ...]:
    """Write the model, whole or not at all: the same artifact gives the same bytes. Returns what was written.

    A model of at most `limit` bytes becomes one file. Otherwise every tensor above `threshold` bytes goes to
    `<name>.data` in the same folder, at offsets that are multiples of 4096, in the model's order; with `shard_size` to
    `<name>.data-00001-of-00003` and so on, each of that size unless one tensor alone is larger. Payloads are streamed
    from their memory maps; what stays in the model file has `message` bytes at most. `key_files` go beside it.

    `checksums`: whether the records have them, by default those of several files do. With `facts`, what a manifest says
    beside the files, they are entered in one; else the entry of an older model goes. `sources`: files that may not be touched.
    OutputError names the path and says what to do, WeightsError that a source has become shorter; an existing model is then
    left as it was, with all its files.
    """
    if shard_size is not None and shard_size < 1:
        raise OutputError(f"shard_size is {shard_size}; it is the bytes of a data file and must be at least 1.")
    target = writable_path(path)
    require_apart([target], sources)
    stale_temporaries.clear(target)
    layout = Layout.of(artifact, target, threshold, limit, shard_size)
    layout.require_message(message)
    hashed = bool(layout.shards) if checksums is None else checksums
    model = _SavedModel.plan(layout, tuple(key_files), Manifest.of(target, enters=hashed and facts is not None))
    model.check(artifact, sources)
    known = facts() if hashed and facts is not None else None
    with ExitStack() as turn, atomic_files(*model.beside, target, index=model.manifest.path) as files:
        records = model.write(artifact, files, _Progress(progress, model.size), hashed=hashed)
        # From reading the manifest until the new one stands: an entry that came in between would be lost.
        turn.enter_context(stale_temporaries.alone_in(target.parent))
        model.enter(files[-1], records, known)
    # After the new model stands, nothing refers to them: a crash before this line leaves files too many, no more.
    for old in model.stale:
        old.unlink(missing_ok=True)
    return records


@dataclass(frozen=True, eq=False)
class _SavedModel:
    """The files that a save writes, and those of the model before it that it removes (`stale`)."""

    layout: Layout
    key_files: tuple[KeyFile, ...]
    manifest: Manifest
    stale: frozenset[Path]

    @classmethod
    def plan(cls, layout: Layout, key_files: tuple[KeyFile, ...], manifest: Manifest) -> _SavedModel:
        target = layout.target
        old = {*own_data_files(target), *manifest.emptied, *(own_maps(target) if target.exists() else ())}
        kept = {*(shard.path for shard in layout.shards), *(each.path(target) for each in key_files)}
        return cls(layout, key_files, manifest, frozenset(old - kept))

    @property
    def beside(self) -> list[Path]:
        """Data files, then key maps."""
        maps = [each.path(self.layout.target) for each in self.key_files]
        return [*(shard.path for shard in self.layout.shards), *maps]

    @property
    def size(self) -> int:
        """The bytes of all files but the manifest, at most."""
        return self.layout.size + sum(each.size for each in self.key_files)

    def check(self, artifact: Artifact, sources: Collection[Path]) -> None:
        """Everything that can be known before the first byte is written."""
        index = [self.manifest.path] if self.manifest.path is not None else []
        require_apart([*self.beside, *index, *self.stale], sources)
        require_own(self.layout.target, self.beside)
        require_intact(artifact, (each.keys for each in self.key_files))
        _require_space(self.layout.target, self.size)

    def write(
        self, artifact: Artifact, files: Sequence[BinaryIO], progress: _Progress, *, hashed: bool
    ) -> tuple[FileRecord, ...]:
        """Fill the files of `beside` and the model file, in this order; records of data files, model, key maps."""
        with ExitStack() as opened:
            written = [
                opened.enter_context(ModelFile(file, progress, hashed=hashed)) for file in files[: len(self.beside) + 1]
            ]
            self._fill(artifact, written)
            progress.finish()
            paths = [*self.beside, self.layout.target]
            records = [file.record(path.name) for file, path in zip(written, paths, strict=True)]
        shards = len(self.layout.shards)
        return (*records[:shards], records[-1], *records[shards:-1])

    def enter(self, index: BinaryIO, records: Sequence[FileRecord], known: Mapping[str, Any] | None) -> None:
        """Fill the new manifest, where there is one: with the model's entry, or without it where nothing is `known`."""
        if self.manifest.path is not None:
            entry = None if known is None else {"files": [asdict(record) for record in records], **known}
            index.write(self.manifest.text(entry))

    def _fill(self, artifact: Artifact, written: Sequence[ModelFile]) -> None:
        shards, maps, model = written[: len(self.layout.shards)], written[len(self.layout.shards) : -1], written[-1]
        for shard, file in zip(self.layout.shards, shards, strict=True):
            file.reserve(shard.size)
            for name, offset in shard.offsets.items():
                file.write(bytes(offset - file.size))
                file.write_blob(self.layout.large[name])
        for keys, file in zip(self.key_files, maps, strict=True):
            file.reserve(keys.size)
            for chunk in keys.pieces():
                file.write(chunk)
        for piece in artifact.pieces(self.layout.located(artifact)):
            _append(model, piece)


def _append(file: ModelFile, piece: bytes | Blob) -> None:
    file.write_blob(piece) if isinstance(piece, Blob) else file.write(piece)


class _Progress:
    """Adds up what all files of a model have written."""

    def __init__(self, report: Written | None, total: int):
        self._report, self._total, self._done = report, total, 0

    def __call__(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._report is not None:
            self._report(self._done, self._total)

    def finish(self) -> None:
        self(self._total)


def _require_space(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return
    if needed > free:
        raise OutputError(
            f"Cannot write {target}: the model needs {needed:,} bytes and the disk has {free:,} left. "
            "Free space there, or choose another disk."
        )
