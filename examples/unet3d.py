"""A 3-D U-Net that finds the moving disc among still ones, with a decoder of fewer frames than its encoder.

The encoder pools time and space; the answer, one map for every four frames, wants only space back. What crosses this U are
positions, not maps: each level of the decoder puts its values where the encoder's maxima were.

    python examples/unet3d.py --steps 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tased_ext import AuxMaxPool, AuxPoolUnpool, MaxPool3d, MaxUnpool

FRAMES, SIZE = 16, 32
FRAMES_A_MAP = 4


def block(in_channels: int, channels: int) -> nn.Sequential:
    conv = nn.Conv3d(in_channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU())


class UNet3d(nn.Module):
    """Clips (N, 1, T, H, W) to logits (N, 1, T/4, H, W).

    ::

        frames   encoder                      decoder         frames
        T        fine ──── AuxPoolUnpool ──▶ leave            T/4
                  │ MaxPool3d                  ▲
        T/2      coarse ──── MaxUnpool ────▶ rise             T/4
                  │ AuxMaxPool                 ▲
        T/4       └──────────── deep ──────────┘              T/4
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.fine = block(1, width)
        self.pool_fine = MaxPool3d(2)
        self.coarse = block(width, 2 * width)
        self.pool_coarse = AuxMaxPool(temporal=2, kernel_size=2)
        self.deep = block(2 * width, 2 * width)
        # The decoder has the frames that pool_coarse left, so its switches serve as they are.
        self.unpool_coarse = MaxUnpool(kernel_size=2)
        self.rise = block(2 * width, width)
        # pool_fine left twice the frames that the decoder has: its choices do not fit. Auxiliary pooling chooses anew, once
        # for the four frames that share one of the decoder's.
        self.unpool_fine = AuxPoolUnpool(temporal=FRAMES_A_MAP, kernel_size=2)
        self.leave = nn.Sequential(block(width, width), nn.Conv3d(width, 1, 1))

    def forward(self, clips: Tensor) -> Tensor:
        fine = self.fine(clips)
        coarse = self.coarse(self.pool_fine(fine))
        deep, switches = self.pool_coarse(coarse)
        x = self.deep(deep)
        x = self.rise(self.unpool_coarse(x, switches, output_size=coarse.shape))
        return self.leave(self.unpool_fine(fine, x))


def discs(centres: Tensor, radius: float = 3) -> Tensor:
    """Masks (N, 1, T, SIZE, SIZE) of discs around rows and columns (N, T, 2)."""
    rows, columns = (centres[..., None] - torch.arange(SIZE)).square().unbind(-2)
    return (rows[..., :, None] + columns[..., None, :] < radius**2).float()[:, None]


def draw(batch: int) -> tuple[Tensor, Tensor]:
    """Noisy clips of one disc that moves and two that rest, and where the moving one was in every four frames."""
    start, end, *still = (4 + (SIZE - 8) * torch.rand(4, batch, 1, 2)).unbind()
    moving = discs(torch.lerp(start, end, torch.linspace(0, 1, FRAMES)[:, None]))
    resting = [discs(centre.expand(-1, FRAMES, -1)) for centre in still]
    clips = torch.stack([moving, *resting]).amax(0) + 0.3 * torch.randn(moving.shape)
    return clips, moving.unflatten(2, (-1, FRAMES_A_MAP)).amax(3)


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """0 for the right map, nearly 1 for every constant one: what falls here is learned."""
    p = logits.sigmoid()
    return 1 - 2 * (p * masks).sum() / (p.sum() + masks.sum())


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Trains, prints the losses and returns them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    net = UNet3d()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-2)
    losses = []
    for step in range(1, options.steps + 1):
        clips, masks = draw(batch=6)
        loss = dice_loss(net(clips), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        print(f"step {step:3}  Dice loss {losses[-1]:.3f}", flush=True)
    return losses


if __name__ == "__main__":
    main()
