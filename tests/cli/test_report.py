"""`hugectr2onnx report`."""

from __future__ import annotations

import json


def test_it_writes_the_report_and_says_the_verdict(model, compiled, tmp_path, run):
    page = tmp_path / "report.json"
    result = run("report", compiled, "--against", model.graph, "--weights", model.folder, "-o", page, "--no-bench")
    assert result.code == 0
    assert result.out.startswith("tiny.onnx computes what its HugeCTR model computes.")
    assert json.loads(page.read_text())["passed"] is True


def test_a_file_that_differs_gives_5(model, compiled, tmp_path, run):
    import numpy as np

    model.dense.write_bytes(np.array([0.5, -1.0, 3.0], "<f4").tobytes())
    result = run(
        "report", compiled, "--against", model.graph, "--weights", model.folder, "-o", tmp_path / "r.html", "--no-bench"
    )
    assert result.code == 5
    assert "tiny.onnx differs from its HugeCTR model." in result.out


def test_the_format_may_be_given(compiled, tmp_path, run):
    page = tmp_path / "report"
    assert run("report", compiled, "-o", page, "--format", "md", "--no-bench").code == 0
    assert page.read_text().startswith("<!-- written by hugectr2onnx report -->\n\n# Report on tiny.onnx\n")


def test_the_graph_needs_its_weights(model, compiled, tmp_path, run):
    result = run("report", compiled, "--against", model.graph, "-o", tmp_path / "r.html")
    assert result.code == 2
    assert "give --against GRAPH and --weights FOLDER together" in result.err
