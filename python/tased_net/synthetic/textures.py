"""Colours, patterns and backgrounds: what the world of a synthetic clip is painted with.

A background is a float32 RGB tensor (3, h, w) from 0 to 1 of the part of the world that the camera will see.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from torch import Tensor

Colour = tuple[int, int, int]
Rng = np.random.Generator

OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """A part of the world: `left` and `top` of its corner, in heights of a frame, its pixels (h, w), and pixels a height."""

    left: float
    top: float
    shape: tuple[int, int]
    scale: float


def colour(
    rng: Rng,
    saturation: tuple[float, float] = (0.0, 0.8),
    value: tuple[float, float] = (0.1, 0.95),
    hue: tuple[float, float] = (0.0, 1.0),
) -> Colour:
    """A random colour, 8-bit RGB."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def shifted(base: Colour, by: float) -> Colour:
    """The colour, lighter (`by` > 0) or darker."""
    red, green, blue = (int(np.clip(round(value * (1 + by)), 0, 255)) for value in base)
    return red, green, blue


def noise(rng: Rng, height: int, width: int, slope: float = 1.0, channels: int = 1) -> Tensor:
    """Noise whose amplitude falls as 1/f^slope, float32 (channels, height, width) with mean 0 and standard deviation 1.

    The longest period is the picture's height.
    """
    rows = np.fft.fftfreq(height)[:, None] * height
    columns = np.fft.rfftfreq(width)[None] * height
    frequency = np.hypot(rows, columns).astype(np.float32)
    amplitude = np.maximum(frequency, 1) ** np.float32(-slope)
    amplitude[0, 0] = 0
    white = torch.from_numpy(rng.standard_normal((channels, height, width), np.float32))
    spectrum = torch.fft.rfft2(white) * torch.from_numpy(amplitude.astype(np.float32))
    field = torch.fft.irfft2(spectrum, s=(height, width))
    return (field - field.mean((1, 2), keepdim=True)) / field.std((1, 2), keepdim=True).clamp(min=1e-6)


def pattern(rng: Rng, height: int, width: int) -> Tensor:
    """A regular pattern, float32 (height, width) from -1 to 1: stripes, checks, dots or waves."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.03, 0.2) * height
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    v = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period
    sharp = rng.uniform(1, 6)
    kind = rng.integers(4)
    waves = (np.sin(u), np.sin(u) * np.sin(v), np.sin(u) + np.sin(v) - 1, np.sin(u + 1.5 * np.sin(v / 2)))[kind]
    return torch.from_numpy(np.tanh(sharp * waves).astype(np.float32))


def background(rng: Rng, view: View, horizon: float | None) -> Tensor:
    """Paints a background.

    Parameters
    ----------
    rng
        Source of its looks.
    view
        The part of the world to paint.
    horizon
        Where ground begins, in heights from the top; None for a world without ground.
    """
    painters = _ANYWHERE if horizon is None else _OUTDOORS
    painted = painters[rng.integers(len(painters))](rng, view, horizon or 0.0)
    light = 1 + rng.uniform(0.02, 0.09) * noise(rng, *view.shape, slope=rng.uniform(0.9, 1.6))
    grain = rng.uniform(0.0, 0.03) * noise(rng, *view.shape, slope=0.3)
    return (painted * light + grain).clamp(0, 1)


# ------------------------------------------------------------------------------------------------------------- painters

Painter = Callable[[Rng, View, float], Tensor]


class _Painting:
    """A picture of the view, drawn in the world's coordinates."""

    def __init__(self, view: View, fill: Colour) -> None:
        self.view = view
        self.scale = view.scale * OVERSAMPLING
        height, width = view.shape
        self.image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), fill)
        self.draw = ImageDraw.Draw(self.image)
        self.left, self.top = view.left, view.top
        self.right, self.bottom = view.left + width / view.scale, view.top + height / view.scale

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        if right > left and bottom > top:
            self.draw.rectangle([*self.at(left, top), *self.at(right, bottom)], fill)

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        self.draw.ellipse([*self.at(x - rx, y - ry), *self.at(x + rx, y + ry)], fill)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.scale, (y - self.top) * self.scale

    def done(self) -> Tensor:
        small = self.image.reduce(OVERSAMPLING)
        return torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1) / 255)


