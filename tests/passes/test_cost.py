"""Tuned thresholds stand in one module, and a pass holds none of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hugectr2onnx import passes
from hugectr2onnx.passes import cost

FOLDER = Path(passes.__file__).parent
NUMBER = re.compile(r"^([A-Z][A-Z_0-9]*)(?:: [^=]+)? = [\d.]", re.MULTILINE)
LIMITS = {
    "MAX_PIPELINE_ROUNDS",
    "MAX_ROUNDS",
    "MAX_DEPTH",
    "MAX_COMPARED_BYTES",
    "MAX_FOLDED_ELEMENTS",
    # What a rewrite must not lose to rounding:
    "MAX_MEAN_DEVIATIONS",
    "MAX_SHIFT",
    "MAX_WEIGHT_RATIO",
    "MAX_SUMMED_AT_ONCE",
    "MIN_DISTANCE_FROM_ONE",
    "SCALE_TOLERANCE",
    "EXACT_LEVEL",
}
"""Numbers that nobody tuned."""
MODULES = [path for path in sorted(FOLDER.rglob("*.py")) if path.parent.name != "lookups" and path.name != "cost.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_pass_holds_no_threshold(path: Path) -> None:
    assert set(NUMBER.findall(path.read_text(encoding="utf-8"))) <= LIMITS


THRESHOLDS = [value for value in vars(cost).values() if isinstance(value, cost.Threshold)]


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=str)
def test_a_threshold_says_what_it_counts_and_what_it_decides_between(threshold: cost.Threshold) -> None:
    assert threshold.unit
    assert threshold.below != threshold.above


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        (cost.is_worth_transposing, (480, 0), (479, 0)),
        (cost.is_worth_transposing, (960, 1), (959, 1)),
        (cost.is_worth_expanding, (6, 16), (5, 16)),
        (cost.is_worth_expanding, (6, 16), (6, 17)),
        (cost.is_worth_batching, (6,), (5,)),
        (cost.is_worth_batching, (256,), (257,)),
        (cost.is_worth_flattening, (512,), (513,)),
        (cost.is_worth_merging, (64, 8), (63, 8)),
        (cost.is_worth_merging, (64, 8), (64, 9)),
        (cost.fits_merged_product, (64,), (65,)),
        (cost.is_narrow_product, (8, 2), (7, 2)),
        (cost.is_worth_distributing, (3,), (4,)),
        (cost.is_worth_broadcasting, (8,), (7,)),
        (cost.is_worth_sharing, (4,), (3,)),
        (cost.is_worth_splitting_product, (3,), (4,)),
        (cost.is_worth_splitting_rows, (16,), (17,)),
        (cost.is_worth_joining_again, (16,), (15,)),
        (cost.is_worth_unit_length, (64,), (65,)),
        (cost.is_worth_unit_length, (2,), (1,)),
        (cost.is_worth_taking, (11, 10), (12, 10)),
        (cost.is_worth_moving_steps, (16, 32), (17, 2)),
        (cost.is_worth_moving_steps, (16, 2, 32), (16, 2, 33)),
        (cost.is_worth_stacking, (20_064, 1, 1), (20_065, 1, 1)),
    ],
)
def test_a_question_is_answered_on_both_sides(question, yes, no) -> None:
    assert question(*yes)
    assert not question(*no)


def test_features_move_the_limit_of_a_factorization_machine() -> None:
    assert [cost.is_worth_adding_by_product(width, features=False) for width in (12, 13)] == [True, False]
    assert [cost.is_worth_adding_by_product(width, features=True) for width in (16, 17)] == [True, False]
