"""`manifest.json` beside a model: its files with sizes and SHA-256, what it was made of, how, and how it was proven.

One file serves all models of a folder. It names no time, host or folder, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.errors import OutputError

NAME = "manifest.json"
FORMAT = "hugectr2onnx manifest 1"
LARGEST = 64 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file of a model."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What becomes of a folder's manifests when a model is saved.

    `path` is the one to write, None where nothing changes; those in `emptied` go when the new model stands. Entries of other
    models stay. A manifest.json that is not ours is left alone, and `<model>.manifest.json` takes its place.
    """

    model: Path
    path: Path | None
    emptied: tuple[Path, ...]

    @staticmethod
    def of(model: Path, *, enters: bool) -> Manifest:
        """The manifests with an entry of the model, or without one. Raises OutputError where an entry can go nowhere."""
        places = _places(model)
        if enters:
            own = [path for path in places if _models(path) is not None]
            if not own:
                raise OutputError(
                    f"Cannot write {places[-1]}: it is there already and not ours. Move it, or save without."
                )
            return Manifest(model, own[0], tuple(path for path in own[1:] if model.name in (_models(path) or {})))
        holding = {path: found for path in places if model.name in (found := _models_if_any(path))}
        shared = [path for path, found in holding.items() if len(found) > 1]
        return Manifest(model, shared[0] if shared else None, tuple(path for path in holding if path not in shared[:1]))

    def text(self, entry: Mapping[str, Any] | None) -> bytes:
        """What the manifest says with this entry of the model, or with none; as the folder is now."""
        assert self.path is not None
        models = _models(self.path) or {}
        models.pop(self.model.name, None)
        if entry is not None:
            models[self.model.name] = dict(entry)
        text = json.dumps({"format": FORMAT, "models": dict(sorted(models.items()))}, indent=2, default=str)
        return f"{text}\n".encode()


def listed(model: Path) -> set[Path]:
    """The files beside a model that its entry names, as long as each has the size that it says."""
    entries = [_models_if_any(path).get(model.name) for path in _places(model)]
    found = [file for entry in entries if isinstance(entry, dict) for file in _as_list(entry.get("files"))]
    named = {model.with_name(file["name"]): file.get("bytes") for file in found if _is_plain_name(file)}
    return {path for path, size in named.items() if path.is_file() and path.stat().st_size == size}


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_plain_name(file: object) -> bool:
    name = file.get("name") if isinstance(file, dict) else None
    return isinstance(name, str) and bool(name) and Path(name).name == name and "\0" not in name


def _places(model: Path) -> tuple[Path, Path]:
    return model.with_name(NAME), model.with_name(f"{model.name}.{NAME}")


def _models_if_any(path: Path) -> dict[str, Any]:
    try:
        return _models(path) or {}
    except OutputError:
        return {}


def _models(path: Path) -> dict[str, Any] | None:
    """The entries of a manifest; none where there is no file, None where it is not ours."""
    try:
        if not path.exists():
            return {}
        if path.stat().st_size > LARGEST:
            return None
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OutputError(f"Cannot read {path}: {error.strerror or error}. Check its permissions.") from error
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("models"), dict):
        return None
    return dict(content["models"])