def _spectrum(rng: Rng, view: View, _: float) -> Tensor:
    """Coloured 1/f noise."""
    base = np.array(colour(rng, (0.0, 0.6), (0.3, 0.7)), np.float32) / 255
    field = noise(rng, *view.shape, slope=rng.uniform(0.7, 1.7), channels=3)
    common, part = field[:1], rng.uniform(0.1, 0.6)
    field = (1 - part) * common + part * field
    return (torch.from_numpy(base)[:, None, None] + rng.uniform(0.08, 0.22) * field).clamp(0, 1)


def _regular(rng: Rng, view: View, _: float) -> Tensor:
    """A man-made pattern in two colours: bricks, tiles, or `pattern`."""
    first, second = colour(rng, (0.05, 0.5), (0.3, 0.85)), colour(rng, (0.05, 0.5), (0.25, 0.8))
    if rng.random() < 0.5:
        blend = 0.5 + 0.5 * rng.uniform(0.2, 0.8) * pattern(rng, *view.shape)
        ends = [torch.tensor(end, dtype=torch.float32)[:, None, None] / 255 for end in (first, second)]
        return ends[0] * blend + ends[1] * (1 - blend)
    painting = _Painting(view, shifted(first, rng.choice([-0.4, 0.35])))
    height, width = rng.uniform(0.04, 0.2), rng.uniform(0.06, 0.4)
    joint, spread = rng.uniform(0.003, 0.012), rng.uniform(0.02, 0.25)
    shift = rng.choice([0.0, 0.5])
    for row, y in enumerate(np.arange(painting.top - height, painting.bottom, height)):
        for x in np.arange(painting.left - width * (1 + shift * (row % 2)), painting.right, width):
            tile = shifted(first if rng.random() < 0.8 else second, rng.uniform(-spread, spread))
            painting.box(x + joint, y + joint, x + width - joint, y + height - joint, tile)
    return painting.done()


def _leaves(rng: Rng, view: View, _: float) -> Tensor:
    """Shapes of all sizes that lie upon each other: the statistics of natural scenes, or foliage."""
    green = rng.random() < 0.5
    hue = (0.18, 0.4) if green else (0.0, 1.0)
    base = colour(rng, (0.2, 0.6), (0.15, 0.4), hue)
    painting = _Painting(view, base)
    area = (painting.right - painting.left) * (painting.bottom - painting.top)
    count = int(min(500 * area, 2500))
    smallest, largest = (0.015, 0.13) if green else (0.02, 0.4)
    uniform = rng.random(count)
    radii = np.sort((uniform * (largest**-1.5 - smallest**-1.5) + smallest**-1.5) ** (-1 / 1.5))[::-1]
    narrow = rng.uniform(0.3, 1.0)
    for radius in radii:
        x, y = rng.uniform(painting.left, painting.right), rng.uniform(painting.top, painting.bottom)
        fill = colour(rng, (0.2, 0.65), (0.15, 0.7), hue) if green else colour(rng, (0.0, 0.5), (0.1, 0.9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 9)))
        tilt = rng.uniform(0, np.pi)
        u, v = radius * np.cos(angles), radius * narrow * np.sin(angles)
        corners = zip(x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt), strict=True)
        painting.polygon(list(corners), fill)
    return painting.done()


def _blurs(rng: Rng, view: View, _: float) -> Tensor:
    """A room or street far out of focus: large soft shapes, and discs of light."""
    painting = _Painting(view, colour(rng, (0.0, 0.5), (0.08, 0.6)))
    for _ in range(int(rng.integers(8, 40))):
        x, y = rng.uniform(painting.left, painting.right), rng.uniform(painting.top, painting.bottom)
        rx, ry = rng.uniform(0.03, 0.4, 2)
        fill = colour(rng, (0.0, 0.6), (0.05, 0.75))
        if rng.random() < 0.6:
            painting.box(x - rx, y - ry, x + rx, y + ry, fill)
        else:
            painting.ellipse(x, y, rx, ry, fill)
    soft = softened(painting.done(), rng.uniform(0.008, 0.03) * view.scale)
    lights = _Painting(view, (0, 0, 0))
    for _ in range(int(rng.integers(0, 30))):
        x, y = rng.uniform(painting.left, painting.right), rng.uniform(painting.top, painting.bottom)
        radius = rng.uniform(0.006, 0.03)
        lights.ellipse(x, y, radius, radius, shifted(colour(rng, (0.0, 0.5), (0.5, 1.0), (0.02, 0.2)), 0))
    glow = softened(lights.done(), 0.004 * view.scale)
    return 1 - (1 - soft) * (1 - 0.8 * glow)


