"""S3D, the encoder: Inception blocks of convolutions that are separated in space and time (paper section 3.2).

`s3d_stages` gives the four stretches `base1` to `base4`, with the module names of the released weights; the pools between
them belong to the network, which takes its switches there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backends import Pools


class MixedWidths(NamedTuple):
    """Channels of a mixed block's branches, named in the order in which the data meets them."""

    point: int
    first_narrow: int
    first: int
    second_narrow: int
    second: int
    pooled: int

    @property
    def out(self) -> int:
        """Channels that the block gives."""
        return self.point + self.first + self.second + self.pooled


GRAIN = 8  # channels come in multiples of it
STEM = (64, 64, 192)
MIXED_STAGES = (
    (MixedWidths(64, 96, 128, 16, 32, 32), MixedWidths(128, 128, 192, 32, 96, 64)),  # base2: 3b, 3c
    (  # base3: 4b to 4f
        MixedWidths(192, 96, 208, 16, 48, 64),
        MixedWidths(160, 112, 224, 24, 64, 64),
        MixedWidths(128, 128, 256, 24, 64, 64),
        MixedWidths(112, 144, 288, 32, 64, 64),
        MixedWidths(256, 160, 320, 32, 128, 128),
    ),
    (MixedWidths(256, 160, 320, 32, 128, 128), MixedWidths(384, 192, 384, 48, 128, 128)),  # base4: 5b, 5c
)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 and at least 8."""
    return max(GRAIN, GRAIN * int(channels * width / GRAIN + 0.5))


def batch_norm(channels: int) -> nn.BatchNorm3d:
    """Batch normalisation as everywhere in S3D and TASED-Net."""
    return nn.BatchNorm3d(channels, eps=1e-3, momentum=1e-3)


class BasicConv3d(nn.Module):
    """1x1x1 convolution, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 1, bias=False)
        self.bn = batch_norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


class SepConv3d(nn.Module):
    """A k x k convolution in space, then one over k frames in time, each with BN and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        pad = kernel // 2
        self.conv_s = nn.Conv3d(
            in_channels, out_channels, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False
        )
        self.bn_s = batch_norm(out_channels)
        self.conv_t = nn.Conv3d(out_channels, out_channels, (kernel, 1, 1), (stride, 1, 1), (pad, 0, 0), bias=False)
        self.bn_t = batch_norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn_s(self.conv_s(x)))
        x = self.relu(self.bn_t(self.conv_t(x)))
        return x


class Mixed(nn.Module):
    """Inception block: four branches side by side, concatenated."""

    def __init__(self, in_channels: int, widths: MixedWidths, pools: Pools) -> None:
        super().__init__()
        w = widths
        self.branch0 = nn.Sequential(BasicConv3d(in_channels, w.point))
        self.branch1 = nn.Sequential(BasicConv3d(in_channels, w.first_narrow), SepConv3d(w.first_narrow, w.first, 3))
        self.branch2 = nn.Sequential(BasicConv3d(in_channels, w.second_narrow), SepConv3d(w.second_narrow, w.second, 3))
        self.branch3 = nn.Sequential(pools.MaxPool3d(3, stride=1, padding=1), BasicConv3d(in_channels, w.pooled))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), dim=1)


def s3d_stages(width: float, pools: Pools) -> tuple[list[nn.Sequential], list[int]]:
    """The encoder's four stretches, base1 to base4, and the channels of its first convolution and of each stretch.

    At width 1, a clip (N, 3, T, H, W) becomes (N, 192, T/2, H/4, W/4), then, with a pool before each,
    (N, 480, T/2, H/8, W/8), (N, 832, T/4, H/16, W/16) and (N, 1024, T/8, H/32, W/32).
    """
    first, narrow, out = (scaled(c, width) for c in STEM)
    stem = nn.Sequential(
        SepConv3d(3, first, 7, stride=2),
        pools.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        BasicConv3d(first, narrow),
        SepConv3d(narrow, out, 3),
    )
    stages, channels = [stem], [first, out]
    for blocks in MIXED_STAGES:
        stage = nn.Sequential()
        for block in blocks:
            widths = MixedWidths(*(scaled(c, width) for c in block))
            stage.append(Mixed(out, widths, pools))
            out = widths.out
        stages.append(stage)
        channels.append(out)
    return stages, channels
