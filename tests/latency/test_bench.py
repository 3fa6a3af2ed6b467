"""`bench` on files of a few kilobytes; nothing here depends on how long a call took."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import hugectr2onnx
from hugectr2onnx.errors import FeedError, OptionError
from hugectr2onnx.latency.result import Benchmark
from hugectr2onnx.sample_models import SamplePaths, sample_feeds


@pytest.fixture(scope="module")
def measured(wdl_files: dict[int, Path]) -> Benchmark:
    return hugectr2onnx.bench(wdl_files[2], wdl_files[0], batch=(1, 8), threads=1, seconds=0.05, floor=True)


def test_every_file_of_every_case_has_a_line(measured: Benchmark) -> None:
    found = [(each.file, each.batch, each.threads) for each in measured.timings]
    assert found == [("level2.onnx", 1, 1), ("level0.onnx", 1, 1), ("level2.onnx", 8, 1), ("level0.onnx", 8, 1)]
    assert all(0 < each.fastest_us <= each.median_us for each in measured.timings)


def test_speed_of_the_first_file_is_one(measured: Benchmark) -> None:
    assert measured.timing("level2.onnx", 8, 1).speed.median == 1.0
    assert measured.timing("level0.onnx", 8, 1).speed.median != 1.0


def test_time_by_operator_adds_up(measured: Benchmark) -> None:
    for each in measured.timings:
        assert sum(each.operators.values()) == pytest.approx(1.0)
        assert each.executed >= len(each.operators)


def test_the_floor_has_a_line_for_each_case(measured: Benchmark) -> None:
    assert [(each.batch, each.threads) for each in measured.floor] == [(1, 1), (8, 1)]
    assert "x floor" in measured.columns


def test_files_of_one_model_compute_the_same(measured: Benchmark) -> None:
    assert measured.same
    (difference,) = measured.files[1].differences
    assert difference.output == "label"
    assert difference.max_error < 1e-5


def test_the_result_is_frozen_data_that_json_takes(measured: Benchmark) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        measured.inputs = ""
    assert json.loads(json.dumps(measured.to_dict()))["timings"][1]["median_us"] == measured.timings[1].median_us
    assert '<th scope="col">median µs</th>' in measured._repr_html_()
    assert "level0.onnx" in measured._repr_html_()


def test_nothing_is_left_in_the_temporary_folder(
    wdl_files: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    hugectr2onnx.bench(wdl_files[2], batch=1, seconds=0.01)
    assert os.listdir(tmp_path) == []


def test_a_file_with_other_weights_is_not_timed_unless_asked(wdl_files: dict[int, Path], tmp_path: Path) -> None:
    other = changed(wdl_files[2], tmp_path / "other.onnx")
    found = hugectr2onnx.bench(wdl_files[2], other, batch=4, seconds=0.01, operators=False)
    assert not found.same
    assert [each.file for each in found.timings] == ["level2.onnx"]
    assert "other.onnx computes something else (label: differs by up to " in found.notes[0]
    asked = hugectr2onnx.bench(wdl_files[2], other, batch=4, seconds=0.01, operators=False, time_different=True)
    assert [each.file for each in asked.timings] == ["level2.onnx", "other.onnx"]
    assert not asked.same


def changed(path: Path, target: Path) -> Path:
    """The file with a bias of 1 more."""
    model = onnx.load(path)
    bias = next(each for each in model.graph.initializer if len(each.dims) == 1 and each.data_type == 1)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1), bias.name))
    onnx.save(model, target)
    return target


def test_a_file_of_another_model_is_refused_with_both_interfaces(wdl_files: dict[int, Path], tmp_path: Path) -> None:
    from hugectr2onnx.sample_models import write_sample

    other = write_sample("criteo_bn", tmp_path / "criteo_bn", rows=60)
    hugectr2onnx.compile(other.graph, other.weights, simplify=False, check=False).save(tmp_path / "criteo_bn.onnx")
    with pytest.raises(FeedError, match=r"criteo_bn.onnx: input data1 .* cannot be fed: .*dense float32\[1, 13\]"):
        hugectr2onnx.bench(wdl_files[2], tmp_path / "criteo_bn.onnx", batch=1, seconds=0.01)


def test_a_file_that_fails_on_unknown_keys_is_named(
    wdl: SamplePaths, wdl_files: dict[int, Path], tmp_path: Path
) -> None:
    """As another converter writes it: a Gather by the key itself, from a table that is too short."""
    model = onnx.load(wdl_files[0])
    encoder = next(node for node in model.graph.node if node.op_type == "LabelEncoder")
    for node in model.graph.node:
        node.input[:] = [encoder.input[0] if name == encoder.output[0] else name for name in node.input]
    model.graph.node.remove(encoder)
    onnx.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(FeedError, match=r"theirs.onnx: onnxruntime failed on these inputs: .*lack keys"):
        hugectr2onnx.bench(wdl_files[2], tmp_path / "theirs.onnx", batch=64, seconds=0.01)


def test_samples_of_a_data_set_are_fed(wdl: SamplePaths, wdl_files: dict[int, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **sample_feeds(wdl, 5))
    found = hugectr2onnx.bench(wdl_files[2], batch=8, seconds=0.01, data=tmp_path / "data.npz", operators=False)
    assert found.inputs == f"samples of {tmp_path / 'data.npz'}"
    assert found.notes[0] == "the data holds 5 samples: a larger batch repeats them"


def test_openvino_is_a_runtime_beside_onnxruntime(wdl: SamplePaths, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    path = tmp_path / "direct.onnx"
    hugectr2onnx.compile(wdl.graph, wdl.weights, keys="direct", check=False, simplify=False).save(path)
    found = hugectr2onnx.bench(path, batch=(1, 4), seconds=0.02, openvino=True)
    assert [(each.file, each.batch) for each in found.timings] == [
        ("direct.onnx", 1), ("direct.onnx on OpenVINO", 1), ("direct.onnx", 4), ("direct.onnx on OpenVINO", 4),
    ]  # fmt: skip
    assert found.same and found.files[1].differences[0].max_error < 1e-5
    assert found.timings[0].operators and not found.timings[1].operators


def test_a_model_that_openvino_cannot_read_is_left_out_with_the_reason(wdl_files: dict[int, Path]) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    found = hugectr2onnx.bench(wdl_files[0], batch=1, seconds=0.01, openvino=True)
    assert [each.file for each in found.timings] == ["level0.onnx"]
    assert re.search(r"level0.onnx was not run on OpenVINO: OpenVINO cannot read it .*keys='direct'", found.notes[0])


def test_without_openvino_its_extra_is_named(wdl_files: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = hugectr2onnx.bench(wdl_files[2], batch=1, seconds=0.01, openvino=True)
    assert "OpenVINO is not installed: pip install 'hugectr2onnx[openvino]'" in found.notes[0]


def test_compiled_models_are_measured_in_memory(wdl: SamplePaths) -> None:
    compiled = hugectr2onnx.compile(wdl.graph, wdl.weights, simplify=False, check=False)
    found = hugectr2onnx.bench(compiled, compiled, batch=1, seconds=0.01, operators=False)
    assert [each.name for each in found.files] == ["the compiled model", "the compiled model (2)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch is 0; give whole numbers from 1 up"),
        ({"threads": []}, r"threads is \[\]; give whole numbers from 1 up"),
        ({"seconds": 0}, "seconds is 0; give a number above 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(wdl_files: dict[int, Path], options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        hugectr2onnx.bench(wdl_files[2], **options)
