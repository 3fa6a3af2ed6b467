"""One conversion in a process of its own: `python -m benchmarks.convert_once`, the order on stdin, the figures on stdout."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SLOTS = 26
BATCHES = (1, 64, 1024)


def write_table(order: Mapping[str, Any]) -> dict[str, Any]:
    """A model of one table: keys dense or hashed, rows in no order, as training leaves them."""
    import numpy as np

    folder, rows, width = Path(order["folder"]), int(order["rows"]), int(order["width"])
    table = folder / "model0_sparse_0.model"
    table.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    if order["keys"] == "dense":
        keys = generator.permutation(rows)
    else:
        keys = generator.permutation(np.unique(generator.integers(0, 1 << 62, rows + rows // 1000 + 64)))[:rows]
    keys.astype("<i8").tofile(table / "key")
    with open(table / "emb_vector", "wb") as file:
        for start in range(0, rows, 1 << 16):
            block = generator.standard_normal((min(1 << 16, rows - start), width), dtype=np.float32)
            file.write(block.astype("<f4", copy=False).tobytes())
    (folder / "model_dense_0.model").write_bytes(np.full(SLOTS * width + 1, 0.01, "<f4").tobytes())
    (folder / "graph.json").write_text(json.dumps(_graph(width)), encoding="utf-8")
    return {"bytes": rows * width * 4}


def _graph(width: int) -> dict[str, Any]:
    sparse = {"top": "keys", "slot_num": SLOTS, "nnz_per_slot": [1] * SLOTS, "is_fixed_length": True}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    table = {"embedding_vec_size": width, "combiner": "sum", "workspace_size_per_gpu_in_mb": 1}
    return {
        "layers": [
            {**data, "sparse": [sparse]},
            {
                "type": "DistributedSlotSparseEmbeddingHash",
                "bottom": "keys",
                "top": "emb",
                "sparse_embedding_hparam": table,
            },
            {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": SLOTS * width},
            {"type": "InnerProduct", "bottom": "flat", "top": "fc", "fc_param": {"num_output": 1}},
            {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"},
        ]
    }


def convert(order: Mapping[str, Any]) -> dict[str, Any]:
    """Compile and save. Memory is what the process takes beyond its imports, mapped pages included."""
    # What a conversion imports anyway belongs to the base.
    import onnxruntime  # noqa: F401

    from hugectr2onnx import compile
    from hugectr2onnx.backend import emitter, parity  # noqa: F401
    from hugectr2onnx.ir import graph  # noqa: F401

    folder = Path(order["folder"])
    base = _peak()
    begin = time.perf_counter()
    compiled = compile(folder / "graph.json", folder, order["level"], keys=order["strategy"], simplify=False)
    compiled_at = time.perf_counter()
    compiled.save(folder / "model.onnx", external=True)
    done = time.perf_counter()
    choice = compiled.report.key_maps[0] if compiled.report.key_maps else None
    return {
        "compile_seconds": compiled_at - begin,
        "save_seconds": done - compiled_at,
        "peak_bytes": _peak() - base,
        "stages": {stage.name: stage.seconds for stage in compiled.report.stages},
        "strategy": choice.strategy if choice else "plain",
        "why": choice.why if choice else "",
        "file_bytes": sum(path.stat().st_size for path in folder.glob("model.onnx*")),
    }


def look_up(order: Mapping[str, Any]) -> dict[str, Any]:
    """Open the model and run it on keys of the table, skewed as real ones are; private memory is told from mapped pages."""
    import numpy as np

    from hugectr2onnx.backend import runtime

    folder = Path(order["folder"])
    runtime.onnxruntime()
    before = _private()
    begin = time.perf_counter()
    options = runtime.quiet_options()
    options.intra_op_num_threads = 1
    session = runtime.open_file(folder / "model.onnx", options=options)
    opened = time.perf_counter()
    private = _private() - before
    keys = np.fromfile(folder / "model0_sparse_0.model" / "key", "<i8")
    times = {}
    for batch in BATCHES:
        places = (np.random.default_rng(batch).random((batch, SLOTS, 1)) ** 3 * len(keys)).astype(np.int64)
        times[str(batch)] = _median(session, {"keys": keys[places]})
    return {"open_seconds": opened - begin, "private_bytes": private, "microseconds": times}


def _median(session: Any, feed: Mapping[str, Any]) -> float:
    taken: list[float] = []
    for _ in range(5):
        session.run(None, feed)
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end or len(taken) < 20:
        begin = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _private() -> int:
    """Anonymous memory of this process; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def main() -> None:
    order = json.load(sys.stdin)
    verbs = {"write": write_table, "convert": convert, "look_up": look_up}
    print(json.dumps(verbs[order["verb"]](order)))


if __name__ == "__main__":
    main()
