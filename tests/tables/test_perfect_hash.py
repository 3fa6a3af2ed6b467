"""The perfect hash: every key finds its slot, no other key is taken for one, bad seeds are replaced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hugectr2onnx.tables import perfect_hash
from hugectr2onnx.tables.perfect_hash import EMPTY, HashError, HashTables, build

MOST = 2**63 - 1


def rows(tables: HashTables, keys: np.ndarray) -> np.ndarray:
    """By the definition, in Python's integers."""
    found = []
    for key in keys.tolist():
        a = key * tables.mix[0] % 2**64
        x = (a + (a >> 32)) * tables.mix[1] % 2**64
        y = x * int(tables.displacements[x >> tables.shift]) % 2**64
        slot = ((y >> 32) * len(tables.keys)) >> 32
        found.append(int(tables.rows[slot]) if tables.keys[slot] == key else -7)
    return np.array(found)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(0, MOST), st.integers(0, 99)), unique=True, max_size=200))
def test_every_key_finds_its_row_and_no_other_does(keys: list[int]) -> None:
    table = np.array(keys, np.int64)
    tables = build(table, len(keys))
    assert rows(tables, table).tolist() == list(range(len(keys)))
    absent = np.setdiff1d(np.array([0, 1, 5, 98, 1 << 40, MOST - 1, MOST]), table)
    assert (rows(tables, absent) == -7).all()


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(50_000),
        np.arange(50_000) << 40,
        np.arange(50_000) * 4096 + 7,
        MOST - np.arange(50_000),
        np.random.default_rng(0).permutation(np.unique(np.random.default_rng(1).integers(0, MOST, 50_000))),
    ],
    ids=["counted", "high bits", "strides", "from the top", "random"],
)
def test_structured_keys(keys: np.ndarray) -> None:
    tables = build(keys, len(keys))
    np.testing.assert_array_equal(tables.rows[tables.slots(keys)], np.arange(len(keys)))
    assert tables.nbytes < 24 * len(keys)


def test_an_empty_slot_gives_the_missing_row() -> None:
    tables = build(np.arange(1000), 1000)
    assert set(tables.rows[tables.keys == EMPTY].tolist()) == {1000}


def test_a_seed_under_which_keys_collide_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, seeds = perfect_hash.mixed, []

    def weak(keys: np.ndarray, mix: tuple[int, int]) -> np.ndarray:
        seeds.append(mix)
        return honest(keys & 15 if mix == seeds[0] else keys, mix)

    monkeypatch.setattr(perfect_hash, "mixed", weak)
    tables = build(np.arange(100), 100)
    assert tables.seed == 1
    np.testing.assert_array_equal(tables.rows[tables.slots(np.arange(100))], np.arange(100))


def unmixed(x: list[int], mix: tuple[int, int]) -> np.ndarray:
    """The keys of 0 and more that `mix` makes x of: its steps, backwards."""
    keys = []
    for number in x:
        a = number * pow(mix[1], -1, 2**64) % 2**64
        high = (a - (a >> 32)) % 2**64 >> 32
        a = (a - high) % 2**64
        key = a * pow(mix[0], -1, 2**64) % 2**64
        if key <= MOST and (a + (a >> 32)) * mix[1] % 2**64 == number:
            keys.append(key)
    return np.array(keys, np.int64)


def mix_of_the_first_seed() -> tuple[int, int]:
    return perfect_hash._odd(0, 0, 0), perfect_hash._odd(0, 0, 1)


@pytest.fixture
def known_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that do not depend on the keys, so that an adversary can know them."""
    monkeypatch.setattr(perfect_hash, "_digest", lambda keys: 0)


def test_keys_made_to_share_a_bucket_get_another_seed(known_seeds: None) -> None:
    """1,000 of 2,000 keys in one of 512 buckets, where there should be four: placing them would take forever."""
    crowded = unmixed([(7 << 56) + (n << 20) for n in range(4000)], mix_of_the_first_seed())[:1000]
    keys = np.concatenate([crowded, np.arange(1000)])
    tables = build(keys, len(keys))
    assert tables.seed > 0
    np.testing.assert_array_equal(rows(tables, keys), np.arange(len(keys)))


def test_keys_made_to_collide_in_all_bits_get_another_seed(known_seeds: None) -> None:
    """a + (a >> 32) is the same for a = 1 and for a = 2^64 - 2^32 + 2, which wraps around."""
    first = mix_of_the_first_seed()
    back = pow(first[0], -1, 2**64)
    pairs = [((2**32 - 1 << 32 | n + 1) * back % 2**64, n * back % 2**64) for n in range(20_000)]
    keys = np.array([key for pair in pairs if max(pair) <= MOST for key in pair], np.int64)
    assert len(keys) > 100
    same = perfect_hash.mixed(keys, first).reshape(-1, 2)
    np.testing.assert_array_equal(same[:, 0], same[:, 1])
    tables = build(keys, len(keys))
    assert tables.seed == 1
    np.testing.assert_array_equal(rows(tables, keys), np.arange(len(keys)))


def test_keys_that_stand_twice_fail_after_a_bounded_search() -> None:
    with pytest.raises(HashError, match="16 seeds"):
        build(np.array([1, 2, 1]), 3)


def test_buckets_that_never_fit_fail_after_a_bounded_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfect_hash, "slot_count", lambda keys: keys - 1)
    monkeypatch.setattr(perfect_hash, "CANDIDATES", 20)
    with pytest.raises(HashError, match=r"seeds told 50 keys apart; does one stand twice"):
        build(np.arange(50), 50)


def test_the_same_keys_give_the_same_tables() -> None:
    one, two = build(np.arange(99), 99), build(np.arange(99), 99)
    np.testing.assert_array_equal(one.keys, two.keys)
    assert one.mix == two.mix != build(np.arange(98), 98).mix
