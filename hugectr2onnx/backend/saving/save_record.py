"""Record the files of a save before it makes them, so that a later save knows what it may remove.

A record is a hidden file, `.hugectr2onnx-<token>.save`, of JSON lines that are only ever appended to, each synced to the disk:

    {"format": "hugectr2onnx save 1", "target": "m.onnx", "new": 3, "writer": {...}}
    {"ready": {"model": FILE, "beside": [FILE, ...], "manifested": true, "entry": {...}}}
    {"done": true}
    {"superseded": 1764322525.1}

The first line comes before the new files, `.hugectr2onnx-<token>.0.new` and so on; the second when they are complete and before
any is renamed; the third when the manifest says so too and the save ends; the fourth when another model takes the place.
FILE is a name with bytes and time of change. While its writer lives, it holds a lock (`flock`) on the record.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx.errors import OutputError
from hugectr2onnx.tables.regular_file import read_regular

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

_FIRST_BYTES = b'{"format": "hugectr2onnx save 1", '
MAX_RECORD_BYTES = 64 << 20
MAX_NEW = 1 << 20
"""New files of one save."""
MAX_SILENCE = 24 * 3600.0
"""Seconds after which a save on another machine is taken for dead, where the file system has no locks to tell."""
_NAME = re.compile(r"\.hugectr2onnx-(?P<token>[0-9a-f]{16})\.save")
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_SELF = Path("/proc/self")


@dataclass(frozen=True)
class OwnedFile:
    """A file as it was written: whoever changes or replaces it makes it his own."""

    name: str
    bytes: int
    changed: int
    """Its time of change in nanoseconds."""

    @staticmethod
    def of(path: Path, name: str = "") -> OwnedFile:
        status = path.lstat()
        return OwnedFile(name or path.name, status.st_size, status.st_mtime_ns)

    def stands_in(self, folder: Path) -> bool:
        """Tell whether the file is there, and as it was written."""
        try:
            status = (folder / self.name).lstat()
        except (OSError, ValueError):
            return False
        same = status.st_size == self.bytes and status.st_mtime_ns == self.changed
        return same and stat.S_ISREG(status.st_mode)


@dataclass(frozen=True)
class Ready:
    """The files of a save that is complete. `manifested`: the manifest gets `entry`, or loses one where it is None."""

    model: OwnedFile
    beside: tuple[OwnedFile, ...] = ()
    manifested: bool = False
    entry: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "entry": self.entry}


@dataclass(frozen=True)
class SaveRecord:
    """A record as it was read."""

    path: Path
    token: str
    target: str = ""
    new: int = 0
    writer: Mapping[str, Any] | None = None
    ready: Ready | None = None
    is_done: bool = False
    superseded: float | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def new_files(self) -> list[Path]:
        """Where the new files lie, or lay, until they get their names."""
        return [new_path(self.folder, self.token, number) for number in range(self.new)]

    @property
    def beside(self) -> list[OwnedFile]:
        """The files that the model refers to, as far as they are as they were written."""
        return [file for file in (self.ready.beside if self.ready else ()) if file.stands_in(self.folder)]

    @property
    def is_current(self) -> bool:
        """Whether the model that stands in the folder is the one of this save."""
        return self.ready is not None and self.ready.model.stands_in(self.folder)

    @property
    def waits_for_manifest(self) -> bool:
        """Whether the model stands, and the manifest does not say so yet."""
        return self.ready is not None and self.ready.manifested and not self.is_done and self.is_current

    def is_alive(self) -> bool:
        """Tell whether its writer still runs, or may: where there are no locks, by what it says about itself."""
        if self.is_done:
            return False
        try:
            held = holds_lock(self.path)
            return may_live(self.writer or {}, self.path.stat().st_mtime) if held is None else held
        except OSError:
            return self.path.exists()

    def mark_superseded(self) -> None:
        """Note that another model takes the place now: readers may still want the files for a while."""
        self._append({"superseded": time.time()})

    def mark_done(self) -> None:
        """Note that the manifest is as it should be."""
        self._append({"done": True})

    def _append(self, fact: Mapping[str, Any]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            append(descriptor, fact)
        finally:
            os.close(descriptor)


def record_path(folder: Path, token: str) -> Path:
    return folder / f".hugectr2onnx-{token}.save"


def new_path(folder: Path, token: str, number: int) -> Path:
    return folder / f".hugectr2onnx-{token}.{number}.new"


def append(descriptor: int, fact: Mapping[str, Any]) -> None:
    """Write a line and see it on the disk."""
    line = json.dumps(fact, default=str).encode() + b"\n"
    while line:
        line = line[os.write(descriptor, line) :]
    os.fsync(descriptor)


def first_line(target: str, new: int) -> dict[str, Any]:
    return {"format": "hugectr2onnx save 1", "target": target, "new": new, "writer": identity()}


def try_lock(descriptor: int) -> bool:
    """Lock an open file; False where another has it. Raises OSError where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise


