"""The CUDA kernels, played on the host, give the CPU kernels' results to the bit, whatever the order of their threads."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import cases
import tased_ext  # noqa: F401, loads torch.ops.tased_ext
from cases import AUX_CASES, DTYPES, FILLS, FULL, POOL_CASES, VECTOR_SIZES, Case, Pooling, make, make_switches, mixed
from simt.harness import Kernels

OPS = torch.ops.tased_ext
LAYOUTS = ("contiguous", "channels_last")
# 0 is one after another; the others shuffle, and fill shared memory with other garbage.
SEEDS = (0, 1, 2)


def lay_out(x: Tensor, layout: str) -> Tensor:
    return cases.LAYOUTS[layout](x)


def check(kernels: Kernels, name: str, *arguments: Any) -> Any:
    """Calls the operator on both sides; equal bits, each output byte written once, in one launch."""
    expected = getattr(OPS, name)(*arguments)
    actual = getattr(kernels, name)(*arguments)
    expected_list, actual_list = ([x] if isinstance(x, Tensor) else list(x) for x in (expected, actual))
    for ours, theirs in zip(actual_list, expected_list, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        if name == "scatter_windows":  # a sum with NaN is NaN, of whatever payload
            cases.assert_same(ours, theirs)
        else:
            assert torch.equal(bits(ours), bits(theirs)), name
    outputs = [x for x in expected_list if x.numel() > 0]
    assert sum(kernels.traffic["stored"].values()) == sum(x.numel() * x.element_size() for x in outputs)
    assert kernels.traffic["launches"] == 1
    return expected


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(-1).view(torch.uint8)


def check_aux(kernels: Kernels, case: Case, z: Tensor) -> None:
    """Every operator around an auxiliary pooling."""
    pooling = case.pooling
    windows, spatial, sizes = pooling.aux_windows, pooling.aux_windows[2:], z.shape[2:]
    check(kernels, "aux_pool", z, *windows, pooling.ceil_mode)
    values, switches, frames = check(kernels, "aux_max_pool", z, *windows, pooling.ceil_mode, True)
    check(kernels, "scatter_windows", values, switches, frames, *pooling.windows, *sizes)
    check(kernels, "gather_windows", z, switches, frames, *pooling.windows, False)
    x = torch.empty_like(values).copy_(make(values.shape, z.dtype))  # other values wherever windows meet
    unpooled = check(kernels, "max_unpool", x, switches, *spatial, *sizes[1:])
    plane_windows = pooling.plane_pooling.windows
    for winners_only in (False, True):
        check(kernels, "gather_windows", unpooled, switches, None, *plane_windows, winners_only)
    check(kernels, "scatter_windows", x, switches, None, *plane_windows, *unpooled.shape[2:])
    if not pooling.ceil_mode:
        for keep_switches in (False, True):
            check(kernels, "aux_pool_unpool", z, x, *windows, keep_switches)


def check_volume(kernels: Kernels, case: Case, x: Tensor) -> None:
    """Every operator around a 3-D max-pooling."""
    pooling = case.pooling
    check(kernels, "max_pool3d", x, *pooling.windows, pooling.ceil_mode, False)
    values, offsets = check(kernels, "max_pool3d", x, *pooling.windows, pooling.ceil_mode, True)
    check(kernels, "scatter_windows", values, offsets, None, *pooling.windows, *x.shape[2:])
    check(kernels, "gather_windows", x, offsets, None, *pooling.windows, False)


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill", "seed"), mixed(AUX_CASES, DTYPES, LAYOUTS, tuple(FILLS), SEEDS)
)
def test_auxiliary_pooling(kernels: Kernels, case: Case, dtype: torch.dtype, layout: str, fill: str, seed: int) -> None:
    kernels.seed = seed
    check_aux(kernels, case, lay_out(make(case.shape, dtype, fill), layout))


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill", "seed"), mixed(POOL_CASES, DTYPES, LAYOUTS, tuple(FILLS), SEEDS)
)
def test_max_pooling(kernels: Kernels, case: Case, dtype: torch.dtype, layout: str, fill: str, seed: int) -> None:
    kernels.seed = seed
    check_volume(kernels, case, lay_out(make(case.shape, dtype, fill), layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_order_of_blocks_and_threads_does_not_matter(kernels: Kernels, dtype: torch.dtype, layout: str) -> None:
    for case in (AUX_CASES[0], AUX_CASES[12]):
        z = lay_out(make(case.shape, dtype, "special"), layout)
        for kernels.seed in range(20 if FULL else 3):
            check_aux(kernels, case, z)


@pytest.mark.parametrize(("size", "dtype"), mixed(VECTOR_SIZES, DTYPES))
def test_every_size_of_the_vectorised_axis(kernels: Kernels, size: int, dtype: torch.dtype) -> None:
    pooling = Pooling((2, 3, 3), (2, 2, 2), (0, 1, 1))
    for shape, layout in (((1, 3, 5, 6, size), "contiguous"), ((1, size, 5, 6, 7), "channels_last")):
        check_aux(kernels, Case(shape, pooling), lay_out(make(shape, dtype, "special"), layout))
        volume = Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))
        check_volume(kernels, Case(shape, volume), lay_out(make(shape, dtype, "special"), layout))


@pytest.mark.parametrize(("dtype", "layout"), [(dtype, layout) for dtype in DTYPES for layout in LAYOUTS])
def test_arrays_off_the_16_byte_boundary(kernels: Kernels, dtype: torch.dtype, layout: str) -> None:
    kernels.misaligned = True
    case = AUX_CASES[0]
    z = lay_out(make(case.shape, dtype), layout)
    shifted = torch.empty(z.numel() + 1, dtype=dtype)[1:].as_strided(z.shape, z.stride(), 1).copy_(z)
    check_aux(kernels, case, shifted)
    assert kernels.traffic["wide_loaded"] == kernels.traffic["wide_stored"] == 0
    check_volume(kernels, Case(case.shape, Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))), shifted)


PLANES = [
    # Tiny, odd, one line; wider or higher than shared memory; many steps down a band; several strips and bands.
    *((1, 40, h, w) for h, w in ((1, 1), (1, 50), (50, 1), (7, 12), (13, 11))),
    *((1, 1, h, w) for h, w in ((6, 4096), (5, 12345), (3000, 5), (181, 333))),
    (1, 9, 120, 90),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("plane", PLANES, ids=str)
def test_any_plane(kernels: Kernels, plane: tuple[int, int, int, int], layout: str) -> None:
    n, c, h, w = plane
    shape = (n, c, 5, h, w)
    windows = [((3, 3), (2, 2), (1, 1)), ((5, 3), (1, 1), (2, 1)), ((2, 4), (5, 3), (1, 2))]
    for (kernel, stride, padding), dtype in zip(windows, DTYPES[:3], strict=True):
        pooling = Pooling((2, *kernel), (2, *stride), (0, *padding))
        if pooling.aux_grid(shape):
            check_aux(kernels, Case(shape, pooling), lay_out(make(shape, dtype, "ties"), layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [(16, 16), (1, 256), (256, 1), (3, 85), (128, 2)], ids=str)
def test_the_largest_windows(kernels: Kernels, kernel: tuple[int, int], layout: str) -> None:
    shape = (1, 9, 3, 2 * kernel[0] + 7, 2 * kernel[1] + 3)
    for dtype, stride in ((torch.float64, (1, 1)), (torch.float16, (7, 3)), (torch.float32, (1 << 30, 300))):
        pooling = Pooling((2, *kernel), (1, *stride), (0, kernel[0] // 2, kernel[1] // 2))
        z = lay_out(make(shape, dtype, "ties"), layout)
        windows = pooling.aux_windows
        values, switches, frames = check(kernels, "aux_max_pool", z, *windows, False, True)
        check(kernels, "aux_pool_unpool", z, values, *windows, True)
        check(kernels, "max_unpool", values, switches, *windows[2:], *shape[3:])
        check(kernels, "scatter_windows", values, switches, frames, *pooling.windows, *shape[2:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_grid_of_fewer_blocks_than_frames(kernels: Kernels, layout: str) -> None:
    """A grid has 65535 blocks along y and z; here it has 2."""
    kernels.most_blocks = 2
    kernels.seed = 1
    for case in AUX_CASES[:3]:
        check_aux(kernels, case, lay_out(make(case.shape, torch.float32, "special"), layout))
    for case in POOL_CASES[:3]:
        check_volume(kernels, case, lay_out(make(case.shape, torch.float32, "special"), layout))


@pytest.mark.parametrize(("case", "dtype", "layout"), mixed(AUX_CASES[::5], DTYPES, LAYOUTS))
def test_64_bit_indices(kernels: Kernels, case: Case, dtype: torch.dtype, layout: str) -> None:
    kernels.index_limit = 0
    check_aux(kernels, case, lay_out(make(case.shape, dtype, "special"), layout))


@pytest.mark.parametrize(("case", "dtype", "layout"), mixed(POOL_CASES[::5], DTYPES, LAYOUTS))
def test_64_bit_indices_of_volumes(kernels: Kernels, case: Case, dtype: torch.dtype, layout: str) -> None:
    kernels.index_limit = 0
    check_volume(kernels, case, lay_out(make(case.shape, dtype, "special"), layout))


def ending_with(tail: Tensor, shape: tuple[int, ...], layout: str) -> Tensor:
    """Zeros of a shape, with `tail` at the end of every axis. Memory of zeros that nobody touches is not there."""
    n, c, t, h, w = shape
    bits = np.zeros((n, t, h, w, c) if layout == "channels_last" else shape, f"int{8 * tail.element_size()}")
    whole = torch.from_numpy(bits).view(tail.dtype)
    whole = whole.movedim(-1, 1) if layout == "channels_last" else whole
    whole[tuple(slice(-size, None) for size in tail.shape)] = tail
    return whole


@pytest.mark.parametrize("channels", [2050, 2047], ids=["beyond", "within"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_end_of_a_map_at_the_limit_of_32_bits(kernels: Kernels, layout: str, channels: int) -> None:
    """Of maps of 2^31 + 2^21 and of 2^31 - 2^20 elements the last blocks run."""
    shape, grid = (1, channels, 2, 512, 1024), (1, channels, 2, 256, 512)
    assert (channels * 2**20 >= 2**31) == (channels == 2050)
    z = make((1, 8, 2, 64, 64), torch.float16, "ties")
    plane = (1, 1, 0, 3, 3, 2, 2, 1, 1)
    values, switches, _ = OPS.aux_max_pool(z, *plane[:2], *plane[3:], False, False)
    x = make(values.shape, torch.float16)
    calls: list[tuple[str, tuple[Tensor | None, ...], tuple[Any, ...]]] = [
        ("aux_max_pool", (z,), (2, 2, *plane[3:], False, False)),
        ("max_pool3d", (z,), (2, 1, 1, 3, 3, 2, 2, 1, 1, False, True)),
        ("aux_pool_unpool", (z, x), (1, 1, *plane[3:], True)),
        ("max_unpool", (x, switches), plane[3:]),
        ("scatter_windows", (x, switches, None), plane),
        ("gather_windows", (z, switches, None), (*plane, True)),
    ]
    for name, tails, arguments in calls:
        wholes = [
            None if tail is None else ending_with(tail, shape if tail.shape == z.shape else grid, layout)
            for tail in tails
        ]
        kernels.last_blocks = 100 if name in ("max_pool3d", "scatter_windows", "gather_windows") else 2  # small, large
        sizes = {"max_unpool": 2, "scatter_windows": 3}.get(name, 0)  # of the result, which are arguments
        expected = getattr(OPS, name)(*tails, *arguments, *z.shape[5 - sizes :])
        actual = getattr(kernels, name)(*wholes, *arguments, *shape[5 - sizes :])
        assert kernels.traffic["indices"] == (64 if channels == 2050 else 32), name
        # The last channel's last row, windows away from where the tail begins.
        corner = (0, -1, -1, -1, slice(-8, None))
        results = ([r] if isinstance(r, Tensor) else list(r) for r in (actual, expected))
        for ours, theirs in zip(*results, strict=True):
            assert theirs.numel() == 0 or torch.equal(ours[corner], theirs[corner]), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", AUX_CASES[:: 1 if FULL else 6], ids=str)
def test_corrupted_switches_write_and_read_nothing(kernels: Kernels, case: Case, layout: str) -> None:
    """Random bytes; the shim refuses every access out of the arrays."""
    pooling = case.pooling
    grid = pooling.aux_grid(case.shape)
    assert grid is not None
    x, y = (lay_out(make(shape, torch.float32), layout) for shape in (grid, case.shape))
    switches, frames = (lay_out(make_switches(grid, seed=seed), layout) for seed in ("switches", "frames"))
    plane_map = lay_out(make((*grid[:3], *case.shape[3:]), torch.float32), layout)
    check(kernels, "max_unpool", x, switches, *pooling.aux_windows[2:], *case.shape[3:])
    check(kernels, "gather_windows", plane_map, switches, None, *pooling.plane_pooling.windows, True)
    for few in (switches, (switches.int() % pooling.area).byte()):
        check(kernels, "scatter_windows", x, few, frames, *pooling.windows, *case.shape[2:])
        check(kernels, "gather_windows", y, few, frames % (pooling.kernel[0] + 1), *pooling.windows, False)
    if pooling.volume <= 256:
        check(kernels, "scatter_windows", x, switches, None, *pooling.windows, *case.shape[2:])
        check(kernels, "gather_windows", y, switches, None, *pooling.windows, False)


@pytest.mark.parametrize("value", range(256))
def test_each_corrupted_byte(kernels: Kernels, value: int) -> None:
    grid, pooling = (1, 5, 2, 4, 6), Pooling((1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = make(grid, torch.float32)
    for layout in LAYOUTS:
        switches = lay_out(torch.full(grid, value, dtype=torch.uint8), layout)
        unpooled = check(kernels, "max_unpool", lay_out(x, layout), switches, *pooling.aux_windows[2:], 8, 12)
        assert value < pooling.area or not unpooled.any()
        check(kernels, "gather_windows", unpooled, switches, None, *pooling.windows, True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_compare_as_their_keys(kernels: Kernels, dtype: torch.dtype) -> None:
    """Every one of the 65536 numbers meets some, earlier and later, among frames and within a window."""
    numbers = torch.arange(65536).to(torch.int16)
    probes = torch.tensor([0, -32768, 1, -32767, 0x7C00, -0x400, 0x7C01, 0x7F80, -0x80, 0x7F81, 0x3C00, -2, 0x7FFF, -1])
    probes = torch.cat([probes, torch.randint(-32768, 32768, (30,), generator=torch.Generator().manual_seed(0))])
    pairs = torch.stack([numbers.expand(len(probes), -1), probes.to(torch.int16)[:, None].expand(-1, 65536)])
    for earlier, later in (pairs, pairs.flip(0)):
        frames = torch.stack([earlier, later]).view(1, 1, 2, -1, 256).view(dtype)
        check(kernels, "aux_max_pool", frames, 2, 2, 1, 1, 1, 1, 0, 0, False, True)
        columns = torch.stack([earlier, later], dim=-1).view(1, 1, 1, -1, 512).view(dtype)
        check(kernels, "aux_max_pool", columns, 1, 1, 1, 2, 1, 2, 0, 0, False, False)


def random_case(generator: random.Random) -> Case:
    """Any geometry and shape that the checks let through, small ones mostly."""

    def axis(most_kernel: int, padded: bool) -> tuple[int, int, int, int]:
        kernel = min(most_kernel, generator.choice((1, 2, 3, 3, 3, generator.randint(1, 16))))
        stride = generator.choice((1, 2, 2, kernel, generator.randint(1, 20)))
        padding = generator.randint(0, kernel // 2) if padded else 0
        return (
            kernel,
            stride,
            padding,
            max(1, kernel - 2 * padding) + generator.choice((0, 1, 5, generator.randint(0, 40))),
        )

    kt, st, pt, frames = axis(4, False)
    kh, sh, ph, rows = axis(16, True)
    kw, sw, pw, columns = axis(16, True)
    channels = generator.choice((1, 2, 3, 4, 8, 16, generator.randint(1, 70)))
    shape = (generator.randint(1, 2), channels, min(frames, 9), rows, columns)
    return Case(shape, Pooling((kt, kh, kw), (st, sh, sw), (pt, ph, pw), generator.random() < 0.3))


@pytest.mark.parametrize("seed", range(2000 if FULL else 300))
def test_random_cases(kernels: Kernels, seed: int) -> None:
    generator = random.Random(seed)
    case = random_case(generator)
    dtype, layout, fill = generator.choice(DTYPES), generator.choice(LAYOUTS), generator.choice(tuple(FILLS))
    kernels.seed = generator.randint(0, 5)
    kernels.multiprocessors = generator.choice((1, 20, 132, 5000))
    kernels.most_blocks = generator.choice((1, 3, 65535))
    kernels.index_limit = generator.choice((0, 2**31 - 1))
    kernels.misaligned = generator.random() < 0.2
    z = lay_out(make(case.shape, dtype, fill), layout)
    if case.pooling.aux_grid(case.shape):
        check_aux(kernels, case, z)
    if case.pooling.volume <= 256 and case.pooling.grid(case.shape):
        check_volume(kernels, case, z)
