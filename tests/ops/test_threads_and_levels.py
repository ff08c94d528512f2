"""Equal bits whatever the threads, the run, the vector instructions, and the size of the map."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import cases
import tased_ext
from cases import DTYPES, LAYOUTS, Case, Pooling, assert_same, make, make_switches
from tased_ext import reference

# Maps large enough to be shared among threads: the sites i2 and i0, windows that overlap much, few rows, one large plane.
LARGE = (
    Case((1, 48, 16, 28, 48), Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))),
    Case((2, 104, 8, 14, 24), Pooling((2, 2, 2), (2, 2, 2))),
    Case((1, 40, 8, 21, 35), Pooling((3, 5, 5), (1, 1, 2), (0, 2, 1))),
    Case((1, 700, 7, 3, 5), Pooling((2, 3, 3), (3, 1, 1), (0, 1, 0))),
    Case((1, 1, 2, 300, 401), Pooling((2, 3, 3), (2, 2, 2), (0, 1, 1))),
)
# And beyond what the CPU kernels take at a time: rows, columns, channels, and rows of frames that are kept.
TILED = (
    *LARGE,
    Case((1, 2, 6, 150, 320), Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))),
    Case((1, 1, 4, 9, 9000), Pooling((2, 2, 3), (2, 2, 2), (0, 1, 1))),
    Case((1, 2100, 4, 9, 13), Pooling((2, 3, 3), (1, 2, 2), (1, 1, 1))),
    Case((1, 96, 5, 40, 130), Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))),
)
LEVELS = ("baseline", "avx2", "avx512")
ROOT = Path(__file__).parents[2]


def everything(
    case: Case, dtype: torch.dtype, layout: str, device: torch.device, ops: ModuleType = tased_ext
) -> dict[str, Tensor]:
    """The results and the gradients of all operations on one map with many ties."""
    pooling = case.pooling
    z = LAYOUTS[layout](make(case.shape, dtype, "ties").to(device)).requires_grad_()
    values, switches = ops.aux_max_pool(z, **pooling.aux)
    pooled = ops.max_pool3d(z, **pooling.pool3d)
    x = LAYOUTS[layout](make(values.shape, dtype).to(device)).requires_grad_()
    unpool: dict[str, Any] = {**pooling.unpool, "output_size": case.shape[3:]}
    results = {
        "aux_pool": ops.aux_pool(z, **pooling.aux),
        "values": values,
        "switches": switches,
        "pooled": pooled,
    }
    # Random bytes collide as well, and many are invalid.
    noise = LAYOUTS[layout](make_switches(values.shape, pooling.area).to(device))
    for exact_grad in (True, False):
        results[f"unpooled {exact_grad}"] = ops.max_unpool(x, noise, **unpool, exact_grad=exact_grad)
        results[f"fused {exact_grad}"] = ops.aux_pool_unpool(z, x, **pooling.aux_unpool, exact_grad=exact_grad)
    for name, source in {"values": z, "pooled": z, "unpooled True": x, "unpooled False": x, "fused True": x}.items():
        upstream = LAYOUTS[layout](make(results[name].shape, dtype, seed="gradient").to(device))
        (results[f"gradient of {name}"],) = torch.autograd.grad(results[name], source, upstream)
    return {name: result.detach() for name, result in results.items()}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_results_are_equal_for_one_two_and_three_threads(case: Case, dtype: torch.dtype, layout: str) -> None:
    cpu = torch.device("cpu")
    expected = everything(case, dtype, layout, cpu)
    for count in (2, 3):
        with cases.threads(count):
            for name, actual in everything(case, dtype, layout, cpu).items():
                assert_same(actual, expected[name], context=f"{name} on {count} threads")


@pytest.mark.parametrize("dtype", DTYPES if cases.FULL else (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize("case", TILED, ids=str)
def test_a_map_of_many_tiles_equals_the_reference(case: Case, dtype: torch.dtype) -> None:
    cpu = torch.device("cpu")
    expected = everything(case, dtype, "contiguous", cpu, reference)
    for layout in ("contiguous", "channels_last"):
        for name, actual in everything(case, dtype, layout, cpu).items():
            assert_same(actual, expected[name], context=f"{name} in {layout}")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_two_runs_are_bit_identical(case: Case, layout: str, device: torch.device) -> None:
    with cases.threads(3):
        expected = everything(case, torch.float32, layout, device)
        for name, actual in everything(case, torch.float32, layout, device).items():
            assert_same(actual, expected[name].cpu(), context=name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_layouts_and_devices_give_equal_bits(case: Case, dtype: torch.dtype, device: torch.device) -> None:
    expected = everything(case, dtype, "contiguous", torch.device("cpu"))
    for layout in ("contiguous", "channels_last", "sliced"):
        for name, actual in everything(case, dtype, layout, device).items():
            assert_same(actual, expected[name], context=f"{name} in {layout}")


def test_calls_from_several_python_threads_give_equal_bits() -> None:
    cpu = torch.device("cpu")
    expected = {layout: everything(LARGE[1], torch.float32, layout, cpu) for layout in ("contiguous", "channels_last")}
    with ThreadPoolExecutor(4) as pool:
        calls = {pool.submit(everything, LARGE[1], torch.float32, layout, cpu): layout for layout in [*expected] * 4}
        for call, layout in calls.items():
            for name, actual in call.result().items():
                assert_same(actual, expected[layout][name], context=f"{name} in {layout}")


def test_the_vector_level_is_the_widest_or_the_one_asked_for() -> None:
    asked = os.environ.get("TASED_VECTOR_LEVEL")
    level = tased_ext.build_info()["vector_level"]
    assert level == asked if asked else level in LEVELS


@pytest.mark.parametrize("level", LEVELS)
def test_lower_vector_levels_give_equal_bits(level: str) -> None:
    if LEVELS.index(level) >= LEVELS.index(tased_ext.build_info()["vector_level"]):
        pytest.skip("the level of this very run, or one that the processor lacks")
    suite = "equals_the_reference or every_width or vector_level_is"
    command = [sys.executable, "-m", "pytest", Path(__file__).parent, "-q", "-p", "no:cacheprovider", "-m", "not cuda"]
    run = subprocess.run(
        [*command, "-k", suite],
        cwd=ROOT,
        env={**os.environ, "TASED_VECTOR_LEVEL": level, "TASED_TEST_SHARE": "1" if cases.FULL else "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 200


def test_an_unknown_vector_level_is_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import tased_ext; tased_ext.build_info()"],
        cwd=ROOT,
        env={**os.environ, "TASED_VECTOR_LEVEL": "sse"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "TASED_VECTOR_LEVEL must be baseline, avx2 or avx512, but is sse" in run.stderr


@pytest.mark.skipif(not cases.FULL, reason="takes 10 GB of memory; TASED_TEST_SCALE=full runs it")
@pytest.mark.usefixtures("much_memory")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_maps_of_more_than_two_to_the_31_elements(layout: str, device: torch.device) -> None:
    # 2^31 + 2^26 zeros in 16 x 16 windows; some of these have a one at offset 1, and the very last element is a two.
    c, t, h, w = 4, 33, 4096, 4096
    stored = (1, c, t, h, w) if layout == "contiguous" else (1, t, h, w, c)
    z = torch.zeros(stored, dtype=torch.bfloat16, device=device)
    z = z if layout == "contiguous" else z.movedim(-1, 1)
    z[..., ::512, 1::512] = 1
    z[0, -1, -1, -1, -1] = 2
    ones = c * t * (h // 512) * (w // 512)
    values, switches = tased_ext.aux_max_pool(z, 1, 16)
    assert values[0, -1, -1, -1, -1] == 2
    assert switches[0, -1, -1, -1, -1] == 255
    assert values.float().sum() == ones + 2
    assert switches.long().sum() == ones + 255
    windows = (1, 1, 0, 16, 16, 16, 16, 0, 0)
    assert_same(tased_ext.max_pool3d(z, (1, 16, 16)), values.cpu())
    assert_same(torch.ops.tased_ext.gather_windows(z, switches, None, *windows, True), values.cpu())
    assert torch.equal(tased_ext.max_unpool(values, switches, 16), z)
    assert torch.equal(tased_ext.aux_pool_unpool(z, values, 1, 16), z)
    assert torch.equal(torch.ops.tased_ext.scatter_windows(values, switches, None, *windows, t, h, w), z)
