"""The forward rules of aux_pool, aux_max_pool and max_pool3d."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import cases
import tased_ext
from cases import (
    AUX_CASES,
    DTYPES,
    FILLS,
    LAYOUTS,
    POOL_CASES,
    VECTOR_SIZES,
    Case,
    Pooling,
    assert_keeps_layout,
    assert_same,
    make,
    mixed,
)
from tased_ext import reference

NAN, INF = float("nan"), float("inf")
SITE = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))  # the sites i2 and i1 of TASED-Net


def one_window(frames: list[list[float]], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A map (1, 1, T, 1, W), one list a frame, that a single window covers."""
    return torch.tensor(frames, dtype=dtype, device=device)[None, None, :, None]


def aux_winner(frames: list[list[float]], dtype: torch.dtype, device: torch.device) -> tuple[int, int]:
    """Frame and column that win the one window over all frames, the frame told by the gradient."""
    z = one_window(frames, dtype, device).requires_grad_()
    values, switches = tased_ext.aux_max_pool(z, len(frames), (1, len(frames[0])))
    (grad,) = torch.autograd.grad(values.sum(), z)
    frame, column = grad[0, 0, :, 0].nonzero()[0].tolist()
    assert switches.item() == column
    return frame, column


def volume_winner(frames: list[list[float]], dtype: torch.dtype, device: torch.device) -> tuple[int, int]:
    """Frame and column that win max_pool3d's one window over all frames."""
    x = one_window(frames, dtype, device).requires_grad_()
    (grad,) = torch.autograd.grad(tased_ext.max_pool3d(x, (len(frames), 1, len(frames[0]))).sum(), x)
    frame, column = grad[0, 0, :, 0].nonzero()[0].tolist()
    return frame, column


