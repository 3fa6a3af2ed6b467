"""The quality of trained models: the data, and what is trained is what the ONNX file computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from benchmarks.__main__ import main
from benchmarks.quality_data import CLICK_SLOTS, click_log, feeds
from benchmarks.quality_models import MODELS


def test_the_click_log_is_skewed_and_its_labels_follow_its_keys() -> None:
    clicks = click_log(4000)
    assert clicks.keys.shape == (4000, len(CLICK_SLOTS))
    assert (clicks.keys.max(axis=0) < CLICK_SLOTS).all() and clicks.keys.min() == 0
    assert (clicks.keys == 0).mean() > 0.1, "the first keys are frequent"
    assert 0.02 < clicks.labels.mean() < 0.7
    np.testing.assert_array_equal(click_log(4000).labels, clicks.labels)
    training, validation = clicks.split()
    assert (len(training.keys), len(validation.keys)) == (3600, 400)


@pytest.mark.parametrize("name", MODELS)
def test_the_file_computes_what_jax_trained(name: str, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    model = MODELS[name](click_log(50))
    graph = model.write(tmp_path / "m", model.weights, model.table)
    compiled = hugectr2onnx.compile(graph, tmp_path / "m", simplify=False)
    given = feeds(model.clicks, model.slots, model.offsets, dense=True)
    inputs = {value.node.name for value in compiled.ir.inputs}
    found = compiled.run({each: array for each, array in given.items() if each in inputs})
    logits = np.asarray(model.forward(model.weights, model.table[given["keys"][:, :, 0]], given["dense"]))
    for place, label in enumerate(model.labels):
        np.testing.assert_allclose(found[label], 1 / (1 + np.exp(-logits[:, [place]])), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_command_trains_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optax")
    out = tmp_path / "q.jsonl"
    assert main(["quality", "ncf", "--data", "clicks", "--rows", "8000", "--json", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["format"] for line in lines][:2] == ["fp32", "int8 products"]
    assert lines[0]["max_change"] == 0 < lines[1]["max_change"] < 0.05
    assert 0.4 < lines[0]["auc"] <= 1
    assert "int8 products and rows" in capsys.readouterr().out


def test_an_unknown_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optax")
    assert main(["quality", "nothing"]) == 2
    assert "no model nothing; there are wdl, deepfm, dlrm, dcn, ncf, mmoe" in capsys.readouterr().err
