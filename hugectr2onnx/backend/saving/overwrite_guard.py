"""Keep a save from the files that the model is made of, and from files of somebody else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hugectr2onnx.backend.saving import manifest
from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import shown

_HEAD_BYTES = 4096


def refuse_sources(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Raise OutputError where a file that will be written or replaced is one that is read, by whatever name."""
    sources = {identity: path for path in read for identity in _identities(path)}
    for path in written:
        for identity in _identities(path):
            if identity in sources:
                other = sources[identity]
                named = "" if other == path else f" ({shown(other)})"
                raise OutputError(
                    f"cannot write {shown(path)}: it is an input of this compilation{named}; choose another name"
                )


def refuse_foreign_file(target: Path, is_own: Callable[[bytes], bool], *, force: bool = False) -> None:
    """Raise OutputError where a file would be replaced that is not ours, by its first bytes, unless `force` is given."""
    if force or not target.exists():
        return
    with open(target, "rb") as file:  # `writable_path` has refused what is not a regular file
        if not is_own(file.read(_HEAD_BYTES)):
            raise OutputError(
                f"cannot write {shown(target)}: it is there already and not a file of ours; move it, choose another name, or "
                "replace it with --force (force=True)"
            )


def may_be_written(path: Path, target: Path) -> bool:
    """Tell whether a save to a target writes a file of this path for one model or another."""
    if path == target or path.parent != target.parent:
        return path == target
    is_beside = re.match(r"\.[0-9a-f]{16}\.", path.name.removeprefix(target.name)) is not None
    is_manifest = path.name in (manifest.MANIFEST_NAME, f"{target.name}.{manifest.MANIFEST_NAME}")
    return is_manifest or path.name.startswith(".hugectr2onnx-") or (path.name.startswith(target.name) and is_beside)


def _identities(path: Path) -> set[object]:
    """Return the name with links followed, and the file itself where there is one."""
    found: set[object] = {os.path.realpath(path)}
    try:
        status = path.stat()
    except (OSError, ValueError):
        return found
    return found | {(status.st_dev, status.st_ino)}