# ----------------------------------------------------------------------------------------------------- the whole matrix


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(AUX_CASES * 3, DTYPES, list(LAYOUTS), list(FILLS)), ids=str
)
def test_auxiliary_pooling_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    z = LAYOUTS[layout](make(case.shape, dtype, fill).to(device))
    expected_values, expected_switches = reference.aux_max_pool(z.cpu(), **case.pooling.aux)
    switches = tased_ext.aux_pool(z, **case.pooling.aux)
    assert_same(switches, expected_switches)
    assert_keeps_layout(switches, z)
    values, switches = tased_ext.aux_max_pool(z, **case.pooling.aux)
    assert_same(values, expected_values)
    assert_same(switches, expected_switches)
    assert_keeps_layout(values, z)
    assert_keeps_layout(switches, z)


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(POOL_CASES * 3, DTYPES, list(LAYOUTS), list(FILLS)), ids=str
)
def test_max_pool3d_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    x = LAYOUTS[layout](make(case.shape, dtype, fill).to(device))
    values = tased_ext.max_pool3d(x, **case.pooling.pool3d)
    assert_same(values, reference.max_pool3d(x.cpu(), **case.pooling.pool3d))
    assert_keeps_layout(values, x)


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(AUX_CASES, DTYPES, list(FILLS)), ids=str)
def test_auxiliary_pooling_equals_the_stock_chain(
    case: Case, dtype: torch.dtype, fill: str, device: torch.device
) -> None:
    z = make(case.shape, dtype, fill)
    expected_values, expected_indices = cases.stock_aux_pool(z, case.pooling)
    values, switches = tased_ext.aux_max_pool(z.to(device), **case.pooling.aux)
    assert_same(values, expected_values)
    indices = tased_ext.switches_to_indices(switches, **case.pooling.unpool, output_size=case.shape[3:])
    assert_same(indices, expected_indices)


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(POOL_CASES, DTYPES, list(FILLS)), ids=str)
def test_max_pool3d_equals_stock(case: Case, dtype: torch.dtype, fill: str, device: torch.device) -> None:
    x = make(case.shape, dtype, fill)
    with cases.threads(1):
        expected = F.max_pool3d(x, **case.pooling.pool3d)
    assert_same(tased_ext.max_pool3d(x.to(device), **case.pooling.pool3d), expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "misaligned"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spatial", [(3, 2, 1), (3, 1, 1), (2, 2, 0)], ids=str)
def test_every_width_and_channel_count_around_the_vector_sizes(
    spatial: tuple[int, int, int], dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    kernel, stride, padding = spatial
    for size in VECTOR_SIZES:
        shape = (1, size, 4, 5, 6) if layout == "channels_last" else (1, 2, 4, 5, size)
        if size + 2 * padding < kernel and layout != "channels_last":
            continue
        z = LAYOUTS[layout](make(shape, dtype, "ties").to(device))
        expected = reference.aux_max_pool(z.cpu(), 2, kernel, stride, padding)
        for actual, wanted in zip(tased_ext.aux_max_pool(z, 2, kernel, stride, padding), expected, strict=True):
            assert_same(actual, wanted, context=size)
        kernel3d = (kernel, stride, padding)
        assert_same(tased_ext.max_pool3d(z, *kernel3d), reference.max_pool3d(z.cpu(), *kernel3d), context=size)


# --------------------------------------------------------------------------------------------------------- rule by rule


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_trailing_frames_that_do_not_fill_a_window_are_dropped(dtype: torch.dtype, device: torch.device) -> None:
    z = make((1, 2, 7, 5, 5), dtype).to(device)
    z[:, :, 6] = INF
    for ceil_mode in (False, True):
        values, switches = tased_ext.aux_max_pool(z, 3, 3, 2, 1, ceil_mode=ceil_mode)
        assert values.shape == switches.shape == (1, 2, 2, 3, 3)
        assert not values.isinf().any()


def test_temporal_stride_defaults_to_the_temporal_kernel(device: torch.device) -> None:
    z = make((1, 2, 9, 6, 6)).to(device)
    assert_same(tased_ext.aux_pool(z, 3, 2), tased_ext.aux_pool(z, (3, 3), (2, 2), (2, 2), (0, 0)).cpu())


def test_stride_defaults_to_kernel_size(device: torch.device) -> None:
    z = make((1, 2, 4, 9, 8)).to(device)
    assert_same(tased_ext.aux_pool(z, 2, (3, 2)), tased_ext.aux_pool(z, 2, (3, 2), (3, 2)).cpu())
    assert_same(tased_ext.max_pool3d(z, (2, 3, 2)), tased_ext.max_pool3d(z, (2, 3, 2), (2, 3, 2)).cpu())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ties_go_to_the_first_position(dtype: torch.dtype, device: torch.device) -> None:
    assert aux_winner([[1, 3, 3, 2, 3]], dtype, device) == (0, 1)
    assert volume_winner([[1, 3, 3, 2, 3]], dtype, device) == (0, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ties_between_frames_go_to_the_first_frame(dtype: torch.dtype, device: torch.device) -> None:
    assert aux_winner([[1, 2], [1, 3], [2, 3]], dtype, device) == (1, 1)
    assert volume_winner([[1, 2], [1, 3], [2, 3]], dtype, device) == (1, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_auxiliary_pooling_takes_the_temporal_maximum_before_positions_tie(
    dtype: torch.dtype, device: torch.device
) -> None:
    # Both positions reach 5: the first one only in the second frame. Auxiliary pooling compares positions; an ordinary
    # 3-D max-pool scans the first frame first.
    frames = [[1.0, 5.0], [5.0, 1.0]]
    assert aux_winner(frames, dtype, device) == (1, 0)
    assert volume_winner(frames, dtype, device) == (0, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_wins_and_the_last_nan_among_several(dtype: torch.dtype, device: torch.device) -> None:
    for winner in (aux_winner, volume_winner):
        assert winner([[1, NAN, INF]], dtype, device) == (0, 1)
        assert winner([[NAN, 1, NAN, INF]], dtype, device) == (0, 2)
        assert winner([[NAN], [1], [NAN], [2]], dtype, device) == (2, 0)
        assert winner([[-NAN, 1]], dtype, device) == (0, 0)
    values, _ = tased_ext.aux_max_pool(one_window([[1, NAN, 2]], dtype, device), 1, (1, 3))
    assert values.isnan().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_first_position_on_the_map_wins_over_the_padding(dtype: torch.dtype, device: torch.device) -> None:
    z = torch.full((1, 3, 2, 4, 5), -INF, dtype=dtype, device=device)
    for layout in ("contiguous", "channels_last"):
        values, switches = tased_ext.aux_max_pool(LAYOUTS[layout](z), 2, 3, 2, 1)
        assert (values == -INF).all()
        # Offsets of the first row and column that are not padding: 1 in the first windows, 0 in all others.
        assert switches[0, 0, 0].tolist() == [[4, 3, 3], [1, 0, 0]]
        assert (tased_ext.max_pool3d(LAYOUTS[layout](z), 3, 2, 1) == -INF).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_of_either_sign_tie(dtype: torch.dtype, device: torch.device) -> None:
    for winner in (aux_winner, volume_winner):
        assert winner([[-1, -0.0, 0.0]], dtype, device) == (0, 1)
        assert winner([[-1, 0.0, -0.0]], dtype, device) == (0, 1)
        assert winner([[-0.0], [0.0]], dtype, device) == (0, 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_smallest_numbers_are_not_flushed_to_zero(dtype: torch.dtype, device: torch.device) -> None:
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    for winner in (aux_winner, volume_winner):
        assert winner([[0, smallest, 2 * smallest, smallest]], dtype, device) == (0, 2)
        assert winner([[-2 * smallest], [-smallest]], dtype, device) == (1, 0)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_switch_is_the_offset_inside_its_window_in_one_byte(
    dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    z = torch.zeros(1, 3, 2, 32, 48, dtype=dtype, device=device)
    z[..., 15::16, 15::16] = 1  # the last position of every 16 x 16 window
    z[..., 17, 18] = 2
    switches = tased_ext.aux_pool(LAYOUTS[layout](z), 2, 16)
    assert switches.dtype == torch.uint8
    assert switches[0, 2, 0].tolist() == [[255, 255, 255], [255, 1 * 16 + 2, 255]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_are_copied_not_computed(dtype: torch.dtype, device: torch.device) -> None:
    x = make((1, 5, 6, 7, 8), dtype, "extreme").to(device)
    assert_same(tased_ext.max_pool3d(x, 1), x.cpu())
    assert_same(tased_ext.aux_max_pool(x, 1, 1)[0], x.cpu())


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("axis", [2, 3, 4], ids=["frames", "rows", "columns"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_beside_zeros_infinities_and_nan(
    dtype: torch.dtype, axis: int, layout: str, device: torch.device
) -> None:
    infinity = int(torch.tensor(INF, dtype=dtype).view(torch.int16))
    magnitudes = torch.tensor([0, 1, infinity, infinity + 1, 2**15 - 1], dtype=torch.int16)
    special = torch.cat([magnitudes, magnitudes - 2**15]).repeat_interleave(2**16)
    every = torch.arange(-(2**15), 2**15).short().repeat(10)
    pairs = torch.stack([torch.cat([every, special]), torch.cat([special, every])]).reshape(2, 1, 20, 1, 256, 256)

    first, second = pairs.view(dtype).float()
    expected = torch.where((second > first) | second.isnan(), pairs[1], pairs[0])
    x = pairs.movedim(0, axis + 1).flatten(axis, axis + 1)  # the second behind the first
    window = [1 + (n == axis) for n in (2, 3, 4)]
    values = tased_ext.max_pool3d(LAYOUTS[layout](x.view(dtype).to(device)), window)
    assert torch.equal(values.view(torch.int16).cpu(), expected)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_inputs_are_left_as_they_are(layout: str, device: torch.device) -> None:
    z = LAYOUTS[layout](make((2, 9, 8, 7, 12), fill="special").to(device))
    before = z.clone()
    tased_ext.aux_pool(z, **SITE.aux)
    tased_ext.aux_max_pool(z, **SITE.aux)
    tased_ext.max_pool3d(z, 3, 2, 1)
    assert_same(z, before.cpu())


def test_results_are_on_the_device_of_the_input(device: torch.device) -> None:
    z = make((1, 2, 4, 6, 6)).to(device)
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    for result in (values, switches, tased_ext.aux_pool(z, **SITE.aux), tased_ext.max_pool3d(z, 3)):
        assert result.device == z.device


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_batch_may_be_empty(layout: str, device: torch.device) -> None:
    z = LAYOUTS[layout](torch.empty(0, 3, 8, 14, 12, device=device))
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    assert values.shape == switches.shape == tased_ext.aux_pool(z, **SITE.aux).shape == (0, 3, 2, 7, 6)
    assert tased_ext.max_pool3d(z, 3, 2, 1).shape == (0, 3, 4, 7, 6)


def test_a_tensor_without_batch_is_one_map(device: torch.device) -> None:
    z = make((3, 8, 14, 12), fill="ties").to(device)
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    batched_values, batched_switches = tased_ext.aux_max_pool(z[None], **SITE.aux)
    assert_same(values, batched_values[0].cpu())
    assert_same(switches, batched_switches[0].cpu())
    assert_same(tased_ext.max_pool3d(z, 3, 2, 1), tased_ext.max_pool3d(z[None], 3, 2, 1)[0].cpu())
