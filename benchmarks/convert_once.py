"""One step in a process of its own: `python -m benchmarks.convert_once`, the order on stdin, the figures on stdout."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import page_cache
from benchmarks.convert_tables import TABLE


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Compile and save. Memory is what the process takes beyond its imports, mapped pages included."""
    # What a conversion imports anyway belongs to the base.
    import onnxruntime  # noqa: F401

    from hugectr2onnx import compile
    from hugectr2onnx.ir import graph  # noqa: F401

    folder, name = Path(order["folder"]), str(order["name"])
    given = {"keys": order["strategy"], "embedding": {"emb": order["format"]}, "simplify": False}
    page_cache.warm(folder, (folder / TABLE / "emb_vector").stat().st_size)
    base = _peak()
    begin = time.perf_counter()
    compiled = compile(folder / "graph.json", folder, order["level"], **given)
    compiled_at = time.perf_counter()
    compiled.save(folder / f"{name}.onnx", external=True, manifest=order["manifest"])
    done = time.perf_counter()
    choice = compiled.report.key_maps[0] if compiled.report.key_maps else None
    return {
        "compile_seconds": compiled_at - begin,
        "save_seconds": done - compiled_at,
        "peak_bytes": _peak() - base,
        "stages": {stage.name: stage.seconds for stage in compiled.report.stages},
        "strategy": choice.strategy if choice else "plain",
        "why": choice.why if choice else "",
        "max_error": compiled.report.stored[0].max_error,
        "file_bytes": sum(path.stat().st_size for path in folder.glob(f"{name}.onnx*")),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    order = json.load(sys.stdin)
    if order["verb"] == "convert":
        found = convert(order)
    elif order["verb"] == "write":
        from benchmarks.convert_tables import write_table

        found = write_table(order)
    else:
        from benchmarks.convert_lookups import look_up

        found = look_up(order)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
