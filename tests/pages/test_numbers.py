from __future__ import annotations

import pytest

from hugectr2onnx.pages.numbers import number


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.125, "0.125"), (12.3456, "12.35"), (123456.7, "123,457"), (1.5e-7, "1.50e-07")],
)
def test_numbers_have_about_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text
