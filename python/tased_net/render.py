"""Maps made visible: heat laid over a frame, and sheets of frames, maps and overlays side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
TILE_WIDTH = 416  # pixels that a frame is wide on a sheet


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


class Sheet:
    """A dark page of pictures in three columns, under a title and the columns' names.

    Parameters
    ----------
    title
        A line above all.
    columns
        Their names.
    rows
        How many rows of pictures.
    tile
        Width and height in pixels that each picture has room for.
    line
        Pixels of each row above its pictures.

    Attributes
    ----------
    draw
        To write on it, with `font`.
    """

    MARGIN, GAP, HEAD = 24, 6, 76  # pixels around all, between pictures, and above the first row

    def __init__(self, title: str, columns: Sequence[str], rows: int, tile: tuple[int, int], line: int = 0) -> None:
        large, self.font = ImageFont.load_default(18), ImageFont.load_default(13)
        across = max(len(columns) * (tile[0] + self.GAP) - self.GAP, round(large.getlength(title)))
        self._pitch = tile[1] + line + self.GAP
        size = (2 * self.MARGIN + across, self.HEAD + rows * self._pitch + self.MARGIN)
        self._image = Image.new("RGB", size, "#111114")
        self.draw = ImageDraw.Draw(self._image)
        self.draw.text((self.MARGIN, 16), title, "#f2f2f2", large)
        self._lefts = [self.MARGIN + column * (tile[0] + self.GAP) for column in range(len(columns))]
        for left, name in zip(self._lefts, columns, strict=True):
            self.draw.text((left, self.HEAD - 24), name, "#9a9aa2", self.font)
        self._line = line

    def top(self, row: int) -> int:
        """Where a row begins, in pixels from the top."""
        return self.HEAD + row * self._pitch

    def paste(self, row: int, pictures: Iterable[Image.Image]) -> None:
        """Puts a row's pictures in their columns."""
        for left, picture in zip(self._lefts, pictures, strict=True):
            self._image.paste(picture, (left, self.top(row) + self._line))

    def pixels(self) -> RGB:
        """The sheet, uint8 RGB."""
        return np.asarray(self._image)


def contact_sheet(
    scenes: Sequence[tuple[VideoFrame, Map]], title: str, alpha: float = ALPHA, colormap: str = COLORMAP
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
    colormap
        Name of a matplotlib colour map.

    Returns
    -------
    numpy.ndarray
        The sheet, uint8 RGB: frames are `TILE_WIDTH` pixels wide, upright ones less, so that rows stay low.
    """
    height, width, _ = scenes[0][0].image.shape
    shape = float(width * scenes[0][0].pixel_aspect / height)
    tile_width = min(TILE_WIDTH, round(TILE_WIDTH * shape))
    tile = (tile_width, max(1, round(tile_width / shape)))
    sheet = Sheet(title, ("frame", "saliency", "overlay"), len(scenes), tile)
    for row, (frame, saliency) in enumerate(scenes):
        pictures = (
            frame.image,
            heat(saliency, (height, width), colormap),
            overlay(frame.image, saliency, alpha, colormap),
        )
        sheet.paste(row, (Image.fromarray(picture).resize(tile, Image.Resampling.LANCZOS) for picture in pictures))
        corner = (sheet.MARGIN + 8, sheet.top(row) + tile[1] - 24)
        stamp = f"{float(frame.time):.2f} s"
        sheet.draw.text(corner, stamp, "white", sheet.font, stroke_width=2, stroke_fill="black")
    return sheet.pixels()


def _palette(colormap: str) -> NDArray[np.uint8]:
    """The colour map's 256 colours, (256, 3)."""
    return matplotlib.colormaps[colormap](np.arange(256), bytes=True)[:, :3]


def _levels(saliency: Map, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map stretched to `size` and brought to 256 steps."""
    stretched = F.interpolate(torch.from_numpy(saliency)[None, None], size, mode="bilinear", align_corners=False)
    return (stretched[0, 0] * 255).round().byte().numpy()
