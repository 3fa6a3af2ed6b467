"""Blobs, artifacts and the bytes that they become."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hugectr2onnx.backend.onnx import artifact as module
from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor, located_tensor, serialise
from hugectr2onnx.errors import CompilerError, OutputError

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
ZERO_ROW = np.zeros((1, 3), np.float32)


def gather_model(*initializers: onnx.TensorProto) -> onnx.ModelProto:
    keys = helper.make_tensor_value_info("keys", TensorProto.INT64, ["N"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node("Gather", ["table", "keys"], ["rows"], name="look_up")
    graph = helper.make_graph([node], "g", [keys], [rows], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def artifact_of(*parts: np.ndarray) -> Artifact:
    blob = Blob(parts)
    small = numpy_helper.from_array(np.array([7], np.int64), "small")
    return Artifact(gather_model(external_tensor("table", blob), small), {"table": blob})


class TestBlob:
    def test_parts_stack_along_the_first_axis(self) -> None:
        blob = Blob((ROWS, ZERO_ROW))
        assert (blob.shape, blob.dtype, blob.nbytes) == ((5, 3), np.dtype(np.float32), 60)
        np.testing.assert_array_equal(blob.materialise(), [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [0, 0, 0]])

    def test_one_part_is_not_copied(self) -> None:
        assert np.shares_memory(Blob((ROWS,)).materialise(), ROWS)

    def test_a_memory_map_is_not_copied(self, tmp_path: Path) -> None:
        ROWS.tofile(tmp_path / "rows")
        mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(4, 3))
        assert np.shares_memory(Blob((mapped,)).materialise(), mapped)

    def test_chunks_of_a_memory_map_are_copies_that_outlive_a_file_cut_short(self, tmp_path: Path) -> None:
        ROWS.tofile(tmp_path / "rows")
        mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(4, 3))
        chunks = list(Blob((mapped,)).chunks(16))
        assert not any(np.shares_memory(np.frombuffer(chunk, np.uint8), mapped) for chunk in chunks)
        assert b"".join(map(bytes, chunks)) == ROWS.tobytes()

    @pytest.mark.parametrize("size", [1, 5, 12, 16, 1 << 20])
    def test_chunks_are_the_bytes_in_order(self, size: int) -> None:
        chunks = [bytes(chunk) for chunk in Blob((ROWS, ZERO_ROW)).chunks(size)]
        assert b"".join(chunks) == ROWS.tobytes() + bytes(12)
        assert max(map(len, chunks)) <= size

    def test_chunks_of_a_transposed_array_are_in_c_order(self) -> None:
        assert b"".join(Blob((ROWS.T,)).chunks(5)) == np.array(ROWS.T, order="C").tobytes()

    def test_big_endian_data_becomes_little_endian(self) -> None:
        blob = Blob((np.array([1, 2], ">i8"),))
        assert b"".join(blob.chunks()) == b"\x01" + bytes(7) + b"\x02" + bytes(7)
        assert blob.materialise().tolist() == [1, 2]

    @pytest.mark.parametrize("array", [np.float32(3).reshape(()), np.zeros((0, 4), np.int64), np.array([True, False])])
    def test_scalars_empty_tensors_and_booleans(self, array: np.ndarray) -> None:
        blob = Blob((array,))
        assert b"".join(blob.chunks(1)) == array.tobytes()
        assert blob.materialise().shape == array.shape == blob.shape

    @pytest.mark.parametrize("parts", [(), (ROWS, ROWS.T), (ROWS, ROWS.astype(np.float64)), (ROWS[0, 0], ROWS)])
    def test_parts_that_do_not_stack_are_refused(self, parts: tuple[np.ndarray, ...]) -> None:
        with pytest.raises(CompilerError, match=r"a tensor needs parts of one type|do not stack along axis 0"):
            Blob(parts)


class TestArtifact:
    def test_inline_puts_every_payload_into_the_message(self) -> None:
        model = artifact_of(ROWS, ZERO_ROW).inline()
        onnx.checker.check_model(model, full_check=True)
        np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), np.vstack([ROWS, ZERO_ROW]))
        assert numpy_helper.to_array(model.graph.initializer[1]) == [7]

    def test_inline_leaves_the_skeleton_alone(self) -> None:
        artifact = artifact_of(ROWS)
        before = serialise(artifact.skeleton)
        artifact.inline()
        assert serialise(artifact.skeleton) == before

    def test_inline_refuses_more_than_protobuf_holds(self) -> None:
        row = np.zeros((1, 3), np.float32)
        huge = np.broadcast_to(row, (200_000_000, 3))  # 2.4 GB on paper, 12 bytes in memory
        with pytest.raises(OutputError, match=r"2,400,000,\d+ bytes.*save\(\).*session\(\)"):
            artifact_of(huge).inline()

    def test_nbytes_counts_the_tables(self) -> None:
        artifact = artifact_of(ROWS)
        assert artifact.nbytes == artifact.skeleton.ByteSize() + 48

    def test_the_stream_parses_to_the_inline_model(self) -> None:
        artifact = artifact_of(ROWS, ZERO_ROW)
        assert onnx.load_from_string(b"".join(artifact.stream())) == artifact.inline()

    def test_a_long_stream_has_the_lengths_that_protobuf_expects(self) -> None:
        artifact = artifact_of(np.arange(300_000, dtype=np.float32).reshape(-1, 3))
        assert onnx.load_from_string(b"".join(artifact.stream())) == artifact.inline()

    def test_a_located_tensor_stays_outside_the_stream(self) -> None:
        artifact = artifact_of(ROWS)
        located = located_tensor(artifact.skeleton.graph.initializer[0], "x.data", 4096, 48)
        table = onnx.load_from_string(b"".join(artifact.stream({"table": located}))).graph.initializer[0]
        assert {entry.key: entry.value for entry in table.external_data} == {
            "location": "x.data",
            "offset": "4096",
            "length": "48",
        }
        assert table.data_location == TensorProto.EXTERNAL and not table.raw_data

    def test_a_tensor_without_payload_is_refused(self) -> None:
        with pytest.raises(CompilerError, match="table"):
            Artifact(gather_model(external_tensor("table", Blob((ROWS,)))), {})

    def test_a_payload_without_tensor_is_refused(self) -> None:
        with pytest.raises(CompilerError, match="other"):
            Artifact(gather_model(numpy_helper.from_array(ROWS, "table")), {"other": Blob((ROWS,))})

    def test_a_payload_of_another_shape_is_refused(self) -> None:
        with pytest.raises(CompilerError, match=r"table is FLOAT \[4, 3\].*\[1, 3\]"):
            Artifact(gather_model(external_tensor("table", Blob((ROWS,)))), {"table": Blob((ZERO_ROW,))})

    def test_a_message_above_the_limit_is_an_error_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class TooLarge:
            def SerializeToString(self, deterministic: bool) -> bytes:
                raise ValueError("exceeds maximum protobuf size of 2GB")

        with pytest.raises(OutputError, match="2 GiB at most"):
            serialise(TooLarge())


def test_the_hash_seed_does_not_change_the_bytes() -> None:
    script = (
        "import sys, numpy as np, onnx; from onnx import helper as h;"
        "from hugectr2onnx.backend.onnx.artifact import serialise;"
        "m = h.make_model(h.make_graph([h.make_node('Gemm', list('abc'), ['y'], alpha=1.5, beta=.5, transA=1)], 'g',"
        " [], []), ir_version=8); h.set_model_props(m, {k: k for k in 'zyx'}); sys.stdout.write(serialise(m).hex())"
    )
    root = str(Path(module.__file__).parents[3])
    results = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(results) == 1 and all(results)
