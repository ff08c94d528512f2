"""Files of one frame: images, density maps, and fixations as images or MATLAB matrices."""

from __future__ import annotations

import os
import warnings
from typing import Any, TypeAlias

import numpy as np
import scipy.io
import scipy.sparse
from numpy.typing import NDArray
from PIL import Image

from ..video import RGB
from .errors import DataError

Density: TypeAlias = NDArray[np.float32]  # (H, W)
Fixations: TypeAlias = NDArray[np.bool_]  # (H, W)

# What Pillow and scipy raise for files that are damaged or of another kind.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, NotImplementedError)


def read_image(path: str) -> RGB:
    """An image file as uint8 RGB (H, W, 3)."""
    image: RGB = np.array(_read(path).convert("RGB"))
    return image


def read_density(path: str) -> Density:
    """A map as float32 (H, W) from 0 to 1: its grey values over 255, or over 65535 where it has 16 bits."""
    values = _grey(path)
    return (values / (65535 if values.dtype == np.uint16 else 255)).astype(np.float32)


def read_fixations(path: str) -> Fixations:
    """A fixation map as bool (H, W): what is not zero, in a JPEG what is above half."""
    if path.lower().endswith(".mat"):
        return _read_matrix(path) != 0
    values = _grey(path)
    return values > 127 if path.lower().endswith((".jpg", ".jpeg")) else values > 0


def image_size(path: str) -> tuple[int, int]:
    """(H, W) of an image or matrix, of an image from its header alone."""
    if path.lower().endswith(".mat"):
        height, width = _read_matrix(path).shape
        return height, width
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error


def _grey(path: str) -> NDArray[Any]:
    image = _read(path)
    if image.mode.startswith("I"):  # PNG of 16 bits
        return np.array(image).astype(np.uint16)
    return np.array(image if image.mode == "L" else image.convert("L"))


def _read(path: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error


def _read_matrix(path: str) -> NDArray[Any]:
    """The one matrix of a MATLAB file, or the one called I, as in DHF1K."""
    try:
        named = {name: shape for name, shape, _ in scipy.io.whosmat(path) if len(shape) == 2 and min(shape) > 1}
        name = "I" if "I" in named else next(iter(named), None)
        if name is None or (len(named) > 1 and name != "I"):
            raise DataError(f"{path}: want one matrix, or one called I, found {', '.join(sorted(named)) or 'none'}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = scipy.io.loadmat(path, variable_names=[name])[name]
        values = np.asarray(matrix.todense() if scipy.sparse.issparse(matrix) else matrix)
        if values.dtype.kind not in "buif":
            raise DataError(f"{path}: {name} is not a matrix of numbers")
        return values
    except NotImplementedError as error:
        raise DataError(f"{path}: a MATLAB 7.3 file, which is not read: save it with -v7") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return os.strerror(error.errno or 0).lower() if error.errno else error.strerror
    return "damaged, or not what its name says"
