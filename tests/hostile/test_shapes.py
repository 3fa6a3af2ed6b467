"""Absurd sizes: refused by a sentence, before anything of that size is allocated.

All graphs are compiled in one process that may allocate 2 GiB and has seconds for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Case = tuple[list[dict[str, Any]], str]
HUGE = 2**31 - 1


def data(dense: int = 8, slots: int = 0, nnz: Any = 1, label: int = 1) -> dict[str, Any]:
    sparse = [{"top": "keys", "slot_num": slots, "nnz_per_slot": nnz, "is_fixed_length": True}] if slots else []
    return {
        "type": "Data",
        "label": {"top": "label", "label_dim": label},
        "dense": {"top": "dense", "dense_dim": dense},
        "sparse": sparse,
    }


def layer(type: str, bottom: Any = "dense", top: Any = "y", **params: Any) -> dict[str, Any]:
    return {"type": type, "bottom": bottom, "top": top, **params}


def embedding(vec: int, **more: Any) -> dict[str, Any]:
    hparam = {"embedding_vec_size": vec, "combiner": "sum", **more}
    return layer("DistributedSlotSparseEmbeddingHash", "keys", "emb", sparse_embedding_hparam=hparam)


def reshaped(*dims: int) -> dict[str, Any]:
    """dense as [N, dims]"""
    time, leading = dims if len(dims) == 2 else (0, dims[0])
    return layer("Reshape", "dense", "x", leading_dim=leading, time_step=time)


def one(*layers: dict[str, Any], dense: int = 8) -> list[dict[str, Any]]:
    return [data(dense), *layers]


CASES: dict[str, Case] = {
    # Data and embeddings
    "dense_dim": ([data(HUGE), layer("ReLU")], "layers[0].dense.dense_dim: expected an integer"),
    "label_dim": ([data(label=HUGE), layer("ReLU")], "layers[0].label.label_dim: expected an integer"),
    "slot_num": ([data(slots=HUGE), embedding(4)], "layers[0].sparse[0].slot_num: expected an integer"),
    "nnz": ([data(slots=1, nnz=HUGE), embedding(4)], "layers[0].sparse: expected at most"),
    "vec_size": ([data(slots=1), embedding(HUGE)], "embedding_vec_size: expected an integer"),
    "vec_size times slots": ([data(slots=1 << 20), embedding(1 << 20)], "floats a sample in 1048576 slots"),
    "vec_size times nnz": ([data(slots=1, nnz=1 << 20), embedding(1 << 20)], "floats a sample before pooling"),
    "vectors before pooling": ([data(slots=1, nnz=1 << 19), embedding(256)], "floats a sample before pooling"),
    # Weights that no file holds
    "num_output": (one(layer("InnerProduct", fc_param={"num_output": HUGE})), "needs 17179869176 floats"),
    "fused num_output": (one(layer("FusedInnerProduct", fc_param={"num_output": HUGE})), "needs 17179869176 floats"),
    "num_outputs": (one(layer("MLP", mlp_param={"num_outputs": [HUGE, HUGE]})), "needs 17179869176 floats"),
    "weight_dims": (one(layer("WeightMultiply", weight_dims=[8, HUGE])), "needs 17179869176 floats"),
    "num_layers": (one(layer("MultiCross", mc_param={"num_layers": HUGE})), "num_layers"),
    "projection_dim": (
        one(layer("MultiCross", mc_param={"num_layers": 1, "projection_dim": HUGE})),
        "needs 17179869176 floats",
    ),
    "GRU num_output": (
        one(layer("GRU", gru_param={"num_output": HUGE, "batchsize": 1, "SeqLength": 1, "vector_size": 8})),
        "floats",
    ),
    "GRU batchsize": (
        one(layer("GRU", gru_param={"num_output": 1, "batchsize": HUGE, "SeqLength": 1, "vector_size": 8})),
        "floats",
    ),
    "GRU SeqLength": (
        one(layer("GRU", gru_param={"num_output": 1, "batchsize": 1, "SeqLength": HUGE, "vector_size": 8})),
        "SeqLength",
    ),
    "GRU vector_size": (
        one(layer("GRU", gru_param={"num_output": 1, "batchsize": 1, "SeqLength": 1, "vector_size": HUGE})),
        "floats",
    ),
    # Results larger than any model's
    "Scale": (one(layer("Scale", scale_param={"axis": 0, "factor": 1e9})), "Scale has a factor of 1000000000.0"),
    "Scale of Scale": (
        one(
            layer("Scale", "dense", "x", scale_param={"axis": 0, "factor": 60000}),
            layer("Scale", "x", "y", scale_param={"axis": 0, "factor": 60000}),
        ),
        "elements for each sample",
    ),
    "max_sequence_len": (
        one(layer("SequenceMask", max_sequence_len=HUGE), dense=1),
        "a mask of 1 x 2147483647 positions",
    ),
    "max_sequence_len_from": (
        one(layer("SequenceMask", ["dense", "dense"], max_sequence_len_from=HUGE, max_sequence_len_to=HUGE), dense=1),
        "a mask of",
    ),
    "outer product": (
        one(
            layer("Scale", "dense", "wide", scale_param={"axis": 0, "factor": 4096}),
            layer("Reshape", "wide", "column", leading_dim=1, time_step=8 * 4096),
            layer("Reshape", "wide", "row", leading_dim=8 * 4096, time_step=1),
            layer("MatrixMultiply", ["column", "row"]),
        ),
        "elements for each sample",
    ),
    # Ranges, positions and divisions
    "Slice beyond": (one(layer("Slice", top=["a", "b"], ranges=[[0, 4], [4, HUGE]])), "does not lie within the 8"),
    "Slice empty": (one(layer("Slice", top=["a"], ranges=[[3, 3]])), "layers[1].ranges[0]: the range [3, 3) is empty"),
    "Slice negative": (one(layer("Slice", top=["a"], ranges=[[-2, 3]])), "layers[1].ranges[0]"),
    "Select beyond": (one(layer("Select", dim=1, index=[HUGE])), "positions [2147483647] cannot be taken"),
    "Select dim": (one(layer("Select", dim=HUGE, index=[0])), "has no axis 2147483647"),
    "Reshape to nothing": (one(layer("Reshape", leading_dim=0, time_step=3)), "leading_dim 0 with time_step 3"),
    "Reshape negative": (one(layer("Reshape", leading_dim=-8)), "layers[1].leading_dim"),
    "Reshape selected": (
        [data(slots=2), embedding(4), layer("Reshape", "emb", selected=[0, HUGE])],
        "positions [0, 2147483647] cannot be taken",
    ),
    "heads": (
        one(reshaped(2, 4), layer("MultiHeadAttention", ["x", "x", "x"], num_attention_heads=3)),
        "cannot be shared evenly by 3 attention heads",
    ),
    "too many heads": (
        one(reshaped(2, 4), layer("MultiHeadAttention", ["x", "x", "x"], num_attention_heads=HUGE)),
        "cannot be shared evenly by 2147483647 attention heads",
    ),
    "Concat of ranks": (one(reshaped(2, 4), layer("Concat", ["x", "dense"])), "bottoms all 2D or all 3D"),
    "Concat of heights": (
        one(
            reshaped(2, 4),
            layer("Reshape", "dense", "z", leading_dim=2, time_step=4),
            layer("Concat", ["x", "z"], axis=2),
        ),
        "cannot be joined along axis 2",
    ),
    "reduce axis": (one(layer("ReduceSum", axis=HUGE)), "no axis 2147483647"),
    "out_dim": (one(layer("FmOrder2", out_dim=HUGE)), "out_dim is 2147483647"),
    # Batches that no parity feed can have
    "Reshape to one wide row": (
        one(layer("Reshape", "dense", "x", leading_dim=HUGE), layer("Reshape", "x", "y", leading_dim=8)),
        "batches of 2147483647 samples",
    ),
    "Gather": (one(layer("Gather", indices=[HUGE])), "batches of 2147483648 samples"),
    "Reshapes of coprime widths": (
        one(*[layer("Reshape", "dense", f"y{p}", leading_dim=p) for p in (9973, 9967, 9949, 9941)]),
        "takes batches of",
    ),
    "GRU of many steps": (
        [
            data(1 << 24),
            layer("GRU", gru_param={"num_output": 1, "batchsize": 1, "SeqLength": 1 << 24, "vector_size": 1}),
        ],
        "gru_param.SeqLength: expected at most 16384, found 16777216",
    ),
}
LARGE: dict[str, list[dict[str, Any]]] = {
    "many wide layers": [data(1 << 20), *[layer("ReLU", f"y{i}" if i else "dense", f"y{i + 1}") for i in range(60)]],
    "a long sequence": one(layer("SequenceMask", max_sequence_len=1 << 20), dense=1),
    "many gathered vectors": [data(slots=1, nnz=1 << 16), embedding(4)],
    "a batch of thousands": one(
        layer("Reshape", "dense", "x", leading_dim=9973), layer("Reshape", "x", "y", leading_dim=8)
    ),
}
"""What is large for good reasons, and fits."""

FLOATS = {"GRU SeqLength": 31, "GRU of many steps": 10}
"""What the dense file holds, where it is not empty."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the error says in a process with little memory, by case; the table and the dense file are small."""
    folder = tmp_path_factory.mktemp("model")
    table = folder / "model0_sparse_0.model"
    table.mkdir()
    (table / "key").write_bytes(np.arange(3, dtype="<i8").tobytes())
    (table / "emb_vector").write_bytes(np.zeros((3, 4), "<f4").tobytes())
    cases = {}
    for name, layers in [*((name, case[0]) for name, case in CASES.items()), *LARGE.items()]:
        dense = folder / f"{FLOATS.get(name, 0)} floats"
        dense.write_bytes(bytes(4 * FLOATS.get(name, 0)))
        tables = [str(table) for item in layers if "Embedding" in item["type"]]
        cases[name] = {"graph": {"layers": layers}, "weights": {"dense": str(dense), "sparse": tables}}
    script = Path(__file__).parent / "limited.py"
    run = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", CASES)
def test_an_absurd_size_is_refused(name: str, outcomes: dict[str, str]) -> None:
    assert not outcomes[name].startswith(("escaped", "blames", "compiled")), outcomes[name]
    assert CASES[name][1] in outcomes[name]


@pytest.mark.parametrize("name", LARGE)
def test_a_large_size_fits(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name].startswith("compiled")
