"""The documented way to write a rule passes `mypy --strict`, whose findings are errors of this project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("mypy")


def check(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_documented_pass_is_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "adding_a_pass.md").read_text(encoding="utf-8")
    example = page.split('```python title="hugectr2onnx/')[1].partition("\n")[2].split("```")[0]
    assert "@rule(X * 1.0)" in example
    found = check(tmp_path / "example.py", example)
    assert found.returncode == 0, found.stdout


@pytest.mark.slow
def test_every_operator_gives_what_a_rule_takes(tmp_path: Path) -> None:
    lines = [
        "from hugectr2onnx.ir.graph import Value",
        "from hugectr2onnx.ir.ops.elementwise import Relu",
        "from hugectr2onnx.passes.pattern import P, Var",
        "from hugectr2onnx.passes.rewriter import rule",
        "X, Y = Var('x'), Var('y')",
        "def keep(x: Value) -> Value: return x",
        *(
            f"rule({form})(keep)"
            for form in ("X + Y", "X - Y", "X * Y", "X / Y", "X @ Y", "2 * X", "1 - X", "Relu()(X)")
        ),
        "rule(X)(keep)",
    ]
    found = check(tmp_path / "operators.py", "\n".join(lines) + "\n")
    errors = [line for line in found.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, found.stdout
    assert f"operators.py:{len(lines)}:" in errors[0], "a variable alone is no operation that a rule could look for"
