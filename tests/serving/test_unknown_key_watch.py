"""The share of unknown keys by slot, and the warning where it rises."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from hugectr2onnx.serving.served_model import ServedModel
from hugectr2onnx.serving.unknown_key_watch import SlotShare, UnknownKeyWatch

UNKNOWN = 1 << 60


def test_a_share_that_rises_is_told_once() -> None:
    share = SlotShare()
    assert not any(share.add(100, 5) for _ in range(10))
    assert share.usual == pytest.approx(0.05)
    assert [share.add(100, 30) for _ in range(10)].count(True) == 1
    assert share.recent > 0.2


def test_a_share_that_was_always_high_is_usual() -> None:
    share = SlotShare()
    assert not any(share.add(100, 60) for _ in range(50))


def test_few_keys_tell_nothing() -> None:
    share = SlotShare()
    assert not any(share.add(10, 10) for _ in range(20))


@pytest.fixture
def watch(wdl: Any) -> Any:
    told: list[Any] = []
    made = UnknownKeyWatch(ServedModel(wdl.onnx(), "wdl"), lambda *each: told.append(each))
    yield made, told
    made.close()


def test_the_slot_whose_keys_are_new_is_named(watch: Any, wdl: Any, caplog: pytest.LogCaptureFixture) -> None:
    made, told = watch
    usual = {name: array[:512] for name, array in wdl.inputs.items()}
    new = {**usual, "deep_data": usual["deep_data"].copy()}
    new["deep_data"][:, 7] = UNKNOWN
    with caplog.at_level(logging.WARNING):
        for inputs in (usual, usual, new, new, new):
            made.look(inputs)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("wdl: the share of unknown keys in slot 7 of deep_data rose from ")
    raised = {(slot.input, slot.slot) for slot, _, has_risen in told if has_risen}
    assert raised == {("deep_data", 7)}


def test_padding_is_no_unknown_key(watch: Any, wdl: Any) -> None:
    made, told = watch
    padded = {name: array[:64].copy() for name, array in wdl.inputs.items()}
    padded["wide_data"][:, 0] = -1
    made.look(padded)
    (slot,) = [each for each, _, _ in told if (each.input, each.slot) == ("wide_data", 0)]
    assert (slot.keys, slot.unknown) == (0, 0)


def test_a_request_is_looked_at_on_the_side(watch: Any, wdl: Any) -> None:
    made, told = watch
    made.see(wdl.inputs)
    for _ in range(200):
        if told:
            break
        made._thread.join(0.05)
    assert {(each.input, each.slot) for each, _, _ in told} >= {("deep_data", 0)}
    assert all(each.keys == 64 for each, _, _ in told), "the first rows of a request alone"


def test_a_request_that_cannot_be_looked_at_does_not_end_the_watch(
    watch: Any, wdl: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made, told = watch
    with caplog.at_level(logging.ERROR):
        made.see({"wide_data": wdl.inputs["wide_data"]})
        for _ in range(200):
            if caplog.records:
                break
            made._thread.join(0.05)
    assert caplog.records[0].getMessage() == "wdl: the unknown keys of a request were not counted"
    assert made._thread.is_alive()
    told.clear()
    made.look(wdl.inputs)
    assert told


def test_a_request_without_rows_tells_nothing(watch: Any, wdl: Any) -> None:
    made, told = watch
    made.look({name: array[:0] for name, array in wdl.inputs.items()})
    assert told == []


def test_after_it_is_closed_nothing_runs(wdl: Any) -> None:
    made = UnknownKeyWatch(ServedModel(wdl.onnx()), lambda *_: None)
    made.close()
    assert not made._thread.is_alive()
    assert np.all(wdl.inputs["deep_data"] >= 0)
