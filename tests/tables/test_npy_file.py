"""numpy files are read as far as they are what their header says, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.tables import npy_file
from hugectr2onnx.tables.npy_file import read_npy


def header(shape: str, descr: str = "'<i8'", order: str = "False") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"


@pytest.mark.parametrize("limit", [0, 1 << 20], ids=["mapped", "read"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_or_mapped(tmp_path, monkeypatch, limit, order):
    monkeypatch.setattr(npy_file, "MAX_READ", limit)
    array = np.array([[1, 2, 3], [4, 5, 6]], order=order)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", FeedError, "keys"), array)


@pytest.mark.parametrize(
    "content, message",
    [
        (header("(1000000000000000000,)") + bytes(8), "its header announces 8,000,000,000,000,000,000 bytes, and 8 follow"),
        (header("(10,)") + bytes(79), "truncated: its header announces 80 bytes, and 79 follow"),
        (header("(-1,)") + bytes(8), r"announces the shape \(-1,\)"),
        (header("(" + "1," * 40 + ")") + bytes(8), "announces the shape"),
        (header("(1,)", "'|O'") + bytes(8), "holds Python objects, which are not read"),
        (header("(1,") + bytes(8), "cannot be read as .npy"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "cannot be read as .npy"),
        (b"", "cannot be read as .npy"),
    ],
)  # fmt: skip
def test_a_damaged_header_is_refused(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FeedError, match=message):
        read_npy(tmp_path / "a.npy", FeedError, "keys")


def test_an_array_of_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.empty((0, 3)))
    assert read_npy(tmp_path / "a.npy", FeedError, "keys").shape == (0, 3)
