"""The fuzzer: a case can be drawn, kept and run again; hangs, crashes and foreign exceptions are noticed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from random import Random
from typing import Any

import pytest

import hugectr2onnx
from fuzz import supervisor as supervisor_module
from fuzz import targets
from fuzz.cases import CORPUS, SPECIAL_KINDS, Case, corpus
from fuzz.command import main
from fuzz.mutations import change_bytes, change_json
from fuzz.supervisor import Supervisor
from fuzz.targets import MessageTooLongError, judged, raised_by_us
from fuzz.worker import attack, case_of

ANSWER = '{"outcome": "accepted"}'


def test_a_seed_draws_the_same_case_again(tmp_path: Path) -> None:
    first, again = (case_of("descriptions", 7, 3, tmp_path / "scratch") for _ in range(2))
    assert first == again
    assert first != case_of("descriptions", 8, 3, tmp_path / "scratch")


def test_a_case_is_kept_as_text(tmp_path: Path) -> None:
    case = Case("folders", {"a/b": b"\xff\0", "c.json": '{"é":\n1}'.encode()}, {"level": 2}, {"c.json": "pipe"})
    path = tmp_path / "case.json"
    path.write_text(case.to_json("IndexError"), encoding="utf-8")
    assert Case.load(path) == case


@pytest.mark.parametrize("kind", SPECIAL_KINDS)
def test_special_files_stand_where_files_were(tmp_path: Path, kind: str) -> None:
    folder = Case("folders", {"key": b"1"}, {}, {"key": kind}).write(tmp_path / "case")
    mode = os.lstat(folder / "key").st_mode
    checks = {"pipe": stat.S_ISFIFO, "folder": stat.S_ISDIR, "socket": stat.S_ISSOCK}
    assert checks.get(kind, stat.S_ISLNK)(mode)


def test_bytes_and_json_are_changed() -> None:
    random, text = Random(1), b'{"layers": [{"type": "ReLU", "rate": 0.5}]}'
    assert len({change_bytes(random, text) for _ in range(50)}) > 20
    assert len({change_json(random, "value", text) for _ in range(50)}) > 20


def test_refusals_are_told_from_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> None:
        raise error

    assert judged(lambda: None) == "accepted"
    assert judged(lambda: fail(hugectr2onnx.WeightsError("short"))) == "refused"
    with pytest.raises(hugectr2onnx.CompilerError, match="a defect"):
        judged(lambda: fail(hugectr2onnx.CompilerError("a defect")))
    monkeypatch.setattr(targets, "MAX_MESSAGE", 9)
    with pytest.raises(MessageTooLongError, match="10 characters"):
        judged(lambda: fail(hugectr2onnx.WeightsError("x" * 10)))
    with pytest.raises(KeyError, match="key"):
        judged(lambda: fail(KeyError("key")))


def test_a_type_error_of_ours_is_told_from_one_of_python() -> None:
    with pytest.raises(TypeError) as caught:
        len(3)  # type: ignore[arg-type]
    assert not raised_by_us(caught.value)


def test_a_foreign_exception_is_a_failure_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def attack(self, case: Case, folder: Path) -> str:
            raise IndexError("beyond")

    monkeypatch.setitem(targets.TARGETS, "broken", Broken())  # type: ignore[arg-type]
    answer = attack(Case("broken", {}), tmp_path / "case")
    assert (answer.outcome, answer.failure) == ("failed", "IndexError: beyond")
    assert "in attack" in answer.trace


def worker(tmp_path: Path, *lines: str) -> Supervisor:
    """A supervisor whose workers read one command and then run `lines`."""
    return Supervisor(tmp_path / "worker", ("-c", "\n".join(["import os, sys, time", "sys.stdin.readline()", *lines])))


def test_a_hang_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_WAIT", 0.1)
    monkeypatch.setattr(Supervisor, "_grace", 0.0)
    with worker(tmp_path, "time.sleep(60)") as waiting:
        assert waiting.ask(["draw"]).failure.startswith("hang: waits for")


def test_a_loop_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(Supervisor, "_grace", 0.0)
    with worker(tmp_path, "while True: pass") as looping:
        assert "of processor time" in looping.ask(["draw"]).failure


def test_a_crash_is_noticed_and_another_worker_started(tmp_path: Path) -> None:
    with worker(tmp_path, "sys.stderr.write('why'); sys.stderr.flush(); os.abort()") as dying:
        answers = [dying.ask(["draw"]) for _ in range(2)]
    assert [answer.failure for answer in answers] == ["crash: the process ended with -6"] * 2
    assert answers[0].trace == "why"


def test_a_run_prints_what_it_did(tmp_path: Path, capsys: Any) -> None:
    found = tmp_path / "findings"
    command = [
        "--minutes",
        "0.02",
        "--seed",
        "3",
        "--targets",
        "texts",
        "--corpus",
        str(tmp_path),
        "--findings",
        str(found),
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "texts:" in printed and "0 findings" in printed
    assert not found.exists()


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(tmp_path: Path, path: Path) -> None:
    with Supervisor(tmp_path) as running:
        answer = running.ask(["replay", str(path)])
    assert answer.outcome in ("accepted", "refused"), f"{answer.failure}\n{answer.trace}"


def test_the_corpus_names_its_targets() -> None:
    assert {Case.load(path).target for path in corpus(CORPUS)} <= set(targets.TARGETS)
