"""Global memory traffic and launch shapes, counted on the very kernels, against what must move and what a GPU holds.

The floor reads every input and writes every result once. Traffic is counted in three ways: all loads and stores; sectors
of 32 bytes that each block loads once, for caches that serve a block but nothing between blocks; and sectors loaded once,
for a cache that serves neighbours as well. Kernels that read only the values that survive are below the floor.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

import cases
from cases import DTYPES, FULL, Pooling, make
from simt import sites
from simt.harness import Kernels
from simt.sites import LAYOUTS, MULTIPROCESSORS, SITES, Played, Site, Stage

OVERLAPPING = SITES["i2"].aux
TRAFFIC_SITES = {
    name: dataclasses.replace(site, share=1 if FULL else site.share)
    for name, site in {**SITES, "odd": dataclasses.replace(SITES["i2"], shape=(1, 192, 16, 57, 95))}.items()
}
# Of these kernels every load and store counts: they keep in shared memory what they need twice. Neighbouring tiles of
# a channels-last map read its seams twice; tiles of a contiguous one are whole planes.
KEEPING = ("aux_pool", "aux_max_pool", "max_unpool", "aux_pool_unpool", "max_pool3d 1x3x3")
MOST = {"contiguous": 1.0, "channels_last": 1.035}
# The sectors at the seams between blocks, in shares of the floor.
MOST_BY_BLOCKS = 1.08
# The others leave overlaps to the caches: a frame is read by each of the windows of three frames that cover it.
MOST_OVERLAPPING = {"aux_max_pool backward": 1.45, "max_pool3d 3x3x3/2x2x2": 1.5, "max_pool3d 3x3x3/1x1x1": 2.45}


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def most_by_blocks(operation: str) -> float:
    return next((most for name, most in MOST_OVERLAPPING.items() if operation.startswith(name)), MOST_BY_BLOCKS)


def check_traffic(played: Played, most: float) -> None:
    """`most` is of the kernels that keep; memory sees the floor."""
    if played.operation.startswith(KEEPING) and not played.operation.endswith("backward"):
        assert played.moved <= most * played.floor, played
    if played.operation == "max_unpool backward":  # picks single elements, whose sectors come whole
        assert played.moved <= played.floor, played
    else:
        assert played.once <= 1.001 * played.floor, played


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TRAFFIC_SITES)
def test_traffic_is_at_the_floor(
    kernels: Kernels, tables: dict[str, list[str]], name: str, layout: str, dtype: torch.dtype
) -> None:
    row = f"{name:4}{layout:14}{dtype_name(dtype):9}"
    for played in Stage(kernels, TRAFFIC_SITES[name], dtype, layout).every():
        if played.operation in ("aux_pool", "max_unpool", "aux_pool_unpool"):
            counts = (played.moved, played.by_blocks, played.once)
            row += f"  {played.operation}" + "".join(f" {count / played.floor:.3f}" for count in counts)
        check_traffic(played, MOST[layout])
        if played.operation == "max_unpool backward":
            assert played.by_blocks <= 1.1 * played.once, played
        else:
            assert played.by_blocks <= most_by_blocks(played.operation) * played.floor, played
    title = "global traffic over its floor: all loads and stores, sectors by blocks, sectors once"
    tables.setdefault(title, []).append(row)


@pytest.mark.parametrize("dtype", DTYPES if FULL else (torch.float32, torch.bfloat16), ids=dtype_name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_few_channels_of_large_planes_are_at_the_floor(kernels: Kernels, layout: str, dtype: torch.dtype) -> None:
    """Too few planes to fill the device are cut, and each cut's seam is read twice, in the same moment: from a cache."""
    site = Site((1, 8, 16, 224, 384), OVERLAPPING, SITES["i2"].main)
    for played in Stage(kernels, site, dtype, layout).auxiliary():
        assert blocks(kernels) >= MULTIPROCESSORS
        check_traffic(played, 1.03 if layout == "contiguous" else 1.07)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
def test_each_element_of_z_is_loaded_once(kernels: Kernels, dtype: torch.dtype, layout: str) -> None:
    """By its block, whatever the overlap of windows and however many steps the block takes."""
    kernels.multiprocessors = 1
    for pooling in (OVERLAPPING, Pooling((3, 5, 5), (3, 1, 1), (0, 2, 2)), Pooling((2, 2, 2), (2, 2, 2))):
        frames = 2 * pooling.kernel[0]
        z = cases.LAYOUTS[layout](make((1, 8, frames, 96, 104), dtype))
        values = kernels.aux_max_pool(z, *pooling.aux_windows, False, True)[0]
        assert kernels.traffic["loaded"]["map"] == z.numel() * z.element_size()
        kernels.aux_pool_unpool(z, values, *pooling.aux_windows, True)
        assert kernels.traffic["loaded"]["map"] == z.numel() * z.element_size()


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_accesses_are_16_bytes_wide(kernels: Kernels, layout: str, dtype: torch.dtype) -> None:
    """All of the map's where rows align; what else is loaded are single switches and values."""
    pooling = OVERLAPPING
    z = cases.LAYOUTS[layout](make((1, 16, 8, 12, 32), dtype))
    switches = kernels.aux_pool(z, *pooling.aux_windows, False)
    assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"] >= z.numel() * z.element_size()
    values = cases.LAYOUTS[layout](make(switches.shape, dtype))
    kernels.aux_pool_unpool(z, values, *pooling.aux_windows, False)
    assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"]
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["unpooled"]
    kernels.max_unpool(values, switches, *pooling.aux_windows[2:], 12, 32)
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["map"]
    kernels.scatter_windows(values, switches, None, *pooling.plane_pooling.windows, 2, 12, 32)
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["map"]
    kernels.max_pool3d(z, *pooling.plane_pooling.windows, False, False)
    assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"]
    volume = Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))
    kernels.max_pool3d(z, *volume.windows, False, False)
    if layout == "channels_last":
        assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"]
        assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["values"]


