"""Files of one frame: images, density maps, and fixations as images or MATLAB matrices. What cannot be read is a `DataError`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from .. import images
from ..frames import RGB, VideoError
from .errors import DataError
from .matlab import read_points

Density: TypeAlias = NDArray[np.float32]  # (H, W)
Fixations: TypeAlias = NDArray[np.bool_]  # (H, W)


def read_image(path: str) -> RGB:
    """An image file as uint8 RGB (H, W, 3), upright."""
    with _told(path):
        return images.read_image(Path(path))


def frame_size(path: str) -> tuple[int, int]:
    """(H, W) of an image or a map as it is read, from its header alone."""
    with _told(path):
        width, height = images.upright_size(Path(path))
    return height, width


def read_density(path: str) -> Density:
    """A map as float32 (H, W) from 0 to 1, upright: its grey values over 255, or over 65535 where it has 16 bits."""
    values = _grey(path)
    return (values / (65535 if values.dtype == np.uint16 else 255)).astype(np.float32)


def read_fixations(path: str) -> Fixations:
    """A fixation map as bool (H, W), upright: what is not zero, in a JPEG what is above half."""
    if path.lower().endswith(".mat"):
        with _told(path):
            return read_points(path)
    values = _grey(path)
    return values > 127 if path.lower().endswith((".jpg", ".jpeg")) else values > 0


def truth_size(path: str) -> tuple[int, int]:
    """(H, W) of a map or matrix as it is read, of a map from its header alone."""
    if path.lower().endswith(".mat"):
        height, width = read_fixations(path).shape
        return height, width
    return frame_size(path)


def _grey(path: str) -> NDArray[Any]:
    with _told(path), images.opened(Path(path)) as image:
        ImageOps.exif_transpose(image, in_place=True)  # a copy would hide that a palette is not there
        if image.mode == "F":
            raise DataError(f"{path}: holds floating-point values, whose range is unknown; save it with 8 or 16 bits")
        if image.mode.startswith("I"):  # PNG of 16 bits, or 32 of which 16 are in use
            return np.asarray(image).clip(0, 65535).astype(np.uint16)
        return np.array(image if image.mode == "L" else image.convert("L"))


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Makes whatever is wrong with a file a `DataError`."""
    try:
        yield
    except VideoError as error:
        raise DataError(str(error)) from error
    except images.DAMAGED as error:
        raise DataError(f"{path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return os.strerror(error.errno or 0).lower() if error.errno else error.strerror
    return "damaged, or not what its name says"
