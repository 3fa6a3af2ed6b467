"""No name of the package means two things."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "hugectr2onnx"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert len(places) > 200
    assert repeated(places) == {}


def test_no_two_public_constants_share_a_name() -> None:
    """`RULES` are the rules of a pass, wherever it stands."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules():
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            name = target.id if isinstance(target, ast.Name) else "_"
            if name.isupper() and len(name) > 1 and name != "RULES" and not name.startswith("_"):
                places[name].append(module)
    assert len(places) > 200
    assert repeated(places) == {}


def test_no_text_constant_stands_in_two_modules() -> None:
    """Keys of metadata, suffixes and the like: two copies could drift apart."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules():
        for node in tree.body:
            value = node.value.value if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) else None
            if isinstance(value, str | bytes) and len(value) > 6:
                places[repr(value)].append(module)
    assert len(places) > 20
    assert repeated(places) == {}


def test_no_type_is_defined_in_two_modules() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript):
                name = ast.unparse(node.targets[0])
                if name[:1].isupper() and not name.isupper():
                    places[f"{name} = {ast.unparse(node.value)}"].append(module)
    assert len(places) > 10
    assert repeated(places) == {}
