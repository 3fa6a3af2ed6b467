"""What a save that was killed left in a folder, and how the next save to the same name puts it in order.

A save writes `.<name>.<token>.new` beside each of its files, and moves old ones aside to `.<name>.<token>.old`, one token for
all. Of the file that refers to the others, the new one is the first to come and the last to go, and its writer holds a lock on
it: where nobody does, the writer is dead. That file is missing from its place only while the others are replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not POSIX: nobody can tell whether a writer lives, so that leftovers stay
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.(?P<name>.+)\.(?P<token>[0-9a-f]{8})\.(?P<kind>new|old)", re.DOTALL)


def beside(path: Path, token: str, kind: str) -> Path:
    """Where the `new` or the `old` file of a save lies while it runs."""
    return path.with_name(f".{path.name}.{token}.{kind}")


def hold(file: BinaryIO) -> int | None:
    """Lock a new file for as long as the descriptor that is returned stays open; None where that cannot be.

    Raises BlockingIOError where another save takes the file for a leftover, which it then removes.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise
        return None  # a file system without locks: to others the file looks held
    if not os.fstat(file.fileno()).st_nlink:
        raise BlockingIOError
    return os.dup(file.fileno())


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While the block runs, no other save is in such a block for the folder, where its file system has locks."""
    with ExitStack() as closing:
        if fcntl is not None:
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                closing.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def clear(target: Path) -> None:
    """Remove what dead saves to a file left beside it; a file that such a save had only set aside comes back.

    Files of saves that still run stay, and so does a set-aside file where another one, not of that save, took its place.
    """
    if fcntl is None:
        return
    found = _leftovers(target.parent)
    for token in sorted({each.token for each in found if _belongs(each.name, target)}):
        save = [each for each in found if each.token == token]
        with _dead(save) as is_dead, suppress(OSError):
            if is_dead:
                _settle(target, save)


def _belongs(name: str, target: Path) -> bool:
    return name == target.name or name.startswith(f"{target.name}.")


def _settle(target: Path, save: list[_Leftover]) -> None:
    """Undo a save that died, or finish it where its new file stood already."""
    kinds = {each.kind for each in save if each.name == target.name}
    if not kinds:
        # Another file refers to these, if any; what was set aside is for the next save to that one.
        if all(each.kind == "new" for each in save):
            _remove(each for each in save if _belongs(each.name, target))
        return
    if kinds == {"old", "new"} and target.exists():
        return
    # The file that refers to the others comes last, so that it never stands beside what is not its own.
    save = sorted(save, key=lambda each: each.name == target.name)
    if "old" in kinds and not target.exists():
        for each in save:
            if each.kind == "old":
                os.replace(each.path, target.with_name(each.name))
    _remove(save)


def _remove(files: Iterable[_Leftover]) -> None:
    for each in files:
        each.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Leftover:
    """A file whose name is one that a save gives; `name` is that of the file it stands for."""

    path: Path
    name: str
    token: str
    kind: str


def _leftovers(folder: Path) -> list[_Leftover]:
    try:
        with os.scandir(folder) as entries:
            named = [(entry.path, _NAME.fullmatch(entry.name)) for entry in entries if _is_file(entry)]
    except OSError:
        return []
    return [_Leftover(Path(path), **match.groupdict()) for path, match in named if match]


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") and entry.is_file(follow_symlinks=False)


@contextmanager
def _dead(save: list[_Leftover]) -> Iterator[bool]:
    """Whether nobody writes a save's new files any more; while the block runs, nobody else can find that too."""
    with ExitStack() as closing:
        yield all(_is_free(each.path, closing) for each in save if each.kind == "new")


def _is_free(new: Path, closing: ExitStack) -> bool:
    try:
        descriptor = os.open(new, os.O_RDWR)
        closing.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
