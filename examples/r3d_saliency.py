"""Video saliency on torchvision's r3d_18: from a clip to one map that says where to look, as TASED-Net does with S3D.

r3d_18 strides where others pool, so it leaves no maxima for a decoder to unpool at. Auxiliary pooling finds them in its maps.

    python examples/r3d_saliency.py --steps 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tased_ext import AuxPoolUnpool

try:
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.models.video import r3d_18
except ImportError as error:
    raise SystemExit("This example needs torchvision: pip install torchvision") from error

FRAMES, SIZE = 16, 32


def decode(in_channels: int, channels: int) -> nn.Sequential:
    """A convolution within each frame; the two frames meet at the end of the decoder."""
    conv = nn.Conv3d(in_channels, channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU())


def unpool(temporal: int) -> AuxPoolUnpool:
    """At the maxima of `temporal` frames, in the windows that the encoder's strided 3x3 convolutions saw."""
    return AuxPoolUnpool(temporal, kernel_size=3, stride=2, padding=1)


class R3DSaliency(nn.Module):
    """Clips (N, 3, 16, H, W) to log densities (N, H, W).

    The encoder's maps have 16, 8, 4 and 2 frames, the decoder's 2 throughout: each unpooling needs one choice for all frames of
    the encoder that share one of the decoder's. The encoder learns through its deepest map; the others only tell positions.
    """

    def __init__(self) -> None:
        super().__init__()
        encoder = r3d_18(weights=None)  # for real videos: weights="KINETICS400_V1"
        self.encoder = create_feature_extractor(encoder, ["layer1", "layer2", "layer3", "layer4"])
        self.narrow4 = decode(512, 256)
        self.unpool3 = unpool(temporal=2)
        self.narrow3 = decode(256, 128)
        self.unpool2 = unpool(temporal=4)
        self.narrow2 = decode(128, 64)
        self.unpool1 = unpool(temporal=8)
        self.narrow1 = decode(64, 32)
        self.aggregate = nn.Conv3d(32, 1, (2, 1, 1))

    def forward(self, clips: Tensor) -> Tensor:
        z1, z2, z3, z4 = self.encoder(clips).values()
        x = self.unpool3(z3, self.narrow4(z4))  # (N, 256, 2, H/8, W/8)
        x = self.unpool2(z2, self.narrow3(x))  # (N, 128, 2, H/4, W/4)
        x = self.unpool1(z1, self.narrow2(x))  # (N, 64, 2, H/2, W/2)
        logits = self.aggregate(self.narrow1(x))[:, :, 0]
        logits = F.interpolate(logits, size=clips.shape[-2:], mode="bilinear")[:, 0]
        return logits.flatten(1).log_softmax(1).view_as(logits)


def spots(centres: Tensor, deviation: float) -> Tensor:
    """Gaussian spots of height 1, (…, SIZE, SIZE), around rows and columns (…, 2)."""
    rows, columns = (-0.5 * ((centres[..., None] - torch.arange(SIZE)) / deviation).square()).exp().unbind(-2)
    return rows[..., :, None] * columns[..., None, :]


def draw(batch: int) -> tuple[Tensor, Tensor]:
    """Noisy clips with a red spot on its way and a green one at rest, and the density of gazes at the red one's end."""
    start, end, rest = (4 + (SIZE - 8) * torch.rand(3, batch, 1, 2)).unbind()
    way = torch.lerp(start, end, torch.linspace(0, 1, FRAMES)[:, None])
    red, green = spots(way, 2), spots(rest.expand_as(way), 2)
    clips = torch.stack([red, green, torch.zeros_like(red)], dim=1)
    gazes = spots(end[:, 0], 3)
    return clips + 0.2 * torch.randn(clips.shape), gazes / gazes.sum((1, 2), keepdim=True)


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Trains, prints the losses and returns them; a map without preference scores about 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    net = R3DSaliency().to(memory_format=torch.channels_last_3d)  # every layer here keeps it
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for step in range(1, options.steps + 1):
        clips, gazes = draw(batch=4)
        loss = F.kl_div(net(clips), gazes, reduction="batchmean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        print(f"step {step:3}  KL divergence {losses[-1]:.3f}", flush=True)
    return losses


if __name__ == "__main__":
    main()
