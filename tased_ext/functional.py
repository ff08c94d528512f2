"""The operations as functions. Module twins are in `tased_ext.modules`, plain definitions in `tased_ext.reference`.

All take maps of 5 dimensions (N, C, T, H, W) or 4 (C, T, H, W), contiguous or channels_last_3d, and return that layout;
other strides are accepted and copied first. Values are only compared and copied, so every dtype is exact. The letters:
a pooled grid has t' frames, h rows and w columns; a window covers kt frames (stride st) and kh x kw positions (stride
sh, sw; padding ph, pw). A switch is one byte, ``row * kw + column`` inside the window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _ops

IntOrPair = int | tuple[int, int]
IntOrTriple = int | tuple[int, int, int]

__all__ = [
    "aux_max_pool",
    "aux_pool",
    "aux_pool_unpool",
    "indices_to_switches",
    "max_pool3d",
    "max_unpool",
    "switches_to_indices",
]


def aux_pool(
    z: Tensor,
    temporal: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Switches of Auxiliary pooling: the maximum over time, then its arg-max over space (paper, section 3.3: P1 and P2).

    Ties go to the first position in row-major order; NaN wins, the last of several. Trailing frames that do not fill a
    temporal window are dropped.

    Parameters
    ----------
    z : Tensor
        Encoder map, (N, C, T, H, W) or (C, T, H, W), floating point.
    temporal : int or (int, int)
        Frames a temporal window covers, and its stride (default: the same).
    kernel_size, stride, padding : int or (int, int)
        Rows and columns; the stride defaults to the kernel. At most 256 positions a window.
    ceil_mode : bool
        Whether windows that reach past the last row or column count, as in `torch.nn.MaxPool3d`.

    Returns
    -------
    Tensor
        Switches, uint8, (N, C, t', h, w). They carry no gradient.

    Raises
    ------
    RuntimeError
        If a shape, dtype or window is not possible; the message names it.
    TypeError, ValueError
        If an argument has another type, or another number of integers.

    Examples
    --------
    >>> z = torch.tensor([[1., 5.], [7., 2.]]).reshape(1, 1, 1, 2, 2).repeat(1, 1, 4, 1, 1)
    >>> z[0, 0, 3, 0, 1] = 9.  # the last frame is brightest at row 0, column 1
    >>> aux_pool(z, temporal=4, kernel_size=2).flatten().tolist()
    [1]
    """
    kt, st = _temporal(temporal)
    return _ops.ops.aux_pool(z, kt, st, *_spatial(kernel_size, stride, padding), ceil_mode)


