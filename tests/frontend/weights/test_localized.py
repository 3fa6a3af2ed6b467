"""Localized tables with repeated keys: the number of GPUs, inferred or given, and slots that the layer has (formats 2.2)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hugectr2onnx.errors import MissingInformationError, OptionError, WeightsError
from hugectr2onnx.frontend.weights.localized import check_gpus, check_slot_ids, infer_gpus


def inferred(keys: list[int], slot_ids: list[int], slots: int) -> int:
    return infer_gpus(np.array(keys), np.array(slot_ids), slots, "here")


def test_the_only_number_that_separates_the_rows_of_a_key() -> None:
    """Slots 0 and 2 share a GPU of two, and slots 0 and 3 one of three."""
    assert inferred([5, 5, 6, 5], [0, 2, 1, 3], 4) == 4
    assert inferred([5, 6, 5], [0, 0, 1], 2) == 2


def test_rows_lie_gpu_by_gpu_in_the_file() -> None:
    """0, 2, 1, 3 is sorted by slot modulo 2 only."""
    assert inferred([5, 6, 5, 6], [0, 2, 1, 3], 4) == 2


def test_slots_without_rows_leave_the_number_open() -> None:
    """Slot 2 reads the row of slot 0 on two GPUs, and none on three or more."""
    with pytest.raises(MissingInformationError, match=r"2, 3, 4 all fit the table: give n_gpus"):
        inferred([5, 5], [0, 1], 4)


@pytest.mark.parametrize("slots", range(2, 7))
def test_numbers_that_give_every_slot_the_same_rows_are_one(slots: int) -> None:
    """Candidates by what each slot sees: a row is visible where slot and slot_id agree modulo the number."""
    for present in (pair for size in (2, 3) for pair in combinations(range(slots), size)):
        seen = {tuple((s - t) % gpus == 0 for s in range(slots) for t in present): gpus for gpus in range(40, 0, -1)}
        separating = [g for g in seen.values() if len({t % g for t in present}) == len(present)]
        ordered = [g for g in separating if [t % g for t in present] == sorted(t % g for t in present)]
        fitting = ordered or separating
        if len(fitting) == 1:
            assert inferred([5] * len(present), list(present), slots) == fitting[0]
        else:
            with pytest.raises(
                MissingInformationError,
                match=r"depends on the number of GPUs of the training; .* all fit the table: give n_gpus",
            ):
                inferred([5] * len(present), list(present), slots)


@pytest.mark.parametrize("slots", [1, 3])
def test_a_key_twice_under_one_slot_is_damage(slots: int) -> None:
    with pytest.raises(WeightsError, match="a key stands twice under one slot_id"):
        inferred([5, 5], [0, 0], slots)
    with pytest.raises(WeightsError, match="a key stands twice under one slot_id"):
        check_gpus(np.array([5, 5]), np.array([0, 0]), 2, "here")


def test_a_given_number_must_separate_the_rows_too() -> None:
    check_gpus(np.array([5, 6, 5]), np.array([0, 0, 1]), 2, "here")
    for gpus in (1, 2):
        with pytest.raises(OptionError, match=f"with n_gpus={gpus} a key stands twice on one GPU"):
            check_gpus(np.array([5, 6, 5]), np.array([0, 0, 2]), gpus, "here")


@pytest.mark.parametrize(("slot_id", "said"), [(3, "3"), (99, "99"), (-(2**63), str(2**63)), (-1, str(2**64 - 1))])
def test_slots_that_the_layer_does_not_have(slot_id: int, said: str) -> None:
    check_slot_ids(np.array([0, 2, 1]), 3, "here")
    with pytest.raises(
        WeightsError, match=f"holds {said}, and the layer's slots are 0 to 2: is slot_id swapped with key"
    ):
        check_slot_ids(np.array([0, slot_id, 1]), 3, "here")


def test_an_empty_table_has_no_slots() -> None:
    check_slot_ids(np.array([], np.int64), 3, "here")
