"""Each module of the check and of the backend has a test file of its own, in the folder that mirrors the package."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT / "hugectr2onnx")
    for package in ("checking", "backend")
    for path in (ROOT / "hugectr2onnx" / package).rglob("*.py")
    if path.stem != "__init__"
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_tests_of_its_own(module: Path) -> None:
    assert (ROOT / "tests" / module.parent / f"test_{module.name}").exists()
