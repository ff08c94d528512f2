"""The targets: which rows they speak of, and when they are reached."""

from __future__ import annotations

import pytest

from bench import plan
from bench.results import Memory, Outcome
from bench.targets import CPU, CUDA, NOISE, Judgement, Target, judge, unmeasured
from bench.works import AUX_SITES, Row, other_site

I2 = Row("site", "aux_pool", "inference", AUX_SITES[0], "contiguous", compiled=True)
SMALL = Row("small", "aux_pool", "inference", other_site("small", "aux_pool"), "contiguous")
EMPTY = Row("call", "aux_pool", "inference", other_site("empty", "aux_pool"), "contiguous", threads=1)


def outcome(row: Row, **seconds: float) -> Outcome:
    return Outcome.of(row, {name: [value] * 3 for name, value in seconds.items()})


def judged(target: Target, *outcomes: Outcome) -> dict[str, bool]:
    return {judgement.name: judgement.reached for judgement in judge([target], outcomes)}


@pytest.mark.parametrize(
    ("bounds", "seconds", "reached"),
    [
        ({"floor": 1.5}, {"floor": 1.0}, {"floor": True}),
        ({"floor": 1.1}, {"floor": 1.0}, {"floor": False}),
        ({"eager": 20}, {"eager": 24.0}, {"eager": True}),
        ({"eager": 20}, {"eager": 22.8}, {"eager": False}),
        ({"compiled": 4}, {"compiled": 4.8}, {"compiled": True}),
        ({"compiled": 4}, {"compiled": 4.7}, {"compiled": False}),
        ({"better": 2}, {"eager": 24.0, "compiled": 2.4}, {"better": True}),
        ({"better": 2}, {"eager": 24.0, "compiled": 2.3}, {"better": False}),
        ({"floor": 1.1, "eager": 1}, {"floor": 1.0, "eager": 1.2}, {"floor": False, "eager": True}),
    ],
)
def test_a_bound_is_reached_at_its_value(
    bounds: dict[str, float], seconds: dict[str, float], reached: dict[str, bool]
) -> None:
    times = {"ours": 1.2, "eager": 2.4, **seconds}
    target = Target("", ("aux_pool",), ("i2",), **bounds)
    assert judged(target, outcome(I2, **times)) == reached


def test_not_behind_allows_for_noise_and_no_more() -> None:
    target = Target("", ("aux_pool",), ("i2",), eager=1)
    assert judged(target, outcome(I2, ours=NOISE, eager=1.0)) == {"eager": True}
    assert judged(target, outcome(I2, ours=NOISE + 0.01, eager=1.0)) == {"eager": False}


def test_the_better_peer_is_not_judged_where_one_is_missing() -> None:
    assert judged(Target("", ("aux_pool",), ("i2",), better=2), outcome(I2, ours=1.0, eager=9.0)) == {}


def test_small_maps_may_be_behind_by_the_cost_of_a_call() -> None:
    target = Target("", ("aux_pool",), ("small",), beyond_call=True)
    call = outcome(EMPTY, ours=3.0, eager=2.0)
    assert judged(target, call, outcome(SMALL, ours=13.0, eager=10.0)) == {"beyond_call": True}
    assert judged(target, call, outcome(SMALL, ours=14.0, eager=10.0)) == {"beyond_call": False}


def test_the_cost_of_a_call_is_compared_with_a_stock_operation() -> None:
    target = Target("", ("aux_pool",), ("empty",), threads=None, calls=1.5)
    assert judged(target, outcome(EMPTY, ours=3.0, eager=2.0)) == {"calls": True}
    assert judged(target, outcome(EMPTY, ours=3.1, eager=2.0)) == {"calls": False}


def test_a_bound_that_is_missed_is_beyond_the_floor_where_moving_the_bytes_alone_would_miss_it() -> None:
    target = Target("", ("aux_pool",), ("i2",), floor=1.5, eager=3)

    def beyond(**seconds: float) -> dict[str, bool]:
        return {one.name: one.beyond_floor for one in judge([target], [outcome(I2, **seconds)])}

    assert beyond(ours=2.0, eager=2.9, floor=1.0) == {"floor": False, "eager": True}
    assert beyond(ours=2.0, eager=3.1, floor=1.0) == {"floor": False, "eager": False}
    assert beyond(ours=0.5, eager=2.9, floor=1.0) == {"floor": False, "eager": False}  # reached
    assert judge([target], [outcome(I2, ours=2.0, eager=2.5)])[0].at_floor is None


def test_saved_bytes_are_judged() -> None:
    row = plan.memory_rows()[0]
    target = Target("", (row.operation,), (row.site.name,), modes=("memory",), saved=2)
    results = [judge([target], [], [Memory(row, {"ours": saved}, {}, {})])[0].reached for saved in (2.0, 2.1)]
    assert results == [True, False]


def test_a_bound_without_a_measurement_is_counted() -> None:
    target = Target("", ("aux_pool",), ("i2",), floor=2, eager=1)
    judgements = judge([target], [outcome(I2, ours=1.0, eager=1.0, floor=1.0)])
    other = Row("site", "aux_pool", "inference", AUX_SITES[0], "channels_last_3d")
    assert unmeasured([target], [I2, other], judgements) == 2


@pytest.mark.parametrize(
    ("device", "target"),
    [
        pytest.param(device, target, id=f"{device}-{target.about}")
        for device, table in (("cpu", CPU), ("cuda", CUDA))
        for target in table
    ],
)
def test_a_full_run_measures_every_target_on_every_row_that_it_names(device: str, target: Target) -> None:
    rows = [row for row in (*plan.rows(device), *plan.memory_rows()) if target.speaks_of(row)]
    assert {row.operation for row in rows} == set(target.operations)
    assert {row.mode for row in rows} <= set(target.modes)
    if target.layouts:
        assert {row.layout for row in rows} == set(target.layouts)
    if {row.kind for row in rows} == {"site"}:
        assert {row.dtype for row in rows} == {"float32", "bfloat16", "float16"}
    if target.compiled or target.better:
        assert all(row.compiled for row in rows)


def test_a_quick_run_judges_every_table_but_threads_and_huge_maps() -> None:
    rows = [*plan.quick(plan.rows()), *plan.quick_memory(plan.memory_rows())]
    missing = {target.about for target in CPU if not any(target.speaks_of(row) for row in rows)}
    assert missing == {"everything at i0", "one thread", "huge maps"}


def test_judgement_tells_its_bound_and_its_row() -> None:
    judgement = Judgement(Target("", ("aux_pool",), ("i2",), eager=20), "eager", I2, 21.0, True)
    assert judgement.to_json()["target"] == "at least 20x as fast as eager"
    assert judgement.to_json()["site"] == "i2"
