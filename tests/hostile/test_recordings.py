"""Recordings that are no archives, or archives of more than they seem to hold: refused before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.datasets import recorded_predictions
from hugectr2onnx.datasets.recorded_predictions import load_arrays, read_samples
from hugectr2onnx.errors import FeedError


class OneInput:
    """The interface of a model: `x` in, `y` out."""

    class Entry:
        def __init__(self, name: str) -> None:
            self.name, self.type, self.shape = name, "tensor(float)", ["N", 1]

    def get_inputs(self) -> list[Entry]:
        return [self.Entry("x")]

    def get_outputs(self) -> list[Entry]:
        return [self.Entry("y")]


def test_zeros_that_unpack_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_predictions, "MAX_UNPACKED", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1 << 20, 1), np.float32))
    with pytest.raises(FeedError, match=r"bytes unpack to 4,194,\d+: write it uncompressed, with numpy.savez"):
        load_arrays(str(tmp_path / "bomb.npz"))


def test_large_recordings_that_hardly_shrink_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_predictions, "MAX_UNPACKED", 1 << 10)
    written = np.random.default_rng(0).random((1 << 14, 1), np.float32)
    np.savez_compressed(tmp_path / "large.npz", x=written)
    np.testing.assert_array_equal(load_arrays(str(tmp_path / "large.npz"))["x"], written)


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_a_pipe_that_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(FeedError, match=r"pipe.npz: is a pipe, expected recorded samples"):
        load_arrays(str(tmp_path / "pipe.npz"))


@pytest.mark.skipif(os.name != "posix", reason="devices are POSIX's")
def test_a_device(tmp_path: Path) -> None:
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    with pytest.raises(FeedError, match=r"zero.npz: is a device, expected recorded samples"):
        load_arrays(str(tmp_path / "zero.npz"))


def test_a_single_number_in_place_of_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "number.npz", x=np.float32(1), y=np.zeros((1, 1), np.float32))
    with pytest.raises(FeedError, match=r"number.npz: input x is float32 \[\]; the model takes float32 \[N, 1\]"):
        read_samples(tmp_path / "number.npz", OneInput())
