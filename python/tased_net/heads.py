"""The prediction network as data, and the modules built from it (paper sections 3.2 to 3.4, figure 4, tables 1 and 4).

`prediction_network` lists the convolutions of every variant; `build` turns a list into the module that holds the released
weights' names. Upsampling between the blocks is a module of its own, chosen by `upsamplings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .backends import Pools
from .s3d import batch_norm

AGGREGATIONS = ("updated", "late", "early-two-step", "late-two-step")
UPSAMPLINGS = ("unpool", "tri", "trp")


@dataclass(frozen=True)
class Conv:
    """One convolution of the prediction network; BN and ReLU follow unless it is bare.

    The kinds: "mix" and "narrow" are 1x1x1 (a plain and, as released, a transposed convolution), "decode" is transposed 3x3
    in space, "double" is transposed 4x4 with stride 2, "aggregate" joins `frames` frames into one.
    """

    kind: Literal["mix", "narrow", "decode", "double", "aggregate"]
    channels: int
    frames: int = 1
    bare: bool = False
    bias: bool = False

    def module(self, in_channels: int) -> nn.Module:
        """The convolution itself, from `in_channels` channels."""
        match self.kind:
            case "mix":
                return nn.Conv3d(in_channels, self.channels, 1, bias=self.bias)
            case "narrow":
                return nn.ConvTranspose3d(in_channels, self.channels, 1, bias=self.bias)
            case "decode":
                return nn.ConvTranspose3d(in_channels, self.channels, (1, 3, 3), 1, (0, 1, 1), bias=self.bias)
            case "double":
                return nn.ConvTranspose3d(in_channels, self.channels, (1, 4, 4), (1, 2, 2), (0, 1, 1), bias=self.bias)
            case "aggregate":
                window = (self.frames, 1, 1)
                return nn.Conv3d(in_channels, self.channels, window, window, bias=self.bias)


def prediction_network(
    aggregation: str, frames: int, channels: Sequence[int], maps: int, denser: bool
) -> dict[str, list[Conv]]:
    """The four blocks of the prediction network, by their released names.

    Parameters
    ----------
    aggregation
        Where the temporal convolutions stand in the last block: before or after its two upsamplings ("early-two-step",
        "late-two-step"), after both ("late"), or as in the weights released later ("updated"). Section 3.4.
    frames
        Frames of the encoded clip, T/8, which the last block joins into one: first p, then q of them.
    channels
        Five widths of the encoder, those of its first convolution and of base1 to base4; the decoder goes them back.
    maps
        Maps that come out.
    denser
        Whether two more convolutions, of half width and back, follow each spatial one (section 4.5: about 40 % more parameters).
    """
    first, quarter, eighth, sixteenth, deep = channels
    p = 2 if frames % 2 == 0 else 1
    q = frames // p

    def decode(width: int) -> list[Conv]:
        extra = [Conv("decode", width // 2), Conv("decode", width)] if denser else []
        return [Conv("decode", width), *extra]

    heads = {
        "updated": [
            Conv("double", first),
            Conv("aggregate", first, p),
            Conv("narrow", 4),
            Conv("aggregate", 4, q),
            Conv("double", 4, bare=True),
        ],
        "late": [Conv("double", first), Conv("double", 4), Conv("aggregate", 4, p * q)],
        "early-two-step": [
            Conv("aggregate", quarter, p),
            Conv("double", first),
            Conv("aggregate", first, q),
            Conv("double", 4),
        ],
        "late-two-step": [
            Conv("double", first),
            Conv("aggregate", first, p),
            Conv("double", 4),
            Conv("aggregate", 4, q),
        ],
    }
    return {
        "convtsp1": [Conv("mix", deep), *decode(sixteenth)],
        "convtsp2": decode(eighth),
        "convtsp3": decode(quarter),
        "convtsp4": [*heads[aggregation], Conv("mix", maps, bare=True, bias=True)],
    }


def build(block: list[Conv], in_channels: int) -> nn.Sequential:
    """The modules of a block: every convolution with its BN and ReLU."""
    modules = nn.Sequential()
    for conv in block:
        modules.append(conv.module(in_channels))
        if not conv.bare:
            modules.append(batch_norm(conv.channels))
            modules.append(nn.ReLU(inplace=True))
        in_channels = conv.channels
    return modules


# ------------------------------------------------------------------- upsampling to the size of the encoder's map z, by 2


def interpolated(y: Tensor, z: Tensor) -> Tensor:
    """`y` at the height and width of `z`."""
    return F.interpolate(y, size=(y.shape[-3], *z.shape[-2:]), mode="trilinear", align_corners=False)


class UnpoolAtSwitches(nn.Module):
    """Max-unpooling with the switches of a pool that the encoder has done anyway."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, y: Tensor, z: Tensor, switches: Tensor) -> Tensor:
        unpooled: Tensor = self.layer(y, switches, output_size=z.shape[-2:])
        return unpooled


class UnpoolAtMaxima(nn.Module):
    """Auxiliary pooling of the encoder's map and max-unpooling in one (section 3.3)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, y: Tensor, z: Tensor, switches: Tensor | None = None) -> Tensor:
        unpooled: Tensor = self.layer(z.detach(), y)  # switches carry no gradient to z
        return unpooled


class Interpolate(nn.Module):
    """Trilinear interpolation in space (TASED-Net-tri, section 4.4)."""

    def forward(self, y: Tensor, z: Tensor, switches: Tensor | None = None) -> Tensor:
        return interpolated(y, z)


class Deconvolve(nn.Module):
    """Transposed convolution, BN, ReLU (TASED-Net-trp, section 4.4, which keeps the channels)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv("double", out_channels).module(in_channels)
        self.bn = batch_norm(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, y: Tensor, z: Tensor, switches: Tensor | None = None) -> Tensor:
        height, width = z.shape[-2:]
        # A pool that rounded down leaves 2h + 1 rows to reach, one that rounded up overshoots by a row: crop it.
        size = (y.shape[-3], max(height, 2 * y.shape[-2]), max(width, 2 * y.shape[-1]))
        y = self.conv(y, output_size=size)[..., :height, :width]
        y = self.relu(self.bn(y))
        return y


def upsamplings(kind: str, pools: Pools, channels: Sequence[int], temporal: int, exact_grad: bool) -> list[nn.Module]:
    """The three upsamplings between the blocks, for `channels` channels each, by name.

    `temporal` is the frames of the encoder's larger maps that auxiliary pooling joins into one of the decoder's.
    """
    match kind:
        case "unpool":
            at_maxima = (
                UnpoolAtMaxima(pools.AuxPoolUnpool(temporal, 3, stride=2, padding=1, exact_grad=exact_grad))
                for _ in range(2)
            )
            return [UnpoolAtSwitches(pools.MaxUnpool(2, exact_grad=exact_grad)), *at_maxima]
        case "tri":
            return [Interpolate() for _ in channels]
        case _:  # "trp"
            return [Deconvolve(width, width) for width in channels]
