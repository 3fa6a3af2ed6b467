"""Only regular files are opened, at once, and a message says what stands in their place."""

from __future__ import annotations

import os
import socket

import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.tables.regular_file import MAX_SHOWN, open_regular, read_regular, shown


def test_a_regular_file_is_opened(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    with open_regular(tmp_path / "a.bin", FeedError) as file:
        assert file.read() == b"12345"


def test_links_are_followed(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a.bin")
    assert read_regular(tmp_path / "link", FeedError, max_bytes=5) == b"12345"


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FeedError, match="pipe: is a pipe, expected an ONNX file"):
        open_regular(tmp_path / "pipe", FeedError, "an ONNX file")


def test_a_link_to_a_device_is_refused(tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(FeedError, match="zero: is a device, expected a file"):
        open_regular(tmp_path / "zero", FeedError)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(FeedError, match="is a folder, expected a file"):
        open_regular(tmp_path, FeedError)


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(FeedError, match="s: is a socket, expected a file"):
            open_regular("s", FeedError)


def test_a_path_that_becomes_a_pipe_before_it_is_opened_does_not_block(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe")
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: real(tmp_path / "pipe", flags))
    with pytest.raises(FeedError, match="a: is a pipe, expected a file"):
        open_regular(tmp_path / "a", FeedError)


@pytest.mark.parametrize("given", [None, 0, 1.5, b"model.onnx", ["model.onnx"]])
def test_what_is_not_a_path_is_refused(given):
    with pytest.raises(FeedError, match=r"is not a path: give the path of a file as a str or a pathlib\.Path"):
        open_regular(given, FeedError)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FeedError, match=r"nothing\.onnx: no such file, expected an ONNX file"):
        open_regular(tmp_path / "nothing.onnx", FeedError, "an ONNX file")


def test_a_path_with_a_null_byte_is_refused():
    with pytest.raises(FeedError, match=r"cannot be read: (stat: )?embedded null"):  # Python 3.13 names the call
        open_regular("a\0b", FeedError)


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FeedError, match=r"large: has 1,099,511,627,776 bytes, a manifest has at most 1,000"):
        read_regular(tmp_path / "large", FeedError, "a manifest", max_bytes=1000)


def test_no_descriptor_stays_open_after_a_refusal(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FeedError, match=r"a: has 5 bytes, a file has at most 2"):
        open_regular(tmp_path / "a", FeedError, max_bytes=2)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_long_or_broken_name_is_cut_in_a_message():
    assert len(shown("x" * 5000)) <= MAX_SHOWN + 3
    assert shown("a\nb\x1b[31m") == r"a\nb\x1b[31m"
    assert len(shown("\x00" * 5000)) <= MAX_SHOWN + 3
