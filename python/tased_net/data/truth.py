"""Files of one frame: images, density maps, and fixations as images or MATLAB matrices."""

from __future__ import annotations

import math
import os
import warnings
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.io
import scipy.sparse
from numpy.typing import NDArray
from PIL import Image

from .. import images
from ..frames import MAX_PIXELS, RGB, VideoError
from .errors import DataError

Density: TypeAlias = NDArray[np.float32]  # (H, W)
Fixations: TypeAlias = NDArray[np.bool_]  # (H, W)

# MATLAB's classes of numbers. Others are not even read.
_NUMBERS = (
    "sparse",
    "logical",
    "double",
    "single",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)

# What Pillow and scipy raise for files that are damaged or of another kind.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    scipy.io.matlab.MatReadError,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: str) -> RGB:
    """An image file as uint8 RGB (H, W, 3), upright."""
    try:
        return images.read_image(Path(path))
    except VideoError as error:
        raise DataError(str(error)) from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error


def frame_size(path: str) -> tuple[int, int]:
    """(H, W) of an image file as `read_image` gives it, from its header alone."""
    try:
        width, height = images.upright_size(Path(path))
    except VideoError as error:
        raise DataError(str(error)) from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error
    return height, width


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


def truth_size(path: str) -> tuple[int, int]:
    """(H, W) of a map or matrix, of a map from its header alone."""
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
    if image.mode == "F":
        raise DataError(f"{path}: holds floating-point values, whose range is unknown; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # PNG of 16 bits, or 32 of which 16 are in use
        return np.asarray(image, np.int64).clip(0, 65535).astype(np.uint16)
    return np.array(image if image.mode == "L" else image.convert("L"))


def _read(path: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_why(error)}") from error


def _read_matrix(path: str) -> NDArray[Any]:
    """The one matrix of numbers in a MATLAB file, or the one called I, as in DHF1K."""
    try:
        named = {
            name: shape
            for name, shape, kind in scipy.io.whosmat(path)
            if kind in _NUMBERS and len(shape) == 2 and min(shape) > 1
        }
        name = "I" if "I" in named else next(iter(named), None)
        if name is None or (len(named) > 1 and name != "I"):
            raise DataError(f"{path}: want one matrix, or one called I, found {', '.join(sorted(named)) or 'none'}")
        if math.prod(named[name]) > MAX_PIXELS:
            raise DataError(f"{path}: {' x '.join(map(str, named[name]))} pixels are too many for a frame")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = scipy.io.loadmat(path, variable_names=[name])[name]
        if scipy.sparse.issparse(matrix):
            matrix.check_format(full_check=True)  # without it, scipy follows any index, also out of its memory
            matrix = matrix.toarray()
        return np.asarray(matrix)
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
