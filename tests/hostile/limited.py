"""Compiles the graphs that standard input holds, with little memory and little time for each; prints what became of it.

Run as a program by the tests: input and output are JSON. Only memory that is really asked for counts, not what the
libraries have reserved before.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import warnings

import onnxruntime  # noqa: F401  its threads and libraries are not to count

import hugectr2onnx

ALLOWED = 2 << 30
SECONDS = 15
"""Of processor time, for what should take a fraction of one; it keeps a hang from stopping the suite."""


class TookTooLong(BaseException):
    """Not an Exception, so that nothing takes it for a failure of its own."""


def stop(*_: object) -> None:
    raise TookTooLong


def reserved() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def outcome(case: dict[str, object]) -> str:
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        compiled = hugectr2onnx.compile(simplify=False, opt_level=0, **case)  # type: ignore[arg-type]
    except (hugectr2onnx.CompilerError, hugectr2onnx.ParityError) as error:
        return f"blames the compiler: {error!r}"
    except hugectr2onnx.HugeCTR2ONNXError as error:
        return error.describe()
    except BaseException as error:
        return f"escaped: {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return f"compiled: {compiled!r}"


if __name__ == "__main__":
    warnings.simplefilter("error")
    signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (reserved() + ALLOWED,) * 2)
    cases = json.load(sys.stdin)
    json.dump({name: outcome(case) for name, case in cases.items()}, sys.stdout)
