"""From a shot to its frames: the world as the camera sees it, the things upon it, blur of motion, light and noise.

Any frame can be rendered without the ones before it. A thing is sampled in its bounding box only, from a picture of about the
right size, so that it is neither jagged nor slow.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..frames import RGB
from .shots import Pose, Shot, Thing

SHUTTER = 0.5  # part of the time between two frames for which the shutter is open
MARGIN = 32  # pixels by which the noise is larger than a frame
MOST_BLUR = 7  # samples along the way
CLOUDS = 0.15  # speed of their shadows, in heights a second


class Renderer:
    """Renders the frames of a shot.

    Parameters
    ----------
    shot
        The shot.
    size
        Height and width of the frames in pixels.
    grain
        Noise of standard deviation 1, (3, H + MARGIN, W + MARGIN), of which each frame takes another part: `sensor_noise`.
    seed
        What the choice of that part follows from.
    """

    def __init__(self, shot: Shot, size: tuple[int, int], grain: Tensor, seed: int) -> None:
        self.shot, self.size, self.seed = shot, size, seed
        height, width = size
        self.aspect = width / height
        self.grain = grain * shot.grain
        self.x = (torch.arange(width, dtype=torch.float32) + 0.5) / height
        self.y = (torch.arange(height, dtype=torch.float32) + 0.5) / height
        corner = (self.x - self.aspect / 2) ** 2 / self.aspect**2 + (self.y[:, None] - 0.5) ** 2
        self.vignette = 1 - 2 * shot.vignette * corner
        self.poses = [thing.pose(shot.camera) for thing in shot.things]

    def frame(self, index: int) -> RGB:
        """The frame, uint8 RGB (H, W, 3)."""
        picture = self._background(index)
        for thing, pose in zip(self.shot.things, self.poses, strict=True):
            if thing.opacity[index] > 0:
                self._draw(picture, thing, pose, index)
        rng = np.random.default_rng((self.seed, index))
        top, left = (int(value) for value in rng.integers(0, MARGIN, 2))
        picture *= self.vignette * float(self.shot.light[index])
        if self.shot.shadow is not None:
            picture *= self._shadow(self.shot.shadow, index / self.shot.rate)
        picture += self.grain[:, top : top + self.size[0], left : left + self.size[1]]
        image: RGB = picture.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        return image

    def _background(self, index: int) -> Tensor:
        """The world in the frame, (3, H, W), blurred along the camera's way."""
        camera, view = self.shot.camera, self.shot.view
        dx, dy = self._way(camera.project(np.broadcast_to(camera.centre[index], camera.centre.shape)), index)
        samples = int(np.clip(math.ceil(math.hypot(dx, dy) / 1.5), 1, MOST_BLUR + 1))
        border = math.ceil(max(abs(dx), abs(dy)) / 2) if samples > 1 else 0
        height, width = self.size
        x = (torch.arange(-border, width + border, dtype=torch.float32) + 0.5) / height - self.aspect / 2
        y = (torch.arange(-border, height + border, dtype=torch.float32) + 0.5) / height - 0.5
        cos, sin = (
            math.cos(camera.angle[index]) / camera.zoom[index],
            math.sin(camera.angle[index]) / camera.zoom[index],
        )
        across, down = 2 * view.scale / view.shape[1], 2 * view.scale / view.shape[0]
        left, top = camera.centre[index, 0] - view.left, camera.centre[index, 1] - view.top
        grid = torch.empty(len(y), len(x), 2)
        torch.add(x * (cos * across), (y * (sin * across) + (left * across - 1))[:, None], out=grid[..., 0])
        torch.add(x * (-sin * down), (y * (cos * down) + (top * down - 1))[:, None], out=grid[..., 1])
        if self.shot.sway is not None:
            grid += self._sway(self.shot.sway, grid, index / self.shot.rate) * torch.tensor([across, down])
        seen = F.grid_sample(self.shot.world[None], grid[None], "bilinear", "border", align_corners=False)[0]
        if samples == 1:
            return seen
        total = torch.zeros(3, height, width)
        for part in np.linspace(-0.5, 0.5, samples):
            row, column = border + round(part * dy), border + round(part * dx)
            total += seen[:, row : row + height, column : column + width]
        return total / samples

    def _sway(self, sway: Tensor, grid: Tensor, time: float) -> Tensor:
        """By how much, in heights, each spot of the world is aside at that time, (h, w, 2)."""
        coarse = F.interpolate(grid.permute(2, 0, 1)[None], scale_factor=1 / 8, mode="nearest")[0].permute(1, 2, 0)
        amount = F.grid_sample(sway[None, None], coarse[None], "bilinear", "border", align_corners=False)[0, 0]
        phase = 2 * math.pi * time
        waves = (
            torch.sin(9 * coarse[..., 0] + 5 * coarse[..., 1] + 0.7 * phase),
            0.5 * torch.sin(7 * coarse[..., 1] - 8 * coarse[..., 0] + 1.1 * phase),
        )
        aside = torch.stack([amount * wave for wave in waves])
        return F.interpolate(aside[None], grid.shape[:2], mode="bilinear", align_corners=False)[0].permute(1, 2, 0)

    def _shadow(self, shadow: Tensor, time: float) -> Tensor:
        """The light that falls on the frame at that time, (H, W)."""
        rows, columns = shadow.shape
        seen = rows * self.aspect / columns  # part of the clouds that is over the frame
        x = torch.linspace(-1, 2 * seen - 1, math.ceil(self.size[1] / 8)) + CLOUDS * time * 2 * seen / self.aspect
        y = torch.linspace(-1, 1, math.ceil(self.size[0] / 8))
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        coarse = F.grid_sample(shadow[None, None], grid[None], "bilinear", "reflection", align_corners=False)
        return F.interpolate(coarse, self.size, mode="bilinear", align_corners=False)[0, 0]

    def _draw(self, picture: Tensor, thing: Thing, pose: Pose, index: int) -> None:
        """Lays a thing over the picture, in place."""
        height, width = self.size
        sprite, scale = thing.sprite, float(pose.height[index])
        turn = pose.turn[index].tolist()
        half = scale * sprite.extent[0] / 2, scale * sprite.extent[1] / 2
        reach_x, reach_y = (abs(across) * half[0] + abs(down) * half[1] for across, down in zip(*turn, strict=True))
        x, y = pose.centre[index]
        dx, dy = (value / height for value in self._way(pose.centre, index))
        left, right = (x + sign * (reach_x + abs(dx) / 2) for sign in (-1, 1))
        top, bottom = (y + sign * (reach_y + abs(dy) / 2) for sign in (-1, 1))
        columns = slice(max(0, math.floor(left * height)), min(width, math.ceil(right * height)))
        rows = slice(max(0, math.floor(top * height)), min(height, math.ceil(bottom * height)))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return
        finest = sprite.levels[0].shape[2] / sprite.extent[1]
        level = int(np.clip(math.floor(math.log2(finest / max(scale * height, 0.5)) + 0.4), 0, len(sprite.levels) - 1))
        pixels = sprite.levels[level][int(thing.phase[index])]
        samples = int(np.clip(math.ceil(math.hypot(dx, dy) * height / 1.5), 1, MOST_BLUR))
        parts = torch.linspace(-0.5, 0.5, samples) if samples > 1 else torch.zeros(1)
        u, v = self.x[columns] - x, self.y[rows, None] - y
        # The picture's axes go from -1 to 1.
        axes = [(across, down, 1 / side) for (across, down), side in zip(turn, half, strict=True)]
        grid = torch.stack([(across * u + down * v) * by for across, down, by in axes], -1)
        steps = torch.stack([parts * (across * dx + down * dy) * by for across, down, by in axes], -1)
        grids = grid - steps[:, None, None]
        layer = F.grid_sample(pixels.expand(samples, -1, -1, -1), grids, "bilinear", "zeros", align_corners=False)
        rgba = layer.mean(0) if samples > 1 else layer[0]
        if thing.opacity[index] < 1:
            rgba = rgba * float(thing.opacity[index])
        under = picture[:, rows, columns]
        under *= 1 - rgba[3]
        under += rgba[:3]

    def _way(self, places: np.ndarray, index: int) -> tuple[float, float]:
        """By how many pixels a place moves while the shutter is open."""
        before, after = max(index - 1, 0), min(index + 1, len(places) - 1)
        if before == after:
            return 0.0, 0.0
        dx, dy = (places[after] - places[before]) / (after - before) * SHUTTER * self.size[0]
        return float(dx), float(dy)


def sensor_noise(seed: np.random.SeedSequence, size: tuple[int, int]) -> Tensor:
    """Noise for `Renderer`: mostly alike in the three colours, mostly of single pixels."""
    rng = np.random.default_rng(seed)
    white = torch.from_numpy(rng.standard_normal((4, size[0] + MARGIN, size[1] + MARGIN), np.float32))
    soft = F.avg_pool2d(white[None], 3, 1, 1)[0]
    mixed = 0.85 * white + 0.9 * soft
    return 0.85 * mixed[:1] + 0.5 * mixed[1:]