def _street(rng: Rng, view: View, horizon: float) -> Tensor:
    """Houses with windows under a sky, a pavement, a road."""
    sky = colour(rng, (0.0, 0.4), (0.45, 0.95), (0.5, 0.65))
    painting = _Painting(view, sky)
    x = painting.left - rng.uniform(0, 0.3)
    family = rng.uniform(0, 1)
    low, high = sorted(rng.uniform(0.25, 1.3, 2))
    while x < painting.right:
        width, tall = rng.uniform(0.15, 0.7), rng.uniform(low, high + 0.05)
        wall = colour(rng, (0.0, 0.4), (0.2, 0.8), (family, family + 0.25))
        top = horizon - tall
        painting.box(x, top, x + width, painting.bottom, wall)
        if rng.random() < 0.5:
            painting.box(x - 0.01, top, x + width + 0.01, top + rng.uniform(0.01, 0.05), shifted(wall, -0.4))
        _windows(rng, painting, x, top, width, horizon, wall)
        x += width * rng.choice([1.0, 1.0, 1.4])
    kerb = horizon + rng.uniform(0.0, 0.12)
    stone, tar = colour(rng, (0.0, 0.15), (0.35, 0.7)), colour(rng, (0.0, 0.12), (0.2, 0.5))
    painting.box(painting.left, horizon, painting.right, kerb, stone)
    painting.box(painting.left, kerb, painting.right, painting.bottom, tar)
    painting.box(painting.left, kerb, painting.right, kerb + 0.008, shifted(stone, 0.3))
    if rng.random() < 0.6:
        y, length = kerb + rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.5)
        for x in np.arange(painting.left, painting.right, 2 * length):
            painting.polygon(
                [(x, y), (x + length, y), (x + length - 0.03, y + 0.02), (x - 0.03, y + 0.02)], shifted(tar, 0.9)
            )
    return painting.done()


def _windows(rng: Rng, painting: _Painting, x: float, top: float, width: float, bottom: float, wall: Colour) -> None:
    """Rows of windows in a wall, and a shop or door below."""
    columns, storey = int(rng.integers(1, 6)), rng.uniform(0.09, 0.2)
    pane, frame = colour(rng, (0.0, 0.4), (0.05, 0.5), (0.5, 0.65)), shifted(wall, rng.choice([-0.3, 0.3]))
    pitch = width / columns
    for y in np.arange(top + 0.05, bottom - 1.3 * storey, storey):
        for column in range(columns):
            left = x + pitch * (column + 0.25)
            painting.box(left - 0.006, y - 0.006, left + pitch * 0.5 + 0.006, y + storey * 0.6 + 0.006, frame)
            lit = rng.random() < 0.07
            painting.box(left, y, left + pitch * 0.5, y + storey * 0.6, (235, 205, 140) if lit else pane)
    shop = colour(rng, (0.0, 0.6), (0.1, 0.6))
    painting.box(x + 0.1 * width, bottom - storey, x + 0.7 * width, bottom, shop)


