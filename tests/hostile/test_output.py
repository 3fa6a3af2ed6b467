"""Results that cannot be written: the old file stays, and nothing half-written is left."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import OutputError
from hugectr2onnx.backend.saving.save import save

OLD = b"\x08\x08\x12\x0chugectr2onnx, as it was"
"""What begins as an ONNX file of ours, and may be replaced."""


@pytest.fixture
def compiled(model: Any) -> hugectr2onnx.CompiledModel:
    return model.compile(2)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with the file of an earlier run."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "wdl.onnx").write_bytes(OLD)
    return tmp_path / "out" / "wdl.onnx"


def refusal(compiled: hugectr2onnx.CompiledModel, path: Any) -> str:
    with pytest.raises(OutputError) as caught:
        compiled.save(path)
    return str(caught.value)


def test_a_folder(compiled: Any, tmp_path: Path) -> None:
    assert "give the path of a file, not of a folder" in refusal(compiled, tmp_path)


def test_a_folder_that_is_missing(compiled: Any, tmp_path: Path) -> None:
    assert "create the folder first" in refusal(compiled, tmp_path / "missing" / "wdl.onnx")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 5000])
def test_names_that_no_file_has(compiled: Any, name: str, tmp_path: Path) -> None:
    assert "cannot write" in refusal(compiled, f"{tmp_path}/{name}")


@pytest.mark.parametrize("path", [None, 5, b"wdl.onnx", [], object()])
def test_what_is_no_path(compiled: Any, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is not a path: give the path of the file to write" in refusal(compiled, path)


@pytest.mark.parametrize(("code", "advice"), [
    (errno.EROFS, "the file system is read-only"), (errno.EACCES, "choose a folder that you may write to"),
    (errno.ENOSPC, "free space on the disk"), (errno.EDQUOT, "free space within your quota"), (errno.EIO, "cannot write"),
])  # fmt: skip
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_the_system_refuses(
    compiled: Any, old: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, advice: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, refuse)
    assert advice in refusal(compiled, old)
    assert os.listdir(old.parent) == ["wdl.onnx"]
    assert old.read_bytes() == OLD


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(compiled: Any, old: Path) -> None:
    old.parent.chmod(0o500)
    try:
        assert "Permission denied" in refusal(compiled, old)
    finally:
        old.parent.chmod(0o700)


@pytest.mark.parametrize("name", ["key", "emb_vector", "slot_id"])
def test_a_file_of_a_table(model: Any, compiled: Any, name: str) -> None:
    path = model.path("model1_sparse_0.model") / name
    before = path.read_bytes()
    assert "it is an input of this compilation" in refusal(compiled, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["graph.json", "model_dense_0.model", "model_dense_0.model.ntp.json", "keep.npy"])
def test_other_inputs(model: Any, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever the process has gone meanwhile."""
    model.write("graph.json", json.dumps(model.graph).encode())
    np.save(model.path("keep.npy"), np.array([4]))
    monkeypatch.chdir(model.folder)
    compiled = model.compile(graph="graph.json", weights=".", keep_keys={"emb1": "keep.npy"})
    monkeypatch.chdir(tmp_path)
    before = model.path(name).read_bytes()
    assert "it is an input of this compilation" in refusal(compiled, model.path(name))
    assert model.path(name).read_bytes() == before


class TestATableThatBecomesShorter:
    """After it was compiled: reading what is missing would kill the process."""

    @pytest.fixture(params=["direct", "perfect-hash", "label-encoder", "indices"])
    def compiled(self, model: Any, request: pytest.FixtureRequest) -> hugectr2onnx.CompiledModel:
        model.write("model0_sparse_0.model/key", np.arange(200_000, dtype="<i8")[::-1])
        model.write("model0_sparse_0.model/emb_vector", np.ones((200_000, 4), "<f4"))
        return model.compile(2, keys={"emb1": request.param}, check=False)

    def test_its_rows(self, model: Any, compiled: hugectr2onnx.CompiledModel, old: Path) -> None:
        table = model.path("model0_sparse_0.model/emb_vector")
        os.truncate(table, 8192)
        with pytest.raises(hugectr2onnx.WeightsError, match=r"has become shorter, 8,192 bytes") as caught:
            compiled.save(old)
        assert f"{table} had 3,200,000 bytes" in caught.value.describe()
        assert os.listdir(old.parent) == ["wdl.onnx"]
        assert old.read_bytes() == OLD

    def test_its_keys(
        self, model: Any, compiled: Any, old: Path, survives: Callable[[Callable[[], object]], bool]
    ) -> None:
        """Some strategies have a copy of them in memory."""
        os.truncate(model.path("model0_sparse_0.model/key"), 8192)
        assert survives(lambda: compiled.save(old))


def test_a_disk_that_has_no_room(compiled: Any, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    assert "the disk has 1 left" in refusal(compiled, old)
    assert old.read_bytes() == OLD


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt, SystemExit, MemoryError, OSError(errno.ENOSPC, "No space left on device")]
)
@pytest.mark.parametrize("external", [False, True], ids=["one file", "with data"])
def test_interrupted_in_the_middle(
    compiled: Any, old: Path, monkeypatch: pytest.MonkeyPatch, external: bool, failure: Any
) -> None:
    real = type(compiled.artifact).pieces

    def pieces(*given: Any) -> Iterator[bytes]:
        yield next(iter(real(*given)))
        raise failure

    monkeypatch.setattr(type(compiled.artifact), "pieces", pieces)
    expected = OutputError if isinstance(failure, OSError) else failure
    with pytest.raises(expected):
        if external:
            save(compiled.artifact, old, threshold=8, limit=1 << 14)
        else:
            compiled.save(old)
    assert os.listdir(old.parent) == ["wdl.onnx"]
    assert old.read_bytes() == OLD


def test_saving_after_a_failure_works(compiled: Any, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compiled.save(old)
    compiled.save(old)
    assert os.listdir(old.parent) == ["wdl.onnx"]
    assert old.read_bytes() != OLD


class TestConvert:
    """NVIDIA's signature: whatever fails, no file appears and the old one stays."""

    def test_a_model_that_does_not_fit(self, model: Any, old: Path) -> None:
        graph = model.folder / "graph.json"
        graph.write_text('{"layers": [')
        with pytest.raises(hugectr2onnx.GraphJsonError):
            hugectr2onnx.converter.convert(str(old), str(graph), str(model.folder / "model_dense_0.model"))
        assert os.listdir(old.parent) == ["wdl.onnx"]
        assert old.read_bytes() == OLD

    def test_a_folder_that_is_missing(self, model: Any, tmp_path: Path) -> None:
        with pytest.raises(hugectr2onnx.HugeCTR2ONNXError):
            hugectr2onnx.converter.convert(
                tmp_path / "no" / "x.onnx", model.graph, model.folder / "model_dense_0.model"
            )
        assert not (tmp_path / "no").exists()
