"""The statistics, on a clock that reads what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from bench.results import Outcome
from bench.timing import ColdCpuClock, Elsewhere, Spread, measure, ratio
from bench.works import AUX_SITES, Row

ROW = Row("site", "aux_pool", "inference", AUX_SITES[0], "contiguous")


class FakeClock:
    """Takes what a call returns for the seconds that it took."""

    turn = 1e-3

    def __init__(self) -> None:
        self.turns: list[tuple[float, int]] = []

    def time(self, call: Callable[[], object], repeats: int) -> float:
        seconds = call()
        assert isinstance(seconds, float)
        self.turns.append((seconds, repeats))
        return seconds


def test_a_ratio_survives_a_machine_that_changes_its_pace() -> None:
    pace = [1.0, 7.0, 2.0, 5.0, 1.0]
    assert ratio([3 * p for p in pace], [2 * p for p in pace]) == Spread(1.5, 1.5, 1.5)


def test_every_call_has_one_turn_in_every_round_and_the_order_changes() -> None:
    order: list[str] = []

    def call(name: str) -> float:
        order.append(name)
        return 0.01

    names = ("ours", "eager", "floor")
    samples = measure({name: partial(call, name) for name in names}, FakeClock(), seconds=1.0, rounds=(6, 6))
    assert {name: len(turns) for name, turns in samples.items()} == dict.fromkeys(names, 6)
    rounds = [tuple(order[i : i + 3]) for i in range(6, len(order), 3)]  # each was called twice to warm up
    assert all(sorted(one) == sorted(names) for one in rounds)
    assert len(set(rounds)) > 1


def test_the_shortest_turn_is_as_long_as_the_clock_asks_and_all_make_as_many_calls() -> None:
    clock = FakeClock()
    measure({"tiny": lambda: 2.0**-18, "large": lambda: 0.2}, clock, seconds=0.0, rounds=(1, 1))
    assert set(clock.turns[2:]) == {(2.0**-18, 263), (0.2, 263)}


def test_a_cold_clock_fills_the_caches_before_every_call_and_times_the_call_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, now, order = ColdCpuClock(), 0.0, list[str]()

    def step(name: str, seconds: float) -> None:
        nonlocal now
        order.append(name)
        now += seconds

    monkeypatch.setattr(clock, "_fill", partial(step, "fill", 4.0))
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert clock.time(partial(step, "call", 0.5), 2) == 0.5
    assert order == ["fill", "call", "fill", "call"]


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 5), (0.65, 7), (100.0, 20)])
def test_rounds_end_with_the_time_between_the_least_and_the_most(seconds: float, rounds: int) -> None:
    assert len(measure({"ours": lambda: 0.1}, FakeClock(), seconds, rounds=(5, 20))["ours"]) == rounds


def test_quartiles_are_the_spread() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)
    assert Spread(4.0, 3.0, 5.0).percent == 25


def test_ratios_say_how_often_ours_goes_into_its_peers_and_the_floor_into_ours() -> None:
    outcome = Outcome.of(ROW, {"ours": [6.0, 9.0], "eager": [60.0, 90.0], "floor": [3.0, 3.0]})
    assert outcome.ratios["floor"].median == 2.5
    assert outcome.ratios["eager"].median == 10.0


def test_the_better_peer_is_better_by_its_median() -> None:
    outcome = Outcome.of(ROW, {"ours": [1.0, 1.0, 1.0], "eager": [2.0, 9.0, 9.0], "compiled": [4.0, 4.0, 4.0]})
    assert outcome.ratios["better"] == outcome.ratios["compiled"]


def test_the_share_that_others_use_is_a_share() -> None:
    elsewhere = Elsewhere()
    sum(range(10**6))
    assert 0.0 <= elsewhere.share() <= 1.0
