"""The report of a sample model: three forms of one source, and what it says with and without the HugeCTR model."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import hugectr2onnx
from hugectr2onnx.errors import OptionError, OutputError
from hugectr2onnx.reporting.report import ModelReport, is_report
from hugectr2onnx.sample_models import SamplePaths, sample_feeds, write_sample

NETWORK = re.compile(r"https?://|//[a-z]|<link (?!rel=\"icon\")|<script|<img|@import|url\(")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePaths:
    return write_sample("dcn", tmp_path_factory.mktemp("dcn"), rows=60)


@pytest.fixture(scope="module")
def file(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "dcn.onnx"
    hugectr2onnx.compile(sample.graph, sample.weights).save(path)
    return path


@pytest.fixture(scope="module")
def full(sample: SamplePaths, file: Path) -> ModelReport:
    return hugectr2onnx.write_report(file, against=sample.graph, weights=sample.weights, batch=(1, 8), seconds=0.05)


def section(report: ModelReport, name: str) -> dict[str, Any]:
    return next(each for each in report.to_dict()["sections"] if each["name"] == name)


def table(report: ModelReport, name: str, caption: str) -> dict[str, Any]:
    return next(each for each in section(report, name)["blocks"] if each.get("caption", "").startswith(caption))


def test_a_proven_file_passes(full: ModelReport) -> None:
    assert full.passed is True
    assert full.verdict == "dcn.onnx computes what its HugeCTR model computes."
    names = [each["name"] for each in full.to_dict()["sections"]]
    assert names == ["summary", "interface", "layers", "passes", "parity", "coverage", "tables", "sizes", "latency",
                     "warnings", "versions"]  # fmt: skip


def test_every_layer_of_the_graph_is_told(full: ModelReport, sample: SamplePaths) -> None:
    clauses = json.loads(Path(sample.graph).read_text())["layers"][1:]
    tops = [clause["top"] if isinstance(clause["top"], str) else clause["top"][0] for clause in clauses]
    rows = table(full, "layers", "Layers")["rows"]
    assert {row[0] for row in rows} == set(tops)
    became = {row[0]: row[3] for row in rows}
    assert became["fc1"] == "Gemm, Relu"


def test_passes_show_their_rules_and_the_lines_that_they_changed(full: ModelReport, sample: SamplePaths) -> None:
    report = hugectr2onnx.compile(sample.graph, sample.weights).report
    rows = table(full, "passes", "Passes")["rows"]
    assert [row[0].split(". ")[1] for row in rows] == [run.name for run in report.passes]
    codes = [each for each in section(full, "passes")["blocks"] if each["kind"] == "code"]
    assert len(codes) == len(report.passes) + 2
    assert codes[0]["text"].startswith("graph @")
    changed = next(each["text"] for each in codes if "fuse_bias" in each["title"])
    assert re.search(r"^-.*mat_mul", changed, re.MULTILINE)
    assert re.search(r"^\+.*linear", changed, re.MULTILINE)


def test_every_element_stands_in_one_bin_of_the_histogram(full: ModelReport) -> None:
    outputs = {row[0]: row[1] for row in table(full, "parity", "Outputs")["rows"]}
    assert set(outputs) == {"label", "logits of label"}
    for name, elements in outputs.items():
        bins = table(full, "parity", f"Errors of {name} by")["rows"]
        assert sum(row[1] for row in bins) == elements
        assert bins[-1] == ["out of tolerance", 0]


def test_why_openvino_was_not_measured_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    report = hugectr2onnx.write_report(file, batch=(1,), seconds=0.02, openvino=True)
    assert "dcn.onnx was not run on OpenVINO: OpenVINO is not installed" in report.text("md")


def test_latency_stands_beside_level_0_and_the_floor(full: ModelReport) -> None:
    cases = [row[0] for row in table(full, "latency", "Latency by batch")["rows"]]
    assert cases == ["dcn.onnx, batch 1, 1 thread", "level 0, batch 1, 1 thread", "dcn.onnx, batch 8, 1 thread",
                     "level 0, batch 8, 1 thread", "floor, batch 1, 1 thread", "floor, batch 8, 1 thread"]  # fmt: skip
    shares = table(full, "latency", "Time by operator, batch 8")["rows"]
    assert sum(row[1] for row in shares) == pytest.approx(1)


class Cells(HTMLParser):
    """The numbers of a page, by their attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        value = dict(attrs).get("data-value")
        if value is not None:
            self.values.append(json.loads(value))


def test_the_page_holds_the_numbers_of_the_data(full: ModelReport) -> None:
    found = Cells()
    found.feed(full.html())
    blocks = [block for each in full.to_dict()["sections"] for block in each["blocks"] if block["kind"] == "table"]
    assert found.values == [
        cell for block in blocks for row in block["rows"] for cell in row if isinstance(cell, int | float)
    ]
    assert len(found.values) > 100


def test_markdown_has_every_section_and_table(full: ModelReport) -> None:
    text = full.markdown()
    for each in full.to_dict()["sections"]:
        assert f"\n## {each['title']}\n" in text
        for block in each["blocks"]:
            if block["kind"] == "table":
                assert f"\n{block['caption']}:\n" in text


