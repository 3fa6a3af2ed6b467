"""What a reader's browser makes of the pages: nothing is fetched, every link leads somewhere, everybody can read them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hugectr2onnx.sample_models import SAMPLES

from .conftest import Opened

Look = Callable[[str, str], Opened]
KINDS = ("report", "comparison", "drawing")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:playwright"),
]


# The pages of a sample are written and opened once: one worker takes all tests of it (--dist loadgroup).
@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SAMPLES])
def sample(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_the_browser_says_nothing(look: Look, sample: str, kind: str) -> None:
    assert look(sample, kind).messages == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_the_file_is_asked_for(look: Look, sample: str, kind: str) -> None:
    assert look(sample, kind).requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_link_leads_to_a_place_of_the_page(look: Look, sample: str, kind: str) -> None:
    assert look(sample, kind).broken_anchors == []


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_violation_in_light_and_dark(look: Look, sample: str, kind: str) -> None:
    assert look(sample, kind).violations == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_telephone_need_not_scroll_sideways(look: Look, sample: str, kind: str) -> None:
    assert not look(sample, kind).too_wide


def test_the_numbers_of_the_report_are_those_of_its_data(look: Look, sample: str) -> None:
    opened = look(sample, "report")
    tables = [block for each in opened.data["sections"] for block in each["blocks"] if block["kind"] == "table"]
    cells = [cell for table in tables for row in table["rows"] for cell in row]
    # As text: a key of 64 bits is more than a number of JavaScript holds.
    expected = [json.dumps(cell) for cell in cells if isinstance(cell, int | float)]
    assert len(expected) > 50
    assert opened.values == expected


def test_the_numbers_of_the_comparison_are_those_of_its_data(look: Look, sample: str) -> None:
    opened = look(sample, "comparison")
    tensors = opened.data["tensors"]
    shown = [(row[0], row[3], row[4]) for row in opened.cells]
    errors = [[each[key] for key in ("max_error", "mean_error")] for each in tensors]
    expected = [["-" if error is None else f"{error:.3g}" for error in pair] for pair in errors]
    assert shown == [(each["name"], *pair) for each, pair in zip(tensors, expected, strict=True)]
