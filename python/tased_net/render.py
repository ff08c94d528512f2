"""Maps made visible: heat laid over a frame, and sheets of frames, maps and overlays side by side."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .frames import RGB, VideoFrame

Map = NDArray[np.float32]  # (h, w), from 0 to 1

COLORMAP = "inferno"
ALPHA = 0.7
TILE_WIDTH = 416


def overlay(image: RGB, saliency: Map, alpha: float = ALPHA, colormap: str = COLORMAP) -> RGB:
    """Lays a map over a frame as heat, the denser the higher saliency is; where there is none the frame stays as it is.

    Parameters
    ----------
    image
        uint8 RGB (H, W, 3).
    saliency
        (h, w) from 0 to 1; it is stretched over the image.
    alpha
        Opacity of the heat where saliency is 1.
    colormap
        Name of a matplotlib colour map.

    Returns
    -------
    numpy.ndarray
        uint8 RGB (H, W, 3).
    """
    levels = _levels(saliency, image.shape[:2])
    opacity = np.linspace(0, alpha, 256, dtype=np.float32)[:, None]
    result = np.take(_palette(colormap) * opacity + np.float32(0.5), levels, axis=0)  # half a step, to round
    result += image * np.take(1 - opacity, levels, axis=0)
    return result.astype(np.uint8)


def heat(saliency: Map, size: tuple[int, int], colormap: str = COLORMAP) -> RGB:
    """The map (h, w) in colours, stretched to `size`: uint8 RGB (H, W, 3)."""
    return np.take(_palette(colormap), _levels(saliency, size), axis=0)


def reduced(image: RGB, max_width: int, pixel_aspect: Fraction = Fraction(1)) -> RGB:
    """The image with square pixels, at most `max_width` wide."""
    height, width, _ = image.shape
    seen = width * float(pixel_aspect)
    scale = min(1.0, max_width / seen)
    size = (max(1, round(seen * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def contact_sheet(
    scenes: Sequence[tuple[VideoFrame, Map]],
    title: str,
    alpha: float = ALPHA,
    tile_width: int = TILE_WIDTH,
    colormap: str = COLORMAP,
) -> RGB:
    """Draws frames, maps and overlays side by side, one row a frame, with the time of each.

    Parameters
    ----------
    scenes
        Frames of one size with their maps.
    title
        A line above them all.
    alpha
        Opacity of the overlays.
    tile_width
        Pixels that a frame is wide on the sheet; an upright one gets less, so that rows stay low.
    colormap
        Name of a matplotlib colour map.

    Returns
    -------
    numpy.ndarray
        The sheet, uint8 RGB.
    """
    height, width, _ = scenes[0][0].image.shape
    shape = float(width * scenes[0][0].pixel_aspect / height)
    tile_width = min(tile_width, round(tile_width * shape))
    tile = (tile_width, max(1, round(tile_width / shape)))
    margin, gap, head = 24, 6, 76
    font, small = ImageFont.load_default(18), ImageFont.load_default(13)
    across = max(3 * tile[0] + 2 * gap, round(font.getlength(title)))
    size = (2 * margin + across, head + len(scenes) * (tile[1] + gap) + margin)
    sheet = Image.new("RGB", size, "#111114")
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, 16), title, "#f2f2f2", font)
    columns = [margin + column * (tile[0] + gap) for column in range(3)]
    for left, name in zip(columns, ("frame", "saliency", "overlay"), strict=True):
        draw.text((left, head - 24), name, "#9a9aa2", small)
    for row, (frame, saliency) in enumerate(scenes):
        top = head + row * (tile[1] + gap)
        pictures = (
            frame.image,
            heat(saliency, (height, width), colormap),
            overlay(frame.image, saliency, alpha, colormap),
        )
        for left, picture in zip(columns, pictures, strict=True):
            sheet.paste(Image.fromarray(picture).resize(tile, Image.Resampling.LANCZOS), (left, top))
        stamp = f"{float(frame.time):.2f} s"
        draw.text((margin + 8, top + tile[1] - 24), stamp, "white", small, stroke_width=2, stroke_fill="black")
    return np.asarray(sheet)


def _palette(colormap: str) -> NDArray[np.uint8]:
    """The colour map's 256 colours, (256, 3)."""
    return matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]


def _levels(saliency: Map, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map stretched to `size` and brought to 256 steps."""
    stretched = F.interpolate(torch.from_numpy(saliency)[None, None], size, mode="bilinear", align_corners=False)
    return (stretched[0, 0] * 255).round().byte().numpy()
