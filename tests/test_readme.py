"""The README says what is so: its layer table is the registry's, its test command is the gate's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hugectr2onnx.cli import main
from hugectr2onnx.cli.layers import markdown_table, supported_layers

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_layer_table_is_the_registrys() -> None:
    match = re.search(r"<!-- layers: begin -->\n(.*)\n<!-- layers: end -->", README, re.DOTALL)
    assert match is not None
    assert match[1] == markdown_table(supported_layers()), "paste what `hugectr2onnx layers --markdown` prints"


def test_the_ten_lines_run_on_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = README.partition("## My model in ten lines")[2].partition("\n## ")[0]
    sample = re.search(r"`hugectr2onnx (sample .*)`", section)
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert sample is not None and code is not None
    monkeypatch.chdir(tmp_path)
    assert main(sample[1].split()) == 0
    exec(code[1], {})
    assert (tmp_path / "wdl.onnx").exists()
    predictions = re.findall(r"0\.\d+", capsys.readouterr().out.partition("{")[0])
    assert len(predictions) == 2


def test_the_gate_runs_the_readmes_test_command() -> None:
    command = re.search(r"^python3 -m venv .*-m pytest$", README, re.MULTILINE)
    assert command is not None
    assert "grep -m 1 -- '-m pytest$' README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_in_the_documentation_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
