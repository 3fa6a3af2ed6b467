"""Frames between a process and its child, and the loop that answers them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hugectr2onnx.backend.simplify import worker_main
from hugectr2onnx.backend.simplify.worker_main import FAILED, OK, FrameError, read_frame, serve, write_frame


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test closed it


def test_a_frame_is_the_magic_the_length_and_the_pieces(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    write_frame(writer, b"\x00", b"answer")
    assert os.read(reader, 100) == b"H2OF" + (7).to_bytes(8, "big") + b"\x00answer"


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 100])
def test_what_is_written_is_read(content: bytes, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    write_frame(writer, content)
    write_frame(writer, b"next")
    assert (read_frame(reader), read_frame(reader)) == (content, b"next")


@pytest.mark.parametrize("content", [b"", b"H2", b"H2OF" + (5).to_bytes(8, "big") + b"1234"])
def test_a_pipe_that_ends_within_a_frame(content: bytes, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, content)
    os.close(writer)
    with pytest.raises(EOFError, match=r"the pipe ended after \d+ of \d+ bytes"):
        read_frame(reader)


@pytest.mark.parametrize("header", [b"hello, world", b"H2OF" + b"\xff" * 8])
def test_what_is_not_a_frame(header: bytes, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, header)
    with pytest.raises(FrameError, match="expected a frame, found the bytes"):
        read_frame(reader)


def test_a_frame_above_the_limit_is_not_read(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    write_frame(writer, b"12345")
    with pytest.raises(FrameError, match="expected a frame"):
        read_frame(reader, limit=4)


def test_each_request_has_an_answer_and_a_failure_does_not_end_the_loop(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The limit is that of the process that serves, which is the one that runs the tests here.
    monkeypatch.setattr(worker_main, "limit_cpu_time", lambda: None)

    def shout(request: bytes) -> bytes:
        if request == b"bad":
            raise ValueError("no such word")
        return request.upper()

    reader, writer = pipe
    requests, asking = os.pipe()
    for request in (b"one", b"bad", b"two"):
        write_frame(asking, request)
    os.close(asking)
    serve(requests, writer, shout)
    os.close(requests)
    assert read_frame(reader) == OK + b"ONE"
    assert read_frame(reader) == FAILED + b"ValueError: no such word"
    assert read_frame(reader) == OK + b"TWO"
