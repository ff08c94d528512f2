"""The pooling layers of the network, under the same names for both backends.

`FUSED` is tased_ext. `STOCK` says the same with PyTorch's own layers: the chain of pools that the fused ones replace, for
comparisons and for places where tased_ext is not wanted. Both give equal bits on one thread (stock unpooling races with more).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tased_ext

Pair = tuple[int, int]


class Pools(NamedTuple):
    """The four pooling layers that TASED-Net is made of; signatures as in tased_ext."""

    MaxPool3d: Any
    AuxMaxPool: Any
    MaxUnpool: Any
    AuxPoolUnpool: Any


class StockAuxMaxPool(nn.Module):
    """`tased_ext.AuxMaxPool` in stock layers: (N, C, T, H, W) → values and int64 indices into the flat (t', H, W) volume, both
    (N, C, t', h, w)."""

    def __init__(self, temporal: int, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        self.temporal = nn.MaxPool3d((temporal, 1, 1))
        self.spatial = nn.MaxPool3d(
            (1, kernel_size, kernel_size), (1, stride, stride), (0, padding, padding), return_indices=True
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = self.spatial(self.temporal(z))
        return values, indices


class StockMaxUnpool(nn.Module):
    """`tased_ext.MaxUnpool` in stock layers, on the indices of `StockAuxMaxPool`: both (N, C, t', h, w) → (N, C, t', H, W)."""

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, *, exact_grad: bool = True
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        self.window = ((1, kernel_size, kernel_size), (1, stride, stride), (0, padding, padding))
        self.exact_grad = exact_grad

    def forward(self, x: Tensor, indices: Tensor, output_size: Pair) -> Tensor:
        size = (x.shape[-3], *output_size)
        if self.exact_grad and x.requires_grad:
            x = self._without_gradient_of_overwritten(x, indices, size)
        channels_last = x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        return F.max_unpool3d(x, indices, *self.window, output_size=size).contiguous(memory_format=layout)

    def _without_gradient_of_overwritten(self, x: Tensor, indices: Tensor, size: tuple[int, ...]) -> Tensor:
        """Cuts the gradient of windows whose value another one overwrites: stock unpooling would hand it to both."""
        number = torch.arange(1, x[0, 0].numel() + 1, dtype=torch.float64, device=x.device).view(x.shape[-3:])
        winner = F.max_unpool3d(number.expand_as(x), indices, *self.window, output_size=size)
        return torch.where(winner.flatten(-3).gather(-1, indices.flatten(-3)).view_as(x) == number, x, x.detach())


class StockAuxPoolUnpool(nn.Module):
    """`tased_ext.AuxPoolUnpool` in stock layers: (N, C, T, H, W) and (N, C, t', h, w) → (N, C, t', H, W)."""

    def __init__(
        self,
        temporal: int,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        *,
        exact_grad: bool = True,
    ) -> None:
        super().__init__()
        self.pool = StockAuxMaxPool(temporal, kernel_size, stride, padding)
        self.unpool = StockMaxUnpool(kernel_size, stride, padding, exact_grad=exact_grad)

    def forward(self, z_enc: Tensor, z_dec: Tensor) -> Tensor:
        _, indices = self.pool(z_enc)
        y: Tensor = self.unpool(z_dec, indices, output_size=(z_enc.shape[-2], z_enc.shape[-1]))
        return y


FUSED = Pools(tased_ext.MaxPool3d, tased_ext.AuxMaxPool, tased_ext.MaxUnpool, tased_ext.AuxPoolUnpool)
STOCK = Pools(nn.MaxPool3d, StockAuxMaxPool, StockMaxUnpool, StockAuxPoolUnpool)
BACKENDS = {"fused": FUSED, "torch": STOCK}

WITHOUT_KERNELS = (
    "tased_ext was built without its CUDA kernels: the GPU runs PyTorch's own layers instead, which are slower; install tased-net "
    "where a CUDA toolkit is found (USE_CUDA=1) to have them"
)


def backend_on(devices: Iterable[torch.device], tell: Callable[[str], object]) -> str:
    """The backend that runs there: stock layers for a GPU for which tased_ext was built without kernels, and a word about it."""
    if all(device.type != "cuda" for device in devices):  # and nobody wakes a GPU
        return "fused"
    if not tased_ext.build_info()["libraries"]["_C_cuda"].startswith("not "):
        return "fused"
    tell(WITHOUT_KERNELS)
    return "torch"
