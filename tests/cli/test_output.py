"""Where text and data go, and what they look like."""

from __future__ import annotations

import io
import json

import pytest

from hugectr2onnx.cli.output import Output, plain
from hugectr2onnx.cli.text_table import printable, wrapped
from hugectr2onnx.pages.numbers import size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def table_text(columns: tuple[str, ...], *rows: tuple[object, ...], right: tuple[str, ...] = ()) -> str:
    """A table as a terminal of 80 columns shows it, without colours."""
    terminal = Terminal()
    Output(results=terminal).table(columns, rows, right)
    return terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_results_and_messages_go_apart() -> None:
    results, messages = io.StringIO(), io.StringIO()
    output = Output(results=results, messages=messages)
    output.say("what was asked for")
    output.warning("careful")
    output.problem("wrong")
    assert results.getvalue() == "what was asked for\n"
    assert messages.getvalue() == "warning: careful\nwrong\n"


def test_with_json_the_result_is_data_and_only_errors_are_said() -> None:
    results, messages = io.StringIO(), io.StringIO()
    output = Output(json=True, results=results, messages=messages)
    output.say("a line")
    output.table(("a",), [(1,)])
    output.warning("careful")
    output.data({"for": "a program"})
    output.problem("an error")
    assert json.loads(results.getvalue()) == {"for": "a program"}
    assert messages.getvalue() == "an error\n"


def test_quiet_leaves_errors_and_data() -> None:
    results, messages = io.StringIO(), io.StringIO()
    output = Output(quiet=True, results=results, messages=messages)
    output.say("a line")
    output.table(("a",), [(1,)])
    output.warning("careful")
    output.problem("an error")
    assert (results.getvalue(), messages.getvalue()) == ("", "an error\n")


def test_a_table_is_aligned() -> None:
    results = io.StringIO()
    Output(results=results).table(("layer", "bytes"), [("fc1", 2304), ("relu", None)], right=("bytes",))
    assert results.getvalue() == "  layer  bytes\n  fc1    2,304\n  relu       -\n"


def test_a_row_is_one_line_where_it_is_no_terminal() -> None:
    """For grep."""
    results = io.StringIO()
    Output(results=results).table(("type", "what"), [("GRU", "word " * 40)])
    assert len(results.getvalue().splitlines()) == 2


def test_a_wide_table_breaks_between_words_only() -> None:
    name = "DistributedSlotSparseEmbeddingHash"
    text = table_text(("type", "what it does", "largest error"), (name, "adds the rows of a sample " * 3, "1e-7"))
    assert max(map(len, text.splitlines())) <= 80
    assert name in text
    assert "rows" in text.split() and text.split().count("sample") == 3


def test_the_widest_columns_give_way_first() -> None:
    text = table_text(("a", "b"), ("short cell", "word " * 20))
    assert "short cell" in text


def test_a_table_that_cannot_fit_lists_the_values_of_each_row() -> None:
    names = tuple(letter * 45 for letter in "xyz")
    assert table_text(("first", "second", "third"), names) == (
        f"  {names[0]}\n    second  {names[1]}\n    third   {names[2]}\n"
    )


def test_lines_break_between_words_with_the_rest_further_in() -> None:
    assert wrapped("  one two three", 10) == "  one two\n    three"
    assert wrapped("an-unbreakable-word", 10) == "an-unbreakable-word"
    assert wrapped("as it is " * 30, None) == "as it is " * 30


def test_no_colours_and_no_progress_off_a_terminal() -> None:
    messages = io.StringIO()
    output = Output(messages=messages)
    output.warning("careful")
    with output.progress() as progress:
        assert progress is None
    assert messages.getvalue() == "warning: careful\n"


def test_colours_and_progress_on_a_terminal() -> None:
    terminal = Terminal()
    output = Output(messages=terminal)
    output.warning("careful")
    with output.progress() as progress:
        assert progress is not None
        progress("passes", 0.5)
    assert "\x1b[33mwarning: careful\x1b[0m\n" in terminal.getvalue()
    assert "[##########..........] passes" in terminal.getvalue()


def test_verbose_lists_the_stages_with_their_time() -> None:
    messages = io.StringIO()
    with Output(verbose=True, messages=messages).progress() as progress:
        assert progress is not None
        progress("passes", 0.5)
    assert messages.getvalue() == "[  0.000 s] passes\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Output(messages=terminal).warning("careful")
    assert terminal.getvalue() == "warning: careful\n"


def test_a_dumb_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Output(messages=Terminal()).progress() as progress:
        assert progress is None


def test_names_cannot_drive_the_terminal() -> None:
    assert printable("fc\x1b[2Jé\r") == "fc\\x1b[2Jé\\r"


def test_json_holds_no_number_that_json_lacks() -> None:
    assert plain({"a": (float("nan"), float("-inf"), 1.5), 3: None}) == {"a": ["nan", "-inf", 1.5], "3": None}


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (3_400_000_000, "3.4 GB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text
