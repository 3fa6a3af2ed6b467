"""Describe the machine of a measurement: processor, versions and date; no host names and no paths."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("hugectr2onnx", "numpy", "onnx", "onnxruntime", "onnxsim", "networkx")


def describe() -> dict[str, Any]:
    """JSON-ready; `load` is the number of busy processes when the measurement began."""
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def caption(machine: Mapping[str, Any]) -> str:
    """Return one line for below a plot: processor, cores, onnxruntime and date."""
    runtime = machine["versions"].get("onnxruntime")
    parts = [
        machine["cpu"],
        f"{machine['cores']} cores",
        f"onnxruntime {runtime}" if runtime else "",
        machine.get("date"),
    ]
    return ", ".join(part for part in parts if part)