def _field(rng: Rng, view: View, horizon: float) -> Tensor:
    """A sky with clouds, hills or trees, and grass, sand, water or snow."""
    sky = torch.tensor(colour(rng, (0.1, 0.5), (0.6, 0.95), (0.52, 0.64)), dtype=torch.float32)[:, None, None] / 255
    clouds = noise(rng, *view.shape, slope=1.6).clamp(-1, 2) * rng.uniform(0.0, 0.12)
    hue = ((0.2, 0.36), (0.08, 0.14), (0.5, 0.6), (0.55, 0.65))[rng.integers(4)]
    painting = _Painting(view, (0, 0, 0))
    for row in range(int(rng.integers(0, 4))):
        far = 1 - row / 4
        x = np.linspace(painting.left, painting.right, 60)
        edge = np.full_like(x, horizon - 0.06 - 0.15 * far)
        for k in (1, 2, 4, 9):
            edge -= rng.uniform(0, 0.12 / k) * np.sin(k * x * rng.uniform(1, 3) + rng.uniform(0, 6))
        trees = colour(rng, (0.15, 0.5), (0.15 + 0.3 * far, 0.3 + 0.4 * far), (0.2, 0.4 + 0.2 * far))
        outline = [(painting.left, painting.bottom), *zip(x, edge, strict=True), (painting.right, painting.bottom)]
        painting.polygon(outline, trees)
    ground = colour(rng, (0.15, 0.5), (0.3, 0.75), hue)
    painting.box(painting.left, horizon, painting.right, painting.bottom, ground)
    land = painting.done()
    there = (land.sum(0, keepdim=True) > 0).float()
    rough = rng.uniform(0.04, 0.14) * noise(rng, *view.shape, slope=rng.uniform(0.4, 1.0))
    return (there * (land + rough * there) + (1 - there) * (sky + clouds)).clamp(0, 1)


def _room(rng: Rng, view: View, horizon: float) -> Tensor:
    """A wall with pictures and furniture, and a floor with boards or tiles."""
    wall, floor = colour(rng, (0.0, 0.35), (0.35, 0.85)), colour(rng, (0.1, 0.5), (0.2, 0.6), (0.03, 0.12))
    painting = _Painting(view, wall)
    for _ in range(int(rng.integers(2, 9))):
        x, y = rng.uniform(painting.left, painting.right), horizon - rng.uniform(0.25, 0.8)
        w, h = rng.uniform(0.08, 0.4, 2)
        painting.box(x, y, x + w, y + h, shifted(wall, -0.5))
        painting.box(x + 0.012, y + 0.012, x + w - 0.012, y + h - 0.012, colour(rng, (0.0, 0.7), (0.2, 0.9)))
    for _ in range(int(rng.integers(0, 5))):
        x, w, h = rng.uniform(painting.left, painting.right), rng.uniform(0.15, 0.6), rng.uniform(0.1, 0.5)
        painting.box(x, horizon + 0.04 - h, x + w, horizon + 0.04, colour(rng, (0.1, 0.5), (0.1, 0.6)))
    painting.box(painting.left, horizon, painting.right, painting.bottom, floor)
    for y in horizon + 0.03 * 1.35 ** np.arange(12):
        painting.box(painting.left, y, painting.right, y + 0.004, shifted(floor, -0.25))
    painting.box(painting.left, horizon - 0.02, painting.right, horizon, shifted(wall, 0.3))
    shade = torch.linspace(1.1, 0.8, view.shape[0])[:, None]
    return (painting.done() * shade).clamp(0, 1)


def _close_street(rng: Rng, view: View, _: float) -> Tensor:
    """Houses whose ground is at the frame's lower edge, or below it."""
    return _street(rng, view, rng.uniform(0.9, 1.3))


_OUTDOORS: tuple[Painter, ...] = (_street, _field, _room)
_ANYWHERE: tuple[Painter, ...] = (_spectrum, _regular, _leaves, _blurs, _close_street)


def softened(picture: Tensor, sigma: float) -> Tensor:
    """Out of focus: blurred by a Gaussian of `sigma` pixels."""
    if sigma < 0.3:
        return picture
    factor = max(1, int(sigma / 2.5))  # a wide blur is as good on a smaller picture
    size = (-(-picture.shape[1] // factor), -(-picture.shape[2] // factor))
    small = F.interpolate(picture[None], size, mode="area")[0] if factor > 1 else picture
    soft = torch.from_numpy(
        gaussian_filter(small.numpy(), (0, sigma / factor, sigma / factor), truncate=3.0, mode="nearest")
    )
    if factor == 1:
        return soft
    return F.interpolate(soft[None], picture.shape[1:], mode="bilinear", align_corners=False)[0]
