"""The names that `import hugectr2onnx` gives, and what a notebook shows of its results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.sample_models import SamplePaths, write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample("wdl", tmp_path_factory.mktemp("wdl"), rows=50)


def test_completion_offers_the_public_names() -> None:
    assert dir(hugectr2onnx) == sorted(hugectr2onnx.__all__)
    assert {"compile", "check", "inspect", "verify", "Weights", "open_session"} <= set(dir(hugectr2onnx))


@pytest.mark.parametrize("name", hugectr2onnx.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hugectr2onnx, name) is not None


def test_a_slip_gets_a_hint() -> None:
    with pytest.raises(
        AttributeError, match=r"^module 'hugectr2onnx' has no attribute 'compil'; did you mean 'compile'\?$"
    ):
        hugectr2onnx.compil  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        hugectr2onnx.zzz  # noqa: B018


def test_check_gives_what_the_verb_prints(sample: SamplePaths) -> None:
    report = hugectr2onnx.check(sample.graph, sample.weights)
    assert report.ok
    assert [table.rows for table in report.tables] == [50, 50]


def test_inspect_takes_a_graph_a_folder_a_table_a_dense_file_and_an_onnx_file(
    sample: SamplePaths, tmp_path: Path
) -> None:
    folder = Path(sample.graph).parent
    assert hugectr2onnx.inspect(sample.graph).tables[0].rows is None
    assert hugectr2onnx.inspect(json.loads(Path(sample.graph).read_text())).layers[0].index == 3
    assert hugectr2onnx.inspect(folder).graphs == {"wdl.json": 16}
    assert hugectr2onnx.inspect(sample.weights.tables[0]).rows == 50
    assert hugectr2onnx.inspect(sample.weights.dense).bytes == Path(sample.weights.dense).stat().st_size
    hugectr2onnx.compile(sample.graph, sample.weights, simplify=False).save(tmp_path / "m.onnx")
    assert [each.name for each in hugectr2onnx.inspect(tmp_path / "m.onnx").outputs] == ["label"]
    with pytest.raises(hugectr2onnx.FeedError, match="an ONNX file holds its weights"):
        hugectr2onnx.inspect(tmp_path / "m.onnx", sample.weights)


def test_verify_gives_what_the_verb_prints(sample: SamplePaths, tmp_path: Path) -> None:
    hugectr2onnx.compile(sample.graph, sample.weights, simplify=False).save(tmp_path / "m.onnx")
    assert hugectr2onnx.verify(tmp_path / "m.onnx", sample.graph, sample.weights).parity.outputs[0].name == "label"


def test_a_notebook_shows_interface_report_and_warnings(sample: SamplePaths) -> None:
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, simplify=False, check=False)
    compiled.report.warnings.append("<script> & co")
    html = compiled._repr_html_()
    assert "<td>input</td><td>dense</td><td>f32[N, 13]</td>" in html
    assert "<tr><td>parity</td><td>not checked</td></tr>" in html
    assert "<b>warning</b>: &lt;script&gt; &amp; co" in html
    assert compiled.report._repr_html_() in html


def test_the_report_is_a_line(sample: SamplePaths) -> None:
    report = hugectr2onnx.compile(sample.graph, sample.weights, simplify=False).report
    assert repr(report).startswith("<Report: level 2, operations ")
    assert ", parity passed (largest error " in repr(report)
    assert len(repr(report)) < 150


def test_a_column_can_be_left_without_its_axis(sample: SamplePaths) -> None:
    """Keys [N, slot] where nnz is 1, and whole numbers for dense values."""
    compiled = hugectr2onnx.compile(sample.graph, sample.weights, simplify=False)
    dense, wide, deep = np.arange(26).reshape(2, 13), np.zeros((2, 2), int), np.zeros((2, 26), int)
    full = {"dense": np.float32(dense), "wide_data": wide[..., None], "deep_data": deep[..., None]}
    short = {"dense": dense, "wide_data": wide, "deep_data": deep}
    np.testing.assert_array_equal(compiled.run(short)["label"], compiled.run(full)["label"])
