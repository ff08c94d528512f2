"""The operations as layers: `torch.nn.Module` twins of `tased_ext.functional`, without parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from . import functional
from .functional import IntOrPair, IntOrTriple

__all__ = ["AuxMaxPool", "AuxPool", "AuxPoolUnpool", "MaxPool3d", "MaxUnpool"]


class _Layer(nn.Module):
    """A layer whose options are all in its representation; those at their default are left out."""

    _defaults: ClassVar = {"stride": None, "padding": 0, "ceil_mode": False, "exact_grad": True}

    def __init__(self, **options: object) -> None:
        super().__init__()
        self._options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        options = ((name, getattr(self, name)) for name in self._options)
        return ", ".join(
            f"{name}={value}" for name, value in options if name not in self._defaults or value != self._defaults[name]
        )


class _AuxLayer(_Layer):
    temporal: IntOrPair
    kernel_size: IntOrPair
    stride: IntOrPair | None
    padding: IntOrPair
    ceil_mode: bool

    def __init__(
        self,
        temporal: IntOrPair,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            temporal=temporal, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
        )


class AuxPool(_AuxLayer):
    """Switches of Auxiliary pooling; see `tased_ext.aux_pool`.

    Shapes: (N, C, T, H, W) or (C, T, H, W) → switches, uint8, (N, C, t', h, w).

    Examples
    --------
    >>> AuxPool(temporal=4, kernel_size=3, stride=2, padding=1)
    AuxPool(temporal=4, kernel_size=3, stride=2, padding=1)
    """

    def forward(self, z: Tensor) -> Tensor:
        return functional.aux_pool(
            z, self.temporal, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode
        )


class AuxMaxPool(_AuxLayer):
    """Values and switches of Auxiliary pooling; see `tased_ext.aux_max_pool`.

    Shapes: (N, C, T, H, W) or (C, T, H, W) → values and uint8 switches, both (N, C, t', h, w).

    Examples
    --------
    >>> import torch
    >>> values, switches = AuxMaxPool(temporal=2, kernel_size=2)(torch.randn(1, 3, 4, 8, 8))
    >>> values.shape, switches.dtype
    (torch.Size([1, 3, 2, 4, 4]), torch.uint8)
    """

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return functional.aux_max_pool(
            z, self.temporal, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode
        )


class MaxUnpool(_Layer):
    """Values put back at their switches; see `tased_ext.max_unpool`. Takes the place of `torch.nn.MaxUnpool3d` with a
    temporal kernel of 1, and switches of indices (`tased_ext.indices_to_switches` converts).

    Shapes: x and uint8 switches, both (N, C, t', h, w) → (N, C, t', H, W).

    Examples
    --------
    >>> MaxUnpool(kernel_size=2)
    MaxUnpool(kernel_size=2)
    """

    kernel_size: IntOrPair
    stride: IntOrPair | None
    padding: IntOrPair
    exact_grad: bool

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        *,
        exact_grad: bool = True,
    ) -> None:
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, exact_grad=exact_grad)

    def forward(self, x: Tensor, switches: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return functional.max_unpool(
            x,
            switches,
            self.kernel_size,
            self.stride,
            self.padding,
            output_size=output_size,
            exact_grad=self.exact_grad,
        )


class AuxPoolUnpool(_Layer):
    """Unpools a decoder map at the switches of an encoder map of another temporal size, in one kernel (section 3.3).

    The drop-in for any 3-D encoder-decoder: `AuxPoolUnpool(…)(z_enc, z_dec)`; see `tased_ext.aux_pool_unpool`.

    Shapes: z_enc (N, C, T, H, W) and z_dec (N, C, t', h, w) → (N, C, t', H, W).

    Examples
    --------
    >>> import torch
    >>> unpool = AuxPoolUnpool(temporal=4, kernel_size=3, stride=2, padding=1)
    >>> unpool(torch.randn(1, 8, 16, 56, 96), torch.randn(1, 8, 4, 28, 48)).shape
    torch.Size([1, 8, 4, 56, 96])
    """

    temporal: IntOrPair
    kernel_size: IntOrPair
    stride: IntOrPair | None
    padding: IntOrPair
    exact_grad: bool

    def __init__(
        self,
        temporal: IntOrPair,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        *,
        exact_grad: bool = True,
    ) -> None:
        super().__init__(
            temporal=temporal, kernel_size=kernel_size, stride=stride, padding=padding, exact_grad=exact_grad
        )

    def forward(self, z_enc: Tensor, z_dec: Tensor) -> Tensor:
        return functional.aux_pool_unpool(
            z_enc, z_dec, self.temporal, self.kernel_size, self.stride, self.padding, exact_grad=self.exact_grad
        )


class MaxPool3d(_Layer):
    """`torch.nn.MaxPool3d` that keeps one byte a window for backward; see `tased_ext.max_pool3d`.

    Shapes: (N, C, T, H, W) or (C, T, H, W) → (N, C, t', h, w).

    Raises
    ------
    ValueError
        If its arguments, which are those of the stock layer, ask for dilation or indices.

    Examples
    --------
    >>> MaxPool3d(3, stride=1, padding=1)
    MaxPool3d(kernel_size=3, stride=1, padding=1)
    >>> MaxPool3d(3, dilation=2)
    Traceback (most recent call last):
    ...
    ValueError: tased_ext.MaxPool3d has no dilation, but got dilation=2; use torch.nn.MaxPool3d
    """

    kernel_size: IntOrTriple
    stride: IntOrTriple | None
    padding: IntOrTriple
    ceil_mode: bool

    def __init__(
        self,
        kernel_size: IntOrTriple,
        stride: IntOrTriple | None = None,
        padding: IntOrTriple = 0,
        dilation: IntOrTriple = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        if dilation not in (1, (1, 1, 1)):
            raise ValueError(
                f"tased_ext.MaxPool3d has no dilation, but got dilation={dilation}; use torch.nn.MaxPool3d"
            )
        if return_indices:
            raise ValueError(
                "tased_ext.MaxPool3d returns no indices, but got return_indices=True; use tased_ext.AuxMaxPool for "
                "switches or torch.nn.MaxPool3d"
            )
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool3d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)
