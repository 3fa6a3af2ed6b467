"""The dense file: a cursor over float32 with exact byte accounting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import CompilerError, HugeCTR2ONNXError, WeightsError
from hugectr2onnx.frontend.weights.dense_file import DenseCounter, DenseFile, DenseRecorder


def written(path: Path, *floats: float) -> Path:
    np.array(floats, "<f4").tofile(path)
    return path


@pytest.fixture
def six(tmp_path: Path) -> DenseFile:
    return DenseFile.open(written(tmp_path / "_dense_0.model", 1, 2, 3, 4, 5, 6))


class TestTake:
    def test_matrices_are_row_major_and_weights_follow_one_another(self, six: DenseFile) -> None:
        assert six.take(4, (2, 2), "fc1 weight").tolist() == [[1, 2], [3, 4]]
        assert six.take(2, (2,), "fc1 bias").tolist() == [5, 6]

    def test_little_endian_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "d").write_bytes(bytes.fromhex("0000803f000080bf"))
        assert DenseFile.open(tmp_path / "d").take(2, (2,), "w").tolist() == [1.0, -1.0]

    def test_views_cannot_be_written(self, six: DenseFile) -> None:
        with pytest.raises(ValueError, match="read-only"):
            six.take(2, (2,), "w")[0] = 0

    def test_a_short_file_says_what_is_needed_and_what_is_left(self, six: DenseFile) -> None:
        six.take(4, (4,), "fc1 weight")
        with pytest.raises(WeightsError, match=r"fc2 weight needs 6 floats \(24 bytes, .*at byte 16, but only 8 of 24"):
            six.take(6, (2, 3), "fc2 weight")

    def test_absurd_sizes_allocate_nothing(self, six: DenseFile) -> None:
        with pytest.raises(WeightsError, match="needs 9223372036854775808 floats"):
            six.take(2**63, (2**32, 2**31), "fc1 weight")

    def test_a_shape_of_another_size_is_the_callers_mistake(self, six: DenseFile) -> None:
        with pytest.raises(CompilerError, match=r"fc1 weight: 3 floats do not make the shape \[2, 2\]"):
            six.take(3, (2, 2), "fc1 weight")

    def test_an_array_in_place_of_a_file(self) -> None:
        assert DenseFile.open(np.array([[1.0, 2.0]])).take(2, (2,), "w").dtype == np.float32

    def test_an_array_of_something_else(self) -> None:
        with pytest.raises(WeightsError, match="array of <U1, expected float32"):
            DenseFile.open(np.array(["a"]))


class TestFinish:
    def test_used_up(self, six: DenseFile) -> None:
        six.take(6, (6,), "w")
        six.finish()

    def test_left_over_bytes_are_counted(self, six: DenseFile) -> None:
        six.take(4, (4,), "w")
        with pytest.raises(WeightsError, match=r"8 bytes \(2 floats\) are left over.*another run\?$"):
            six.finish()

    def test_an_empty_file_holds_no_weights(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        empty = DenseFile.open(tmp_path / "empty")
        assert empty.size == 0
        empty.finish()


class TestOpen:
    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such file"):
            DenseFile.open(tmp_path / "absent")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="is a folder"):
            DenseFile.open(tmp_path)

    def test_seven_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "odd").write_bytes(bytes(7))
        with pytest.raises(WeightsError, match="7 bytes, no multiple of 4"):
            DenseFile.open(tmp_path / "odd")


class TestWithoutAFile:
    def test_the_recorder_gives_back_what_it_invented(self, tmp_path: Path) -> None:
        recorder = DenseRecorder(np.random.default_rng(1))
        taken = [recorder.take(6, (2, 3), "fc1 weight"), recorder.take(3, (3,), "fc1 bias")]
        recorder.finish()
        assert np.array_equal(recorder.array(), np.concatenate([array.ravel() for array in taken]))

    def test_invented_matrices_keep_the_size_of_activations(self) -> None:
        weight = DenseRecorder(np.random.default_rng(1)).take(10_000, (400, 25), "fc1 weight")
        assert np.std(weight) == pytest.approx(0.05, rel=0.05)

    def test_invented_gammas_are_near_one(self) -> None:
        gamma = DenseRecorder(np.random.default_rng(1)).take(400, (400,), "bn1 gamma")
        assert np.mean(gamma) == pytest.approx(1, abs=0.02)

    def test_a_recorder_that_took_nothing(self) -> None:
        assert DenseRecorder(np.random.default_rng(1)).array().shape == (0,)

    def test_the_counter_allocates_nothing(self) -> None:
        counter = DenseCounter()
        weight = counter.take(2**36, (2**18, 2**18), "fc1 weight")
        assert (weight.shape, weight.strides, counter.position) == ((2**18, 2**18), (0, 0), 2**36)

    @pytest.mark.parametrize("source", [DenseCounter(), DenseRecorder(np.random.default_rng(1))])
    def test_both_refuse_absurd_sizes(self, source: DenseCounter | DenseRecorder) -> None:
        with pytest.raises(WeightsError, match=r"fc1 weight: .*(no dense file is so large|weights are invented)"):
            source.take(2**62, (2**31, 2**31), "fc1 weight")


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=24), counts=st.lists(st.integers(0, 4), max_size=4))
def test_any_bytes_give_floats_or_our_error(tmp_path: Path, content: bytes, counts: list[int]) -> None:
    path = tmp_path / "dense"
    path.write_bytes(content)
    try:
        dense = DenseFile.open(path)
        taken = b"".join(dense.take(count, (count,), "w").tobytes() for count in counts)
        dense.finish()
        assert taken == content
    except HugeCTR2ONNXError:
        pass
