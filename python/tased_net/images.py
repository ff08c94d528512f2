"""A folder of images, or those that a pattern names, read as a video with Pillow."""

from __future__ import annotations

import errno
import glob
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from .frames import MAX_PIXELS, RGB, VideoError, VideoFrame, VideoReader, VideoWarning

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
RATE = Fraction(25)

TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
# What Pillow raises at a file that is no image, or half of one.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AssertionError,
    struct.error,
    zlib.error,
)
# By content, whatever a file is called. Pillow knows many more, some of which it hands to other programs.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")


def image_files(source: str | os.PathLike[str]) -> list[Path]:
    """The images of a folder, or those that a glob pattern names, in natural order: img2 before img10.

    Files of other kinds and hidden ones are passed over.
    """
    folder = Path(source)
    found = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(os.fspath(source), recursive=True))
    images = (file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(images, key=_natural)


def _natural(file: Path) -> tuple[list[tuple[str, int, str]], str]:
    parts = re.findall(r"(\D*)(\d*)", str(file).casefold())
    return [(text, int(digits or -1), digits) for text, digits in parts], str(file)


class ImagesReader(VideoReader):
    """Reads images one by one, at a constant rate.

    All must have one size, which is checked before the first is read. An image that is damaged is left out, and a
    `VideoWarning` says so at the end.

    Parameters
    ----------
    source
        A folder, a glob pattern or one image.
    rate
        Images a second.

    Raises
    ------
    VideoError
        If there are no images, sizes differ, one is too large, or none can be read (then while iterating).
    """

    def __init__(self, source: str | os.PathLike[str], rate: Fraction = RATE) -> None:
        self.source = os.fspath(source)
        self.rate, self.time_base = rate, 1 / rate
        self._files = image_files(source)
        if not self._files:
            kinds = ", ".join(SUFFIXES)
            where = "the folder holds" if os.path.isdir(source) else "names"
            raise VideoError(f"{source}: {where} no images ({kinds})")
        self.expected_frames = len(self._files)
        _check_sizes(self._files)

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.frames()

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        count = 0
        damaged: list[Path] = []
        for file in self._files:
            try:
                image = read_image(file)
            except DAMAGED:
                damaged.append(file)
                continue
            if count >= start:
                yield VideoFrame(image, count / self.rate)
            count += 1
        if not count:
            raise VideoError(f"{self.source}: none of its images can be read")
        if damaged:
            left_out = f"{damaged[0]}" + (f" and {len(damaged) - 1} more" if len(damaged) > 1 else "")
            message = f"{self.source}: damaged, only the {count} images that can be read are used, without {left_out}"
            warnings.warn(message, VideoWarning, stacklevel=2)

    def close(self) -> None:
        pass


def _check_sizes(files: Sequence[Path]) -> None:
    """Refuses images of different or absurd sizes, by their headers."""
    first: tuple[Path, tuple[int, int]] | None = None
    for file in files:
        try:
            size = upright_size(file)
        except DAMAGED:
            continue
        first = first or (file, size)
        if size != first[1]:
            one, other = ("{}x{}".format(*size), "{}x{}".format(*first[1]))
            raise VideoError(f"{file}: is {one} pixels, but {first[0].name} is {other}: a video's images have one size")


def upright_size(file: Path) -> tuple[int, int]:
    """Width and height of an image as `read_image` gives it, from its header alone."""
    with opened(file) as image:
        width, height = image.size
        # PNG may have it after the pixels, where Pillow would decode them all to find it.
        known = image.format != "PNG" or "exif" in image.info
        turned = known and image.getexif().get(ExifTags.Base.Orientation) in TURNED
        return (height, width) if turned else (width, height)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet, of one of `FORMATS` and of no absurd size.

    Raises
    ------
    VideoError
        If its header announces too many pixels.
    Exception
        One of `DAMAGED`, here or while the image is used.
    """
    if not file.is_file():  # nothing may ever come out of a pipe
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(file))
    try:
        stored = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the latter where warnings are made errors
        raise VideoError(f"{file}: its pixels are too many for a frame") from None
    with stored as image:
        if image.width * image.height > MAX_PIXELS:
            raise VideoError(f"{file}: {image.width}x{image.height} pixels are too many for a frame")
        yield image


def quieten_pillow() -> None:
    """Has this process pass over Pillow's warnings: of sizes, which `opened` judges, and of EXIF data that is not whole.

    Once for a process that is ours. To pass over them around each image, by `warnings.catch_warnings`, changes the filters of
    all threads, and those that overlap put them back in any order: then no warning is shown any more.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(file: Path) -> RGB:
    """An image of any mode as uint8 RGB (H, W, 3), upright, what is transparent over black; 16 bits become 8.

    Raises
    ------
    VideoError
        If it holds floating-point values, or too many pixels.
    Exception
        One of `DAMAGED`.
    """
    with opened(file) as stored:
        image = ImageOps.exif_transpose(stored)
        if image.mode == "F":
            raise VideoError(f"{file}: holds floating-point values, whose range is unknown; save it with 8 or 16 bits")
        if image.mode.startswith("I"):
            grey = (np.clip(np.asarray(image, np.int64), 0, 65535) + 128) // 257
            return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            black = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(black, rgba)
        return np.array(image.convert("RGB"))
