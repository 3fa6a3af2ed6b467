"""Statistics files that training, another model or an editor has spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

NTP = "model_dense_0.model.ntp.json"
ENTRY = {"type": "BatchNorm", "mean": [0.0] * 13, "var": [1.0] * 13}


def write(model: Any, *entries: Any) -> None:
    model.write(NTP, json.dumps({"layers": list(entries)}).encode())


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "inf", "-inf", "Infinity", "-Infinity", "1e400", "1e39"])
@pytest.mark.parametrize("key", ["mean", "var"])
def test_a_number_that_is_not_finite(model: Any, key: str, text: str) -> None:
    write(model, {**ENTRY, key: [7777.0] + [1.0] * 12})
    model.write(NTP, model.path(NTP).read_bytes().replace(b"7777.0", text.encode()))
    assert NTP in model.refusal()


@pytest.mark.parametrize("text", ["-0.000001", "-1e30"])
def test_a_negative_variance(model: Any, text: str) -> None:
    write(model, {**ENTRY, "var": [float(text)] * 13})
    assert "a variance is never negative" in model.refusal()


@pytest.mark.parametrize("count", [0, 1, 12, 14, 25, 27, 10_000])
def test_another_number_of_features(model: Any, count: int) -> None:
    write(model, {**ENTRY, "mean": [0.0] * count, "var": [1.0] * count})
    assert NTP in model.refusal()


def test_more_means_than_variances(model: Any) -> None:
    write(model, {**ENTRY, "mean": [0.0] * 14})
    assert "layers[0]: 14 means but 13 variances" in model.refusal()


def test_a_list_of_twice_the_length_is_what_float16_runs_write(model: Any) -> None:
    write(model, {"type": "BatchNorm", "mean": [0.1] * 13 + [9.9] * 13, "var": [1.0] * 26})
    assert list(model.compile().run(model.feeds())) == ["label"]


@pytest.mark.parametrize(
    "entries", [[], [ENTRY, ENTRY], [{**ENTRY, "type": "LayerNorm"}], [{"type": "BatchNorm"}], [None], [[]]]
)
def test_other_entries_than_the_graph_has(model: Any, entries: list[Any]) -> None:
    write(model, *entries)
    assert "ntp" in model.refusal()


@pytest.mark.parametrize("wrong", [None, True, "0.5", [], [0.5], {}, 10**400])
def test_an_element_that_is_no_number(model: Any, wrong: Any) -> None:
    write(model, {**ENTRY, "mean": [wrong, *[0.0] * 12]})
    assert NTP in model.refusal()


@pytest.mark.parametrize("wrong", [None, True, 0, 1.5, "mean", {}, {"0": 1}])
@pytest.mark.parametrize("key", ["type", "mean", "var"])
def test_a_field_of_another_kind(model: Any, key: str, wrong: Any) -> None:
    write(model, {**ENTRY, key: wrong})
    assert NTP in model.refusal()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"layers": {}}', b"\xff\xfe", b"[" * 10_000])
def test_a_file_that_holds_no_statistics(model: Any, content: bytes) -> None:
    model.write(NTP, content)
    assert NTP in model.refusal()


def test_a_file_that_ends_anywhere(model: Any) -> None:
    text = model.path(NTP).read_bytes()
    for end in range(0, len(text), 11):
        model.write(NTP, text[:end])
        assert NTP in model.refusal()


def test_no_file(model: Any) -> None:
    model.path(NTP).unlink()
    assert "BatchNorm needs its running statistics: give the ntp file" in model.refusal()


def test_a_folder(model: Any) -> None:
    model.path(NTP).unlink()
    model.path(NTP).mkdir()
    assert "is a folder, expected a JSON file" in model.refusal()


def test_more_keys_do_no_harm(model: Any) -> None:
    model.write_ntp([0.0] * 13, [1.0] * 13, comment="from another tool")
    assert list(model.compile().run(model.feeds())) == ["label"]


@pytest.mark.parametrize(("mean", "var"), [(3.4e38, 1.0), (0.0, 3.4e38), (0.0, 0.0), (1e-45, 1e-45)])
def test_numbers_at_the_ends_of_float32(
    model: Any, survives: Callable[[Callable[[], object]], bool], mean: float, var: float
) -> None:
    model.write_ntp([mean] * 13, [var] * 13)
    assert survives(lambda: model.compile(2).run(model.feeds()))
