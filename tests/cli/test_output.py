"""Where text and data go, and what they look like."""

from __future__ import annotations

import io
import json
import sys

import pytest

from hugectr2onnx.cli.output import Output, plain
from hugectr2onnx.cli.text_table import printable, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_human_text_and_data_go_apart() -> None:
    human, data = io.StringIO(), io.StringIO()
    Output(human=human, data=data).say("for you")
    Output(json=True, human=human, data=data).data({"for": "a program"})
    assert human.getvalue() == "for you\n"
    assert json.loads(data.getvalue()) == {"for": "a program"}


def test_with_json_only_errors_are_for_the_reader() -> None:
    human = io.StringIO()
    output = Output(json=True, human=human)
    output.say("a table")
    output.table(("a",), [(1,)])
    output.problem("an error")
    assert human.getvalue() == "an error\n"


def test_a_plain_table_is_aligned() -> None:
    human = io.StringIO()
    Output(human=human).table(("layer", "bytes"), [("fc1", 2304), ("relu", None)], right=("bytes",))
    assert human.getvalue() == "  layer  bytes\n  fc1    2,304\n  relu       -\n"


def test_no_colours_and_no_progress_off_a_terminal() -> None:
    human = io.StringIO()
    output = Output(human=human)
    output.warning("careful")
    with output.progress() as progress:
        assert progress is None
    assert human.getvalue() == "warning: careful\n"


def test_colours_and_progress_on_a_terminal() -> None:
    terminal = Terminal()
    output = Output(human=terminal)
    output.warning("careful")
    with output.progress() as progress:
        assert progress is not None
        progress("passes", 0.5)
    assert "\x1b[33mwarning: careful\x1b[0m\n" in terminal.getvalue()
    assert "[##########..........] passes" in terminal.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Output(human=terminal).warning("careful")
    assert terminal.getvalue() == "warning: careful\n"


def test_a_dumb_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with Output(human=terminal).progress() as progress:
        assert progress is None


def test_tables_work_with_and_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "rich.console", None)
        terminal = Terminal()
        Output(human=terminal).table(("name", "type"), [("dense", "f32[N, 13]")])
        assert "f32[N, 13]" in terminal.getvalue()


def test_names_cannot_drive_the_terminal() -> None:
    assert printable("fc\x1b[2Jé\r") == "fc\\x1b[2Jé\\r"


def test_json_holds_no_number_that_json_lacks() -> None:
    assert plain({"a": (float("nan"), float("-inf"), 1.5), 3: None}) == {"a": ["nan", "-inf", 1.5], "3": None}


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (3_400_000_000, "3.4 GB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text
