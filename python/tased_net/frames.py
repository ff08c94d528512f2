"""What all readers and writers of videos share: a frame, a reader's interface, and what goes wrong."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

RGB = NDArray[np.uint8]  # (H, W, 3)
NO_IMAGE: RGB = np.empty((0, 0, 3), np.uint8)  # of a frame whose time alone counts

# Frames above 8192x8192 are taken for damage or malice, and refused before memory is.
MAX_PIXELS = 2**26


def network_input(image: RGB, size: tuple[int, int]) -> Tensor:
    """A frame as the network sees it, in training and in prediction.

    Parameters
    ----------
    image
        uint8 RGB (H, W, 3).
    size
        Height and width (h, w) to resize it to: bilinearly between pixel centres and without smoothing.

    Returns
    -------
    Tensor
        float32 (3, h, w), (2v - 255) / 255 of each value v.

    Raises
    ------
    ValueError
        If the frame is something else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"frames must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}")
    # PyTorch takes no array that is flipped, and warns of one that is read-only.
    image = np.require(image, requirements=["C", "W"])
    frame = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    return F.interpolate(frame, size, mode="bilinear", align_corners=False)[0].mul_(2).sub_(255).div_(255)


class VideoError(RuntimeError):
    """A video that cannot be read."""


class VideoWarning(UserWarning):
    """A video of which only a part can be read or carried over."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame as it is meant to be seen, upright.

    `image` is uint8 RGB (H, W, 3), `time` in seconds; `pixel_aspect` is the width of a pixel over its height.
    """

    image: RGB
    time: Fraction
    pixel_aspect: Fraction = Fraction(1)


@dataclass(frozen=True)
class VideoInfo:
    """What a writer wants to know of the video whose maps it writes.

    `source` is its name for people, `sound` what FFmpeg can open once more to find the sound, or None; the rest is as in
    `VideoReader`.
    """

    source: str
    rate: Fraction
    time_base: Fraction
    expected_frames: int | None = None
    sound: str | None = None


class VideoReader(ABC):
    """A video's frames, to be iterated over once; a context manager that closes the file.

    Attributes
    ----------
    source
        The video's name, as messages give it.
    rate
        Frames a second on average.
    time_base
        Seconds of which all frame times are multiples.
    expected_frames
        Their number as far as the header knows it, or None.
    sound
        What FFmpeg can open a second time to find the video's sound, or None.
    """

    source: str
    rate: Fraction
    time_base: Fraction
    expected_frames: int | None
    sound: str | None = None

    @abstractmethod
    def __init__(self, path: str | os.PathLike[str]) -> None: ...

    @abstractmethod
    def __iter__(self) -> Iterator[VideoFrame]: ...

    @abstractmethod
    def close(self) -> None: ...

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        """The frames from number `start` on, counted from 0.

        All are decoded, as that alone gives the same frames as an iteration from the beginning; those left out are not
        brought to RGB where the reader can do without.

        Raises
        ------
        VideoError
            If no frame can be decoded.
        """
        return islice(iter(self), start, None)

    @property
    def info(self) -> VideoInfo:
        """What a writer wants to know of it."""
        return VideoInfo(self.source, self.rate, self.time_base, self.expected_frames, self.sound)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
