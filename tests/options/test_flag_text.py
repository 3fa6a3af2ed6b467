"""The text of a flag becomes the value of its option."""

from __future__ import annotations

from pathlib import Path

import pytest

from hugectr2onnx.errors import OptionError
from hugectr2onnx.options import flag_text


@pytest.mark.parametrize(
    ("text", "shape"), [("a=N,26,16", ("N", 26, 16)), ("a=-1, 3", ("N", 3)), ("a=5", (5,)), ("x=y=N,2", ("N", 2))]
)
def test_a_shape_by_name(text: str, shape: tuple[object, ...]) -> None:
    assert flag_text.named_shape(text) == (text.rpartition("=")[0], shape)


@pytest.mark.parametrize("text", ["a", "=N", "a="])
def test_a_shape_needs_a_name_and_dimensions(text: str) -> None:
    with pytest.raises(OptionError, match="is not of the form NAME=N,26,16"):
        flag_text.named_shape(text)


@pytest.mark.parametrize("text", ["a=0", "a=N,x", "a=N,-3", "a=1.5", "a=N,,3", "a=N,²"])
def test_a_dimension_is_a_positive_number_or_the_batch(text: str) -> None:
    with pytest.raises(OptionError, match="give N for the batch, or a positive number"):
        flag_text.named_shape(text)


@pytest.mark.parametrize("text", ["", "x", "1.5", "²", "--1", "9" * 30])
def test_a_whole_number(text: str) -> None:
    assert flag_text.integer("-4") == -4
    with pytest.raises(OptionError, match="is not a whole number"):
        flag_text.integer(text)


def test_a_file_by_name() -> None:
    assert flag_text.named_file("emb=a=b.npy") == ("emb", "a=b.npy")
    with pytest.raises(OptionError, match="TOP=FILE"):
        flag_text.named_file("keep.npy")


def test_an_object_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": {"dim": 1}}')
    assert flag_text.json_object(str(tmp_path / "a.json")) == flag_text.json_object('{"a": {"dim": 1}}')


def test_sizes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[10, 0]")
    assert flag_text.sizes(str(tmp_path / "a.json")) == flag_text.sizes("10, 0") == (10, 0)


def test_repeated_flags_become_one_value() -> None:
    assert flag_text.by_name([("a", 1), ("b", 2), ("a", 3)]) == {"a": 3, "b": 2}
    assert flag_text.lists_by_name([("a", "x"), ("b", "y"), ("a", "z")]) == {"a": ["x", "z"], "b": ["y"]}


def test_one_value_for_all_tables_or_one_for_each_of_some() -> None:
    assert flag_text.per_table(["direct"]) == "direct"
    assert flag_text.per_table(["a=direct", "b=auto"]) == {"a": "direct", "b": "auto"}


@pytest.mark.parametrize("texts", [["fp16", "int8"], ["fp16", "a=int8"], ["a=fp16", "a=int8"]])
def test_a_mixture_is_refused(texts: list[str]) -> None:
    with pytest.raises(OptionError, match="one value for all tables, or TOP=VALUE"):
        flag_text.per_table(texts)


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        (["int8"], "int8"),
        (["int8,fc3=fp32"], {"*": "int8", "fc3": "fp32"}),
        (["int8", "fc3=fp32"], {"*": "int8", "fc3": "fp32"}),
        (["fc1=int8, fc2=int8"], {"fc1": "int8", "fc2": "int8"}),
    ],
)
def test_one_value_for_all_layers_and_others_for_some(texts: list[str], value: object) -> None:
    assert flag_text.per_layer(texts) == value


@pytest.mark.parametrize("texts", [["int8,fp32"], ["fc1=int8", "fc1=fp32"], [""]], ids=str)
def test_two_values_for_one_layer_are_refused(texts: list[str]) -> None:
    with pytest.raises(OptionError, match="give one value for all layers, and LAYER=VALUE once for each of some"):
        flag_text.per_layer(texts)
