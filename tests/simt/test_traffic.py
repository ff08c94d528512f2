"""Global memory traffic, counted on the very kernels, against the bytes that must move.

Bytes per element of the temporal maxima's plane. The floor reads the encoder's map and the decoder's values once and
writes every result once; a kernel that reads only the values that survive is below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import cases
from cases import DTYPES, FULL, Pooling, make
from simt.harness import Kernels

# What neighbouring tiles of a channels-last map read twice; tiles of a contiguous one are whole planes.
MOST = {"contiguous": 1.0, "channels_last": 1.035}


@dataclass(frozen=True)
class Site:
    """One of TASED-Net's three; a share of its channels and of the multiprocessors has the same tiles."""

    shape: tuple[int, int, int, int, int]
    pooling: Pooling
    share: int


OVERLAPPING = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
SITES = {
    "i2": Site((1, 192, 16, 56, 96), OVERLAPPING, 12),
    "i1": Site((1, 480, 16, 28, 48), OVERLAPPING, 10),
    "i0": Site((1, 832, 8, 14, 24), Pooling((2, 2, 2), (2, 2, 2)), 13),
    "odd": Site((1, 192, 16, 57, 95), OVERLAPPING, 12),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("layout", MOST)
@pytest.mark.parametrize("name", SITES)
def test_traffic_is_at_the_floor(
    kernels: Kernels, tables: dict[str, list[str]], name: str, layout: str, dtype: torch.dtype
) -> None:
    site = SITES[name]
    share = 1 if FULL else site.share
    kernels.multiprocessors = 132 // share
    n, c, t, h, w = site.shape
    z = cases.LAYOUTS[layout](make((n, c // share, t, h, w), dtype))
    windows, size = site.pooling.aux_windows, z.element_size()
    plane = z.numel() // site.pooling.kernel[0]
    ratios = []

    def count(floor: int) -> str:
        loaded, stored = (sum(kernels.traffic[key].values()) for key in ("loaded", "stored"))
        ratios.append((loaded + stored) / floor)
        return f"{(loaded + stored) / plane:6.2f} of {floor / plane:5.2f} ({ratios[-1]:.3f})"

    switches = kernels.aux_pool(z, *windows, False)
    row = [count(z.numel() * size + switches.numel())]
    values = cases.LAYOUTS[layout](make(switches.shape, dtype))
    kernels.max_unpool(values, switches, *windows[2:], h, w)
    row.append(count(values.numel() * size + switches.numel() + plane * size))
    kernels.aux_pool_unpool(z, values, *windows, False)
    row.append(count((z.numel() + values.numel() + plane) * size))

    heads = zip(("aux_pool", "max_unpool", "aux_pool_unpool"), row, strict=True)
    title = "global traffic, bytes an element of the plane: counted of floor (ratio)"
    text = "   ".join(" ".join(pair) for pair in heads)
    tables.setdefault(title, []).append(f"{name:4}{layout:15}{str(dtype).removeprefix('torch.'):10}{text}")
    assert max(ratios) <= MOST[layout]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", MOST)
def test_accesses_are_16_bytes_wide(kernels: Kernels, layout: str, dtype: torch.dtype) -> None:
    """All of the map's where rows align; what else is loaded are single switches and values."""
    pooling = OVERLAPPING
    z = cases.LAYOUTS[layout](make((1, 16, 8, 12, 32), dtype))
    switches = kernels.aux_pool(z, *pooling.aux_windows, False)
    assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"] >= z.numel() * z.element_size()
    values = cases.LAYOUTS[layout](make(switches.shape, dtype))
    kernels.aux_pool_unpool(z, values, *pooling.aux_windows, False)
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["unpooled"]
    kernels.max_unpool(values, switches, *pooling.aux_windows[2:], 12, 32)
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["map"]
    kernels.scatter_windows(values, switches, None, *pooling.plane_pooling.windows, 2, 12, 32)
    assert kernels.traffic["wide_stored"] == kernels.traffic["stored"]["map"]
    volume = Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))
    kernels.max_pool3d(z, *volume.windows, False, False)
    if layout == "channels_last":
        assert kernels.traffic["wide_loaded"] == kernels.traffic["loaded"]["map"]


@pytest.mark.parametrize("layout", MOST)
@pytest.mark.parametrize("name", ["i2", "i1", "i0"])
def test_batch_1_fills_the_device(kernels: Kernels, name: str, layout: str) -> None:
    """At least a block for each multiprocessor of an H100, and shared memory that every device grants."""
    site = SITES[name]
    z = cases.LAYOUTS[layout](torch.zeros(site.shape, dtype=torch.bfloat16))
    kernels.last_blocks = 1
    values = kernels.aux_max_pool(z, *site.pooling.aux_windows, False, False)[0]
    assert kernels.traffic["blocks"] >= 132
    kernels.aux_pool_unpool(z, values, *site.pooling.aux_windows, False)
    assert kernels.traffic["blocks"] >= 132
    assert kernels.traffic["shared_bytes"] <= 48 * 1024
