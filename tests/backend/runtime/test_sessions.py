"""Sessions of artifacts and files, and what goes wrong with them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor
from hugectr2onnx.backend.runtime import sessions, shared_initializers
from hugectr2onnx.backend.saving.save import save
from hugectr2onnx.errors import CompilerError, FeedError, UnsupportedError

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)
ZERO_ROW = np.zeros((1, 3), np.float32)
KEYS = np.array([4, 0, 2], np.int64)


def look_up(*parts: np.ndarray, op_type: str = "Gather") -> Artifact:
    """rows = table[keys] * scale + 0, with the weights outside the message."""
    blobs = {"table": Blob(parts), "scale": Blob((np.array([1, 10, 100], np.float32),))}
    nodes = [
        helper.make_node(op_type, ["table", "keys"], ["found"], name="look_up"),
        helper.make_node("Mul", ["scale", "two"], ["twice"], name="double"),
        helper.make_node("Mul", ["found", "twice"], ["rows"], name="weigh"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])],
        [*(external_tensor(n, b) for n, b in blobs.items()), numpy_helper.from_array(np.float32([2]), "two")],
    )
    return Artifact(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), blobs)


EXPECTED = np.array([[0, 0, 0], [0, 20, 400], [12, 140, 1600]], np.float32)


class TestSession:
    def test_it_computes_with_the_tables_that_lie_outside(self) -> None:
        opened = sessions.session(look_up(TABLE, ZERO_ROW))
        np.testing.assert_array_equal(sessions.run(opened, {"keys": KEYS})["rows"], EXPECTED)

    def test_a_read_only_memory_map_will_do(self, tmp_path: Path) -> None:
        np.vstack([TABLE, ZERO_ROW]).tofile(tmp_path / "table")
        opened = sessions.session(look_up(np.memmap(tmp_path / "table", np.float32, "r", shape=(5, 3))))
        np.testing.assert_array_equal(sessions.run(opened, {"keys": KEYS})["rows"], EXPECTED)

    def test_the_tables_live_as_long_as_the_session(self) -> None:
        opened = sessions.session(look_up(TABLE.copy(), ZERO_ROW.copy()))
        gc.collect()
        filler = [np.full((5, 3), 9, np.float32) for _ in range(1000)]
        np.testing.assert_array_equal(sessions.run(opened, {"keys": KEYS})["rows"], EXPECTED)
        del filler

    def test_a_model_without_large_tensors(self) -> None:
        opened = sessions.session(Artifact(look_up(TABLE, ZERO_ROW).inline(), {}))
        np.testing.assert_array_equal(sessions.run(opened, {"keys": KEYS})["rows"], EXPECTED)

    def test_the_artifact_is_not_changed(self) -> None:
        artifact = look_up(TABLE, ZERO_ROW)
        before = artifact.skeleton.SerializeToString(deterministic=True)
        sessions.session(artifact)
        assert artifact.skeleton.SerializeToString(deterministic=True) == before

    def test_options_of_the_caller_are_used(self) -> None:
        options = sessions.quiet_options()
        options.intra_op_num_threads = 1
        opened = sessions.session(look_up(TABLE, ZERO_ROW), options=options)
        assert opened.get_session_options().intra_op_num_threads == 1

    def test_a_model_that_onnxruntime_rejects_is_our_defect(self) -> None:
        with pytest.raises(CompilerError, match=r"rejects the model that was built.*Bogus"):
            sessions.session(look_up(TABLE, op_type="Bogus"))

    def test_a_provider_that_is_not_installed(self) -> None:
        with pytest.raises(UnsupportedError, match=r"no BogusProvider: use one of .*CPUExecutionProvider"):
            sessions.session(look_up(TABLE), providers=["BogusProvider"])

    def test_nothing_is_printed(self, capfd: pytest.CaptureFixture[str]) -> None:
        sessions.run(sessions.session(look_up(TABLE, ZERO_ROW)), {"keys": KEYS})
        assert capfd.readouterr() == ("", "")


def save_pair(path: Path) -> None:
    artifact = look_up(TABLE, np.zeros((996, 3), np.float32))
    save(artifact, path, threshold=1000, limit=artifact.nbytes)
    (data,) = path.parent.glob(f"{path.name}.*.data")
    assert data.stat().st_size == 1000 * 3 * 4


class TestOpenFile:
    @pytest.mark.parametrize("write", [save_pair, lambda path: save(look_up(TABLE, ZERO_ROW), path)])
    def test_one_file_or_a_pair(self, tmp_path: Path, write: Callable[[Path], None]) -> None:
        write(tmp_path / "a.onnx")
        opened = sessions.open_session(tmp_path / "a.onnx")
        np.testing.assert_array_equal(sessions.run(opened, {"keys": KEYS})["rows"], EXPECTED)

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"])
    def test_a_file_that_is_no_model(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(FeedError, match=r"a\.onnx"):
            sessions.open_session(tmp_path / "a.onnx")

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FeedError, match=r"missing\.onnx: no such file, expected an ONNX file"):
            sessions.open_session(tmp_path / "missing.onnx")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FeedError, match="is a folder, expected an ONNX file"):
            sessions.open_session(tmp_path)

    def test_a_name_that_no_file_can_have(self) -> None:
        with pytest.raises(FeedError, match="null"):
            sessions.open_session("a\0b")

    def test_a_model_whose_tables_are_missing(self, tmp_path: Path) -> None:
        save_pair(tmp_path / "a.onnx")
        (data,) = tmp_path.glob("a.onnx.*.data")
        data.unlink()
        with pytest.raises(FeedError, match=data.name):
            sessions.open_session(tmp_path / "a.onnx")


@pytest.fixture(scope="module")
def opened() -> object:
    return sessions.session(look_up(TABLE, ZERO_ROW))


class TestRun:
    def test_some_outputs(self, opened: object) -> None:
        assert list(sessions.run(opened, {"keys": KEYS}, ["rows"])) == ["rows"]

    def test_a_missing_and_an_unknown_input(self, opened: object) -> None:
        with pytest.raises(FeedError, match=r"lacks keys and has the unknown kyes.*keys int64 \[N\]"):
            sessions.run(opened, {"kyes": KEYS})

    @pytest.mark.parametrize(
        "value", [KEYS.astype(np.int32), KEYS.astype(np.float32), KEYS[:, None], 3, "text", None, ["a", "b"]]
    )
    def test_an_input_of_another_type_or_rank(self, opened: object, value: object) -> None:
        with pytest.raises(FeedError, match=r"input keys is .*the model wants int64 \[N\]"):
            sessions.run(opened, {"keys": value})

    def test_an_input_that_is_no_array(self, opened: object) -> None:
        with pytest.raises(FeedError, match="input keys is not an array"):
            sessions.run(opened, {"keys": [[1], [2, 3]]})

    def test_an_unknown_output(self, opened: object) -> None:
        with pytest.raises(FeedError, match="bogus"):
            sessions.run(opened, {"keys": KEYS}, ["bogus"])

    def test_a_list_will_do(self, opened: object) -> None:
        np.testing.assert_array_equal(sessions.run(opened, {"keys": [4, 0, 2]})["rows"], EXPECTED)


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    script = (
        "import os, sys; from hugectr2onnx.backend.runtime import sessions;"
        "assert 'onnxruntime' not in sys.modules;"
        "sessions.onnxruntime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment["PYTHONPATH"] = str(Path(sessions.__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_the_model_file_is_an_ordinary_onnx_file(tmp_path: Path) -> None:
    save(look_up(TABLE, ZERO_ROW), tmp_path / "a.onnx")
    assert [node.name for node in onnx.load(tmp_path / "a.onnx").graph.node] == ["look_up", "double", "weigh"]


class TestTablesLargerThanMemory:
    """Files of holes, which take no room on the disk: a table whose last row is all sevens, half as large again as memory."""

    @staticmethod
    def model(folder: Path, *, location: str = "table", size: int | None = None) -> Path:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        rows = memory * 3 // 2 // 12
        table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, 3])
        table.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("length", str(rows * 12))):
            table.external_data.add(key=key, value=value)
        graph = helper.make_graph(
            [helper.make_node("Gather", ["table", "keys"], ["rows"])],
            "g",
            [helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])],
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])],
            [table],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / "large.onnx")
        try:
            with open(folder / location, "wb") as file:
                file.truncate((rows - 1) * 12)
                file.seek(0, os.SEEK_END)
                file.write(np.full(3, 7, np.float32).tobytes())
                file.truncate(size if size is not None else rows * 12)
        except OSError as error:
            pytest.skip(f"this file system has no such files: {error}")
        return folder / "large.onnx"

    def test_a_session_opens_and_reads_it(self, tmp_path: Path) -> None:
        opened = sessions.open_session(self.model(tmp_path))
        gc.collect()
        found = sessions.run(opened, {"keys": np.array([-1, 0])})["rows"]
        np.testing.assert_array_equal(found, [[7, 7, 7], [0, 0, 0]])

    def test_a_file_that_is_cut_short_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FeedError, match=r"cannot open|is too short for the tensor"):
            sessions.open_session(self.model(tmp_path, size=1 << 29))

    def test_a_file_outside_the_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "inner").mkdir()
        with pytest.raises(FeedError, match=r"lies in \.\./table, which is outside of the model's own folder"):
            sessions.open_session(self.model(tmp_path / "inner", location="../table"))

    def test_other_errors_are_passed_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A model that onnxruntime has no memory for although it has no large tensor."""
        save(look_up(TABLE), tmp_path / "small.onnx")

        def refuse(*_: object, **__: object) -> None:
            raise RuntimeError("std::bad_alloc")

        monkeypatch.setattr(sessions.onnxruntime(), "InferenceSession", refuse)
        with pytest.raises(FeedError, match="bad_alloc"):
            sessions.open_session(tmp_path / "small.onnx")

    def test_a_model_in_memory_keeps_its_maps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its files are gone once it is open; onnxruntime has no memory for it at first."""
        real, refused = sessions.onnxruntime().InferenceSession, []

        def refuse_once(*arguments: Any, **options: Any) -> Any:
            if not refused:
                refused.append(arguments)
                raise RuntimeError("std::bad_alloc")
            return real(*arguments, **options)

        monkeypatch.setattr(sessions.onnxruntime(), "InferenceSession", refuse_once)
        monkeypatch.setattr(shared_initializers, "LARGE", 1)
        table = np.arange(3 << 20, dtype=np.float32).reshape(-1, 3)
        opened = sessions.session(look_up(table), large=1)
        gc.collect()
        found = sessions.run(opened, {"keys": np.array([-1])})["rows"]
        np.testing.assert_array_equal(found, table[-1:] * np.float32([2, 20, 200]))
        assert refused
