"""Fuzzing guided by coverage, with atheris: bytes that reach new lines of a reader are kept and changed further.

python -m fuzz coverage --target json --minutes 1

The first finding ends the run; its bytes are in the folder of the findings. atheris comes with the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MAX_SECONDS = 8
MAX_MEGABYTES = 2048
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Target:
    """A reader of bytes, and inputs to begin with."""

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]


def _graphs() -> list[bytes]:
    from fuzz.models import MODELS

    return [json.dumps({"layers": layers}).encode() for layers in MODELS.values()]


def _read_json(data: bytes, folder: Path) -> None:
    from hugectr2onnx.errors import GraphJsonError
    from hugectr2onnx.frontend.graph_json import json_text

    json_text.parse(data.decode("utf-8", "replace"), "a text", GraphJsonError, c_constants=len(data) % 2 == 1)


def _read_graph(data: bytes, folder: Path) -> None:
    from hugectr2onnx.frontend.graph_json import reader
    from hugectr2onnx.frontend.layers.layer import REGISTRY

    reader.read(_written(folder / "graph.json", data), REGISTRY.keys())


def _read_sparse(data: bytes, folder: Path) -> None:
    """The first byte says how wide the rows are and where the keys end."""
    from hugectr2onnx.frontend.weights.sparse_table import open_table

    width, keys = 1 + data[0] % 4 if data else 1, (len(data) // (8 + 4 * (1 + data[0] % 4)) * 8 if data else 0)
    content = data[1:]
    table = folder / "table"
    table.mkdir(exist_ok=True)
    _written(table / "key", content[:keys])
    _written(table / "emb_vector", content[keys:])
    single = _written(folder / "single.model", content)
    for path in (table, single):
        found = open_table(path, width, "DistributedSlotSparseEmbeddingHash")
        bytes(found.keys.tobytes() + found.vectors.tobytes())


def _read_dense(data: bytes, folder: Path) -> None:
    """The dense file and, behind the last zero byte but one, its statistics."""
    import hugectr2onnx
    from fuzz.models import GRAPH, MODELS

    _written(folder / GRAPH, json.dumps({"layers": MODELS["tasks"]}).encode())
    hugectr2onnx.check(folder / GRAPH, hugectr2onnx.Weights(_written(folder / "tasks_dense_1.model", data)))


def _read_onnx(data: bytes, folder: Path) -> None:
    from hugectr2onnx.inspection.onnx_model import inspect_onnx

    inspect_onnx(_written(folder / "model.onnx", data)).to_dict()


def _onnx_seeds() -> list[bytes]:
    from fuzz.targets import MODEL, saved_model

    return [saved_model(keys)[MODEL] for keys in ("auto", "indices")]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


TARGETS: Mapping[str, Target] = {
    "json": Target(_read_json, _graphs),
    "graph": Target(_read_graph, _graphs),
    "sparse": Target(_read_sparse, lambda: [bytes(range(1 + 36)), bytes(41)]),
    "dense": Target(_read_dense, lambda: [bytes(4 * 64), bytes(4 * 513)]),
    "onnx": Target(_read_onnx, _onnx_seeds),
}


def main(argv: Sequence[str]) -> int:
    """Fuzz one target until the time is over or something is found; 2 without atheris. Otherwise libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m fuzz coverage", description="Fuzz one reader, guided by coverage.")
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--minutes", type=float, default=1, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", default="findings", metavar="FOLDER", help="where inputs that fail go")
    arguments = parser.parse_args(argv)
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print(
            "atheris is not installed: pip install 'hugectr2onnx[fuzz]' (Linux, Python 3.11 to 3.13)", file=sys.stderr
        )
        return 2
    with atheris.instrument_imports(include=["hugectr2onnx"]):
        from fuzz.targets import judged
    target = TARGETS[arguments.target]
    with TemporaryDirectory(prefix="fuzz-") as name:
        corpus, scratch = Path(name, "corpus"), Path(name, "scratch")
        corpus.mkdir()
        scratch.mkdir()
        for number, seed in enumerate(target.seeds()):
            _written(corpus / str(number), seed)
        Path(arguments.findings).mkdir(parents=True, exist_ok=True)
        limits = [f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEGABYTES}", f"-max_len={MAX_BYTES}"]
        ends = [f"-max_total_time={round(60 * arguments.minutes)}", f"-seed={arguments.seed}", "-print_final_stats=1"]
        places = [f"-artifact_prefix={arguments.findings}/{arguments.target}-", str(corpus)]
        atheris.Setup(["fuzz", *limits, *ends, *places], lambda data: judged(lambda: target.read(data, scratch)))
        atheris.Fuzz()
    return 0