def test_the_page_asks_nothing_of_any_network(full: ModelReport) -> None:
    assert NETWORK.search(full.html()) is None


def test_the_example_call_runs(full: ModelReport, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    code = next(each["text"] for each in section(full, "interface")["blocks"] if each["kind"] == "code")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["label"].shape == (1, 1)


def test_without_the_source_it_says_what_is_not_in_it(file: Path) -> None:
    report = hugectr2onnx.write_report(file, latency=False)
    assert report.passed is None
    assert report.verdict == "dcn.onnx records that it was proven when it was compiled; nothing was proven again here."
    (missing,) = (each["items"] for each in section(report, "summary")["blocks"] if each["kind"] == "list")
    assert [text.split(":")[0] for text in missing] == [
        "passes, parity, coverage, key maps and errors of tables, and latency of level 0",
        "metrics",
        "latency",
    ]
    assert "the file records of its own compilation: passed: |d| <= " in missing[0]


def test_a_file_with_another_weight_differs(sample: SamplePaths, file: Path, tmp_path: Path) -> None:
    model = onnx.load(file)
    bias = next(each for each in model.graph.initializer if each.name.endswith(".bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1), bias.name))
    onnx.save(model, tmp_path / "other.onnx")
    report = hugectr2onnx.write_report(
        tmp_path / "other.onnx", against=sample.graph, weights=sample.weights, latency=False
    )
    assert report.passed is False
    assert report.verdict == "other.onnx differs from its HugeCTR model."
    assert table(report, "parity", "Errors of label by")["rows"][-1][1] > 0


def test_metrics_on_labelled_data(sample: SamplePaths, file: Path, tmp_path: Path) -> None:
    feeds = sample_feeds(sample, 40)
    answers = onnxruntime.InferenceSession(file).run(None, feeds)[0]
    np.savez(tmp_path / "data.npz", label=(answers > np.median(answers)).astype(np.float32), **feeds)
    report = hugectr2onnx.write_report(file, data=tmp_path / "data.npz", metrics=["auc"], latency=False)
    assert table(report, "metrics", "On 40 samples")["rows"] == [["label", 1.0]]


def test_it_is_written_as_its_ending_says_and_replaces_reports_alone(file: Path, tmp_path: Path) -> None:
    for ending, start in (("html", "<!doctype html>"), ("md", "<!-- written by"), ("json", "{")):
        path = tmp_path / f"report.{ending}"
        hugectr2onnx.write_report(file, path, latency=False)
        assert path.read_text().startswith(start)
        assert is_report(path.read_bytes())
        hugectr2onnx.write_report(file, path, latency=False)
    own = tmp_path / "own.md"
    own.write_text("# mine\n")
    with pytest.raises(OutputError, match="not a file of ours"):
        hugectr2onnx.write_report(file, own, latency=False)
    assert own.read_text() == "# mine\n"


def test_another_ending_needs_a_format(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a report ends in .html, .md or .json"):
        hugectr2onnx.write_report(file, tmp_path / "report.txt")


def test_graph_and_weights_go_together(file: Path, sample: SamplePaths) -> None:
    with pytest.raises(OptionError, match="give the graph JSON and its weights together"):
        hugectr2onnx.write_report(file, against=sample.graph)


@pytest.fixture(scope="module")
def data(sample: SamplePaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, **sample_feeds(sample, 40))
    return path


def test_recorded_predictions_are_compared_and_drawn(file: Path, data: Path, tmp_path: Path) -> None:
    recorded = hugectr2onnx.predict(file, data).columns["prediction"].astype(np.float64)
    recorded[7] += 0.02
    np.save(tmp_path / "recorded.npy", recorded)
    made = hugectr2onnx.write_report(file, data=data, recorded=tmp_path / "recorded.npy", latency=False)
    assert made.passed is False
    assert made.verdict.endswith("Its predictions differ from the recorded ones.")
    assert table(made, "recorded", "Rows that differ most")["rows"][0][0] == "7"
    counts = {row[0]: row[1] for row in table(made, "recorded", "Differences of label")["rows"]}
    assert counts["0.01 to 0.1"] == 1
    assert sum(counts.values()) == 40
    (pairs,) = [each["pairs"] for each in section(made, "recorded")["blocks"] if each["kind"] == "pairs"]
    np.testing.assert_allclose(pairs[7][0] - pairs[7][1], 0.02, rtol=1e-4)
    assert made.html().count("<circle") == 40


def test_recorded_predictions_that_agree(file: Path, data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "recorded.npy", hugectr2onnx.predict(file, data).columns["prediction"])
    made = hugectr2onnx.write_report(file, data=data, recorded=tmp_path / "recorded.npy", latency=False)
    assert made.passed is True
    assert made.verdict.endswith("Its predictions agree with the recorded ones.")


def test_recorded_predictions_need_their_data(file: Path) -> None:
    with pytest.raises(OptionError, match="give the data that the recorded predictions were made of"):
        hugectr2onnx.write_report(file, recorded="recorded.npy")