# -------------------------------------------------------------------------------------------------------- launch shapes


def blocks(kernels: Kernels) -> int:
    x, y, z = kernels.traffic["grid"]
    return x * y * z


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def check_launch(kernels: Kernels) -> None:
    """What every device can launch: a grid that CUDA takes, and shared memory that nobody must be asked for."""
    x, y, z = kernels.traffic["grid"]
    assert 1 <= x < 2**31
    assert 1 <= y <= 65535
    assert 1 <= z <= 65535
    assert kernels.traffic["threads"] in range(32, 513, 32)
    assert kernels.traffic["shared_bytes"] <= 48 * 1024


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SITES)
def test_batch_1_fills_the_device(kernels: Kernels, name: str, layout: str, dtype: torch.dtype) -> None:
    """At least a block for each multiprocessor of an H100."""
    kernels.last_blocks = 1
    for played in Stage(kernels, dataclasses.replace(SITES[name], share=1), dtype, layout, zeros).every():
        check_launch(kernels)
        assert blocks(kernels) >= MULTIPROCESSORS, played.operation


@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiny_planes(kernels: Kernels, layout: str, dtype: torch.dtype) -> None:
    """7x12, the smallest of TASED-Net: a block a plane or group of channels, and no warps that only wait."""
    site = Site((1, 832, 8, 7, 12), OVERLAPPING, SITES["i0"].main, 8)
    for played in Stage(kernels, site, dtype, layout).every():
        check_launch(kernels)
        assert blocks(kernels) >= 8, played
        assert kernels.traffic["working_share"] >= 0.3, played
        check_traffic(played, MOST[layout])


@pytest.mark.parametrize(
    ("layout", "dtype", "shape"),
    [
        ("contiguous", torch.float32, (1, 1, 2, 2048, 2048)),
        ("contiguous", torch.bfloat16, (1, 1, 2, 2048, 2048)),
        ("channels_last", torch.bfloat16, (1, 8, 1, 2048 if FULL else 512, 2048)),
    ],
    ids=str,
)
def test_huge_planes(kernels: Kernels, layout: str, dtype: torch.dtype, shape: tuple[int, int, int, int, int]) -> None:
    """Even a single one: a block for every multiprocessor, full of threads, and seams that stay small."""
    pooling = Pooling((shape[2], 3, 3), (shape[2], 2, 2), (0, 1, 1))
    for played in Stage(kernels, Site(shape, pooling, SITES["i2"].main), dtype, layout).auxiliary():
        check_launch(kernels)
        assert blocks(kernels) >= 0.95 * MULTIPROCESSORS, played
        assert kernels.traffic["threads"] >= 256
        assert kernels.traffic["working_share"] >= 0.9, played
        check_traffic(played, 1.1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_grid_stays_within_cudas_limits(kernels: Kernels, layout: str) -> None:
    """More frames and volumes than a grid has blocks along y and z: 65535."""
    kernels.last_blocks = 1
    pooling = Pooling((1, 1, 1), (1, 1, 1))
    for shape in ((1, 8, 70000, 1, 2), (70000, 8, 1, 1, 2)):
        x = cases.LAYOUTS[layout](torch.zeros(shape, dtype=torch.float16))
        kernels.aux_pool(x, *pooling.aux_windows, False)
        check_launch(kernels)
        assert 65535 in kernels.traffic["grid"]
        kernels.max_pool3d(x, *pooling.windows, False, False)
        check_launch(kernels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_64_bit_indices_only_where_the_size_needs_them(kernels: Kernels, layout: str) -> None:
    """The largest map that 32 bits can index takes the kernels with 32-bit indices; one element more does not."""
    site = Site((1, 16, 4, 6, 8), OVERLAPPING, sites.SITES["i1"].main)
    z = cases.LAYOUTS[layout](make(site.shape))
    for kernels.index_limit, bits in ((z.numel(), 32), (z.numel() - 1, 64)):
        for played in Stage(kernels, site, torch.float32, layout).every():
            if not played.operation.startswith("max_unpool"):  # of a smaller map
                assert played.traffic["indices"] == bits, played
