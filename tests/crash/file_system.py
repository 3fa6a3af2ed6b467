"""What a disk may hold after a crash: the calls that change a folder are recorded, and what was not synced may be lost.

`Recorder` runs code while every call of `os` that changes a folder is noted. Its `states` are the folders that may be found
after a crash just before one of these calls:

- the process was killed: every call before it counts;
- the power failed: of a folder only the names are sure that stood when it was last synced, of a file only the bytes. Of what
  came later, the names that were changed first may be there or not, or any of them (file systems without a journal), and
  files may have their new content, their old one, or half of the new one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

RANDOM_STATES = 1
"""States with any of the unsynced changes, for each call."""


@dataclass(frozen=True)
class Content:
    """The bytes of a file, and its time of change."""

    data: bytes = b""
    changed: int = 0


@dataclass
class Inode:
    """A file: as programs see it, and as it is on the disk."""

    seen: Content = field(default_factory=Content)
    synced: Content = field(default_factory=Content)

    def choices(self) -> list[Content]:
        if self.seen == self.synced:
            return [self.seen]
        kept = len(self.synced.data) if self.seen.data.startswith(self.synced.data) else 0
        half = Content(self.seen.data[: (kept + len(self.seen.data)) // 2], self.seen.changed)
        return [self.synced, self.seen, half]


Names = dict[str, Inode]
Change = Callable[[Names], None]
State = dict[str, Content]


@dataclass
class Disk:
    """A folder: its names as programs see them, those that are synced, and what happened since."""

    seen: Names
    synced: Names
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        change(self.seen)
        self.pending.append(change)

    def sync(self) -> None:
        self.synced, self.pending = dict(self.seen), []

    def states(self, generator: random.Random) -> Iterator[State]:
        """What may be found after a crash now."""
        yield {name: inode.seen for name, inode in self.seen.items()}
        for count in range(len(self.pending) + 1):
            names = self._names(self.pending[:count])
            yield {name: inode.synced for name, inode in names.items()}
        for _ in range(RANDOM_STATES if self.pending or self._has_unsynced() else 0):
            names = self._names([change for change in self.pending if generator.random() < 0.5])
            yield {name: generator.choice(inode.choices()) for name, inode in names.items()}

    def _names(self, changes: list[Change]) -> Names:
        names = dict(self.synced)
        for change in changes:
            change(names)
        return names

    def _has_unsynced(self) -> bool:
        return any(inode.seen != inode.synced for inode in self.seen.values())


class Recorder:
    """Runs code on a folder; `states` then holds the distinct folders that a crash at any point may leave."""

    def __init__(self, folder: Path, seed: int = 0):
        self.folder = folder
        self.calls: list[str] = []
        self.states: list[State] = []
        self._known: set[object] = set()
        self._random = random.Random(seed)
        names = {path.name: Inode(content := content_of(path), content) for path in folder.iterdir()}
        self._disk = Disk(names, dict(names))
        self._descriptors: dict[int, Inode | None] = {}

    def run(self, code: Callable[[], Any]) -> Any:
        """Run code; states before each call that changes something, and at the end."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "close", "write", "pwrite", "posix_fallocate", "fsync", "fchmod"):
                patch.setattr(os, name, self._wrapped(name))
            for name in ("replace", "rename", "unlink", "remove", "link", "mkdir", "rmdir", "truncate"):
                patch.setattr(os, name, self._wrapped(name))
            result = code()
        self._note("end")
        return result

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real, handle = getattr(os, name), getattr(self, f"_{name}", None)

        def call(*given: Any, **named: Any) -> Any:
            if handle is None:
                raise AssertionError(f"the recorder does not know os.{name}")
            return handle(real, *given, **named)

        return call

    def _note(self, what: str) -> None:
        self.calls.append(what)
        for state in self._disk.states(self._random):
            key = tuple(sorted(state.items(), key=lambda item: item[0]))
            if key not in self._known:
                self._known.add(key)
                self.states.append(state)

    def _is_inside(self, path: Any) -> bool:
        return isinstance(path, str | Path) and Path(path).parent == self.folder

    # What the calls do

    def _open(self, real: Any, path: Any, flags: int, *given: Any, **named: Any) -> int:
        inside, folder = self._is_inside(path), isinstance(path, str | Path) and Path(path) == self.folder
        creates = inside and flags & os.O_CREAT and not os.path.lexists(path)
        if creates:
            self._note(f"create {Path(path).name}")
        descriptor: int = real(path, flags, *given, **named)
        if creates:
            inode, name = Inode(), Path(path).name
            self._disk.change(lambda names: names.__setitem__(name, inode))
        if inside:
            self._descriptors[descriptor] = self._disk.seen[Path(path).name]
        elif folder:
            self._descriptors[descriptor] = None
        return descriptor

    def _close(self, real: Any, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        real(descriptor)

    def _changes(self, name: str, real: Any, descriptor: int, *given: Any) -> Any:
        inode = self._descriptors.get(descriptor)
        if inode is None:
            return real(descriptor, *given)
        self._note(name)
        result = real(descriptor, *given)
        status = os.fstat(descriptor)
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            inode.seen = Content(file.read(), status.st_mtime_ns)
        return result

    def _write(self, real: Any, *given: Any) -> Any:
        return self._changes("write", real, *given)

    def _pwrite(self, real: Any, *given: Any) -> Any:
        return self._changes("pwrite", real, *given)

    def _posix_fallocate(self, real: Any, *given: Any) -> Any:
        return self._changes("fallocate", real, *given)

    def _fchmod(self, real: Any, *given: Any) -> Any:
        return self._changes("fchmod", real, *given)

    def _fsync(self, real: Any, descriptor: int) -> None:
        if descriptor not in self._descriptors:
            return
        self._note("fsync")
        inode = self._descriptors[descriptor]
        if inode is None:
            self._disk.sync()
        else:
            inode.synced = inode.seen

    def _replace(self, real: Any, source: Any, target: Any) -> None:
        assert self._is_inside(source) and self._is_inside(target)
        old, new = Path(source).name, Path(target).name
        self._note(f"replace {new}")
        real(source, target)
        inode = self._disk.seen[old]

        def change(names: Names) -> None:
            names.pop(old, None)
            names[new] = inode

        self._disk.change(change)

    def _unlink(self, real: Any, path: Any, **named: Any) -> None:
        if not self._is_inside(path) or not os.path.lexists(path):
            real(path, **named)
            return
        name = Path(path).name
        self._note(f"unlink {name}")
        real(path, **named)
        self._disk.change(lambda names: names.pop(name, None))


def content_of(path: Path) -> Content:
    return Content(path.read_bytes(), path.lstat().st_mtime_ns)


def put(state: State, folder: Path) -> None:
    """Make a folder that holds a state."""
    folder.mkdir()
    for name, content in state.items():
        (folder / name).write_bytes(content.data)
        os.utime(folder / name, ns=(content.changed, content.changed))
