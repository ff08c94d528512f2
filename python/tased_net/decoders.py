"""The decoders that section 4.4 compares with: FCN, U-Net and DeepLab over the same encoder, with the same head.

The paper gives no widths for them. These are ours, in each decoder's plainest form: where an encoder map is used it is
first pooled to the decoder's frames (the temporal half of auxiliary pooling), and the last block joins those frames.
All take the encoded clip (N, deep, T/8, H/32, W/32) and the maps before its pools, z0, z1 and z2, at H/16, H/8 and H/4,
and give (N, `channels`, T/8, H/4, W/4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backends import Pools
from .heads import Conv, Deconvolve, build, interpolated
from .s3d import BasicConv3d, batch_norm, scaled


class Skip(nn.Module):
    """An encoder map, its frames pooled to those of the decoder, in other channels."""

    def __init__(self, in_channels: int, out_channels: int, temporal: int, pools: Pools) -> None:
        super().__init__()
        self.pool = pools.MaxPool3d((temporal, 1, 1))
        self.conv = nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.conv(self.pool(z))
        return y


class Decoder(nn.Module):
    """What the decoders have in common."""

    channels: int  # that it gives

    def __init__(self, channels: Sequence[int], temporal: tuple[int, int, int], width: float, pools: Pools) -> None:
        """`channels` are the encoder's five widths, `temporal` the frames of z0, z1 and z2 for one of the decoder's."""
        super().__init__()


class FCN(Decoder):
    """Scores at three depths, added on the way up (Long et al., CVPR 2015: FCN-8s)."""

    def __init__(self, channels: Sequence[int], temporal: tuple[int, int, int], width: float, pools: Pools) -> None:
        super().__init__(channels, temporal, width, pools)
        first, _, eighth, sixteenth, deep = channels
        self.channels = first
        self.score = nn.Conv3d(deep, first, 1)
        self.skip0 = Skip(sixteenth, first, temporal[0], pools)
        self.skip1 = Skip(eighth, first, temporal[1], pools)

    def forward(self, y: Tensor, z0: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        y = interpolated(self.score(y), z0) + self.skip0(z0)
        y = interpolated(y, z1) + self.skip1(z1)
        return interpolated(y, z2)


class UNet(Decoder):
    """Transposed convolutions up, the encoder's map beside the decoder's, two convolutions (Ronneberger et al., 2015).

    Half as wide as the encoder at every depth, which makes it about as large as TASED-Net.
    """

    def __init__(self, channels: Sequence[int], temporal: tuple[int, int, int], width: float, pools: Pools) -> None:
        super().__init__(channels, temporal, width, pools)
        _, quarter, eighth, sixteenth, below = channels
        self.up, self.pool, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for beside, frames in zip((sixteenth, eighth, quarter), temporal, strict=True):
            here = beside // 2
            self.up.append(Deconvolve(below, here))
            self.pool.append(pools.MaxPool3d((frames, 1, 1)))
            self.join.append(build([Conv("decode", here), Conv("decode", here)], beside + here))
            below = here
        self.channels = below

    def forward(self, y: Tensor, z0: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        for up, pool, join, z in zip(self.up, self.pool, self.join, (z0, z1, z2), strict=True):
            y = join(torch.cat((pool(z), up(y, z)), dim=1))
        return y


class DeepLab(Decoder):
    """Convolutions of several dilations side by side, and a low-level map (Chen et al., ECCV 2018: DeepLabv3+).

    The dilations are half of DeepLab's, since S3D's last maps are at 1/32 where DeepLab's are at 1/16.
    """

    DILATIONS = (3, 6, 9)

    def __init__(self, channels: Sequence[int], temporal: tuple[int, int, int], width: float, pools: Pools) -> None:
        super().__init__(channels, temporal, width, pools)
        _, quarter, _, _, deep = channels
        self.channels, low = scaled(256, width), scaled(48, width)
        self.near = BasicConv3d(deep, self.channels)
        self.far = nn.ModuleList(Dilated(deep, self.channels, dilation) for dilation in self.DILATIONS)
        self.image = nn.Conv3d(deep, self.channels, 1)  # no BN: there may be a single value a channel
        self.project = BasicConv3d((len(self.DILATIONS) + 2) * self.channels, self.channels)
        self.low = Skip(quarter, low, temporal[2], pools)
        self.join = build([Conv("decode", self.channels), Conv("decode", self.channels)], self.channels + low)

    def forward(self, y: Tensor, z0: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        image = F.relu(self.image(y.mean(dim=(-2, -1), keepdim=True))).expand(-1, -1, -1, *y.shape[-2:])
        y = self.project(torch.cat((self.near(y), *(far(y) for far in self.far), image), dim=1))
        y = self.join(torch.cat((interpolated(y, z2), self.low(z2)), dim=1))
        return y


class Dilated(nn.Module):
    """3x3 convolution in space with holes, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            (1, 3, 3),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            bias=False,
        )
        self.bn = batch_norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


DECODERS: dict[str, type[Decoder]] = {"fcn": FCN, "unet": UNet, "deeplab": DeepLab}
