"""What a save may not touch: the files that the model is made of, and files of somebody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hugectr2onnx.backend.saving import key_file, layout, manifest
from hugectr2onnx.errors import OutputError


def require_apart(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Raise OutputError where a file that will be written, replaced or removed is one that is read, by whatever name."""
    sources = {identity: path for path in read for identity in _identities(path)}
    for path in written:
        for identity in _identities(path):
            if identity in sources:
                other = sources[identity]
                named = "" if other == path else f", {other},"
                raise OutputError(
                    f"Cannot write {path}: it is an input of this compilation{named}. Choose another name."
                )


def require_own(target: Path, written: Iterable[Path]) -> None:
    """Raise OutputError where a file beside a model would be replaced that no earlier save to the same name has written."""
    there = [path for path in written if path.exists()]
    if not there:
        return
    own = layout.own_data_files(target) | key_file.own_maps(target) | manifest.listed(target)
    for path in there:
        if path not in own:
            raise OutputError(
                f"Cannot write {path}: there is a file of that name, which no {target.name} of ours refers to. Move or remove "
                "it, or choose another name for the model."
            )


def may_be_written(path: Path, target: Path) -> bool:
    """Whether a save to a target writes a file of this path for one model or another."""
    is_map = path.name.startswith(f"{target.name}.") and path.suffix == key_file.SUFFIX
    is_beside = is_map or path.name in (manifest.NAME, f"{target.name}.{manifest.NAME}")
    return path == target or is_data_file(path, target) or (is_beside and path.parent == target.parent)


def is_data_file(path: Path, target: Path) -> bool:
    """Whether a save to a target may write tensors to a file of this path."""
    return path.parent == target.parent and layout.is_data_name(path.name, target)


def _identities(path: Path) -> set[object]:
    """The name with links followed, and the file itself where there is one."""
    found: set[object] = {os.path.realpath(path)}
    try:
        status = path.stat()
    except (OSError, ValueError):
        return found
    return found | {(status.st_dev, status.st_ino)}
