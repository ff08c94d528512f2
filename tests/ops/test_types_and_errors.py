"""Which types the operations take, and what they say to bad input: on real tensors, and in equal words on fake ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

import tased_ext
from cases import DTYPES, make
from tased_ext import _ops

Z = (1, 2, 8, 14, 12)  # an encoder map,
GRID = (1, 2, 2, 7, 6)  # and its pooled grid, with temporal = 4, kernel_size = 3, stride = 2, padding = 1


def z(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape or Z, dtype=dtype)


def x(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape or GRID, dtype=dtype)


def switches(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.zeros(shape or GRID, dtype=dtype)


aux_pool, aux_max_pool, max_pool3d = tased_ext.aux_pool, tased_ext.aux_max_pool, tased_ext.max_pool3d
max_unpool, aux_pool_unpool = tased_ext.max_unpool, tased_ext.aux_pool_unpool
scatter_windows, gather_windows = torch.ops.tased_ext.scatter_windows, torch.ops.tased_ext.gather_windows
WINDOWS = (4, 4, 0, 3, 3, 2, 2, 1, 1)  # kt, st, pt, kh, kw, sh, sw, ph, pw

# What is wrong, a call, and the sentence that it must end in.
RANK = "must have 4 dimensions (C, T, H, W) or 5 (N, C, T, H, W), but got shape"
FLOATS = "must be float32, float64, float16 or bfloat16, but got"
EMPTY = "must have no empty dimension except the batch, but got shape"
GRID_OF_Z = "z_dec must have shape [1, 2, 2, 7, 6], to which z_enc of shape [1, 2, 8, 14, 12] is pooled, but got"
PADDING = "padding must be at least 0 and at most half of"
BYTE = "positions is larger than the 256 that one byte can tell apart; use"
STOCK_PAIR = "torch.nn.MaxPool3d and torch.nn.MaxUnpool3d"
ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "rank of z": (lambda: aux_pool(z(8, 14, 12), 4, 3, 2, 1), f"z {RANK} [8, 14, 12]"),
    "rank of pool3d's x": (lambda: max_pool3d(x(1, 1, 2, 8, 14, 12), 3), f"x {RANK} [1, 1, 2, 8, 14, 12]"),
    "rank of z_enc": (lambda: aux_pool_unpool(z(14, 12), x(), 4, 3, 2, 1), f"z_enc {RANK} [14, 12]"),
    "rank of unpool's x": (lambda: max_unpool(x(2, 7, 6), switches(), 3, 2, 1), f"x {RANK} [2, 7, 6]"),
    "rank of unpool's x on its own": (lambda: max_unpool(x(6), switches(6), 3), f"x {RANK} [6]"),
    "dtype of z": (lambda: aux_pool(z(dtype=torch.int64), 4, 3, 2, 1), f"z {FLOATS} int64"),
    "complex z": (lambda: aux_max_pool(z(dtype=torch.complex64), 4, 3, 2, 1), f"z {FLOATS} complex64"),
    "dtype of pool3d's x": (lambda: max_pool3d(x(dtype=torch.bool), 2), f"x {FLOATS} bool"),
    "dtype of unpool's x": (lambda: max_unpool(x(dtype=torch.uint8), switches(), 3, 2, 1), f"x {FLOATS} uint8"),
    "dtype of switches": (
        lambda: max_unpool(x(), switches(dtype=torch.int64), 3, 2, 1),
        "switches must be uint8, but got int64",
    ),
    "dtype of z_enc": (lambda: aux_pool_unpool(z(dtype=torch.int32), x(), 4, 3, 2, 1), f"z_enc {FLOATS} int32"),
    "dtypes of encoder and decoder that differ": (
        lambda: aux_pool_unpool(z(), x(dtype=torch.float16), 4, 3, 2, 1),
        "z_dec must have the dtype of z_enc, float32, but got float16",
    ),
    "no frames": (lambda: aux_pool(z(1, 2, 0, 14, 12), 4, 3, 2, 1), f"z {EMPTY} [1, 2, 0, 14, 12]"),
    "no rows": (lambda: max_pool3d(x(1, 2, 8, 0, 12), 3), f"x {EMPTY} [1, 2, 8, 0, 12]"),
    "no columns": (lambda: max_unpool(x(1, 2, 2, 7, 0), switches(), 3, 2, 1), f"x {EMPTY} [1, 2, 2, 7, 0]"),
    "no channels": (lambda: aux_pool(z(1, 0, 8, 14, 12), 4, 3, 2, 1), f"z {EMPTY} [1, 0, 8, 14, 12]"),
    "too few frames": (
        lambda: aux_pool(z(1, 2, 3, 14, 12), 4, 3, 2, 1),
        "z of shape [1, 2, 3, 14, 12] is smaller than one window of 4x3x3 positions",
    ),
    "too few frames in ceil mode": (
        lambda: aux_max_pool(z(1, 2, 3, 14, 12), 4, 3, 2, 1, ceil_mode=True),
        "z of shape [1, 2, 3, 14, 12] is smaller than one window of 4x3x3 positions",
    ),
    "an axis past 2^30": (
        lambda: aux_pool(z(1, 1, 4, 1, 1).expand(1, 1, 4, 1, 2**30 + 1), 4, 1),
        f"z must have at most 2^30 channels, frames, rows and columns, but got shape [1, 1, 4, 1, {2**30 + 1}]",
    ),
    "too few rows": (
        lambda: max_pool3d(x(1, 2, 8, 2, 12), (1, 5, 3), 2, (0, 1, 1)),
        "x of shape [1, 2, 8, 2, 12] is smaller than one window of 1x5x3 positions",
    ),
    "shapes of x and switches that differ": (
        lambda: max_unpool(x(), switches(1, 2, 2, 6, 6), 3, 2, 1),
        "switches must have shape [1, 2, 2, 7, 6], that of x, but got [1, 2, 2, 6, 6]",
    ),
    "frames of encoder and decoder that differ": (
        lambda: aux_pool_unpool(z(), x(1, 2, 4, 7, 6), 4, 3, 2, 1),
        f"{GRID_OF_Z} [1, 2, 4, 7, 6]",
    ),
    "a grid that does not fit the geometry": (
        lambda: aux_pool_unpool(z(), x(1, 2, 2, 6, 6), 4, 3, 2, 1),
        f"{GRID_OF_Z} [1, 2, 2, 6, 6]",
    ),
    "channels of encoder and decoder that differ": (
        lambda: aux_pool_unpool(z(), x(1, 3, 2, 7, 6), 4, 3, 2, 1),
        f"{GRID_OF_Z} [1, 3, 2, 7, 6]",
    ),
    "ranks of encoder and decoder that differ": (
        lambda: aux_pool_unpool(z(), x(2, 2, 7, 6), 4, 3, 2, 1),
        f"{GRID_OF_Z} [2, 2, 7, 6]",
    ),
    "output_size too small": (
        lambda: max_unpool(x(), switches(), 3, 2, 1, output_size=(11, 12)),
        "output_size must have 12 to 14 rows for a grid of 7, but got 11",
    ),
    "output_size too large": (
        lambda: max_unpool(x(), switches(), 3, 2, 1, output_size=(14, 13)),
        "output_size must have 10 to 12 columns for a grid of 6, but got 13",
    ),
    "output_size without a position": (
        lambda: max_unpool(x(1, 2, 2, 1, 1), switches(1, 2, 2, 1, 1), 3, 2, 1, output_size=(1, 0)),
        "output_size must have 1 to 2 columns for a grid of 1, but got 0",
    ),
    "padding over half the kernel": (
        lambda: aux_pool(z(), 4, 3, 2, 2),
        f"{PADDING} kernel_size (3, 3), but got (2, 2)",
    ),
    "padding over half of one side": (
        lambda: max_unpool(x(), switches(), (4, 3), 2, (2, 2)),
        f"{PADDING} kernel_size (4, 3), but got (2, 2)",
    ),
    "negative padding": (
        lambda: aux_max_pool(z(), 4, 3, 2, (0, -1)),
        f"{PADDING} kernel_size (3, 3), but got (0, -1)",
    ),
    "temporal padding over half the kernel": (
        lambda: max_pool3d(x(), 3, 2, (2, 1, 1)),
        f"temporal {PADDING} the temporal kernel 3, but got 2",
    ),
    "kernel area over 256": (
        lambda: aux_pool(z(1, 2, 8, 40, 40), 4, (16, 17)),
        f"a window of 4x16x17 {BYTE} torch.nn.MaxPool3d",
    ),
    "kernel area over 256 in unpooling": (
        lambda: max_unpool(x(), switches(), (257, 1)),
        f"a window of 1x257x1 {BYTE} torch.nn.MaxUnpool3d",
    ),
    "kernel area over 256 in pooling and unpooling": (
        lambda: aux_pool_unpool(z(), x(), 4, (2, 129)),
        f"a window of 4x2x129 {BYTE} {STOCK_PAIR}",
    ),
    "kernel volume over 256": (
        lambda: max_pool3d(x(1, 2, 8, 14, 12), (4, 8, 9)),
        f"a window of 4x8x9 {BYTE} torch.nn.MaxPool3d",
    ),
    "a frame past one byte": (
        lambda: aux_max_pool(z(1, 1, 300, 3, 3), 257, 3),
        f"a window of 257x3x3 {BYTE} torch.nn.MaxPool3d",
    ),
    "kernel zero": (lambda: aux_pool(z(), 4, (3, 0)), "kernel_size must be positive, but got (3, 0)"),
    "kernel negative": (lambda: max_unpool(x(), switches(), -1, 1), "kernel_size must be positive, but got (-1, -1)"),
    "stride zero": (lambda: aux_pool_unpool(z(), x(), 4, 3, 0, 1), "stride must be positive, but got (0, 0)"),
    "a stride past 2^30": (
        lambda: aux_pool(z(), 4, 3, (2, 2**30 + 1)),
        f"stride must be at most 2^30, but got 4, 2, {2**30 + 1}",
    ),
    "temporal kernel zero": (
        lambda: aux_pool(z(), (0, 1), 3, 2, 1),
        "temporal kernel and stride must be positive, but got kernel 0 and stride 1",
    ),
    "temporal stride zero": (
        lambda: max_pool3d(x(), 3, (0, 2, 2), 1),
        "temporal kernel and stride must be positive, but got kernel 3 and stride 0",
    ),
    # The linear pair, which only gradients call.
    "dtype of offsets": (
        lambda: scatter_windows(x(), x(), None, *WINDOWS, *Z[2:]),
        "offsets must be uint8, but got float32",
    ),
    "dtype of frames": (
        lambda: scatter_windows(x(), switches(), x(), *WINDOWS, *Z[2:]),
        "frames must be uint8, but got float32",
    ),
    "shape of frames": (
        lambda: gather_windows(z(), switches(), switches(1, 2, 2, 7, 5), *WINDOWS, False),
        "frames must have shape [1, 2, 2, 7, 6], that of offsets, but got [1, 2, 2, 7, 5]",
    ),
    "a map too large for the windows": (
        lambda: scatter_windows(x(), switches(), switches(), *WINDOWS, 12, 14, 12),
        "the map must have 5 to 11 frames for a grid of 2, but got 12",
    ),
    "a map too small for the windows": (
        lambda: gather_windows(z(1, 2, 4, 14, 12), switches(), switches(), *WINDOWS, False),
        "y must have 5 to 11 frames for a grid of 2, but got 4",
    ),
    "channels of map and windows that differ": (
        lambda: gather_windows(z(1, 3, 8, 14, 12), switches(), switches(), *WINDOWS, False),
        "y must have shape [1, 2, 8, 14, 12], with the batch and channels of offsets, but got [1, 3, 8, 14, 12]",
    ),
    "winners over time": (
        lambda: gather_windows(z(), switches(), None, *WINDOWS, True),
        "winners_only takes windows of one frame without frames, but got temporal kernel 4 and stride 4",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_input_is_named_in_one_sentence(call: Callable[[], Any], message: str, device: torch.device) -> None:
    with torch.device(device), pytest.raises(RuntimeError, match=re.escape(message)) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_fake_tensors_are_told_the_same(call: Callable[[], Any], message: str) -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match=re.escape(message)) as error:
        call()
    assert str(error.value) == message


@pytest.mark.cuda
def test_tensors_on_different_devices_are_refused() -> None:
    grid = torch.zeros(GRID, device="cuda")
    with pytest.raises(RuntimeError, match="switches must be on the device of x, cuda:0, but is on cpu"):
        max_unpool(grid, switches(), 3, 2, 1)
    with pytest.raises(RuntimeError, match="z_dec must be on the device of z_enc, cpu, but is on cuda:0"):
        aux_pool_unpool(z(), grid, 4, 3, 2, 1)


def test_fake_tensors_on_different_devices_are_refused() -> None:
    with FakeTensorMode():
        grid = torch.zeros(GRID, device="cuda")
        with pytest.raises(RuntimeError, match="switches must be on the device of x, cuda:0, but is on cpu"):
            max_unpool(grid, switches(), 3, 2, 1)
        with pytest.raises(RuntimeError, match="z_dec must be on the device of z_enc, cpu, but is on cuda:0"):
            aux_pool_unpool(z(), grid, 4, 3, 2, 1)


@pytest.mark.skipif(_ops.cuda_loaded, reason="the CUDA library is loaded")
def test_cuda_tensors_without_the_cuda_library_are_told_why_and_the_cure() -> None:
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    with pytest.raises(RuntimeError, match=r"^tased_ext\.aux_pool cannot run on CUDA tensors: .*install tased-net"):
        torch.ops.tased_ext.aux_pool.default.redispatch(keys, z(), *WINDOWS[:2], *WINDOWS[3:], False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_floating_dtype_is_served(dtype: torch.dtype, device: torch.device) -> None:
    z_enc, z_dec = make(Z, dtype).to(device), make(GRID, dtype).to(device)
    values, switches = aux_max_pool(z_enc, 4, 3, 2, 1)
    assert values.dtype == max_pool3d(z_enc, 3).dtype == dtype
    assert max_unpool(z_dec, switches, 3, 2, 1).dtype == dtype
    assert aux_pool_unpool(z_enc, z_dec, 4, 3, 2, 1).dtype == dtype
    assert switches.dtype == aux_pool(z_enc, 4, 3, 2, 1).dtype == torch.uint8


@pytest.mark.parametrize("index", [0, 2, 6, 12, -1])
def test_an_index_outside_its_window_is_refused(index: int, device: torch.device) -> None:
    # Two frames of one row of six columns; the window of frame 0 and columns 3 to 5 must not tell any of these.
    indices = torch.tensor([1, index, 7, 10], device=device).view(1, 1, 2, 1, 2)
    message = (
        f"indices must lie inside their windows, but index {index} at [0, 0, 0, 0, 1] does not, "
        "for kernel_size (1, 3), stride (1, 3), padding (0, 0) and output_size (1, 6)"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        tased_ext.indices_to_switches(indices, (1, 3), output_size=(1, 6))


def test_conversions_refuse_other_dtypes_ranks_and_larger_windows(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="switches must be uint8, but got int64"):
        tased_ext.switches_to_indices(switches(dtype=torch.int64).to(device), 2, output_size=(14, 12))
    with pytest.raises(RuntimeError, match="indices must be int64, but got int32"):
        tased_ext.indices_to_switches(switches(dtype=torch.int32).to(device), 2, output_size=(14, 12))
    for shape in ((6,), (7, 6), (1, 1, 1, 1, 7, 6)):
        with pytest.raises(RuntimeError, match=re.escape(f"switches {RANK} {list(shape)}")):
            tased_ext.switches_to_indices(switches(*shape).to(device), 2, output_size=(14, 12))
        with pytest.raises(RuntimeError, match=re.escape(f"indices {RANK} {list(shape)}")):
            tased_ext.indices_to_switches(switches(*shape, dtype=torch.int64).to(device), 2, output_size=(14, 12))
    with pytest.raises(RuntimeError, match=f"a window of 1x16x17 {BYTE} torch.nn.MaxUnpool3d"):
        tased_ext.indices_to_switches(switches(dtype=torch.int64).to(device), (16, 17), output_size=(14, 12))


ARGUMENTS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "temporal of floats": (
        lambda: aux_pool(z(), 1.5, 3),  # type: ignore[arg-type]
        TypeError,
        "temporal must be an int or 2 ints, but got 1.5",
    ),
    "kernel_size of three": (
        lambda: aux_pool(z(), 4, (1, 3, 3)),  # type: ignore[arg-type]
        ValueError,
        "kernel_size must be an int or 2 ints, but got 3: (1, 3, 3)",
    ),
    "kernel_size of two": (
        lambda: max_pool3d(x(), (3, 3)),  # type: ignore[arg-type]
        ValueError,
        "kernel_size must be an int or 3 ints, but got 2: (3, 3)",
    ),
    "stride of text": (
        lambda: max_unpool(x(), switches(), 3, ("2", 2)),  # type: ignore[arg-type]
        TypeError,
        "stride must be an int or 2 ints, but got ('2', 2)",
    ),
    "padding of one": (
        lambda: aux_pool_unpool(z(), x(), 4, 3, 2, (1,)),  # type: ignore[arg-type]
        ValueError,
        "padding must be an int or 2 ints, but got 1: (1,)",
    ),
    "output_size of one": (
        lambda: max_unpool(x(), switches(), 3, 2, 1, output_size=(14,)),
        ValueError,
        "output_size must be (H, W) or a shape that ends with it, but got (14,)",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_of_another_form_are_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)) as error:
        call()
    assert str(error.value) == message


def test_output_size_may_be_a_whole_shape(device: torch.device) -> None:
    grid, bytes_ = x().to(device), switches().to(device)
    plane = max_unpool(grid, bytes_, 3, 2, 1, output_size=(14, 12))
    for size in (torch.Size((1, 2, 2, 14, 12)), (2, 14, 12), [14, 12]):
        assert max_unpool(grid, bytes_, 3, 2, 1, output_size=size).shape == plane.shape == (1, 2, 2, 14, 12)
