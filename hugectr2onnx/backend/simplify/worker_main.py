"""The child process that runs onnxsim: `python -m hugectr2onnx.backend.simplify.worker_main`, frames in, frames out.

A request is a frame with a serialised ModelProto. A reply is a frame with one status byte, then the simplified model or
the text of the failure. A frame is the magic, the length as eight bytes (big-endian) and the payload. The process ends
when its standard input does, so it cannot outlive its parent. It imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

FRAME_MAGIC = b"H2OF"
HEADER_SIZE = len(FRAME_MAGIC) + 8
OK, FAILED = b"\x00", b"\x01"
MEMORY_LIMIT = 4 << 30
CPU_SECONDS = 300
FOLDING_LIMIT = "64KB"
"""Folding a constant may not make a tensor larger than this: expanded weights would undo what sharing them saves."""


class FrameError(Exception):
    """The bytes that were read are not a frame."""


def write_frame(pipe: int, *pieces: bytes | memoryview) -> None:
    """Write one frame to a file descriptor, the pieces after one another."""
    header = FRAME_MAGIC + sum(map(len, pieces)).to_bytes(8, "big")
    for piece in (header, *pieces):
        view = memoryview(piece)
        while view:
            view = view[os.write(pipe, view) :]


def read_frame(pipe: int, limit: int = 1 << 31) -> bytearray:
    """Read one frame. Raises EOFError where the pipe ends, FrameError for bytes that are not a frame."""
    header = _read_exactly(pipe, len(FRAME_MAGIC) + 8)
    size = int.from_bytes(header[len(FRAME_MAGIC) :], "big")
    if not header.startswith(FRAME_MAGIC) or size > limit:
        raise FrameError(f"expected a frame, found the bytes {bytes(header)!r}")
    return _read_exactly(pipe, size)


def _read_exactly(pipe: int, size: int) -> bytearray:
    content = bytearray()
    while len(content) < size:
        piece = os.read(pipe, min(size - len(content), 1 << 20))
        if not piece:
            raise EOFError(f"the pipe ended after {len(content)} of {size} bytes")
        content += piece
    return content


def serve(requests: int, replies: int, simplify: Callable[[bytes], bytes]) -> None:
    """Answer requests until they end."""
    while True:
        try:
            request = read_frame(requests)
        except EOFError:
            return
        limit_cpu_time()
        try:
            status, answer = OK, simplify(bytes(request))
        except Exception as error:
            status, answer = FAILED, f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]
        write_frame(replies, status, answer)


def limit_memory() -> None:
    """Let this process have `MEMORY_LIMIT` bytes of address space, and leave no core file."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


def limit_cpu_time() -> None:
    """Let this process use `CPU_SECONDS` more: renewed for each request, for the system counts from its start."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = int(sum(os.times()[:2])) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def load_onnxsim() -> Callable[[bytes], bytes]:
    """Return the function that simplifies a serialised model; where onnxsim cannot be imported, one that says so."""
    try:
        import onnx
        import onnxsim
    except Exception as error:
        reason = f"onnxsim cannot be imported ({type(error).__name__}: {error})"

        def refuse(model: bytes) -> bytes:
            raise RuntimeError(reason)

        return refuse

    def simplify(model: bytes) -> bytes:
        # check_n=0: its random integers are all zero and compare nothing; the caller checks the result itself.
        result, valid = onnxsim.simplify(onnx.load_from_string(model), check_n=0, tensor_size_threshold=FOLDING_LIMIT)
        if not valid:
            raise RuntimeError("onnxsim made a model that is not valid")
        return bytes(result.SerializeToString(deterministic=True))

    return simplify


def end_with_parent() -> None:
    """Let Linux end this process when its parent does, even while it is stopped or busy."""
    with contextlib.suppress(Exception):
        import ctypes
        import signal

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)


def main() -> None:
    """Serve on what was standard input and output; whatever libraries print goes nowhere."""
    end_with_parent()
    replies = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    limit_memory()
    # The parent may close its end at any moment: that is how it ends this process.
    with contextlib.suppress(BrokenPipeError, FrameError):
        serve(0, replies, load_onnxsim())
    os._exit(0)


if __name__ == "__main__":
    main()
