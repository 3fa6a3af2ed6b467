"""`hugectr2onnx layers`."""

from __future__ import annotations

from typing import Any

import pytest

# The specification's types (layers 0), a few of them.
TYPES = ("InnerProduct", "MultiCross", "MultiHeadAttention", "GRU", "PReLU_Dice", "Select", "SequenceMask")


@pytest.mark.parametrize("name", TYPES)
def test_a_layer_has_its_versions_and_what_it_does(name: str, run: Any) -> None:
    entries = {entry["type"]: entry for entry in run("layers", "--json").json["layers"]}
    assert entries[name]["versions"]
    assert entries[name]["what"]


def test_the_versions_are_those_of_the_specification(run: Any) -> None:
    entries = {entry["type"]: entry["versions"] for entry in run("layers", "--json").json["layers"]}
    assert entries["GRU"] == ">= v3.1"
    assert entries["ReLU"] == "all"


def test_text(run: Any) -> None:
    result = run("layers")
    assert (result.code, result.err) == (0, "")
    assert "HybridSparseEmbedding" in result.out
    assert all(name in result.out for name in TYPES)


def test_no_section_numbers_of_the_specification(run: Any) -> None:
    assert "(layers 3" not in run("layers").out


def test_grep_finds_a_layer(run: Any) -> None:
    (line,) = [line for line in run("layers").out.splitlines() if line.split()[0] == "GRU"]
    assert ">= v3.1" in line


def test_markdown_is_a_table_of_the_same(run: Any) -> None:
    head, rule, *rows = run("layers", "--markdown").out.splitlines()
    assert (head, rule) == ("| type | versions | what it does at evaluation |", "| --- | --- | --- |")
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        entry["type"] for entry in run("layers", "--json").json["layers"]
    ]
