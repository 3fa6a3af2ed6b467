"""One compilation in a process of its own: `python -m benchmarks.compile_once`, the order on stdin, the figures on stdout.

Peak memory is that of this process, which holds nothing before, and of the child in which onnxsim runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write a sample; the figures are its bytes on disk."""
    from hugectr2onnx.sample_models import write_sample

    folder = Path(order["folder"])
    write_sample(order["model"], folder, scale=order["scale"], rows=order["rows"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"bytes": sum(path.stat().st_size for path in files)}


def compile_one(order: Mapping[str, Any]) -> dict[str, Any]:
    """Compile a sample; importing is timed apart from it."""
    begin = time.perf_counter()
    from hugectr2onnx import compile

    folder = Path(order["folder"])
    imported = time.perf_counter()
    base = peak_bytes()
    compiled = compile(
        folder / f"{order['model']}.json", folder, order["level"], check=order["check"], simplify=order["check"]
    )
    done = time.perf_counter()
    report = compiled.report.to_dict()
    return {
        "seconds": done - imported,
        "import_seconds": imported - begin,
        "import_peak_bytes": base,
        "peak_bytes": peak_bytes(),
        "child_peak_bytes": _child_peak_bytes(),
        "stages": report["stages"],
        "ops_before": report["ops_before"],
        "ops_after": report["ops_after"],
        "nodes": report["onnx_nodes"],
        "tables": report["tables"],
        "simplify": report["simplify"],
    }


def peak_bytes() -> int | None:
    """The largest resident size of this program; getrusage would count what it was before exec, where Linux can tell."""
    from hugectr2onnx.report import peak_memory

    return _high_water_mark("self") or peak_memory()


def _child_peak_bytes() -> int | None:
    """Peak memory of the process in which onnxsim runs; None without such a process."""
    from hugectr2onnx.backend.simplify.worker import SHARED

    return _high_water_mark(str(SHARED.pid)) if SHARED.pid is not None else None


def _high_water_mark(process: str) -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def main() -> None:
    order = json.load(sys.stdin)
    print(json.dumps(write(order) if order["verb"] == "write" else compile_one(order)))


if __name__ == "__main__":
    main()
