"""The operators as PyTorch sees them: loading them, shapes without data, vmap, and derivatives.

The derivatives are four linear maps, closed under transposition: `max_unpool` with the winners of `gather_windows`, and
`scatter_windows` with all of `gather_windows`. A call that nothing differentiates goes straight to the operator.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.fx.experimental.symbolic_shapes import statically_known_false

Windows = tuple[int, ...]  # kt, st, pt, kh, kw, sh, sw, ph, pw

_OPERATORS = (
    "aux_pool",
    "aux_max_pool",
    "max_pool3d",
    "max_unpool",
    "aux_pool_unpool",
    "scatter_windows",
    "gather_windows",
)

# ------------------------------------------------------------------------------------------------------------ libraries

# Each library's path, or the reason why it is not loaded.
libraries: dict[str, str] = {}


def _load(name: str) -> bool:
    try:
        module = importlib.import_module(f"tased_ext.{name}")
    except ImportError as error:
        libraries[name] = f"not loaded: {error}"
        return False
    libraries[name] = str(module.__file__)
    return True


def _refuse_cuda(name: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError(
            f"tased_ext.{name} cannot run on CUDA tensors: its CUDA library is {libraries['_C_cuda']}; "
            "install tased-net where a CUDA toolkit and a CUDA build of torch are found (USE_CUDA=1)"
        )

    torch.library.impl(f"tased_ext::{name}", "CUDA")(refuse)


if not _load("_C"):
    raise ImportError(f"tased_ext's library _C is {libraries['_C']}; install the package with `pip install .`")

if importlib.util.find_spec("tased_ext._C_cuda") is None:
    libraries["_C_cuda"] = "not built"
elif torch.version.cuda is None:
    libraries["_C_cuda"] = f"not loaded: torch {torch.__version__} has no CUDA"
else:
    _load("_C_cuda")
cuda_loaded = not libraries["_C_cuda"].startswith("not ")
if not cuda_loaded:
    for _name in _OPERATORS:
        _refuse_cuda(_name)

ops = torch.ops.tased_ext

# -------------------------------------------------------------------- shapes without data: csrc/checks.h, word for word


def _check(condition: bool | torch.SymBool, message: Callable[[], str]) -> None:
    """Raise unless the condition holds, or may hold where sizes are symbols: those the kernel checks when it runs."""
    if not condition if isinstance(condition, bool) else statically_known_false(condition):
        raise RuntimeError(message())


def _shape(sizes: Any) -> str:
    return "[" + ", ".join(str(size) for size in sizes) + "]"


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_floating(x: Tensor, name: str) -> None:
    _check(
        x.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16),
        lambda: f"{name} must be float32, float64, float16 or bfloat16, but got {_dtype(x.dtype)}",
    )


def _check_byte(x: Tensor, name: str) -> None:
    _check(x.dtype == torch.uint8, lambda: f"{name} must be uint8, but got {_dtype(x.dtype)}")


def _check_same_device(first: Tensor, first_name: str, second: Tensor, second_name: str) -> None:
    _check(
        first.device == second.device,
        lambda: f"{second_name} must be on the device of {first_name}, {first.device}, but is on {second.device}",
    )


def _check_map(x: Tensor, name: str) -> None:
    _check(
        x.dim() in (4, 5),
        lambda: f"{name} must have 4 dimensions (C, T, H, W) or 5 (N, C, T, H, W), but got shape {_shape(x.shape)}",
    )
    for size in x.shape[-4:]:
        _check(
            size > 0,
            lambda: f"{name} must have no empty dimension except the batch, but got shape {_shape(x.shape)}",
        )
        _check(
            size <= 2**30,
            lambda: (
                f"{name} must have at most 2^30 channels, frames, rows and columns, but got shape {_shape(x.shape)}"
            ),
        )


def _check_same_shape(x: Tensor, name: str, expected: tuple[int, ...], why: str) -> None:
    for equal in (x.dim() == len(expected), *(size == wanted for size, wanted in zip(x.shape, expected, strict=False))):
        _check(equal, lambda: f"{name} must have shape {_shape(expected)}, {why}, but got {_shape(x.shape)}")


def _check_windows(windows: Windows, offsets_span_time: bool, stock: str) -> None:
    kt, st, pt, kh, kw, sh, sw, ph, pw = windows
    _check(
        kt > 0 and st > 0,
        lambda: f"temporal kernel and stride must be positive, but got kernel {kt} and stride {st}",
    )
    _check(kh > 0 and kw > 0, lambda: f"kernel_size must be positive, but got {(kh, kw)}")
    _check(sh > 0 and sw > 0, lambda: f"stride must be positive, but got {(sh, sw)}")
    _check(
        0 <= ph <= kh // 2 and 0 <= pw <= kw // 2,
        lambda: f"padding must be at least 0 and at most half of kernel_size {(kh, kw)}, but got {(ph, pw)}",
    )
    _check(
        0 <= pt <= kt // 2,
        lambda: f"temporal padding must be at least 0 and at most half of the temporal kernel {kt}, but got {pt}",
    )
    _check(max(st, sh, sw) <= 2**30, lambda: f"stride must be at most 2^30, but got {st}, {sh}, {sw}")
    _check(
        max(kt, kh, kw) <= 256 and kh * kw * (kt if offsets_span_time else 1) <= 256,
        lambda: (
            f"a window of {kt}x{kh}x{kw} positions is larger than the 256 that one byte can tell apart; use {stock}"
        ),
    )


def _pooled_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    windows = (size + 2 * padding - kernel + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (windows - 1) * stride >= size + padding:
        windows -= 1
    return windows


def _pooled_grid(
    x: Tensor, name: str, windows: Windows, ceil_mode: bool, temporal_ceil_mode: bool
) -> tuple[int, int, int]:
    kt, st, pt, kh, kw, sh, sw, ph, pw = windows
    t = _pooled_size(x.shape[-3], kt, st, pt, temporal_ceil_mode)
    h = _pooled_size(x.shape[-2], kh, sh, ph, ceil_mode)
    w = _pooled_size(x.shape[-1], kw, sw, pw, ceil_mode)
    for count in (t, h, w):
        _check(
            count > 0,
            lambda: f"{name} of shape {_shape(x.shape)} is smaller than one window of {kt}x{kh}x{kw} positions",
        )
    return t, h, w


def _check_map_size(grid: tuple[int, ...], windows: Windows, size: tuple[int, ...], what: str) -> None:
    kt, st, pt, kh, kw, sh, sw, ph, pw = windows
    axes = zip(grid, size, ((kt, st, pt), (kh, sh, ph), (kw, sw, pw)), ("frames", "rows", "columns"), strict=True)
    for count, extent, (kernel, stride, padding), axis in axes:
        natural = (count - 1) * stride - 2 * padding + kernel
        least, most = torch.sym_max(natural - stride + 1, 1), torch.sym_min(natural + stride - 1, 2**30)
        for possible in (least <= extent, extent <= most):
            _check(
                possible,
                lambda: f"{what} must have {least} to {most} {axis} for a grid of {count}, but got {extent}",  # noqa: B023
            )


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.stride(-4) == 1


def _empty(like: Tensor, size: tuple[int, ...], dtype: torch.dtype, channels_last: bool) -> Tensor:
    """An empty map with the batch and channels of `like` and the given (t, h, w)."""
    lead = like.shape[:-3]
    if not channels_last:
        return like.new_empty((*lead, *size), dtype=dtype)
    return like.new_empty((*lead[:-1], *size, lead[-1]), dtype=dtype).movedim(-1, -4)


def _empty_bytes(like: Tensor) -> Tensor:
    return like.new_empty((0,), dtype=torch.uint8)


def _fake_pool(
    x: Tensor, name: str, windows: Windows, ceil_mode: bool, volume: bool, keep: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    _check_floating(x, name)
    _check_map(x, name)
    _check_windows(windows, volume, "torch.nn.MaxPool3d")
    grid = _pooled_grid(x, name, windows, ceil_mode, ceil_mode and volume)
    values, offsets, frames = (
        _empty(x, grid, dtype, _channels_last(x)) if kept else _empty_bytes(x)
        for kept, dtype in zip(keep, (x.dtype, torch.uint8, torch.uint8), strict=True)
    )
    return values, offsets, frames


@torch.library.register_fake("tased_ext::aux_pool")
def _(z: Tensor, kt: int, st: int, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, ceil_mode: bool) -> Tensor:
    windows = (kt, st, 0, kh, kw, sh, sw, ph, pw)
    return _fake_pool(z, "z", windows, ceil_mode, False, (False, True, False))[1]


@torch.library.register_fake("tased_ext::aux_max_pool")
def _(
    z: Tensor, kt: int, st: int, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, ceil_mode: bool, frames: bool
) -> tuple[Tensor, Tensor, Tensor]:
    windows = (kt, st, 0, kh, kw, sh, sw, ph, pw)
    return _fake_pool(z, "z", windows, ceil_mode, False, (True, True, frames))


@torch.library.register_fake("tased_ext::max_pool3d")
def _(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    *windows, ceil_mode, keep_offsets = arguments
    return _fake_pool(x, "x", tuple(windows), ceil_mode, True, (True, keep_offsets, False))[:2]


def _fake_scatter(
    x: Tensor,
    offsets: Tensor,
    offsets_name: str,
    frames: Tensor | None,
    windows: Windows,
    size: tuple[int, int, int],
    what: str,
) -> Tensor:
    _check_byte(offsets, offsets_name)
    _check_same_device(x, "x", offsets, offsets_name)
    _check_map(x, "x")
    _check_windows(windows, frames is None, "torch.nn.MaxUnpool3d")
    _check_same_shape(offsets, offsets_name, x.shape, "that of x")
    _check_frames(frames, x, "x", x.shape)
    _check_map_size(x.shape[-3:], windows, size, what)
    return _empty(x, size, x.dtype, _channels_last(x))


def _check_frames(frames: Tensor | None, like: Tensor, name: str, shape: tuple[int, ...]) -> None:
    if frames is not None:
        _check_byte(frames, "frames")
        _check_same_device(like, name, frames, "frames")
        _check_same_shape(frames, "frames", shape, "that of offsets")


@torch.library.register_fake("tased_ext::max_unpool")
def _(x: Tensor, switches: Tensor, *arguments: int) -> Tensor:
    *windows, height, width = arguments
    _check_floating(x, "x")
    _check_map(x, "x")
    size = (x.shape[-3], height, width)
    return _fake_scatter(x, switches, "switches", None, (1, 1, 0, *windows), size, "output_size")


@torch.library.register_fake("tased_ext::scatter_windows")
def _(x: Tensor, offsets: Tensor, frames: Tensor | None, *arguments: int) -> Tensor:
    *windows, map_frames, height, width = arguments
    _check_floating(x, "x")
    size = (map_frames, height, width)
    return _fake_scatter(x, offsets, "offsets", frames, tuple(windows), size, "the map")


@torch.library.register_fake("tased_ext::gather_windows")
def _(y: Tensor, offsets: Tensor, frames: Tensor | None, *arguments: Any) -> Tensor:
    *windows, winners_only = arguments
    kt, st, pt = windows[:3]
    _check_floating(y, "y")
    _check_byte(offsets, "offsets")
    _check_same_device(y, "y", offsets, "offsets")
    _check_map(y, "y")
    _check_map(offsets, "offsets")
    _check_windows(tuple(windows), frames is None, "torch.nn.MaxUnpool3d")
    _check(
        not winners_only or (kt == 1 and st == 1 and pt == 0 and frames is None),
        lambda: f"winners_only takes windows of one frame without frames, but got temporal kernel {kt} and stride {st}",
    )
    _check_same_shape(y, "y", (*offsets.shape[:-3], *y.shape[-3:]), "with the batch and channels of offsets")
    _check_frames(frames, y, "y", offsets.shape)
    _check_map_size(offsets.shape[-3:], tuple(windows), y.shape[-3:], "y")
    return _empty(y, offsets.shape[-3:], y.dtype, _channels_last(y))


@torch.library.register_fake("tased_ext::aux_pool_unpool")
def _(
    z_enc: Tensor,
    z_dec: Tensor,
    kt: int,
    st: int,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    keep_switches: bool,
) -> tuple[Tensor, Tensor]:
    windows = (kt, st, 0, kh, kw, sh, sw, ph, pw)
    _check_floating(z_enc, "z_enc")
    _check(
        z_enc.dtype == z_dec.dtype,
        lambda: f"z_dec must have the dtype of z_enc, {_dtype(z_enc.dtype)}, but got {_dtype(z_dec.dtype)}",
    )
    _check_same_device(z_enc, "z_enc", z_dec, "z_dec")
    _check_map(z_enc, "z_enc")
    _check_windows(windows, False, "torch.nn.MaxPool3d and torch.nn.MaxUnpool3d")
    grid = _pooled_grid(z_enc, "z_enc", windows, False, False)
    why = f"to which z_enc of shape {_shape(z_enc.shape)} is pooled"
    _check_same_shape(z_dec, "z_dec", (*z_enc.shape[:-3], *grid), why)
    channels_last = _channels_last(z_enc)
    y = _empty(z_enc, (grid[0], *z_enc.shape[-2:]), z_enc.dtype, channels_last)
    return y, _empty(z_enc, grid, torch.uint8, channels_last) if keep_switches else _empty_bytes(z_enc)


# ----------------------------------------------------------------------------------------------------------------- vmap


def _vmap(call: Callable[..., Any], info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
    """vmap by folding the mapped dimension into the batch: (C, T, H, W) gains one, (N, C, T, H, W) grows by it."""
    size = info.batch_size
    is_mapped = [isinstance(x, Tensor) and dim is not None for x, dim in zip(arguments, in_dims, strict=True)]
    dims = next(x.dim() for x, mapped in zip(arguments, is_mapped, strict=True) if mapped)
    batched = dims == 6

    def fold(x: Any, dim: int | None) -> Any:
        if not isinstance(x, Tensor):
            return x
        x = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
        return x.flatten(0, 1) if batched else x

    def unfold(y: Tensor) -> tuple[Tensor, int | None]:
        if y.dim() == 1:  # nothing, since it was not asked for
            return y, None
        return (y.unflatten(0, (size, y.shape[0] // size)) if batched else y), 0

    result = call(*(fold(x, dim) for x, dim in zip(arguments, in_dims, strict=True)))
    if isinstance(result, Tensor):
        return unfold(result)
    outputs, out_dims = zip(*(unfold(y) for y in result), strict=True)
    return outputs, out_dims


for _name in _OPERATORS:
    torch.library.register_vmap(f"tased_ext::{_name}", partial(_vmap, getattr(ops, _name).default))


# ---------------------------------------------------------------------------------------------------------- derivatives


def _differentiable(x: Tensor) -> bool:
    """Whether a derivative with respect to `x` may be asked for: by autograd, by torch.func, or in forward mode, which
    the functions below refuse (Dynamo traces none that define it) and the bare operators would take for zero.
    """
    return (
        (x.requires_grad and torch.is_grad_enabled())
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _caller(function: type[Function]) -> Callable[..., Any]:
    """What calls a function that torch.func can transform, by the vmap rule of the operators.

    For such functions PyTorch, which binds their arguments by name, takes several times as long as for one that sets
    its context up in `forward`; so where nothing transforms, a twin of that kind is called.
    """
    forward, setup_context = function.forward, function.setup_context
    setattr(function, "vmap", staticmethod(partial(_vmap, function.apply)))  # noqa: B010 (typed as a method)

    def forward_with_context(ctx: Any, *inputs: Any) -> Any:
        output = forward(*inputs)
        setup_context(ctx, inputs, output)
        return output

    twin: Any = type(
        function.__name__,
        (Function,),
        {"forward": staticmethod(forward_with_context), "backward": staticmethod(function.backward)},
    )

    def call(*inputs: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return function.apply(*inputs)
        return twin.apply(*inputs)

    return call


class _ScatterWindows(Function):
    @staticmethod
    def forward(
        x: Tensor, offsets: Tensor, frames: Tensor | None, windows: Windows, size: tuple[int, int, int]
    ) -> Tensor:
        return ops.scatter_windows(x, offsets, frames, *windows, *size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, offsets, frames, ctx.windows, ctx.size = inputs
        ctx.save_for_backward(offsets, frames)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        offsets, frames = ctx.saved_tensors
        return gather_windows(grad, offsets, frames, ctx.windows, False), None, None, None, None


class _GatherWindows(Function):
    @staticmethod
    def forward(y: Tensor, offsets: Tensor, frames: Tensor | None, windows: Windows, winners_only: bool) -> Tensor:
        return ops.gather_windows(y, offsets, frames, *windows, winners_only)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        y, offsets, frames, ctx.windows, ctx.winners_only = inputs
        ctx.size = tuple(y.shape[-3:])
        ctx.save_for_backward(offsets, frames)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        offsets, frames = ctx.saved_tensors
        if ctx.winners_only:
            grad_y = max_unpool(grad, offsets, ctx.windows[3:], ctx.size[1:], exact_grad=True)
        else:
            grad_y = scatter_windows(grad, offsets, frames, ctx.windows, ctx.size)
        return grad_y, None, None, None, None


class _MaxUnpool(Function):
    @staticmethod
    def forward(
        x: Tensor, switches: Tensor, windows: tuple[int, ...], size: tuple[int, int], exact_grad: bool
    ) -> Tensor:
        return ops.max_unpool(x, switches, *windows, *size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, switches, ctx.windows, ctx.size, ctx.exact_grad = inputs
        ctx.save_for_backward(switches)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (switches,) = ctx.saved_tensors
        return gather_windows(grad, switches, None, (1, 1, 0, *ctx.windows), ctx.exact_grad), None, None, None, None


class _Pool(Function):
    """A pooling's values and, undifferentiable, its offsets and, but for volumes, frames; its derivative gathers at them."""

    @staticmethod
    def forward(x: Tensor, windows: Windows, ceil_mode: bool, volume: bool) -> tuple[Tensor, ...]:
        if volume:
            return ops.max_pool3d(x, *windows, ceil_mode, True)
        kt, st, _, *spatial = windows
        return ops.aux_max_pool(x, kt, st, *spatial, ceil_mode, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, ctx.windows, _, volume = inputs
        bytes_ = output[1:]
        ctx.size = tuple(x.shape[-3:])
        ctx.mark_non_differentiable(*bytes_)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*bytes_, *([None] if volume else []))

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        offsets, frames = ctx.saved_tensors
        grad_x = None if grad is None else scatter_windows(grad, offsets, frames, ctx.windows, ctx.size)
        return grad_x, None, None, None


