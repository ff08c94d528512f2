"""Batch normalisation folded into the convolutions before it, for prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from .s3d import batch_norm

Conv = nn.Conv3d | nn.ConvTranspose3d
Follower = TypeVar("Follower", bound=nn.Module)


@torch.no_grad()
def fold(module: nn.Module) -> None:
    """Folds every batch norm that follows a convolution into its weights, computed in float64, and drops it."""
    for parent, name, conv, bn in list(_pairs(module, nn.BatchNorm3d)):
        assert bn.running_mean is not None
        assert bn.running_var is not None
        mean, variance = bn.running_mean.double(), bn.running_var.double()
        scale = bn.weight.double() / torch.sqrt(variance + bn.eps)
        before = 0 if conv.bias is None else conv.bias.double()
        bias = bn.bias.double() + (before - mean) * scale
        conv.weight.mul_(_an_output(scale, conv).to(conv.weight.dtype))
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype))
        setattr(parent, name, nn.Identity())


@torch.no_grad()
def unfold(module: nn.Module) -> None:
    """Puts batch norms back in their places, blank: their statistics and weights are to be loaded."""
    for parent, name, conv, _ in list(_pairs(module, nn.Identity)):
        conv.bias = None
        setattr(parent, name, batch_norm(conv.out_channels).to(conv.weight).train(parent.training))


def _pairs(module: nn.Module, kind: type[Follower]) -> Iterator[tuple[nn.Module, str, Conv, Follower]]:
    """Convolutions and what of that kind is registered right after them: parent, name there, convolution, follower."""
    for parent in module.modules():
        last: nn.Module | None = None
        for name, child in parent.named_children():
            if isinstance(child, kind) and isinstance(last, (nn.Conv3d, nn.ConvTranspose3d)):
                yield parent, name, last, child
            last = child


def _an_output(scale: Tensor, conv: Conv) -> Tensor:
    """One factor for each output channel of the convolution's weight."""
    dim = 1 if isinstance(conv, nn.ConvTranspose3d) else 0
    shape = [1] * conv.weight.dim()
    shape[dim] = -1
    return scale.view(shape)
