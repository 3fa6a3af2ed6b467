"""Imports point one way, and heavy packages are imported where they are needed and not before (design 1 and 7)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hugectr2onnx"
MODULES = {".".join(p.relative_to(ROOT.parent).with_suffix("").parts): p for p in sorted(ROOT.rglob("*.py"))}
LAYERS = {
    "tables": {"tables", "errors", "ir"},
    "ir": {"ir", "tables", "errors", "passes"},
    "frontend": {"frontend", "ir", "tables", "errors"},
    "passes": {"passes", "ir", "tables", "errors"},
    "backend": {"backend", "ir", "tables", "errors"},
}
"""What each package may import of this library."""
HEAVY = ("numpy", "networkx", "onnx", "onnxruntime", "onnxsim", "rich")
READS_ONNX_FILES = {"hugectr2onnx.verification.verify_file", "hugectr2onnx.inspection.onnx_model"}
"""Outside the backend: the verbs that take an ONNX file; only the command line imports them, when it runs them."""


def imports(tree: ast.Module, *, at_start: bool) -> Iterator[str]:
    """What a module imports, `a.b` for `from a import b`; `at_start` leaves out what functions import and TYPE_CHECKING."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack += [] if at_start else node.body
            stack += node.orelse
        elif not (at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            stack += list(ast.iter_child_nodes(node))


def imported(module: str, *, at_start: bool = False) -> set[str]:
    return set(imports(ast.parse(MODULES[module].read_text(encoding="utf-8")), at_start=at_start))


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def own(names: set[str]) -> set[str]:
    """The parts of this library among what is imported."""
    return {name.split(".")[1] for name in names if name.startswith("hugectr2onnx.")}


def within(package: str) -> list[str]:
    return [
        name for name in MODULES if name.startswith(f"hugectr2onnx.{package}.") or name == f"hugectr2onnx.{package}"
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer):
    assert within(layer)
    strays = {name: own(imported(name)) - LAYERS[layer] for name in within(layer)}
    assert {name: stray for name, stray in strays.items() if stray} == {}


def test_errors_know_nothing():
    assert own(imported("hugectr2onnx.errors")) == set()


def test_the_command_line_is_imported_by_nobody():
    users = {name for name in MODULES if "cli" in own(imported(name)) and not name.startswith("hugectr2onnx.cli")}
    assert users <= {"hugectr2onnx.__main__"}


def test_only_the_graph_knows_networkx():
    assert [name for name in MODULES if "networkx" in packages(imported(name))] == ["hugectr2onnx.ir.graph"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxsim"])
def test_only_the_backend_imports_onnx_at_its_start(package):
    users = {name for name in MODULES if package in packages(imported(name, at_start=True))}
    allowed = set(within("backend")) | (READS_ONNX_FILES if package == "onnx" else set())
    assert users <= allowed


@pytest.mark.parametrize("package", ["onnxruntime", "onnxsim"])
def test_what_is_slow_to_import_is_imported_late_everywhere(package):
    assert [name for name in MODULES if package in packages(imported(name, at_start=True))] == []


def test_rich_is_imported_late():
    assert [name for name in MODULES if "rich" in packages(imported(name, at_start=True))] == []


@pytest.mark.parametrize("module", ["hugectr2onnx", "hugectr2onnx.cli", "hugectr2onnx.errors"])
def test_what_a_bare_import_loads(module):
    assert loaded(f"import {module}") == set()


def test_help_loads_nothing_heavy():
    assert loaded("from hugectr2onnx.cli import main; main(['--help'])") == set()


def test_compiling_needs_neither_onnxruntime_nor_onnxsim_before_it_runs():
    assert loaded("import hugectr2onnx; hugectr2onnx.compile") <= {"numpy", "onnx", "networkx"}


def test_the_ir_and_the_frontend_need_no_onnx():
    code = "import hugectr2onnx.frontend.importer, hugectr2onnx.passes"
    assert loaded(code) <= {"numpy", "networkx"}


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after running some code."""
    report = f"\nimport sys; print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_every_module_has_a_docstring():
    assert [
        name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ] == []


@pytest.mark.parametrize("forbidden", ["utils", "helpers", "common", "base"])
def test_no_module_is_called(forbidden):
    assert [name for name in MODULES if forbidden in name.split(".")] == []


def test_the_library_uses_neither_print_nor_warnings():
    def prints(tree: ast.Module) -> bool:
        return any(
            isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print" for n in ast.walk(tree)
        )

    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert "warnings" not in packages(imported(name)), name
        assert name.startswith("hugectr2onnx.cli") or not prints(tree), name
