"""Every graph JSON that was found in public history, and every emulated one, with generated weights.

A file compiles and runs, naively and optimised, or it fails with the error that it deserves: `DESERVED` says which and
why. Tables are small: a OneHot table holds its whole vocabulary, so its `slot_size_array` is cut first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx import GraphJsonError, HugeCTR2ONNXError, MissingInformationError, ShapeError, UnsupportedError
from hugectr2onnx.sample_models import generate_weights, random_feeds

GRAPHS = Path(__file__).parents[3] / "shared" / "graphs"
FILES = sorted([*GRAPHS.glob("real/*.json"), *GRAPHS.glob("emulated/*.json")])
LEVELS = (0, 2, 3)
LARGEST_SLOT = 50

# v1.x: no Data layer in `layers` (formats 1.8, style `nosparse`).
NO_DATA_LAYER = (UnsupportedError, "HugeCTR v1.x (no Data layer")
# v1.x types in a file of the preview of v2 (formats 1.4).
OLD_EMBEDDING = (UnsupportedError, "SparseEmbedding is an embedding of HugeCTR v1.x")
# HugeCTR's dump is an empty stub for these (formats 2.4).
HYBRID = (UnsupportedError, "HugeCTR never writes the tables of this type")
# A Reshape writes what it reads: the typing error gives one name two producers (layers 1.1: names are unique).
TWICE = (GraphJsonError, '"reduce_item_his" is produced twice')

DESERVED: dict[str, tuple[type[HugeCTR2ONNXError], str]] = {
    "v23.08.00__dgx_a100": HYBRID,
    "v23.08.00__overlapped_pipeline_test__pybind": HYBRID,
    # 2 slots of 16 numbers are reshaped to rows of 128, later 127 to rows of 10: a sample is no row any more, and the
    # losses need one prediction a sample (layers 3.19 and 3.27).
    "v4.0__mmoe_parquet": (ShapeError, "the prediction of 'labelA' has 127N/40 rows for N samples"),
    "004_nnz_int_din_fp32_1gpu": TWICE,
    "005_nnz_int_din_fp32_1gpu": TWICE,
    "058_maxfeat_simple_sparse_embedding": OLD_EMBEDDING,
    "082_maxfeat_criteo": OLD_EMBEDDING,
    # The Slice makes slice11 and slice12 (digit one), its readers want slicel1 and slicel2 (letter l).
    "069_maxfeat_dcn": (MissingInformationError, "nothing in the JSON produces 'slicel1' (did you mean"),
    # The wide embedding [N, 1, 32] goes into a Concat of 2D tensors without a Reshape (layers 3.23: ranks must agree).
    "072_maxfeat_wdl": (ShapeError, "all 2D or all 3D"),
    "085_nosparse_simple_sparse_embedding": NO_DATA_LAYER,
    "087_nosparse_simple_sparse_embedding": NO_DATA_LAYER,
    "088_nosparse_criteo_bn": NO_DATA_LAYER,
    "090_nosparse_criteo_bn": NO_DATA_LAYER,
    "092_nosparse_criteo": NO_DATA_LAYER,
    "093_nosparse_criteo": NO_DATA_LAYER,
    "094_nosparse_criteo": NO_DATA_LAYER,
    "095_nosparse_criteo": NO_DATA_LAYER,
}

needs_graphs = pytest.mark.skipif(not FILES, reason=f"the collection of graphs is not there ({GRAPHS})")


def load(path: Path) -> dict[str, Any]:
    """The graph, with vocabularies of at most LARGEST_SLOT ids a slot."""
    graph: dict[str, Any] = json.loads(path.read_text())
    for layer in graph["layers"]:
        hparam = layer.get("sparse_embedding_hparam", {})
        if "slot_size_array" in hparam:
            hparam["slot_size_array"] = [min(size, LARGEST_SLOT) for size in hparam["slot_size_array"]]
    return graph


def outputs(graph: dict[str, Any]) -> list[str]:
    """The names that the issue asks for: the labels, or without a loss the tops that nothing consumes."""
    layers = graph["layers"]
    if layers[-1]["type"].endswith("Loss"):
        return names(layers[0]["label"]["top"])
    consumed = {name for layer in layers[1:] for name in names(layer["bottom"])}
    return [name for layer in layers[1:] for name in names(layer["top"]) if name not in consumed]


def names(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@needs_graphs
@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in DESERVED], ids=lambda path: path.stem)
def test_graph_compiles_and_runs(path: Path, tmp_path: Path) -> None:
    graph = load(path)
    weights = generate_weights(graph, tmp_path, rows=100)
    feeds = random_feeds(graph, weights, 5)
    results = []
    for level in LEVELS:
        compiled = hugectr2onnx.compile(graph, weights, level, simplify=level == 2)
        results.append(compiled.run(feeds))
        assert sorted(results[-1]) == sorted(outputs(graph))
    for result in results[1:]:
        for name, array in result.items():
            assert np.isfinite(array).all()
            np.testing.assert_allclose(array, results[0][name], rtol=1e-3, atol=1e-5)


@needs_graphs
@pytest.mark.parametrize("path", [p for p in FILES if p.stem in DESERVED], ids=lambda path: path.stem)
def test_graph_fails_as_it_deserves(path: Path, tmp_path: Path) -> None:
    error, phrase = DESERVED[path.stem]
    with pytest.raises(error) as caught:
        hugectr2onnx.compile(path, generate_weights(path, tmp_path, rows=10))
    assert type(caught.value) is error
    assert phrase in str(caught.value)


@needs_graphs
def test_deserved_errors_name_files_that_are_there() -> None:
    assert not set(DESERVED) - {path.stem for path in FILES}


@needs_graphs
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v23.08.00__dgx_a100", ("N", 26, 128)),
        ("v23.08.00__overlapped_pipeline_test__pybind", ("N", 5, 128)),
    ],
)
def test_hybrid_embeddings_compile_when_their_vectors_are_fed(
    name: str, shape: tuple[Any, ...], tmp_path: Path
) -> None:
    path = GRAPHS / "emulated" / f"{name}.json"
    shapes = {"sparse_embedding1": shape}
    weights = generate_weights(path, tmp_path, input_shapes=shapes)
    compiled = hugectr2onnx.compile(path, weights, input_shapes=shapes)
    assert compiled.run(random_feeds(path, weights, 3, input_shapes=shapes))["label"].shape == (3, 1)


@needs_graphs
def test_embedding_collection_graph_asks_for_its_vectors(tmp_path: Path) -> None:
    """Such a model's JSON has no embedding layer: its look-ups are names that nothing produces (formats 1.7)."""
    graph = load(GRAPHS / "emulated" / "v25.03.00__dcn_parquet.json")
    del graph["layers"][1]
    with pytest.raises(MissingInformationError, match=r"input_shapes=\{'sparse_embedding1'"):
        generate_weights(graph, tmp_path)
    shapes = {"sparse_embedding1": ("N", 26, 16)}
    weights = generate_weights(graph, tmp_path, input_shapes=shapes)
    compiled = hugectr2onnx.compile(graph, weights, input_shapes=shapes)
    assert compiled.run(random_feeds(graph, weights, 2, input_shapes=shapes))["label"].shape == (2, 1)
