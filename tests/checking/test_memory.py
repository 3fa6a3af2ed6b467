"""`max_memory`: what would take more is refused before the work, and what is let pass keeps to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.cli import main
from hugectr2onnx.errors import OptionError

BASE = 300 << 20
"""What compiling takes beyond keys and dense weights, by the forecast."""


def write(folder: Path, keys: np.ndarray, width: int = 4) -> tuple[Path, Path]:
    sparse = [{"top": "keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}]
    hparam = {"embedding_vec_size": width, "combiner": "sum"}
    layers = [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 0},
            "sparse": sparse,
        },
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": hparam,
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": width},
    ]
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    (folder / "m_dense_0.model").write_bytes(b"")
    (folder / "m0_sparse_0.model").mkdir()
    keys.astype("<i8").tofile(folder / "m0_sparse_0.model" / "key")
    np.ones((len(keys), width), "<f4").tofile(folder / "m0_sparse_0.model" / "emb_vector")
    return folder / "m.json", folder


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that a compilation got to."""
    stages: list[str] = []
    monkeypatch.setattr("hugectr2onnx.passes.run", lambda *_, **__: stages.append("passes") or ())
    return stages


def test_by_the_sizes_of_the_files_alone(tmp_path: Path, reached: list[str]) -> None:
    """16 bytes a key is the least that any key map takes; the vectors may be garbage, nothing has opened them."""
    model = write(tmp_path, np.arange(1000) << 40)
    (tmp_path / "m0_sparse_0.model" / "key").write_bytes(b"123")
    with pytest.raises(OptionError) as caught:
        hugectr2onnx.compile(*model, max_memory=BASE + 15_999)
    assert str(caught.value) == (
        f"compiling takes at least {BASE + 16_000:,} bytes of memory and max_memory={BASE + 15_999} allows less: raise it, "
        "keep fewer keys, or feed the vectors with convert_embedding=False"
    )
    assert reached == []


@pytest.mark.parametrize(("keys", "each"), [("label-encoder", 100), ("perfect-hash", 48)])
def test_by_the_key_maps(keys: str, each: int, tmp_path: Path, reached: list[str]) -> None:
    model = write(tmp_path, np.arange(1000) << 40)
    allowed = BASE + each * 1000
    with pytest.raises(OptionError, match=f"takes about {allowed:,} bytes of memory"):
        hugectr2onnx.compile(*model, keys=keys, max_memory=allowed - 1)
    assert reached == []
    hugectr2onnx.compile(*model, keys=keys, max_memory=allowed, check=False)
    assert reached == ["passes"]


@pytest.mark.parametrize("value", [0, -1, 1.5, "2GB", True])
def test_limits_that_are_none(value: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="max_memory"):
        hugectr2onnx.compile(*write(tmp_path, np.arange(3)), max_memory=value)


def test_check_tells_it_too(tmp_path: Path) -> None:
    model = write(tmp_path, np.arange(1000) << 40)
    report = hugectr2onnx.check(*model, max_memory=BASE + 99_999)
    assert [problem.kind for problem in report.problems] == ["OptionError"]
    assert f"takes about {BASE + 100_000:,} bytes of memory" in report.problems[0].message
    assert hugectr2onnx.check(*model, max_memory=BASE + 100_000).ok


def test_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, weights = write(tmp_path, np.arange(3))
    arguments = ["compile", str(graph), "--weights", str(weights), "-o", str(tmp_path / "m.onnx")]
    assert main([*arguments, "--max-memory", "100MB"]) == 2
    assert "--max-memory 100000000 allows less" in capsys.readouterr().err
    assert main([*arguments, "--max-memory", "1GB", "-q"]) == 0
    assert main([*arguments, "--max-memory", "much"]) == 2


HELD = """
import resource, sys
import onnxruntime
import hugectr2onnx
from hugectr2onnx import compiler, passes

mapped, allowed = map(int, sys.argv[3:5])
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + mapped + allowed,) * 2)
compiled = hugectr2onnx.compile(sys.argv[1], sys.argv[2], max_memory=allowed, keys=sys.argv[5], simplify=False)
compiled.save(sys.argv[1] + ".onnx", external=True)
"""
"""Compile with an address space of what the imports take, the mapped files, and the memory that is allowed."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space as Linux counts it")
@pytest.mark.parametrize(("keys", "each"), [("direct", 16), ("perfect-hash", 48), ("label-encoder", 100)])
def test_what_is_let_pass_keeps_to_it(keys: str, each: int, tmp_path: Path) -> None:
    count, width = 1_000_000, 16
    graph, weights = write(tmp_path, np.random.default_rng(0).permutation(count), width)
    mapped, allowed = count * (8 + 4 * width), BASE + each * count
    done = subprocess.run(
        [sys.executable, "-c", HELD, str(graph), str(weights), str(mapped), str(allowed), keys],
        capture_output=True,
        text=True,
        check=False,
        # Address space that glibc reserves for each thread and never touches is no memory.
        env={**os.environ, "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "m.json.onnx").exists()
