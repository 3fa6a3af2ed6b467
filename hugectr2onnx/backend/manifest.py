"""`manifest.json` beside a model: its files with sizes and SHA-256, what it was made of, how, and how it was proven.

One file serves all models of a folder. It names no time, host or folder, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.backend.atomic import atomic_files
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


def write_manifest(model: Path, files: Sequence[FileRecord], facts: Mapping[str, Any]) -> Path:
    """Enter a model; entries of other models in the folder stay. Returns the manifest's path.

    A manifest.json that is not ours is left alone and `<model>.manifest.json` is written instead.
    """
    path = model.with_name(NAME)
    models = _models(path)
    if models is None:
        path = model.with_name(f"{model.name}.{NAME}")
        models = _models(path) or {}
    models[model.name] = {"files": [asdict(record) for record in files], **facts}
    text = json.dumps({"format": FORMAT, "models": dict(sorted(models.items()))}, indent=2, default=str)
    with atomic_files(path) as (file,):
        file.write(f"{text}\n".encode())
    return path


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
