"""What an error shows: its message, bounded, with the options as Python or as flags."""

from __future__ import annotations

from hugectr2onnx.errors import MAX_TEXT, GraphJsonError, OptionError, Setting


def test_a_message_of_usual_length_is_whole() -> None:
    text = "layer 'fc1': " + "the weights need 40 bytes, " * 20 + "give the dense file of this graph"
    assert str(GraphJsonError(text)) == text


def test_a_long_name_loses_its_middle() -> None:
    shown = str(GraphJsonError("a.json: no layer makes " + "x" * 5000 + "y; name one that is there"))
    assert shown.startswith("a.json: no layer makes xxx")
    assert "xxx...xxx" in shown
    assert shown.endswith("xxy; name one that is there")
    assert len(shown) < 300


def test_a_long_message_keeps_its_start_and_its_end() -> None:
    shown = str(GraphJsonError("where: " + "some words " * 1000 + "what to do"))
    assert shown.startswith("where: some words ")
    assert shown.endswith("what to do")
    assert len(shown) <= MAX_TEXT


def test_options_stay_whole_but_for_long_names() -> None:
    entries = {f"reshape{number}": {"shape": [-1, 26, 16]} for number in range(60)}
    error = OptionError("say the shapes: give ", Setting("layer_attrs", entries), ", " + "z" * 5000)
    assert str(Setting("layer_attrs", entries)) in str(error)
    assert str(Setting("graph_name", "n" * 5000)) == f"graph_name='{'n' * 200}...'"


def test_many_short_parts_are_not_cut() -> None:
    parts = [part for number in range(30) for part in ("or give ", Setting(f"option_{number}"))]
    assert str(OptionError(*parts)) == "".join(map(str, parts))


def test_notes_are_bounded_too() -> None:
    error = GraphJsonError("wrong")
    error.add_note("in " + "n" * 5000)
    assert len(error.describe()) < 300
