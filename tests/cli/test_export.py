"""`hugectr2onnx export`: each target is a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from hugectr2onnx.cli import export
from hugectr2onnx.cli.entry import UsageError


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A target `box` that takes a model and --size, and records what it is called with."""
    calls: list[Any] = []
    module = ModuleType("hugectr2onnx.cli.export_box")

    def add_arguments(parser: Any) -> None:
        parser.add_argument("model")
        parser.add_argument("--size", type=int, default=1)

    def run(arguments: Any, output: Any) -> int:
        if arguments.size < 1:
            raise UsageError(f"--size {arguments.size}: a box has a size")
        calls.append((arguments.model, arguments.size, arguments.quiet))
        output.say("packed")
        return 0

    vars(module).update(add_arguments=add_arguments, run=run)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(export.TARGETS, "box", "write a box")
    yield calls


def test_a_target_gets_its_arguments(target: list[Any], run: Any) -> None:
    assert run("export", "box", "m.onnx", "--size", 3).out == "packed\n"
    assert target == [("m.onnx", 3, False)]


def test_flags_of_every_verb_stand_before_or_after_the_target(target: list[Any], run: Any) -> None:
    assert run("export", "-q", "box", "m.onnx").out == run("export", "box", "m.onnx", "-q").out == ""
    assert target == [("m.onnx", 1, True)] * 2


def test_wrong_usage_shows_the_usage_of_the_target(target: list[Any], run: Any) -> None:
    result = run("export", "box", "m.onnx", "--size", 0)
    assert result.code == 2
    assert "usage: hugectr2onnx export box" in result.err
    assert "error: --size 0: a box has a size" in result.err


def test_a_slip_in_the_target_or_its_flag_gets_a_hint(target: list[Any], run: Any) -> None:
    assert "there is no target bax: did you mean box?" in run("export", "bax").err
    assert "there is no flag --sise: did you mean --size?" in run("export", "box", "--sise", 1).err


def test_a_target_must_be_named(run: Any) -> None:
    result = run("export")
    assert result.code == 2
    assert "the following arguments are required: TARGET" in result.err


def test_completion_offers_targets_and_their_flags(target: list[Any], run: Any) -> None:
    lines = [line.strip() for line in run("completion", "bash").out.splitlines()]
    (targets,) = (line for line in lines if line.startswith('"export export")'))
    (flags,) = (line for line in lines if line.startswith("export)"))
    assert "box" in targets
    assert "--size" in flags
