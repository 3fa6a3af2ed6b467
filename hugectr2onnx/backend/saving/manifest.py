"""`manifest.json` beside a model: its files with sizes and SHA-256, what it was made of, how, and how it was proven.

One file serves all models of a folder. It names no time, host or folder, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.saving.unfinished_save import UnfinishedSave, sync_folder
from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import read_regular, shown

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = "hugectr2onnx manifest 1"
MAX_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file of a model."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The changes that a save makes to a folder's manifests.

    `path` is the one to write, None where nothing changes; those in `emptied` go when the new model stands. Entries of other
    models stay. A manifest.json that is not ours is left alone, and `<model>.manifest.json` takes its place.
    """

    model: Path
    path: Path | None
    emptied: tuple[Path, ...]

    @staticmethod
    def of(model: Path, *, enters: bool) -> Manifest:
        """Return the manifests with an entry of the model, or without one. Raises OutputError where an entry can go nowhere."""
        places = _places(model)
        if enters:
            own = [path for path in places if _models(path) is not None]
            if not own:
                raise OutputError(
                    f"cannot write {shown(places[-1])}: it is there already and not ours; move it, or save without a manifest"
                )
            return Manifest(model, own[0], tuple(path for path in own[1:] if model.name in (_models(path) or {})))
        holding = {path: found for path in places if model.name in (found := _models_if_any(path))}
        shared = [path for path, found in holding.items() if len(found) > 1]
        return Manifest(model, shared[0] if shared else None, tuple(path for path in holding if path not in shared[:1]))

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.path is not None or bool(self.emptied)

    def text(self, entry: Mapping[str, Any] | None) -> bytes:
        """Tell what the manifest says with this entry of the model, or with none; as the folder is now."""
        assert self.path is not None
        models = _models(self.path) or {}
        models.pop(self.model.name, None)
        if entry is not None:
            models[self.model.name] = dict(entry)
        text = json.dumps({"format": MANIFEST_FORMAT, "models": dict(sorted(models.items()))}, indent=2, default=str)
        return f"{text}\n".encode()


def enter(saving: UnfinishedSave, number: int, model: Path, entry: Mapping[str, Any] | None) -> None:
    """Change the manifests of a locked folder: the model gets an entry, or loses the one that it had where it is None.

    `number`: of the new file of the save that becomes the manifest.
    """
    changed = Manifest.of(model, enters=entry is not None)
    if changed.path is not None:
        content = changed.text(entry)
        os.replace(saving.write_new(number, content), changed.path)
    for path in changed.emptied:
        path.unlink(missing_ok=True)
    sync_folder(saving.folder)


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of all manifests of ours in a folder, by model."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*{MANIFEST_NAME}")):
        if path.name == MANIFEST_NAME or path.name.endswith(f".{MANIFEST_NAME}"):
            found |= {name: entry for name, entry in _models_if_any(path).items() if isinstance(entry, dict)}
    return found


def _places(model: Path) -> tuple[Path, Path]:
    return model.with_name(MANIFEST_NAME), model.with_name(f"{model.name}.{MANIFEST_NAME}")


def _models_if_any(path: Path) -> dict[str, Any]:
    try:
        return _models(path) or {}
    except OutputError:
        return {}


def _models(path: Path) -> dict[str, Any] | None:
    """Return the entries of a manifest; none where there is no file, None where it is not ours."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > MAX_MANIFEST_BYTES:
            return None
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputError(f"cannot read {shown(path)}: {error.strerror or error}; check its permissions") from error
    try:
        content = json.loads(
            read_regular(path, OutputError, "a manifest", max_bytes=MAX_MANIFEST_BYTES).decode("utf-8")
        )
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(content, dict)
        or content.get("format") != MANIFEST_FORMAT
        or not isinstance(content.get("models"), dict)
    ):
        return None
    return dict(content["models"])
