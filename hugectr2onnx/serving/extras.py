"""Packages of the servers, which are extras: imported late, named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hugectr2onnx.errors import UnsupportedError


def require(module: str, extra: str) -> Any:
    """Import a module. Raises UnsupportedError, which names the extra, where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise UnsupportedError(f"this needs {package}: pip install 'hugectr2onnx[{extra}]'") from None
