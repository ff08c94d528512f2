"""The operations written with stock PyTorch: the definition, in values and in gradients, that every backend is tested against.

Readable before fast. A window is numbered by its row-major place in the pooled grid (t', h, w); its arg-max is remembered
as an offset inside the window, ``(dt * kh + dr) * kw + dc``, and looked up as a position in the flat (T, H, W) map.
Nothing here needs the compiled library. Options are not validated; ``tased_ext`` itself does that.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IntOrPair = int | tuple[int, int]
IntOrTriple = int | tuple[int, int, int]
Windows = tuple[int, int, int, int, int, int, int, int, int]  # kt, st, pt, kh, kw, sh, sw, ph, pw


# ---------------------------------------------------------------------------------------------------- public operations


def aux_pool(
    z: Tensor,
    temporal: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Switches of auxiliary pooling: `tased_ext.aux_pool`."""
    return aux_max_pool(z.detach(), temporal, kernel_size, stride, padding, ceil_mode=ceil_mode)[1]


def aux_max_pool(
    z: Tensor,
    temporal: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Values and switches of auxiliary pooling: `tased_ext.aux_max_pool`."""
    (kt, st), (kh, kw), (sh, sw), (ph, pw) = _options(temporal, kernel_size, stride, padding)
    p, p_indices = _stock_max_pool3d(z, (kt, 1, 1), (st, 1, 1), (0, 0, 0), False)
    _, indices = _stock_max_pool3d(p, (1, kh, kw), (1, sh, sw), (0, ph, pw), ceil_mode)
    switches = _offsets_from_indices(indices, p.shape[-2:], (1, kh, kw), (1, sh, sw), (0, ph, pw)).byte()
    p_frames = _offsets_from_indices(p_indices, z.shape[-2:], (kt, 1, 1), (st, 1, 1), (0, 0, 0)).byte()
    frames = p_frames.flatten(-3).gather(-1, indices.flatten(-3)).view_as(indices)
    values = _Gather.apply(z, switches, frames, (kt, st, 0, kh, kw, sh, sw, ph, pw))
    return _in_layout_of(values, z), _in_layout_of(switches, z)


def max_unpool(
    x: Tensor,
    switches: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: tuple[int, ...] | None = None,
    exact_grad: bool = True,
) -> Tensor:
    """Values put back at their switches: `tased_ext.max_unpool`."""
    _, (kh, kw), (sh, sw), (ph, pw) = _options(1, kernel_size, stride, padding)
    h, w = x.shape[-2:]
    height, width = output_size[-2:] if output_size else ((h - 1) * sh - 2 * ph + kh, (w - 1) * sw - 2 * pw + kw)
    windows = (1, 1, 0, kh, kw, sh, sw, ph, pw)
    return _in_layout_of(_Unpool.apply(x, switches, windows, (x.shape[-3], height, width), exact_grad), x)


def aux_pool_unpool(
    z_enc: Tensor,
    z_dec: Tensor,
    temporal: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    exact_grad: bool = True,
) -> Tensor:
    """Decoder values at the switches of the encoder map: `tased_ext.aux_pool_unpool`."""
    switches = aux_pool(z_enc, temporal, kernel_size, stride, padding)
    size = z_enc.shape[-2:]
    y = max_unpool(z_dec, switches, kernel_size, stride, padding, output_size=size, exact_grad=exact_grad)
    return _in_layout_of(y, z_enc)


def max_pool3d(
    x: Tensor,
    kernel_size: IntOrTriple,
    stride: IntOrTriple | None = None,
    padding: IntOrTriple = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Values of an ordinary 3-D max-pool: `tased_ext.max_pool3d`."""
    k, p = _tuple(kernel_size, 3), _tuple(padding, 3)
    s = k if stride is None else _tuple(stride, 3)
    _, indices = _stock_max_pool3d(x, k, s, p, ceil_mode)
    offsets = _offsets_from_indices(indices, x.shape[-2:], k, s, p).byte()
    return _in_layout_of(_Gather.apply(x, offsets, None, (k[0], s[0], p[0], *k[1:], *s[1:], *p[1:])), x)


def switches_to_indices(
    switches: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: tuple[int, ...],
) -> Tensor:
    """Flat (t', H, W) indices of switches, as stock layers exchange them: `tased_ext.switches_to_indices`."""
    _, (kh, kw), (sh, sw), (ph, pw) = _options(1, kernel_size, stride, padding)
    return _positions(switches, None, (1, 1, 0, kh, kw, sh, sw, ph, pw), (switches.shape[-3], *output_size[-2:]))


def indices_to_switches(
    indices: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: tuple[int, ...],
) -> Tensor:
    """Switches of flat (t', H, W) indices: `tased_ext.indices_to_switches`."""
    _, (kh, kw), (sh, sw), (ph, pw) = _options(1, kernel_size, stride, padding)
    return _offsets_from_indices(indices, output_size[-2:], (1, kh, kw), (1, sh, sw), (0, ph, pw)).byte()


# ----------------------------------------------------------------------------------------- the linear pair of backwards


def scatter_windows(
    x: Tensor,
    offsets: Tensor,
    frames: Tensor | None,
    kt: int,
    st: int,
    pt: int,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    map_frames: int,
    height: int,
    width: int,
) -> Tensor:
    """Each position is the sum of the windows whose arg-max it is: the gradient of a pooling.

    Windows add up in ascending order, in float32 for the half types, and the sum is rounded once.
    """
    size = (map_frames, height, width)
    position = _positions(offsets, frames, (kt, st, pt, kh, kw, sh, sw, ph, pw), size).flatten(-3)
    offset = _joint_offsets(offsets, frames, kt, kh, kw).flatten(-3)
    nowhere = map_frames * height * width
    values = x.flatten(-3).to(torch.promote_types(x.dtype, torch.float32))
    total = values.new_zeros(*position.shape[:-1], nowhere + 1)
    # Windows that chose the same offset have different positions, and of two windows at one position the later one has
    # the smaller offset: taking the offsets downwards adds at most one window to a position at a time, in ascending order.
    for chosen in reversed(range(kt * kh * kw)):
        total = total.scatter_add(-1, position.where(offset == chosen, nowhere), values)
    return _in_layout_of(total[..., :nowhere].to(x.dtype).unflatten(-1, size), x)


def gather_windows(
    y: Tensor,
    offsets: Tensor,
    frames: Tensor | None,
    kt: int,
    st: int,
    pt: int,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    winners_only: bool,
) -> Tensor:
    """Each window is the value at its arg-max, zero where the offset is invalid: the gradient of an unpooling.

    With `winners_only` a window is zero as well where a later one has the same arg-max.
    """
    size = y.shape[-3:]
    position = _positions(offsets, frames, (kt, st, pt, kh, kw, sh, sw, ph, pw), size).flatten(-3)
    values = F.pad(y.flatten(-3), (0, 1)).gather(-1, position)
    if winners_only:
        window = torch.arange(position.shape[-1], device=y.device)
        values = values.where(_last_windows(position, size).gather(-1, position) == window, 0)
    return _in_layout_of(values.unflatten(-1, offsets.shape[-3:]), y)


# ------------------------------------------------------------------------------------------------------------ internals


class _Gather(torch.autograd.Function):
    """The pooled values, with `scatter_windows` as the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, frames: Tensor | None, windows: Windows) -> Tensor:
        ctx.save_for_backward(offsets, frames)
        ctx.windows, ctx.size = windows, x.shape[-3:]
        return gather_windows(x, offsets, frames, *windows, False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        offsets, frames = ctx.saved_tensors
        return scatter_windows(grad, offsets, frames, *ctx.windows, *ctx.size), None, None, None


class _Unpool(torch.autograd.Function):
    """Each position is the last window whose switch it is, or zero, with `gather_windows` as the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, switches: Tensor, windows: Windows, size: tuple[int, ...], exact_grad: bool
    ) -> Tensor:
        ctx.save_for_backward(switches)
        ctx.windows, ctx.exact_grad = windows, exact_grad
        last = _last_windows(_positions(switches, None, windows, size).flatten(-3), size)
        values = F.pad(x.flatten(-3), (1, 0)).gather(-1, last + 1)  # window -1, that is none, finds a zero
        return values[..., :-1].unflatten(-1, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (switches,) = ctx.saved_tensors
        windows: Windows = ctx.windows
        return gather_windows(grad, switches, None, *windows, ctx.exact_grad), None, None, None, None


def _stock_max_pool3d(
    x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    # On CPU, stock's channels_last_3d kernel misplaces the arg-max of windows full of -inf; its contiguous one is right.
    # (A map of one channel is contiguous in both layouts; a clone has the strides of one.)
    return F.max_pool3d(
        x.detach().clone(memory_format=torch.contiguous_format),
        kernel,
        stride,
        padding,
        ceil_mode=ceil_mode,
        return_indices=True,
    )


def _window_starts(
    grid: torch.Size, stride: tuple[int, ...], padding: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """First frame, row and column of every window, negative in the padding; they broadcast over the grid."""
    t, h, w = (torch.arange(n, device=device) * s - p for n, s, p in zip(grid, stride, padding, strict=True))
    return t[:, None, None], h[:, None], w


def _offsets_from_indices(
    indices: Tensor,
    plane: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> Tensor:
    """Offsets inside the windows of indices into the flat (T, H, W) map, `plane` being (H, W)."""
    t, h, w = _window_starts(indices.shape[-3:], stride, padding, indices.device)
    frame, row, column = indices // (plane[0] * plane[1]), indices // plane[1] % plane[0], indices % plane[1]
    return ((frame - t) * kernel[1] + row - h) * kernel[2] + column - w


def _joint_offsets(offsets: Tensor, frames: Tensor | None, kt: int, kh: int, kw: int) -> Tensor:
    """Offsets in the kt * kh * kw window, from bytes that hold them whole or split in a spatial offset and a frame."""
    spatial = offsets.long()
    if frames is None:
        return spatial
    return (frames.long() * kh * kw + spatial).where(spatial < kh * kw, kt * kh * kw)


def _positions(offsets: Tensor, frames: Tensor | None, windows: Windows, size: tuple[int, ...]) -> Tensor:
    """Positions in the flat (T, H, W) map of the windows' offsets; one past the end for an offset that is not valid."""
    kt, st, pt, kh, kw, sh, sw, ph, pw = windows
    offset = _joint_offsets(offsets, frames, kt, kh, kw)
    t, h, w = _window_starts(offsets.shape[-3:], (st, sh, sw), (pt, ph, pw), offsets.device)
    frame, row, column = t + offset // (kh * kw), h + offset // kw % kh, w + offset % kw
    valid = offset < kt * kh * kw
    for coordinate, extent in zip((frame, row, column), size, strict=True):
        valid = valid & (coordinate >= 0) & (coordinate < extent)
    return ((frame * size[1] + row) * size[2] + column).where(valid, size[0] * size[1] * size[2])


def _last_windows(position: Tensor, size: tuple[int, ...]) -> Tensor:
    """The last window at every position of the flat map and of the place past its end; -1 where there is none."""
    window = torch.arange(position.shape[-1], device=position.device).expand_as(position)
    nothing = window.new_full((*position.shape[:-1], size[0] * size[1] * size[2] + 1), -1)
    return nothing.scatter_reduce(-1, position, window, "amax")


def _in_layout_of(result: Tensor, source: Tensor) -> Tensor:
    """`result` laid out as the operations do it: channels last if `source` is not contiguous and its channel stride is 1."""
    if source.is_contiguous() or source.stride(-4) != 1:
        return result.contiguous()
    return result.movedim(-4, -1).contiguous().movedim(-1, -4)


def _tuple(value: int | tuple[int, ...], length: int) -> tuple[int, ...]:
    return (value,) * length if isinstance(value, int) else tuple(value)


def _options(
    temporal: IntOrPair, kernel_size: IntOrPair, stride: IntOrPair | None, padding: IntOrPair
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(kt, st), (kh, kw), (sh, sw), (ph, pw), with strides that default to the kernels."""
    kernel = _tuple(kernel_size, 2)
    return _tuple(temporal, 2), kernel, kernel if stride is None else _tuple(stride, 2), _tuple(padding, 2)