class _AuxPoolUnpool(Function):
    @staticmethod
    def forward(z_enc: Tensor, z_dec: Tensor, windows: tuple[int, ...], exact_grad: bool) -> tuple[Tensor, Tensor]:
        return ops.aux_pool_unpool(z_enc, z_dec, *windows, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        z_enc, _, windows, ctx.exact_grad = inputs
        _, switches = output
        ctx.windows = windows[2:]
        ctx.size = tuple(z_enc.shape[-2:])
        ctx.mark_non_differentiable(switches)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(switches)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        (switches,) = ctx.saved_tensors
        if grad is None or not ctx.needs_input_grad[1]:
            return None, None, None, None
        grad_dec = gather_windows(grad, switches, None, (1, 1, 0, *ctx.windows), ctx.exact_grad)
        return None, grad_dec, None, None


# ------------------------------------------------------------------------------------------------- differentiable calls

_call_scatter_windows = _caller(_ScatterWindows)
_call_gather_windows = _caller(_GatherWindows)
_call_max_unpool = _caller(_MaxUnpool)
_call_pool = _caller(_Pool)
_call_aux_pool_unpool = _caller(_AuxPoolUnpool)


def scatter_windows(
    x: Tensor, offsets: Tensor, frames: Tensor | None, windows: Windows, size: tuple[int, int, int]
) -> Tensor:
    if _differentiable(x):
        return _call_scatter_windows(x, offsets, frames, windows, size)
    return ops.scatter_windows(x, offsets, frames, *windows, *size)


def gather_windows(y: Tensor, offsets: Tensor, frames: Tensor | None, windows: Windows, winners_only: bool) -> Tensor:
    if _differentiable(y):
        return _call_gather_windows(y, offsets, frames, windows, winners_only)
    return ops.gather_windows(y, offsets, frames, *windows, winners_only)


def max_unpool(
    x: Tensor, switches: Tensor, windows: tuple[int, ...], size: tuple[int, int], *, exact_grad: bool
) -> Tensor:
    if _differentiable(x):
        return _call_max_unpool(x, switches, windows, size, exact_grad)
    return ops.max_unpool(x, switches, *windows, *size)


def aux_max_pool(z: Tensor, windows: Windows, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    if _differentiable(z):
        return _call_pool(z, windows, ceil_mode, False)[:2]
    kt, st, _, *spatial = windows
    return ops.aux_max_pool(z, kt, st, *spatial, ceil_mode, False)[:2]


def max_pool3d(x: Tensor, windows: Windows, ceil_mode: bool) -> Tensor:
    if _differentiable(x):
        return _call_pool(x, windows, ceil_mode, True)[0]
    return ops.max_pool3d(x, *windows, ceil_mode, False)[0]


def aux_pool_unpool(z_enc: Tensor, z_dec: Tensor, windows: tuple[int, ...], exact_grad: bool) -> Tensor:
    if _differentiable(z_dec):
        return _call_aux_pool_unpool(z_enc, z_dec, windows, exact_grad)[0]
    return ops.aux_pool_unpool(z_enc, z_dec, *windows, False)[0]
