"""The forward rules of max_unpool, aux_pool_unpool and the conversions between switches and stock indices."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import cases
import tased_ext
from cases import AUX_CASES, DTYPES, FILLS, LAYOUTS, Case, Pooling, assert_keeps_layout, assert_same, make, mixed
from tased_ext import reference

SITE = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
FLOOR_CASES = [case for case in AUX_CASES if not case.pooling.ceil_mode]
DENSE_LAYOUTS = [name for name in LAYOUTS if "expanded" not in name]


def grid_of(case: Case) -> tuple[int, ...]:
    grid = case.pooling.aux_grid(case.shape)
    assert grid is not None
    return grid


# ----------------------------------------------------------------------------------------------------- the whole matrix


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(AUX_CASES * 3, DTYPES, list(LAYOUTS), list(FILLS)), ids=str
)
def test_unpooling_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    switches = reference.aux_pool(make(case.shape, fill="ties"), **case.pooling.aux)
    x = LAYOUTS[layout](make(switches.shape, dtype, fill).to(device))
    switches = LAYOUTS[layout](switches)
    options = {**case.pooling.unpool, "output_size": case.shape[3:]}
    y = tased_ext.max_unpool(x, switches.to(device), **options)
    assert_same(y, reference.max_unpool(x.cpu(), switches, **options))
    assert_keeps_layout(y, x)


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(FLOOR_CASES * 3, DTYPES, list(LAYOUTS), list(FILLS)), ids=str
)
def test_pooling_and_unpooling_in_one_equals_the_two_in_turn(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    z_enc = LAYOUTS[layout](make(case.shape, dtype, fill).to(device))
    z_dec = LAYOUTS[layout](make(grid_of(case), dtype, "special").to(device))
    y = tased_ext.aux_pool_unpool(z_enc, z_dec, **case.pooling.aux_unpool)
    assert_same(y, reference.aux_pool_unpool(z_enc.cpu(), z_dec.cpu(), **case.pooling.aux_unpool))
    assert_keeps_layout(y, z_enc)


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(AUX_CASES, DTYPES, list(FILLS)), ids=str)
def test_unpooling_equals_stock_on_one_thread(case: Case, dtype: torch.dtype, fill: str, device: torch.device) -> None:
    x = make(grid_of(case), dtype)
    _, indices = cases.stock_aux_pool(make(case.shape, dtype, fill), case.pooling)
    size = case.shape[3:]
    switches = tased_ext.indices_to_switches(indices.to(device), **case.pooling.unpool, output_size=size)
    y = tased_ext.max_unpool(x.to(device), switches, **case.pooling.unpool, output_size=size)
    assert_same(y, cases.stock_max_unpool(x, indices, case.pooling, size))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "misaligned"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spatial", [(3, 2, 1), (3, 1, 1), (2, 2, 0), (4, 2, 1), (5, 2, 2)], ids=str)
def test_every_width_and_channel_count_around_the_vector_sizes(
    spatial: tuple[int, int, int], dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    kernel, _, padding = spatial
    for size in (*cases.VECTOR_SIZES, 127, 128, 129):
        shape = (1, size, 4, 5, 6) if layout == "channels_last" else (1, 2, 4, 5, size)
        if size + 2 * padding < kernel and layout != "channels_last":
            continue
        z_enc = make(shape, dtype, "ties")
        switches = reference.aux_pool(z_enc, 2, *spatial)
        x = make(switches.shape, dtype).requires_grad_()
        expected = reference.max_unpool(x, switches, *spatial, output_size=shape[3:])
        gradient = make(expected.shape, dtype, "special")
        (expected_gradient,) = torch.autograd.grad(expected, x, gradient)
        z_enc, x, switches, gradient = (
            LAYOUTS[layout](tensor.to(device)) for tensor in (z_enc, x.detach(), switches, gradient)
        )
        y = tased_ext.max_unpool(x.requires_grad_(), switches, *spatial, output_size=shape[3:])
        assert_same(y, expected, context=size)
        assert_same(torch.autograd.grad(y, x, gradient)[0], expected_gradient, context=size)
        assert_same(tased_ext.aux_pool_unpool(z_enc, x.detach(), 2, *spatial), expected, context=size)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("layouts", [("contiguous", "channels_last"), ("channels_last", "contiguous")], ids="-".join)
@pytest.mark.parametrize("case", FLOOR_CASES[:3], ids=str)
def test_what_comes_together_may_lie_differently_in_memory(
    case: Case, layouts: tuple[str, str], batched: bool, device: torch.device
) -> None:
    def laid(tensor: torch.Tensor, layout: str) -> torch.Tensor:
        tensor = LAYOUTS[layout](tensor.to(device))
        return tensor if batched else tensor[0]

    z_enc, x = make(case.shape, fill="ties"), make(grid_of(case)).requires_grad_()
    switches = reference.aux_pool(z_enc, **case.pooling.aux)
    options = {**case.pooling.unpool, "output_size": case.shape[3:]}
    expected = reference.max_unpool(x, switches, **options)
    gradient = make(expected.shape, seed="gradient")
    (expected_gradient,) = torch.autograd.grad(expected, x, gradient)
    whole = slice(None) if batched else 0

    one, other = layouts
    twin = laid(x.detach(), one).requires_grad_()
    y = tased_ext.max_unpool(twin, laid(switches, other), **options)
    assert_same(y, expected.detach()[whole])
    assert_same(torch.autograd.grad(y, twin, laid(gradient, other))[0], expected_gradient[whole])
    fused = tased_ext.aux_pool_unpool(laid(z_enc, one), laid(x.detach(), other), **case.pooling.aux_unpool)
    assert_same(fused, expected.detach()[whole])


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("frames", [None, 0], ids=["offsets_alone", "frames_apart"])
@pytest.mark.parametrize("axis", [0, 1, 2], ids=["frames", "rows", "columns"])
def test_a_window_beyond_the_map_reads_zeros(axis: int, layout: str, frames: int | None, device: torch.device) -> None:
    y = LAYOUTS[layout](torch.ones(1, 3, 2, 2, 2, device=device))
    offsets = LAYOUTS[layout](torch.zeros(1, 3, 2, 2, 2, dtype=torch.uint8, device=device))
    of_frames = None if frames is None else torch.full_like(offsets, frames)
    # Along the axis there are windows of position 0 and of position 3, of which there is none.
    st, sh, sw = (3 if axis == n else 1 for n in range(3))
    values = torch.ops.tased_ext.gather_windows(y, offsets, of_frames, 1, st, 0, 1, 1, sh, sw, 0, 0, False)
    expected = torch.ones(1, 3, 2, 2, 2)
    expected.select(2 + axis, 1).zero_()
    assert_same(values, expected)


def test_a_stride_far_longer_than_the_map_takes_no_time(device: torch.device) -> None:
    far = 2**30
    z = make((1, 2, 2, 4, 16)).to(device)
    for layout in ("contiguous", "channels_last"):
        map_ = LAYOUTS[layout](z).requires_grad_()
        values = tased_ext.max_pool3d(map_, 1, far)
        assert_same(values, z.cpu()[:, :, :1, :1, :1])
        (gradient,) = torch.autograd.grad(values, map_, torch.ones_like(values))
        assert gradient.sum() == values.numel()
        x = LAYOUTS[layout](make((1, 2, 1, 1, 16)).to(device)).requires_grad_()
        y = tased_ext.max_unpool(x, torch.zeros_like(x, dtype=torch.uint8), 1, (far, 1), output_size=(1, 16))
        assert_same(torch.autograd.grad(y, x, y)[0], x.detach().cpu())


@pytest.mark.parametrize("width", [2**16, 2**16 + 1])
def test_rows_around_the_longest_that_go_by_vectors(width: int, device: torch.device) -> None:
    z = make((1, 1, 1, 3, width), fill="ties")
    switches = reference.aux_pool(z, 1, 3, 2, 1)
    x = make(switches.shape).requires_grad_()
    expected = reference.max_unpool(x, switches, 3, 2, 1, output_size=(3, width))
    gradient = make(expected.shape, fill="special")
    (expected_gradient,) = torch.autograd.grad(expected, x, gradient)
    x = x.detach().to(device).requires_grad_()
    y = tased_ext.max_unpool(x, switches.to(device), 3, 2, 1, output_size=(3, width))
    assert_same(y, expected)
    assert_same(torch.autograd.grad(y, x, gradient.to(device))[0], expected_gradient)


# --------------------------------------------------------------------------------------------------------- rule by rule


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_everything_but_the_switches_is_zero(layout: str, device: torch.device) -> None:
    z = LAYOUTS[layout](make((2, 9, 8, 15, 21)).to(device))
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    y = tased_ext.max_unpool(torch.ones_like(values), switches, **SITE.unpool, output_size=z.shape[3:])
    indices = tased_ext.switches_to_indices(switches, **SITE.unpool, output_size=z.shape[3:])
    expected = torch.zeros(2, 9, 2 * 15 * 21).scatter(-1, indices.cpu().flatten(2), 1)
    assert_same(y, expected.view(2, 9, 2, 15, 21))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_last_window_wins_on_overlap(dtype: torch.dtype, layout: str, device: torch.device) -> None:
    z = torch.zeros(1, 5, 1, 3, 4, dtype=dtype, device=device)
    z[..., 1, 1] = 1  # the six 3 x 3 windows of rows 0 to 2 and columns 0 and 1 all pick it
    z[..., 2, 3] = 0.5  # the windows of columns 2 and 3 pick this, but for the first row's
    z = LAYOUTS[layout](z)
    switches = tased_ext.aux_pool(z, 1, 3, 1, 1)
    windows = torch.arange(1, 13, dtype=dtype, device=device).view(1, 1, 1, 3, 4).expand(1, 5, 1, 3, 4)
    windows = LAYOUTS[layout](windows.contiguous())
    expected = torch.zeros(3, 4, dtype=dtype)
    expected[1, 1] = 11  # windows 1 2 3, 5 6 7 and 9 10 11
    expected[2, 3] = 12
    expected[0, 2] = 4  # a window of zeros only: its first position
    for y in (
        tased_ext.max_unpool(windows, switches, 3, 1, 1),
        tased_ext.aux_pool_unpool(z, windows, 1, 3, 1, 1),
    ):
        assert_same(y, expected.expand(1, 5, 1, 3, 4))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_later_zero_or_nan_overwrites_like_any_value(layout: str, device: torch.device) -> None:
    switches = LAYOUTS[layout](torch.tensor([1, 0], dtype=torch.uint8).expand(1, 3, 1, 1, 2).contiguous().to(device))
    for first, last in ((5.0, 0.0), (5.0, float("nan")), (float("nan"), 0.0), (float("inf"), -1.0)):
        x = LAYOUTS[layout](torch.tensor([first, last]).expand(1, 3, 1, 1, 2).contiguous().to(device))
        y = tased_ext.max_unpool(x, switches, (1, 2), 1)  # both windows pick the second of three columns
        assert_same(y, torch.tensor([0, last, 0]).expand(1, 3, 1, 1, 3))


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 5), (16, 16)], ids=str)
@pytest.mark.parametrize("layout", DENSE_LAYOUTS)
def test_an_invalid_switch_writes_nothing(kernel: tuple[int, int], layout: str, device: torch.device) -> None:
    # Every byte in windows at every corner and border, and inside; of them only offsets on the map are valid.
    padding = (kernel[0] // 2, kernel[1] // 2)
    stride = (max(kernel[0] - 1, 1), max(kernel[1] - 1, 1))
    grid = (2, 3, 2, 64, 4)
    switches = torch.arange(math.prod(grid)).view(grid).mul(97).remainder(256).byte()
    x, switches = LAYOUTS[layout](make(grid)), LAYOUTS[layout](switches)
    y = tased_ext.max_unpool(x.to(device), switches.to(device), kernel, stride, padding)
    assert_same(y, reference.max_unpool(x, switches, kernel, stride, padding))


def test_switches_past_the_kernel_area_are_ignored(device: torch.device) -> None:
    switches = torch.arange(256, dtype=torch.uint8, device=device).view(1, 1, 1, 16, 16)
    y = tased_ext.max_unpool(torch.ones(1, 1, 1, 16, 16, device=device), switches, 3)
    expected = torch.zeros(1, 1, 1, 48, 48)
    for offset in range(9):  # which is the window's column as well
        expected[..., offset // 3, 3 * offset + offset % 3] = 1
    assert_same(y, expected)


def test_switches_that_point_into_the_padding_are_ignored(device: torch.device) -> None:
    # Of the nine offsets of the first window only those of its last two rows and columns lie on the map.
    for offset in range(9):
        switches = torch.full((1, 1, 1, 1, 1), offset, dtype=torch.uint8, device=device)
        y = tased_ext.max_unpool(torch.ones(1, 1, 1, 1, 1, device=device), switches, 3, 2, 1, output_size=(2, 2))
        row, column = offset // 3 - 1, offset % 3 - 1
        expected = torch.zeros(1, 1, 1, 2, 2)
        if row >= 0 and column >= 0:
            expected[..., row, column] = 1
        assert_same(y, expected)


def test_a_window_wholly_off_the_map_writes_nothing(device: torch.device) -> None:
    # Stride 3 beats kernel 1: with output_size 5 the third window starts at column 6.
    x = torch.ones(1, 1, 1, 1, 3, device=device)
    y = tased_ext.max_unpool(x, torch.zeros_like(x, dtype=torch.uint8), 1, 3, output_size=(1, 5))
    assert y.flatten().tolist() == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_and_switches_may_differ_in_layout(dtype: torch.dtype, device: torch.device) -> None:
    z, x = make((2, 9, 8, 15, 21), dtype).to(device), make((2, 9, 2, 8, 11), dtype).to(device)
    switches = tased_ext.aux_pool(z, **SITE.aux)
    expected = reference.aux_pool_unpool(z.cpu(), x.cpu(), **SITE.aux_unpool)
    for first in LAYOUTS["contiguous"], LAYOUTS["channels_last"], LAYOUTS["sliced"]:
        for second in LAYOUTS["contiguous"], LAYOUTS["channels_last"], LAYOUTS["transposed"]:
            y = tased_ext.max_unpool(first(x), second(switches), **SITE.unpool, output_size=z.shape[3:])
            assert_same(y, expected)
            assert_keeps_layout(y, first(x))
            y = tased_ext.aux_pool_unpool(first(z), second(x), **SITE.aux_unpool)
            assert_same(y, expected)
            assert_keeps_layout(y, first(z))


def test_output_size_defaults_to_the_smallest_map_that_all_windows_fill(device: torch.device) -> None:
    x = torch.ones(1, 1, 2, 4, 5, device=device)
    switches = torch.full((1, 1, 2, 4, 5), 4, dtype=torch.uint8, device=device)
    assert tased_ext.max_unpool(x, switches, 3, 2, 1).shape == (1, 1, 2, 7, 9)
    assert tased_ext.max_unpool(x, switches, (3, 4), (3, 2), (0, 1)).shape == (1, 1, 2, 12, 10)


def test_output_size_may_be_less_than_a_stride_away_from_the_default(device: torch.device) -> None:
    x = make((1, 2, 2, 4, 5)).to(device)
    switches = torch.full((1, 2, 2, 4, 5), 4, dtype=torch.uint8, device=device)
    plane = tased_ext.max_unpool(x, switches, 3, 3, 1)  # (10, 13)
    for height in range(8, 13):
        for width in range(11, 16):
            y = tased_ext.max_unpool(x, switches, 3, 3, 1, output_size=(height, width))
            assert y.shape == (1, 2, 2, height, width)
            expected = torch.zeros(1, 2, 2, 12, 15)
            expected[..., :10, :13] = plane.cpu()
            assert_same(y, expected[..., :height, :width])


def test_a_tensor_without_batch_is_one_map(device: torch.device) -> None:
    z, x = make((3, 8, 14, 12)).to(device), make((3, 2, 7, 6)).to(device)
    switches = tased_ext.aux_pool(z, **SITE.aux)
    y = tased_ext.max_unpool(x, switches, **SITE.unpool, output_size=(14, 12))
    assert_same(y, tased_ext.max_unpool(x[None], switches[None], **SITE.unpool, output_size=(14, 12))[0].cpu())
    assert_same(tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool), y.cpu())


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_batch_may_be_empty(layout: str, device: torch.device) -> None:
    z = LAYOUTS[layout](torch.empty(0, 3, 8, 14, 12, device=device))
    x = LAYOUTS[layout](torch.empty(0, 3, 2, 7, 6, device=device))
    switches = x.byte()
    assert tased_ext.max_unpool(x, switches, **SITE.unpool, output_size=(14, 12)).shape == (0, 3, 2, 14, 12)
    assert tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool).shape == (0, 3, 2, 14, 12)
    indices = tased_ext.switches_to_indices(switches, **SITE.unpool, output_size=(14, 12))
    assert indices.shape == (0, 3, 2, 7, 6)
    assert tased_ext.indices_to_switches(indices, **SITE.unpool, output_size=(14, 12)).shape == (0, 3, 2, 7, 6)


def test_inputs_are_left_as_they_are(device: torch.device) -> None:
    z, x = make((1, 9, 8, 15, 21)).to(device), make((1, 9, 2, 8, 11)).to(device)
    switches = tased_ext.aux_pool(z, **SITE.aux)
    before = [tensor.clone().cpu() for tensor in (z, x, switches)]
    tased_ext.max_unpool(x, switches, **SITE.unpool, output_size=(15, 21))
    tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool)
    for tensor, copy in zip((z, x, switches), before, strict=True):
        assert_same(tensor, copy)


# ------------------------------------------------------------------------------------------- switches and stock indices


@pytest.mark.parametrize(("case", "layout"), mixed(AUX_CASES, list(LAYOUTS)), ids=str)
def test_indices_and_switches_convert_both_ways(case: Case, layout: str, device: torch.device) -> None:
    switches = tased_ext.aux_pool(LAYOUTS[layout](make(case.shape, fill="special").to(device)), **case.pooling.aux)
    options = {**case.pooling.unpool, "output_size": case.shape[3:]}
    indices = tased_ext.switches_to_indices(switches, **options)
    assert_same(indices, reference.switches_to_indices(switches.cpu(), **options))
    assert_same(tased_ext.indices_to_switches(indices, **options), switches.cpu())
    assert_keeps_layout(indices, switches)


def test_stock_unpooling_reads_our_indices_and_ours_reads_stock_indices(device: torch.device) -> None:
    x = make((2, 3, 4, 10, 14)).to(device)
    pool = torch.nn.MaxPool3d((1, 2, 2), return_indices=True)
    values, indices = pool(x)
    switches = tased_ext.aux_pool(x, 1, 2)
    assert_same(tased_ext.switches_to_indices(switches, 2, output_size=(10, 14)), indices.cpu())
    assert_same(tased_ext.indices_to_switches(indices, 2, output_size=(10, 14)), switches.cpu())
    stock = F.max_unpool3d(values, indices, (1, 2, 2))
    assert_same(tased_ext.max_unpool(values, switches, 2), stock.cpu())
