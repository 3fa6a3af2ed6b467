"""Parity without the tables in memory: only the rows that a model reads are put into a file of holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.emitter import emit
from hugectr2onnx.backend.runtime import touched_rows
from hugectr2onnx.errors import OutputError
from hugectr2onnx.ir.evaluator import evaluate
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import Embedding
from hugectr2onnx.ir.types import N, i64
from hugectr2onnx.passes.lookups.choose_key_map import choose_key_map
from hugectr2onnx.tables.key_index import column

COUNT = 200_000
TABLE = np.random.default_rng(0).random((COUNT, 4), np.float32)
STRATEGIES = ("plain", "direct", "label-encoder", "perfect-hash")


def look_up(strategy: str, shape: tuple[int, int]) -> Graph:
    graph = Graph("g")
    keys = np.random.default_rng(1).permutation(COUNT)
    operands = graph.const(column(keys), "keys"), graph.const(TABLE, "vectors")
    graph.output({"e": Embedding("sum")(graph.input("k", i64(N, *shape)), *operands)})
    if strategy != "plain":
        choose_key_map(graph, strategy)
    return graph


def artifact(graph: Graph) -> Artifact:
    return emit(graph, graph_name="g", opset=17, version="0", metadata={})


@pytest.mark.parametrize("shape", [(3, 1), (2, 3)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_answers_are_those_of_the_whole_model(
    strategy: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = look_up(strategy, shape)
    feeds = [feeds_for(graph, batch, batch) for batch in (1, 9)]

    def refuse(blob: Blob) -> np.ndarray:
        raise AssertionError("a table was brought into memory")

    model = artifact(graph)
    monkeypatch.setattr(Blob, "materialise", refuse)
    found = touched_rows.run_all(model, feeds, large=1 << 20)
    for each, answers in zip(feeds, found, strict=True):
        np.testing.assert_allclose(answers["e"], evaluate(graph, each)["e"], 1e-5, 1e-6)


def test_a_small_model_is_run_as_it_is() -> None:
    graph = look_up("direct", (1, 1))
    feeds = [feeds_for(graph, 3, 0)]
    (whole,) = touched_rows.run_all(artifact(graph), feeds)
    (touched,) = touched_rows.run_all(artifact(graph), feeds, large=0)
    np.testing.assert_array_equal(whole["e"], touched["e"])


def test_a_wrong_map_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is proven, not only the rows: a table in the wrong order gives other answers."""
    graph = look_up("direct", (2, 1))
    feeds = [feeds_for(graph, 5, 0)]
    model = artifact(graph)
    (name,) = model.tensors
    wrong = Artifact(model.skeleton, {name: Blob((np.roll(model.tensors[name].materialise(), 1, 0),))})
    (found,) = touched_rows.run_all(wrong, feeds, large=0)
    assert not np.allclose(found["e"], evaluate(graph, feeds[0])["e"])


def test_a_temporary_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="set TMPDIR"):
        touched_rows.run_all(artifact(look_up("direct", (1, 1))), [], large=0)