def aux_max_pool(
    z: Tensor,
    temporal: IntOrPair,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Values and switches of Auxiliary pooling, where the pooled map is wanted as well (paper, section 3.3).

    Parameters
    ----------
    z, temporal, kernel_size, stride, padding, ceil_mode
        As in `aux_pool`.

    Returns
    -------
    values : Tensor
        Window maxima, (N, C, t', h, w), of `z`'s dtype. Their gradient goes to each window's arg-max element (the first
        frame that reaches its maximum) and adds up where windows overlap. Backward keeps two bytes a window.
    switches : Tensor
        Switches, uint8, (N, C, t', h, w).

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As in `aux_pool`.

    Examples
    --------
    >>> values, switches = aux_max_pool(torch.arange(16.).reshape(1, 2, 2, 4), temporal=2, kernel_size=2)
    >>> values.flatten().tolist(), switches.flatten().tolist()
    ([13.0, 15.0], [3, 3])
    """
    kt, st = _temporal(temporal)
    kh, kw, sh, sw, ph, pw = _spatial(kernel_size, stride, padding)
    return _ops.aux_max_pool(z, (kt, st, 0, kh, kw, sh, sw, ph, pw), ceil_mode)


def max_unpool(
    x: Tensor,
    switches: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: Sequence[int] | None = None,
    exact_grad: bool = True,
) -> Tensor:
    """Put values back at their switches, zeros elsewhere (paper, section 3.3: Us).

    Where overlapping windows chose one position, the last window in row-major order wins, on every device. A byte that
    is no position of its window, because it is corrupt or of another geometry, puts nothing.

    Parameters
    ----------
    x : Tensor
        Decoder map, (N, C, t', h, w) or (C, t', h, w), floating point.
    switches : Tensor
        uint8, of `x`'s shape.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling that gave the switches.
    output_size : sequence of int, optional
        (H, W), or the whole shape that ends with it. Default ``(h - 1) * sh - 2 * ph + kh`` rows, columns alike; less
        than a stride more or less is possible.
    exact_grad : bool
        True: the derivative of what is computed, zero for an overwritten window. False: PyTorch's convention, every
        window receives the gradient at its position; for a run that began with `torch.nn.MaxUnpool3d`.

    Returns
    -------
    Tensor
        (N, C, t', H, W), of `x`'s dtype.

    Raises
    ------
    RuntimeError
        If a shape, dtype, device, window or output size does not fit; the message names it.
    TypeError, ValueError
        As in `aux_pool`; also for an `output_size` of fewer than two.

    Examples
    --------
    >>> x = torch.tensor([5., 6.]).reshape(1, 1, 1, 2)
    >>> switches = torch.tensor([3, 0], dtype=torch.uint8).reshape(1, 1, 1, 2)
    >>> max_unpool(x, switches, kernel_size=2)[0, 0]
    tensor([[0., 0., 6., 0.],
            [0., 5., 0., 0.]])
    """
    windows = _spatial(kernel_size, stride, padding)
    return _ops.max_unpool(x, switches, windows, _map_size(x, windows, output_size), exact_grad=exact_grad)


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
    """Auxiliary pooling of the encoder map and unpooling of the decoder map at its switches, in one kernel.

    Equals ``max_unpool(z_dec, aux_pool(z_enc, …), …, output_size=z_enc.shape[-2:])``. The switches exist in memory only
    if backward needs them, one byte a window.

    Parameters
    ----------
    z_enc : Tensor
        Encoder map, (N, C, T, H, W) or (C, T, H, W), floating point. Only positions are taken from it, so it has no
        gradient.
    z_dec : Tensor
        Decoder map, (N, C, t', h, w), the grid to which the encoder map is pooled, of its dtype.
    temporal, kernel_size, stride, padding
        As in `aux_pool`.
    exact_grad : bool
        As in `max_unpool`.

    Returns
    -------
    Tensor
        (N, C, t', H, W), in the layout of `z_enc`.

    Raises
    ------
    RuntimeError
        If a shape, dtype, device or window does not fit; the message names it.
    TypeError, ValueError
        As in `aux_pool`.

    Examples
    --------
    >>> z_enc, z_dec = torch.randn(1, 8, 16, 56, 96), torch.randn(1, 8, 4, 28, 48)
    >>> aux_pool_unpool(z_enc, z_dec, temporal=4, kernel_size=3, stride=2, padding=1).shape
    torch.Size([1, 8, 4, 56, 96])
    """
    windows = (*_temporal(temporal), *_spatial(kernel_size, stride, padding))
    return _ops.aux_pool_unpool(z_enc, z_dec, windows, exact_grad)


def max_pool3d(
    x: Tensor,
    kernel_size: IntOrTriple,
    stride: IntOrTriple | None = None,
    padding: IntOrTriple = 0,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """3-D max-pooling that keeps one byte a window for backward, and nothing where no gradient is asked for.

    Values are those of `torch.nn.functional.max_pool3d`, NaN included.

    Parameters
    ----------
    x : Tensor
        (N, C, T, H, W) or (C, T, H, W), floating point.
    kernel_size, stride, padding : int or (int, int, int)
        Frames, rows and columns; the stride defaults to the kernel. At most 256 positions a window.
    ceil_mode : bool
        Whether windows that reach past the end count, as in `torch.nn.MaxPool3d`.

    Returns
    -------
    Tensor
        Window maxima, (N, C, t', h, w). The gradient of a window goes to its first maximum; overlapping windows add up
        in row-major order, half types in float32.

    Raises
    ------
    RuntimeError
        If a shape, dtype or window is not possible; for a larger window use `torch.nn.MaxPool3d`.
    TypeError, ValueError
        As in `aux_pool`.

    Examples
    --------
    >>> max_pool3d(torch.arange(8.).reshape(1, 2, 2, 2), kernel_size=2).item()
    7.0
    """
    kt, kh, kw = _integers(kernel_size, 3, "kernel_size")
    st, sh, sw = (kt, kh, kw) if stride is None else _integers(stride, 3, "stride")
    pt, ph, pw = _integers(padding, 3, "padding")
    return _ops.max_pool3d(x, (kt, st, pt, kh, kw, sh, sw, ph, pw), ceil_mode)


def switches_to_indices(
    switches: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: Sequence[int],
) -> Tensor:
    """Switches as the indices that `torch.nn.MaxPool3d(return_indices=True)` gives and `torch.nn.MaxUnpool3d` takes.

    Parameters
    ----------
    switches : Tensor
        uint8, (N, C, t', h, w) or (C, t', h, w).
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling that gave the switches.
    output_size : sequence of int
        (H, W) of the map, or a shape that ends with it.

    Returns
    -------
    Tensor
        int64, of the same shape: places in the flat (t', H, W) map. A byte that is no position of its window gives
        ``t' * H * W``, one past the end, which `torch.nn.MaxUnpool3d` refuses.

    Raises
    ------
    RuntimeError
        If `switches` are not uint8, or of another number of dimensions.
    TypeError, ValueError
        As in `aux_pool`; also for an `output_size` of fewer than two.

    Examples
    --------
    >>> z = torch.randn(1, 2, 3, 8, 8)
    >>> switches = aux_pool(z, temporal=1, kernel_size=3, stride=2, padding=1)
    >>> _, indices = torch.nn.functional.max_pool3d(z, (1, 3, 3), (1, 2, 2), (0, 1, 1), return_indices=True)
    >>> switches_to_indices(switches, 3, 2, 1, output_size=(8, 8)).equal(indices)
    True
    """
    if switches.dtype != torch.uint8:
        raise RuntimeError(f"switches must be uint8, but got {str(switches.dtype).removeprefix('torch.')}")
    _check_rank(switches, "switches")
    kh, kw, sh, sw, ph, pw = _spatial(kernel_size, stride, padding)
    height, width = _last_two(output_size)
    frames, first_row, first_column = _window_corners(switches, sh, sw, ph, pw)
    offset = switches.long()
    row, column = first_row + offset // kw, first_column + offset % kw
    valid = (offset < kh * kw) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(valid, (frames * height + row) * width + column, switches.shape[-3] * height * width)


def indices_to_switches(
    indices: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    *,
    output_size: Sequence[int],
) -> Tensor:
    """The switches of indices that `torch.nn.MaxPool3d(return_indices=True)` gave with a temporal kernel of 1.

    Parameters
    ----------
    indices : Tensor
        int64, (N, C, t', h, w) or (C, t', h, w): places in the flat (t', H, W) map.
    kernel_size, stride, padding : int or (int, int)
        Rows and columns of that pooling.
    output_size : sequence of int
        (H, W) of the map, or a shape that ends with it.

    Returns
    -------
    Tensor
        Switches, uint8, of the same shape.

    Raises
    ------
    RuntimeError
        If `indices` are not int64, or of another number of dimensions, a window has more than 256 positions, or an index
        lies outside its window; the message tells which.
    TypeError, ValueError
        As in `aux_pool`; also for an `output_size` of fewer than two.

    Examples
    --------
    >>> indices = torch.tensor([[[[5]]]])
    >>> indices_to_switches(indices, kernel_size=3, output_size=(3, 3)).item()
    5
    """
    if indices.dtype != torch.int64:
        raise RuntimeError(f"indices must be int64, but got {str(indices.dtype).removeprefix('torch.')}")
    _check_rank(indices, "indices")
    kh, kw, sh, sw, ph, pw = _spatial(kernel_size, stride, padding)
    if kh * kw > 256:
        raise RuntimeError(
            f"a window of 1x{kh}x{kw} positions is larger than the 256 that one byte can tell apart; "
            "use torch.nn.MaxUnpool3d"
        )
    height, width = _last_two(output_size)
    frames, first_row, first_column = _window_corners(indices, sh, sw, ph, pw)
    row = indices // width - frames * height
    column = indices % width
    inside = (row >= first_row) & (row < first_row + kh) & (column >= first_column) & (column < first_column + kw)
    inside &= (row >= 0) & (row < height)
    if not bool(inside.all()):
        place = (~inside).nonzero()[0].tolist()
        raise RuntimeError(
            f"indices must lie inside their windows, but index {int(indices[tuple(place)])} at {place} does not, "
            f"for kernel_size {(kh, kw)}, stride {(sh, sw)}, padding {(ph, pw)} and output_size {(height, width)}"
        )
    return ((row - first_row) * kw + column - first_column).byte()


def _window_corners(grid: Tensor, sh: int, sw: int, ph: int, pw: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frame, first row and first column of every window, to broadcast over the grid."""
    t, h, w = (torch.arange(size, device=grid.device) for size in grid.shape[-3:])
    return t[:, None, None], h[:, None] * sh - ph, w * sw - pw


def _check_rank(x: Tensor, name: str) -> None:
    if x.dim() not in (4, 5):  # in the words of the kernels
        shape = list(x.shape)
        raise RuntimeError(f"{name} must have 4 dimensions (C, T, H, W) or 5 (N, C, T, H, W), but got shape {shape}")


def _map_size(x: Tensor, windows: tuple[int, ...], output_size: Sequence[int] | None) -> tuple[int, int]:
    if output_size is not None:
        return _last_two(output_size)
    _check_rank(x, "x")
    kh, kw, sh, sw, ph, pw = windows
    h, w = x.shape[-2:]
    return (h - 1) * sh - 2 * ph + kh, (w - 1) * sw - 2 * pw + kw


def _last_two(output_size: Sequence[int]) -> tuple[int, int]:
    if len(output_size) < 2:
        raise ValueError(f"output_size must be (H, W) or a shape that ends with it, but got {tuple(output_size)}")
    return output_size[-2], output_size[-1]


def _spatial(kernel_size: IntOrPair, stride: IntOrPair | None, padding: IntOrPair) -> tuple[int, ...]:
    """kh, kw, sh, sw, ph, pw."""
    kernel = _integers(kernel_size, 2, "kernel_size")
    return (*kernel, *(kernel if stride is None else _integers(stride, 2, "stride")), *_integers(padding, 2, "padding"))


def _temporal(temporal: IntOrPair) -> tuple[int, ...]:
    """kt, st."""
    return _integers(temporal, 2, "temporal")


def _integers(value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * count
    if not isinstance(value, (tuple, Sequence)):  # a tuple is told at once, another sequence takes its time
        raise TypeError(f"{name} must be an int or {count} ints, but got {value!r}")
    for item in value:
        if not isinstance(item, int):
            raise TypeError(f"{name} must be an int or {count} ints, but got {value!r}")
    if len(value) != count:
        raise ValueError(f"{name} must be an int or {count} ints, but got {len(value)}: {tuple(value)}")
    return tuple(value)