def holds_lock(path: Path) -> bool | None:
    """Tell whether a process holds the lock of a file; None where the file system has none. Raises OSError without access."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not try_lock(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def may_live(writer: Mapping[str, Any], changed: float) -> bool:
    """Tell whether a process may still run by its `identity`; one of another machine for MAX_SILENCE after it wrote last."""
    own = identity()
    if any(writer.get(key) != own[key] for key in ("host", "namespace")):
        return abs(time.time() - changed) < MAX_SILENCE
    return writer.get("boot") == own["boot"] and _start_of(writer.get("process")) == writer.get("started")


def read_records(folder: Path) -> list[SaveRecord]:
    """Return the records in a folder that this user's saves wrote, by token; what others put there is passed over."""
    try:
        with os.scandir(folder) as entries:
            named = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name))]
    except OSError:
        return []
    found = (_read(Path(folder, entry.name), match["token"]) for entry, match in named)
    return sorted((record for record in found if record is not None), key=lambda record: record.token)


def _read(path: Path, token: str) -> SaveRecord | None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RECORD_BYTES or not _is_mine(status):
            return None
        content = read_regular(path, OutputError, max_bytes=MAX_RECORD_BYTES)
    except (OSError, OutputError):
        return None
    if not content.startswith(_FIRST_BYTES):
        # A writer that died here had written at most a part of the first line, and made no file yet.
        return SaveRecord(path, token) if _FIRST_BYTES.startswith(content) else None
    record = SaveRecord(path, token)
    for fact in _facts(content):
        try:
            record = _with(record, fact)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
    return record


def _is_mine(status: os.stat_result) -> bool:
    """In a folder that several users write to, nobody removes files on the word of another."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _facts(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n")[:-1]:
        try:
            fact = json.loads(line)
        except (ValueError, RecursionError):
            return  # a line that never reached the disk whole
        if isinstance(fact, dict):
            yield fact


def _with(record: SaveRecord, fact: Mapping[str, Any]) -> SaveRecord:
    known = dict(vars(record))
    if "format" in fact:
        known |= {
            "target": _plain_name(fact["target"]),
            "new": min(int(fact["new"]), MAX_NEW),
            "writer": fact["writer"],
        }
    if "ready" in fact:
        ready = fact["ready"]
        beside = tuple(_owned(file) for file in ready["beside"])
        if not all(_is_of(file.name, record.target) for file in beside):
            raise ValueError("it names files that no save writes")
        known["ready"] = Ready(_owned(ready["model"]), beside, bool(ready["manifested"]), ready["entry"])
    known["is_done"] |= bool(fact.get("done"))
    if "superseded" in fact:
        known["superseded"] = float(fact["superseded"])
    return SaveRecord(**known)


def _owned(file: Mapping[str, Any]) -> OwnedFile:
    return OwnedFile(_plain_name(file["name"]), int(file["bytes"]), int(file["changed"]))


def _plain_name(name: object) -> str:
    if not isinstance(name, str) or not name or Path(name).name != name or "\0" in name:
        raise ValueError("it names no file of the folder")
    return name


def _is_of(name: str, target: str) -> bool:
    """Tell whether a save to a target gives files beside it such names: `m.onnx.<16 hexadecimal digits>.data`."""
    content_id, dot, kind = name.removeprefix(f"{target}.").partition(".")
    return name.startswith(f"{target}.") and bool(re.fullmatch("[0-9a-f]{16}", content_id)) and bool(dot and kind)


def identity() -> dict[str, Any]:
    """Tell what tells this process from others, on this machine and elsewhere."""
    return {
        "host": platform.node(),
        "boot": _text(Path("/proc/sys/kernel/random/boot_id")),
        "namespace": _link(_SELF / "ns" / "pid"),
        "process": os.getpid(),
        "started": _start_of(os.getpid()),
    }


def _start_of(process: object) -> str:
    """Tell when a process of this machine began; empty where there is none."""
    # The command before it, in parentheses, may hold anything.
    fields = _text(Path("/proc", str(process), "stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _link(path: Path) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""
