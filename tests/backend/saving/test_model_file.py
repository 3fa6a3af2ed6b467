"""Files that are appended to, in small pieces and large ones, with their checksums."""

from __future__ import annotations

import binascii
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.artifact import Blob
from hugectr2onnx.backend.saving.model_file import Checksum, ModelFile

LARGE = np.random.default_rng(0).integers(0, 256, 3 << 20, np.uint8)
PIECES = [b"head", memoryview(b"more"), Blob((LARGE, LARGE[:5])), b"", b"tail"]
CONTENT = b"headmore" + LARGE.tobytes() + LARGE[:5].tobytes() + b"tail"


@pytest.mark.parametrize(
    ("checksum", "expected"),
    [
        (Checksum.SHA256, hashlib.sha256(CONTENT).hexdigest()),
        (Checksum.CRC32, f"{binascii.crc32(CONTENT):08x}"),
        (Checksum.NONE, ""),
    ],
)
def test_pieces_stand_one_after_the_other(tmp_path: Path, checksum: Checksum, expected: str) -> None:
    counted: list[int] = []
    with open(tmp_path / "f", "x+b") as opened:
        with ModelFile(opened.fileno(), tmp_path / "f", checksum, counted.append) as file:
            for piece in PIECES:
                file.append(piece)
        assert (file.size, file.checksum()) == (len(CONTENT), expected)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert sum(counted) == len(CONTENT)


def test_writes_that_the_system_cuts_short_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: real(descriptor, data[:70_000], offset))
    with open(tmp_path / "f", "x+b") as opened, ModelFile(opened.fileno(), tmp_path / "f", Checksum.NONE) as file:
        for piece in PIECES:
            file.append(piece)
    assert (tmp_path / "f").read_bytes() == CONTENT
