"""What the tests of the operations run on: poolings, shapes, dtypes, fills and layouts, and comparisons of results.

Shared by tests/ops and tests/simt. TASED_TEST_SCALE=quick takes a sample in which every value of every axis appears;
TASED_TEST_SCALE=full takes many more combinations of the same axes.
"""

from __future__ import annotations

import itertools
import os
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FULL = {"quick": False, "full": True}[os.environ.get("TASED_TEST_SCALE", "quick")]

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


# ----------------------------------------------------------------------------------------------------------- geometries


@dataclass(frozen=True)
class Pooling:
    """Windows over (frames, rows, columns).

    Auxiliary pooling has no temporal padding, and its ceil_mode is for rows and columns only.
    """

    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    padding: tuple[int, int, int] = (0, 0, 0)
    ceil_mode: bool = False

    @property
    def unpool(self) -> dict[str, Any]:
        """The arguments of max_unpool."""
        return {"kernel_size": self.kernel[1:], "stride": self.stride[1:], "padding": self.padding[1:]}

    @property
    def aux_unpool(self) -> dict[str, Any]:
        """The arguments of aux_pool_unpool."""
        return {"temporal": (self.kernel[0], self.stride[0]), **self.unpool}

    @property
    def aux(self) -> dict[str, Any]:
        """The arguments of aux_pool and aux_max_pool."""
        return {**self.aux_unpool, "ceil_mode": self.ceil_mode}

    @property
    def pool3d(self) -> dict[str, Any]:
        """The arguments of max_pool3d."""
        return {
            "kernel_size": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
        }

    @property
    def frame_pooling(self) -> Pooling:
        """P1, the temporal part of an auxiliary pooling."""
        return Pooling((self.kernel[0], 1, 1), (self.stride[0], 1, 1))

    @property
    def plane_pooling(self) -> Pooling:
        """P2, the spatial part of an auxiliary pooling."""
        return Pooling((1, *self.kernel[1:]), (1, *self.stride[1:]), (0, *self.padding[1:]), self.ceil_mode)

    @property
    def windows(self) -> tuple[int, int, int, int, int, int, int, int, int]:
        """kt, st, pt, kh, kw, sh, sw, ph, pw: the order of the operators' arguments."""
        (kt, kh, kw), (st, sh, sw), (pt, ph, pw) = self.kernel, self.stride, self.padding
        return kt, st, pt, kh, kw, sh, sw, ph, pw

    @property
    def aux_windows(self) -> tuple[int, ...]:
        """The operators' arguments without the temporal padding."""
        return self.windows[:2] + self.windows[3:]

    @property
    def area(self) -> int:
        return self.kernel[1] * self.kernel[2]

    @property
    def volume(self) -> int:
        return self.kernel[0] * self.area

    def aux_grid(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """The shape that auxiliary pooling gives, or None if no window fits: stock's own arithmetic on meta tensors."""
        frames = self.frame_pooling.grid(shape)
        return frames and self.plane_pooling.grid(frames)

    def grid(self, shape: Sequence[int]) -> tuple[int, ...] | None:
        """The shape that 3-D max-pooling gives, or None if no window fits."""
        try:
            return tuple(F.max_pool3d(torch.empty(tuple(shape), device="meta"), **self.pool3d).shape)
        except RuntimeError:
            return None

    def __str__(self) -> str:
        kernel, stride, padding = ("x".join(map(str, sizes)) for sizes in (self.kernel, self.stride, self.padding))
        return f"k{kernel}_s{stride}_p{padding}" + "_ceil" * self.ceil_mode


@dataclass(frozen=True)
class Case:
    """A pooling and the shape (N, C, T, H, W) of a map on which at least one window fits."""

    shape: tuple[int, int, int, int, int]
    pooling: Pooling

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) + "-" + str(self.pooling)


