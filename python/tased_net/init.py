"""How an untrained network starts: every layer passes its input on at the same scale (He et al., ICCV 2015).

All is drawn from torch's random generator. What departs from He's rule is explained where it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

PRIOR = 0.02  # saliency where the network sees nothing
CONTRAST = 8.0  # gain of the last layer: the maps of an untrained network spread over one or two units of logit


@torch.no_grad()
def initialise(net: nn.Module, unpooled: list[nn.Sequential], head: nn.Sequential) -> None:
    """Draws the weights of a `TASEDNet`; its batch norms keep PyTorch's start.

    `unpooled` are the blocks that follow an unpooling, `head` is the block that ends in the maps.
    """
    for conv in _convolutions(net):
        nn.init.normal_(conv.weight, std=math.sqrt(2 / _fan_in(conv)))
    # The first filters see contrast: brightness alone says nothing.
    first = next(_convolutions(net)).weight
    first -= first.mean(dim=(2, 3, 4), keepdim=True)
    # Unpooling fills about one position in four and so halves the scale.
    for block in unpooled:
        next(_convolutions(block)).weight.mul_(2)
    # Between the last four channels, signs drawn by chance would often leave none alive: they start as averages.
    *_, last = _convolutions(head)
    for conv in _convolutions(head):
        if conv.out_channels == 4 or conv is last:
            conv.weight.abs_().div_(conv.weight.mean() * _fan_in(conv))
    last.weight.mul_(CONTRAST)
    assert last.bias is not None
    nn.init.constant_(last.bias, math.log(PRIOR / (1 - PRIOR)))


def _convolutions(module: nn.Module) -> Iterator[nn.Conv3d | nn.ConvTranspose3d]:
    return (m for m in module.modules() if isinstance(m, (nn.Conv3d, nn.ConvTranspose3d)))


def _fan_in(conv: nn.Conv3d | nn.ConvTranspose3d) -> float:
    """Input values that one output value is made of."""
    reach = math.prod(conv.kernel_size)
    return conv.in_channels * (reach / math.prod(conv.stride) if isinstance(conv, nn.ConvTranspose3d) else reach)
