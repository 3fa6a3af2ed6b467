from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import groupby

from hugectr2onnx.latency.turns import in_turn


class Bench:
    """A clock that calls move forward by known amounts, and the order in which they came."""

    def __init__(self) -> None:
        self.now = 0
        self.order: list[str] = []

    def call(self, name: str, microseconds: int) -> Callable[[], None]:
        def run() -> None:
            self.order.append(name)
            self.now += 1000 * microseconds

        return run

    def clock(self) -> int:
        return self.now


def test_candidates_take_turns_in_every_round() -> None:
    bench = Bench()
    participants = {name: [bench.call(name, 10)] for name in "ABC"}
    in_turn(participants, rounds=4, seconds=0.001, clock=bench.clock)
    bursts = [name for name, _ in groupby(bench.order)]
    # One A B C of warming up, then four rounds.
    assert bursts == ["A", "B", "C"] * 5


def test_every_call_is_measured() -> None:
    bench = Bench()
    measured = in_turn({"A": [bench.call("A", 10)]}, rounds=3, seconds=0.003, clock=bench.clock)
    assert [len(calls) for calls in measured["A"]] == [100, 100, 100]
    assert {round(taken * 1e6) for calls in measured["A"] for taken in calls} == {10}


def test_feeds_rotate_across_rounds() -> None:
    bench = Bench()
    feeds = [bench.call(name, 10) for name in "abc"]
    in_turn({"A": feeds}, rounds=3, seconds=3 * 20e-6, clock=bench.clock)
    assert "".join(bench.order) == "abc" + "abcabc"


def test_slow_candidate_still_gets_one_call_a_round() -> None:
    bench = Bench()
    measured = in_turn({"A": [bench.call("A", 50_000)]}, rounds=2, seconds=0.001, clock=bench.clock)
    assert [len(calls) for calls in measured["A"]] == [1, 1]


def test_weights_share_out_the_time() -> None:
    bench = Bench()
    participants = {"A": [bench.call("A", 10)], "B": [bench.call("B", 10)]}
    measured = in_turn(participants, rounds=1, seconds=0.004, weights={"A": 3.0, "B": 1.0}, clock=bench.clock)
    assert (len(measured["A"][0]), len(measured["B"][0])) == (300, 100)


def test_garbage_collection_is_off_meanwhile_and_on_again_after() -> None:
    states = []
    in_turn({"A": [lambda: states.append(gc.isenabled())]}, rounds=1, seconds=1e-6)
    assert set(states) == {False}
    assert gc.isenabled()
