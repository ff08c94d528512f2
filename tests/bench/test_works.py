"""What is measured: the peers compute the same, and memory is counted to the byte."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import tased_ext
from bench import memory, plan, works
from bench.works import DENSE, Row

ROWS = [row for row in plan.rows() if row.kind in ("small", "view")]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_ours_and_eager_compute_the_same(row: Row) -> None:
    calls = works.subjects(row, "cpu")
    ours, eager = calls["ours"](), calls["eager"]()
    if row.operation == "aux_pool":
        ours = tased_ext.switches_to_indices(ours, **row.site.pooling.unpool, output_size=row.site.plane)
    if isinstance(ours, tuple):
        ours, eager = ours[0], eager[0]
    if row.mode == "backward" and row.operation in ("max_unpool", "aux_pool_unpool"):
        return  # stock's gradient is not the derivative where windows overlap
    torch.testing.assert_close(ours, eager)


def test_peers_take_turns_on_the_same_inputs() -> None:
    row = ROWS[0]
    assert works.inputs(row, "cpu")["z"] is works.inputs(row, "cpu")["z"]


@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("dtype", works.DTYPES)
def test_the_floor_reads_and_writes_every_byte_once(dtype: str, layout: str) -> None:
    row = replace(next(row for row in ROWS if row.work == "max_unpool backward"), dtype=dtype, layout=layout)
    reads, write = works.moved(row, "cpu")
    (n, c, t, h, w), windows = row.site.shape, works.windows(row)
    size = works.DTYPES[dtype].itemsize
    assert {name: x.nbytes for name, x in reads.items()} == {
        "gradient": size * n * c * (t // 4) * h * w,
        "switches": windows,
    }
    assert write.nbytes == size * windows
    assert set(works.pieces(row, "cpu")) == {"read gradient", "read switches", "write result"}


def test_a_pooling_to_the_same_size_has_a_copy_as_its_floor() -> None:
    row = next(row for row in ROWS if row.work == "max_pool3d")
    assert set(works.pieces(row, "cpu")) == {"copy z"}


def test_the_floor_is_one_call_of_all_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    calls = {name: partial(done.append, name) for name in ("read z", "write result")}
    monkeypatch.setattr(works, "pieces", lambda *_: calls)
    works.floor(ROWS[0], "cpu")["floor"]()
    assert done == ["read z", "write result"]


def test_a_view_has_no_floor() -> None:
    assert works.floor(next(row for row in ROWS if row.kind == "view"), "cpu") == {}


def test_maps_of_the_network_are_measured_from_memory_unless_they_are_said_to_be_in_the_cache() -> None:
    cached = {row.site.name for row in plan.rows() if row.kind == "site" and row.cached}
    assert cached == {"i0", "480x8x14x24"}
    assert all(row.cached for row in plan.rows() if row.kind in ("small", "odd", "view", "huge", "call"))


def test_saved_bytes_are_those_that_the_graph_keeps() -> None:
    x = torch.randn(2, 3, 4, 8, 8, requires_grad=True)
    windows = 2 * 3 * 2 * 4 * 4
    assert memory.saved_bytes(lambda: F.max_pool3d(x, 2), [x]) == 8 * windows
    assert memory.saved_bytes(lambda: F.max_pool3d(x, 2)) == 8 * windows + x.nbytes
    assert memory.saved_bytes(lambda: F.max_pool3d(x, 2).detach(), [x]) == 0
    assert memory.saved_bytes(lambda: tased_ext.max_pool3d(x, 2), [x]) == windows


def test_peak_bytes_are_those_allocated_at_one_time() -> None:
    def call() -> torch.Tensor:
        first = torch.zeros(2**16, dtype=torch.uint8)
        second = first.clone()
        del first
        return second.clone()

    assert memory.peak_bytes(call, "cpu") == 2 * 2**16


def test_memory_of_every_operation_is_a_byte_a_window_and_two_for_aux_max_pool() -> None:
    for row in plan.memory_rows():
        small = replace(row, site=works.other_site("small", row.operation), compiled=False)
        counted = memory.count(small, "cpu")
        assert counted.saved["ours"] == (2 if row.operation == "aux_max_pool" else 1)
        assert counted.saved["eager"] >= 8
        assert 0 < counted.peak_inference["ours"] <= counted.peak_inference["eager"]