# Kernel, stride, padding, ceil_mode of rows and columns.
_SPATIAL = (
    ((3, 3), (2, 2), (1, 1), False),
    ((2, 2), (2, 2), (0, 0), False),
    ((1, 1), (1, 1), (0, 0), False),
    ((1, 1), (3, 3), (0, 0), False),
    ((2, 2), (1, 1), (1, 1), False),
    ((3, 3), (1, 1), (1, 1), False),
    ((3, 3), (3, 3), (0, 0), False),
    ((3, 3), (2, 2), (0, 0), True),
    ((3, 3), (2, 2), (1, 1), True),
    ((1, 3), (1, 2), (0, 1), False),
    ((3, 2), (2, 3), (1, 0), False),
    ((3, 2), (1, 1), (1, 1), False),
    ((2, 3), (3, 3), (1, 1), True),
    ((5, 5), (1, 1), (2, 2), False),
    ((5, 5), (2, 3), (2, 1), False),
    ((5, 5), (3, 2), (1, 2), True),
    ((4, 7), (2, 2), (2, 3), False),
    ((16, 16), (4, 3), (8, 5), False),
)
# Kernel and stride of time; 11 frames leave some over for most of them.
_TEMPORAL = ((4, 4), (2, 2), (1, 1), (3, 3), (4, 2), (2, 3), (3, 1))
# (N, C, H, W): odd sizes, single positions, channels and columns around the vector widths.
_PLANES = (
    (1, 7, 9, 16),
    (2, 8, 5, 7),
    (1, 33, 1, 1),
    (3, 1, 13, 31),
    (1, 17, 6, 33),
    (2, 3, 17, 1),
    (1, 64, 4, 6),
    (1, 2, 3, 70),
)
# TASED-Net's sites at a fraction of their size: i2, i1, i0, and the encoder's ordinary poolings.
_AUX_SITES = (
    Case((1, 12, 16, 14, 24), Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))),
    Case((1, 30, 16, 7, 12), Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))),
    Case((2, 52, 8, 14, 24), Pooling((2, 2, 2), (2, 2, 2))),
)
_POOL_SITES = (
    Case((1, 12, 16, 14, 24), Pooling((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    Case((1, 15, 16, 7, 12), Pooling((3, 3, 3), (2, 2, 2), (1, 1, 1))),
    Case((1, 12, 16, 7, 12), Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))),
    Case((1, 52, 8, 14, 24), Pooling((2, 1, 1), (2, 1, 1))),
)


def _cases(sites: tuple[Case, ...], pad_time: bool, fits: Callable[[Case], bool]) -> tuple[Case, ...]:
    """The sites, and every spatial window on several planes, with the temporal windows taken in turn."""
    cases = list(sites)
    turn = itertools.cycle(_TEMPORAL)
    for kernel, stride, padding, ceil_mode in _SPATIAL:
        for n, c, h, w in _PLANES:
            kt, st = next(turn)
            pooling = Pooling((kt, *kernel), (st, *stride), (pad_time * (kt // 2), *padding), ceil_mode)
            case = Case((n, c, 11, h, w), pooling)
            if fits(case):
                cases.append(case)
    return tuple(cases)


AUX_CASES = _cases(_AUX_SITES, pad_time=False, fits=lambda case: case.pooling.aux_grid(case.shape) is not None)
POOL_CASES = _cases(
    _POOL_SITES,
    pad_time=True,
    fits=lambda case: case.pooling.volume <= 256 and case.pooling.grid(case.shape) is not None,
)
# Sizes of the vectorised axis: columns of a contiguous map, channels of a channels-last one.
VECTOR_SIZES = tuple(range(1, 71)) if FULL else (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 70)


def mixed(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows of one value of each axis, joined at random but always in the same way; every value appears."""
    length = max(map(len, axes)) * (8 if FULL else 1)
    shuffle = random.Random(0).shuffle
    columns = []
    for axis in axes:
        column = list(itertools.islice(itertools.cycle(axis), length))
        shuffle(column)
        columns.append(column)
    return list(zip(*columns, strict=True))


# --------------------------------------------------------------------------------------------------------------- inputs


def _sprinkle(x: Tensor, share: float, value: float, generator: torch.Generator) -> Tensor:
    return x.masked_fill_(torch.rand(x.shape, generator=generator) < share, value)


def _normal(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    x.normal_(generator=generator)


def _ties(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    x.random_(-2, 3, generator=generator)


def _special(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Few values, many ties, and among them NaN and infinities."""
    _ties(x, dtype, generator)
    for share, value in ((0.3, -float("inf")), (0.1, float("inf")), (0.1, float("nan"))):
        _sprinkle(x, share, value, generator)


def _lowest(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    x.fill_(-float("inf"))


def _nan(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    x.fill_(float("nan"))


def _zeros(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Zeros of both signs, which tie."""
    _sprinkle(x.zero_(), 0.5, -0.0, generator)


def _denormal(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Multiples of the smallest number of the dtype: all differ, unless somebody flushes them to zero."""
    x.random_(-3, 4, generator=generator).mul_(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps)


def _extreme(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    """The largest numbers of the dtype, of both signs."""
    x.random_(0, 2, generator=generator).mul_(2).sub_(1).mul_(torch.finfo(dtype).max)


def _rare(x: Tensor, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Zeros and below, with one NaN in every third plane and one negative zero in the next: loops that fall back where
    they see either do so for some frames only."""
    _ties(x, dtype, generator)
    x.abs_().neg_().add_(0.0)  # which has made all zeros positive
    planes = x.view(-1, x.shape[-2] * x.shape[-1])
    place = torch.randint(planes.shape[1], (len(planes), 1), generator=generator)
    planes[0::3] = planes[0::3].scatter(1, place[0::3], float("nan"))
    planes[1::3] = planes[1::3].scatter(1, place[1::3], -0.0)


FILLS = {
    "normal": _normal,
    "ties": _ties,
    "special": _special,
    "lowest": _lowest,
    "nan": _nan,
    "zeros": _zeros,
    "denormal": _denormal,
    "extreme": _extreme,
    "rare": _rare,
}


def make(shape: Sequence[int], dtype: torch.dtype = torch.float32, fill: str = "normal", seed: Any = 0) -> Tensor:
    """A contiguous CPU tensor that depends on the arguments alone."""
    generator = torch.Generator().manual_seed(zlib.crc32(repr((tuple(shape), str(dtype), fill, str(seed))).encode()))
    x = torch.empty(tuple(shape), dtype=torch.float64)
    FILLS[fill](x, dtype, generator)
    return x.to(dtype)


def make_switches(grid: Sequence[int], most: int = 255, seed: Any = 0) -> Tensor:
    """Random bytes from 0 to `most`, valid or not."""
    generator = torch.Generator().manual_seed(zlib.crc32(repr((tuple(grid), most, str(seed))).encode()))
    return torch.randint(0, most + 1, tuple(grid), dtype=torch.uint8, generator=generator)


def _embedded(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """The values of x as every second column and some of the other axes of a larger tensor of 99."""
    n, c, t, h, w = x.shape
    large = x.new_full((n + 1, c + 3, t + 1, h + 2, 2 * w + 1), 99).contiguous(memory_format=memory_format)
    view = large[1:, 1 : c + 1, :t, 2:, 1 : 2 * w + 1 : 2]
    return view.copy_(x)


def _misaligned(x: Tensor) -> Tensor:
    """Contiguous, but one element off every 16-byte boundary."""
    return x.new_empty(x.numel() + 1)[1:].view_as(x).copy_(x)


# Tensors with the values of a contiguous (N, C, T, H, W) one, stored otherwise; those from "expanded" on change the
# values or drop the batch as well.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last_3d),
    "misaligned": _misaligned,
    "sliced": lambda x: _embedded(x, torch.contiguous_format),
    "sliced_channels_last": lambda x: _embedded(x, torch.channels_last_3d),
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "batch_inside": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "expanded": lambda x: x[:, :1].expand_as(x),
    "expanded_frames": lambda x: x[:, :, :1].expand_as(x),
    "unbatched": lambda x: x[0],
    "unbatched_channels_last": lambda x: x.contiguous(memory_format=torch.channels_last_3d)[0],
    "unbatched_sliced": lambda x: _embedded(x, torch.contiguous_format)[0],
    "unbatched_sliced_channels_last": lambda x: _embedded(x, torch.channels_last_3d)[0],
    "unbatched_expanded_channels": lambda x: x[0, :, :1, :1, :1].contiguous().expand_as(x[0]),
}


def is_channels_last(x: Tensor) -> bool:
    """The rule by which the operations read and keep a layout."""
    return not x.is_contiguous() and x.stride(-4) == 1


# ---------------------------------------------------------------------------------------------------------- comparisons


def assert_same(actual: Tensor, expected: Tensor, context: Any = "") -> None:
    """Equal shape, dtype and values, to the bit but for the sign of zero and the payload of NaN."""

    def explain(difference: str) -> str:
        return f"{context}\n{difference}" if context else difference

    torch.testing.assert_close(actual.cpu(), expected, rtol=0, atol=0, equal_nan=True, msg=explain)


def assert_keeps_layout(result: Tensor, source: Tensor) -> None:
    """`result` is dense in memory, in the layout that `source` is read in."""
    dense = result.movedim(-4, -1) if is_channels_last(source) else result
    assert dense.is_contiguous(), f"strides {result.stride()} from a source of strides {source.stride()}"


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs PyTorch's CPU kernels on `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stock_aux_pool(z: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """The stock chain on one thread: values and flat (t', H, W) indices of MaxPool3d after a temporal MaxPool3d."""
    with threads(1):
        p = F.max_pool3d(z, **pooling.frame_pooling.pool3d)
        return F.max_pool3d(p, **pooling.plane_pooling.pool3d, return_indices=True)


def stock_max_unpool(x: Tensor, indices: Tensor, pooling: Pooling, size: Sequence[int]) -> Tensor:
    """Stock MaxUnpool3d on one thread, which is its only defined result where windows overlap; size is (H, W)."""
    plane = pooling.plane_pooling
    with threads(1):
        return F.max_unpool3d(x, indices, plane.kernel, plane.stride, plane.padding, output_size=(x.shape[-3], *size))
