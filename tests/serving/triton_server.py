"""A real `tritonserver`, from the wheel of nvidia-pytriton, with its Python backend in this environment."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .conftest import process, wait_until_ready

ROOT = Path(__file__).parents[2]


def missing() -> str:
    """Why there is no Triton here; empty where there is one."""
    if find_spec("pytriton") is None:
        return "nvidia-pytriton is not installed, whose wheel holds tritonserver"
    if sys.version_info < (3, 12):
        return "the Python backend of nvidia-pytriton's wheel needs Python 3.12"
    return "" if (_wheel() / "bin/tritonserver").exists() else "this wheel of nvidia-pytriton has no tritonserver"


def _wheel() -> Path:
    spec = find_spec("pytriton")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tritonserver"


@dataclass(frozen=True)
class Triton:
    """A server that runs, on ports of this machine."""

    process: Any
    http: str
    grpc: str
    metrics: str
    log: Path


@contextmanager
def running(repository: Path, scratch: Path, *models: str) -> Iterator[Triton]:
    """Start tritonserver on a repository and wait until its models are ready; it ends with the block.

    Models are loaded by name and when they are asked for (`explicit`), so that a test can load them again.
    """
    ports = _free_ports(3)
    log = scratch / "triton.log"
    command = [
        str(_wheel() / "bin/tritonserver"), f"--model-repository={repository}",
        f"--backend-directory={_backends(scratch)}", "--model-control-mode=explicit",
        "--http-address=127.0.0.1", f"--http-port={ports[0]}", "--grpc-address=127.0.0.1", f"--grpc-port={ports[1]}",
        "--metrics-address=127.0.0.1", f"--metrics-port={ports[2]}", "--allow-gpu-metrics=false",
        f"--log-file={log}", *(f"--load-model={name}" for name in models),
    ]  # fmt: skip
    with process(*command, env=_environment()) as started:
        try:
            for name in models:
                wait_until_ready(f"http://127.0.0.1:{ports[0]}/v2/models/{name}/ready", 60)
        except AssertionError as error:
            error.add_note(log.read_text(errors="replace")[-4000:] if log.exists() else "no log")
            raise
        yield Triton(started, *(f"127.0.0.1:{port}" for port in ports), log)


def _backends(scratch: Path) -> Path:
    """The Python backend with the stub of this Python's version beside it."""
    folder = scratch / "backends" / "python"
    if not folder.exists():
        shutil.copytree(_wheel() / "backends/python", folder)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copy(_wheel() / "python_backend_stubs" / version / "triton_python_backend_stub", folder)
        # The stub's interpreter heeds no PYTHONPATH and knows nothing of virtual environments.
        entry = folder / "triton_python_backend_utils.py"
        paths = [str(ROOT), sysconfig.get_path("purelib")]
        entry.write_text(f"import sys\n\nsys.path[:0] = {paths!r}\n{entry.read_text()}")
    return folder.parent


def _environment() -> dict[str, str]:
    libraries = [sysconfig.get_config_var("LIBDIR"), str(Path(sysconfig.get_path("purelib")) / "nvidia_pytriton.libs")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "ORT_DISABLE_TELEMETRY": "1"}


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in listeners]
    for each in listeners:
        each.close()
    return ports
