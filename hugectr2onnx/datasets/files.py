"""The files of a data set: one file, a folder, a glob, or HugeCTR's file list (formats 4.2 and 4.3)."""

from __future__ import annotations

import glob
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hugectr2onnx.errors import FeedError
from hugectr2onnx.tables.regular_file import open_regular, read_regular

MAX_LIST_BYTES = 16 << 20
_HEAD_BYTES = 4096
_GLOB = re.compile(r"[*?\[]")
_NUMBERS = re.compile(r"[0-9]+|[^0-9]")


@dataclass(frozen=True)
class DataFiles:
    """Data files in the order in which they are read; `listed_in` is the file list that names them, if one does."""

    paths: tuple[Path, ...]
    listed_in: Path | None = None
    warnings: tuple[str, ...] = ()


def find_files(data: str | os.PathLike[str]) -> DataFiles:
    """Return the files that DATA names. Raises FeedError where there are none, and for a list that names a missing file."""
    name = os.fspath(data)
    if "\0" in name:
        raise FeedError(f"{name!r} is not the path of a data set")
    path = Path(name)
    if os.path.isdir(path):
        return _of_folder(path)
    if os.path.exists(path):
        require_regular(path)
        return _of_list(path) if is_file_list(path) else DataFiles((path,))
    if _GLOB.search(name):
        found = tuple(sorted((Path(each) for each in glob.glob(name)), key=natural))
        files = tuple(each for each in found if each.is_file() and not _is_hidden(each))
        if files:
            return DataFiles(files)
        raise FeedError(f"{name}: no file has a name of this form")
    raise FeedError(f"{name}: there is no such file or folder; give a data file, a folder, a glob or a file list")


def require_regular(path: Path) -> None:
    """Raise FeedError for a path that is no regular file: a pipe or a device would never end."""
    if not os.path.isfile(path):
        raise FeedError(f"{path}: is not a regular file")


def natural(path: Path) -> list[tuple[int, int]]:
    """Return a key that sorts sign by sign, numbers as one sign: a.parquet before a2.parquet before a10.parquet."""
    parts = _NUMBERS.findall(str(path))
    return [(ord("0"), int(part)) if part.isdecimal() else (ord(part), 0) for part in parts]


def is_file_list(path: Path) -> bool:
    """Tell whether the first line is a count and the second is text that could be a path."""
    lines = head(path).removeprefix(BOM_UTF8).split(b"\n", 2)
    count = lines[0].strip()
    second = lines[1].strip() if len(lines) > 1 else b""
    is_path = not second or ((second.isascii() or _is_utf8(second)) and b"\0" not in second and b"," not in second)
    return count.isdigit() and len(count) < 12 and len(lines) > 1 and is_path and not second.isdigit()


def head(path: Path) -> bytes:
    """Return the first bytes of a file. Raises FeedError for one that cannot be read."""
    with open_regular(path, FeedError, "a data file") as file:
        return file.read(_HEAD_BYTES)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _of_folder(folder: Path) -> DataFiles:
    """Return the file list of a folder where it has exactly one, else its data files in natural order."""
    entries = sorted((each for each in folder.iterdir() if each.is_file()), key=natural)
    lists = [each for each in entries if each.suffix == ".txt" and is_file_list(each)]
    if len(lists) == 1:
        return _of_list(lists[0])
    files = tuple(each for each in entries if not _is_hidden(each) and each not in lists and each.suffix != ".json")
    if not files:
        raise FeedError(f"{folder}: holds no data files")
    kinds = {each.suffix for each in files}
    if len(kinds) > 1:
        listed = ", ".join(sorted(kind or "no ending" for kind in kinds))
        raise FeedError(f"{folder}: holds files of several kinds ({listed}); give a glob such as {folder}/*.parquet")
    return DataFiles(files)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(("_", "."))


def _of_list(path: Path) -> DataFiles:
    """Return the files that a list names, absolute, or relative to the working folder or to the list."""
    try:
        content = read_regular(path, FeedError, "a file list", max_bytes=MAX_LIST_BYTES)
        count, *lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FeedError(f"{path}: cannot be read as a file list: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    wanted = int(count)
    if not wanted:
        raise FeedError(f"{path}: is a list of 0 files; give a data set with files")
    if len(names) < wanted:
        raise FeedError(f"{path}: announces {wanted} files and names {len(names)}")
    warnings: tuple[str, ...] = ()
    if len(names) > wanted:
        warnings = (f"{path}: announces {wanted} files and names {len(names)}; the first {wanted} are read",)
    return DataFiles(tuple(_listed(name, path) for name in names[:wanted]), path, warnings)


def _listed(name: str, path: Path) -> Path:
    for place in _places(name, path):
        if os.path.isfile(place):
            return place
    tried = ", ".join(str(place) for place in _places(name, path))
    raise FeedError(f"{path}: names {name!r}, which is not there (tried {tried})")


def _places(name: str, path: Path) -> Iterator[Path]:
    """Yield the path as it stands, then below the folder of the list; last its bare name there, for a set that was moved."""
    yield Path(name)
    if not os.path.isabs(name):
        yield path.parent / name
    yield path.parent / Path(name).name
