"""What this machine's processor makes of products of bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hugectr2onnx.backend.runtime import byte_products


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    byte_products.saturates.cache_clear()
    yield
    byte_products.saturates.cache_clear()


def test_products_whose_pairs_fit_16_bits_are_exact_on_every_processor() -> None:
    generator = np.random.default_rng(0)
    q = generator.integers(0, 256, (5, 64)).astype(np.uint8)
    weight = generator.integers(-64, 65, (64, 16)).astype(np.int8)
    expected = q.astype(np.int64) @ weight.astype(np.int64)
    np.testing.assert_array_equal(byte_products.multiplied(q, weight), expected)


@pytest.mark.parametrize(("largest", "expected"), [(255 * 127 * 64, False), (32767 * 32, True)])
def test_a_processor_that_cuts_sums_gives_itself_away(
    largest: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 products of 255 and 127 are 2,072,640; 32 pairs of them, each cut to 32,767, are 1,048,544."""
    monkeypatch.setattr(byte_products, "multiplied", lambda q, weight: np.full((1, 16), largest))
    assert byte_products.saturates() is expected
