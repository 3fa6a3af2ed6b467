"""One case: the files of a folder, and how they are attacked. A case that failed is kept as one JSON file."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
SPECIAL_KINDS = ("pipe", "folder", "socket", "device", "loop", "nowhere")
"""What can stand in the place of a file."""


@dataclass(frozen=True)
class Case:
    """`files` by their path in the folder; `special` names what stands in the place of a file; `facts` go to the target."""

    target: str
    files: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Make the folder anew and return it."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, kind in self.special.items():
            _put(folder / name, kind)
        return folder

    def to_json(self, failure: str) -> str:
        """The case as text, with what it did when it was found."""
        files = {name: _encoded(content) for name, content in self.files.items()}
        content = {
            "target": self.target,
            "failure": failure,
            "facts": self.facts,
            "special": self.special,
            "files": files,
        }
        return json.dumps(content, indent=1) + "\n"

    @staticmethod
    def load(path: Path) -> Case:
        """Read a case that `to_json` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: _decoded(each) for name, each in content["files"].items()}
        return Case(content["target"], files, content["facts"], content["special"])


def corpus(folder: Path = CORPUS) -> list[Path]:
    """Every case that is kept, by name."""
    return sorted(folder.glob("*.json"))


def _encoded(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _decoded(entry: Mapping[str, str]) -> bytes:
    return entry["text"].encode("utf-8") if "text" in entry else base64.b64decode(entry["base64"])


def _put(path: Path, kind: str) -> None:
    """Put a pipe, a folder, a socket, a device or a link that leads nowhere in the place of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        _put_socket(path)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "nowhere": "missing"}[kind])


def _put_socket(path: Path) -> None:
    # The path of a socket is at most 107 bytes: a short link leads to its folder.
    link = Path(f"/tmp/fuzz-socket-{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(path.parent.resolve())
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(link / path.name))
    finally:
        link.unlink()
