"""Imports point one way, and heavy packages are imported where they are needed and not before (design 1 and 7)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1] / "hugectr2onnx"
MODULES = {".".join(p.relative_to(ROOT.parent).with_suffix("").parts): p for p in sorted(ROOT.rglob("*.py"))}
CORE = {"errors", "tables", "ir"}
VERBS = {"checking", "inspection", "verification", "quantization", "drawing", "comparison", "latency", "reporting"}
TOP = {"options", "report", "compiled_model", "compiler", "converter", "inspector"}
ENDS = CORE | {"frontend", "passes", "backend"}
ALLOWED = {
    "errors": set(),
    "version": set(),
    "tables": {"errors"},
    "ir": {"errors", "tables"},
    "frontend": CORE | {"options"},
    "passes": CORE,
    "backend": CORE,
    "datasets": CORE | {"frontend", "backend", "options"},
    "scoring": CORE | {"datasets", "backend", "verification"},
    "serving": CORE | {"frontend", "backend", "datasets", "scoring", "options", "version"},
    "sample_models": CORE | {"frontend", "datasets", "options", "compiler"},
    "options": CORE | {"frontend", "passes"},
    "checking": ENDS | {"options"},
    "inspection": ENDS | {"options"},
    "drawing": ENDS | {"options", "pages"},
    "inspector": ENDS | {"options", "checking", "inspection"},
    "verification": ENDS | {"options", "datasets", "compiler", "version"},
    "comparison": ENDS | {"options", "datasets", "compiler", "verification", "inspection", "pages"},
    "pages": set(),
    "latency": ENDS | {"options", "datasets", "verification"},
    "reporting": ENDS
    | {"options", "datasets", "compiler", "scoring", "verification", "inspection", "quantization", "latency", "pages"}
    | {"report", "version"},
    "quantization": ENDS | {"options", "datasets", "compiler", "compiled_model"},
    "stores": ENDS | {"options", "version"},
    "updating": ENDS | {"options", "compiler", "compiled_model", "verification"},
    "report": ENDS | {"quantization", "options"},
    "compiled_model": ENDS | {"options", "report"},
    "compiler": ENDS | {"options", "report", "compiled_model", "checking", "quantization", "version"},
    "converter": ENDS | {"options", "compiler"},
    "hugectr2onnx": None,
    "__main__": {"cli"},
    "cli": {*ENDS, "datasets", "pages", "sample_models", "scoring", "serving", "stores", "updating"}
    | {"version", *TOP, *VERBS},
}
"""What each package and each module of the top floor may import of this library; None: anything.

The packages of verbs (VERBS) never import one another, but comparison is built on verification and inspection,
latency on verification, and
reporting on all of these.
"""
SYSTEM = {
    "fcntl": {"backend"},
    "io": {"backend", "cli", "frontend", "datasets", "comparison"},
    "mmap": {"tables", "backend"},
    "os": {*ALLOWED} - {"ir", "passes", "errors", "version"},
    "pathlib": {*ALLOWED} - {"ir", "tables", "errors", "options", "version"},
    "shutil": {"backend", "checking", "sample_models", "scoring", "cli", "drawing", "stores", "serving"},
    "socket": {"serving"},
    "subprocess": {"backend", "cli", "drawing"},
    "tempfile": {"backend", "frontend", "latency", "reporting", "sample_models", "cli", "scoring"},
}
"""Which packages may know files, memory maps and the operating system: never the IR, and of the passes only their dump."""
HEAVY = ("numpy", "networkx", "onnx", "onnxruntime", "onnxsim")
READS_ONNX_FILES = ("verification", "inspection", "updating", "drawing", "comparison", "latency", "serving")
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
    return [name for name in MODULES if part_of(name) == package]


def imported_modules(name: str) -> set[str]:
    """The modules of this library that a module imports anywhere in its text; a package is its `__init__`."""
    found = set()
    for each in imported(name):
        parent = each.rpartition(".")[0]
        candidates = (each, f"{each}.__init__", parent, f"{parent}.__init__")
        found |= {next((module for module in candidates if module in MODULES), name)}
    return found - {name}


def part_of(module: str) -> str:
    """The package or the module of the top floor that a module belongs to."""
    return module.split(".")[1] if "." in module and module != "hugectr2onnx.__init__" else "hugectr2onnx"


PARTS = sorted({part_of(name) for name in MODULES})


def test_every_package_has_a_row():
    assert [part for part in PARTS if part not in ALLOWED] == []


@pytest.mark.parametrize("part", PARTS)
def test_imports_point_one_way(part):
    allowed = ALLOWED[part]
    strays = {
        (name, user)
        for name in within(part)
        for user in own(imported(name)) - {part}
        if allowed is not None and user not in allowed
    }
    assert strays == set()


@pytest.mark.parametrize("module", SYSTEM)
def test_the_operating_system_is_known_in_few_places(module):
    users = {part_of(name) for name in MODULES if module in packages(imported(name))}
    assert users <= SYSTEM[module]


def test_the_ir_knows_no_file_and_no_system():
    known = {(name, system) for name in within("ir") for system in packages(imported(name)) & {*SYSTEM}}
    assert len(within("ir")) > 20
    assert known == set()


def test_no_circle_of_modules():
    """Not even under TYPE_CHECKING, or inside a function."""
    graph = networkx.DiGraph()
    graph.add_edges_from((name, target) for name in MODULES for target in imported_modules(name))
    assert graph.number_of_edges() > 500
    assert [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_a_circle_of_modules_would_be_found(monkeypatch, tmp_path):
    texts = {
        "hugectr2onnx.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hugectr2onnx.b import c\n",
        "hugectr2onnx.b": "def f():\n    import hugectr2onnx.a\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setitem(MODULES, name, tmp_path / name)
    assert (imported_modules("hugectr2onnx.a"), imported_modules("hugectr2onnx.b")) == (
        {"hugectr2onnx.b"},
        {"hugectr2onnx.a"},
    )


def test_the_command_line_is_imported_by_nobody():
    users = {name for name in MODULES if "cli" in own(imported(name)) and not name.startswith("hugectr2onnx.cli")}
    assert users == {"hugectr2onnx.__main__"}


def test_only_the_graph_and_the_layout_of_drawings_know_networkx():
    known = ["hugectr2onnx.drawing.layout", "hugectr2onnx.ir.graph"]
    assert [name for name in MODULES if "networkx" in packages(imported(name))] == known


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxsim"])
def test_only_the_backend_imports_onnx_at_its_start(package):
    users = {name for name in MODULES if package in packages(imported(name, at_start=True))}
    readers = READS_ONNX_FILES if package == "onnx" else ()
    allowed = {name for folder in ("backend", *readers) for name in within(folder)}
    assert users <= allowed
    assert any(package in packages(imported(name)) for name in within("backend"))


@pytest.mark.parametrize("package", ["onnxruntime", "onnxsim"])
def test_what_is_slow_to_import_is_imported_late_everywhere(package):
    assert [name for name in MODULES if package in packages(imported(name, at_start=True))] == []


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
