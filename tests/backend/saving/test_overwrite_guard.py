"""What a save may not touch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hugectr2onnx.backend.saving.overwrite_guard import may_be_written, refuse_foreign_file, refuse_sources
from hugectr2onnx.errors import OutputError


def is_ours(head: bytes) -> bool:
    return head.startswith(b"ours")


class TestSources:
    def test_a_source_of_the_same_name(self, tmp_path: Path) -> None:
        source = tmp_path / "dense.model"
        with pytest.raises(OutputError, match=r"dense\.model: it is an input of this compilation; choose another name"):
            refuse_sources([source], [source])

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_a_source_by_another_name(self, tmp_path: Path, link: object) -> None:
        source, other = tmp_path / "dense.model", tmp_path / "m.onnx"
        source.write_bytes(b"weights")
        link(source, other)  # type: ignore[operator]
        with pytest.raises(
            OutputError, match=r"m\.onnx: it is an input of this compilation \(.*dense\.model\); choose"
        ):
            refuse_sources([other], [source])

    def test_a_file_of_the_same_content_is_another_file(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"weights")
        refuse_sources([tmp_path / "a"], [tmp_path / "b"])


class TestForeignFiles:
    def test_are_not_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"somebody's")
        with pytest.raises(
            OutputError, match=r"not a file of ours; move it, .* or replace it with --force \(force=True\)"
        ):
            refuse_foreign_file(tmp_path / "m.onnx", is_ours)

    def test_are_replaced_by_force(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"somebody's")
        refuse_foreign_file(tmp_path / "m.onnx", is_ours, force=True)

    @pytest.mark.parametrize("content", [None, b"ours, of last week"])
    def test_nothing_and_our_own_may_be_replaced(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "m.onnx").write_bytes(content)
        refuse_foreign_file(tmp_path / "m.onnx", is_ours)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.onnx", True),
        ("m.onnx.0123456789abcdef.data", True),
        ("m.onnx.0123456789abcdef.keys.npy", True),
        ("m.onnx.manifest.json", True),
        ("manifest.json", True),
        (".hugectr2onnx-0123456789abcdef.0", True),
        ("m.onnx.data", False),
        ("m.onnx.0123.data", False),
        ("other.onnx", False),
        ("notes.txt", False),
    ],
)
def test_names_that_a_save_may_write(name: str, expected: bool, tmp_path: Path) -> None:
    assert may_be_written(tmp_path / name, tmp_path / "m.onnx") is expected


def test_a_save_writes_in_no_other_folder(tmp_path: Path) -> None:
    assert not may_be_written(tmp_path / "other" / "m.onnx", tmp_path / "m.onnx")
