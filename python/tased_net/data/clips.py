"""Clips of a split's videos as the network takes them, with their ground truth at the network's size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ..frames import network_input
from .errors import DataError
from .truth import Density, Fixations
from .videos import Split


class Sample(NamedTuple):
    """A clip with the truth of its last frames.

    Attributes
    ----------
    clip
        float32 (3, T, h, w) from -1 to 1.
    density
        float32 (k, h, w) from 0 to 1.
    fixations
        bool (k, h, w), all False where the video has none.
    name
        Video and 0-based first frame, "0601:17".
    """

    clip: Tensor
    density: Tensor
    fixations: Tensor
    name: str


class Place(NamedTuple):
    """Which clip: number of the video, 0-based first frame, whether it is mirrored."""

    video: int
    start: int
    flip: bool = False


class Clips(Dataset[Sample]):
    """All dense clips of a split.

    Parameters
    ----------
    split
        Its videos; those of no more than T frames have one clip, looped if they are shorter.
    clip_length
        Frames of a clip, T.
    size
        Height and width of clips and truth.
    maps
        How many of a clip's last frames give their truth, k.

    Notes
    -----
    An item is asked for by a `Place`, which is what a sampler is to give, or by the number of a clip, in the order of videos
    and first frames.

    Raises
    ------
    ValueError
        If `maps` is not from 1 to T.
    IndexError, DataError
        From an item, if there is no such clip, or a frame or its truth cannot be read or is not there.
    """

    def __init__(self, split: Split, clip_length: int, size: tuple[int, int], *, maps: int = 1) -> None:
        if not 1 <= maps <= clip_length:
            raise ValueError(f"maps must be from 1 to the clip's {clip_length} frames, got {maps}")
        self.split, self.clip_length, self.size, self.maps = split, clip_length, size, maps
        self._ends = np.cumsum([self.starts(number) for number in range(len(split.videos))])

    def starts(self, video: int) -> int:
        """How many first frames a video's clips have: from 0 to one below that."""
        return max(1, self.split.videos[video].length - self.clip_length + 1)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, item: Place | tuple[int, int, bool] | int) -> Sample:
        return self.clip(*(self.place(item) if isinstance(item, int) else item))

    def place(self, number: int) -> Place:
        """Where the clip of a number is; an IndexError if there is none."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} clips, asked for number {number}")
        video = int(np.searchsorted(self._ends, number, side="right"))
        return Place(video, number - (int(self._ends[video - 1]) if video else 0))

    def clip(self, video: int, start: int, flip: bool = False) -> Sample:
        """Reads a clip.

        Parameters
        ----------
        video
            Its number in the split.
        start
            0-based first frame. A clip may begin anywhere in a video that is shorter, and is looped.
        flip
            Whether clip and truth are mirrored, left for right.

        Raises
        ------
        IndexError
            If there is no such clip.
        DataError
            If a frame or its truth cannot be read or is not there.
        """
        source = self.split.videos[video]
        starts = source.length if source.length < self.clip_length else self.starts(video)
        if not 0 <= start < starts:
            raise IndexError(f"{source.name}: its clips begin at frames 0 to {starts - 1}, asked for one from {start}")
        frames = [(start + step) % source.length for step in range(self.clip_length)]
        height, width = self.size
        clip = torch.empty(3, self.clip_length, height, width)
        distinct = sorted(set(frames))
        for index, image in zip(distinct, source.images(distinct), strict=True):
            resized = network_input(image, self.size)
            for place, frame in enumerate(frames):
                if frame == index:
                    clip[:, place] = resized
        density, fixations = [], []
        for frame in frames[-self.maps :]:
            truth = source.density(frame)
            if truth is None:
                raise DataError(f"{source.name}: has no density maps")
            density.append(resized_density(truth, self.size))
            points = source.fixations(frame)
            fixations.append(
                torch.zeros(self.size, dtype=torch.bool) if points is None else resized_fixations(points, self.size)
            )
        sample = Sample(clip, torch.stack(density), torch.stack(fixations), f"{source.name}:{start}")
        return _mirrored(sample) if flip else sample


def _mirrored(sample: Sample) -> Sample:
    return Sample(sample.clip.flip(-1), sample.density.flip(-1), sample.fixations.flip(-1), sample.name)


def resized_density(density: Density, size: tuple[int, int]) -> Tensor:
    """A density map at another size: means over areas along axes that shrink, bilinear along those that grow."""
    values = torch.from_numpy(density)[None, None]
    smaller = (min(size[0], values.shape[2]), min(size[1], values.shape[3]))
    if smaller != tuple(values.shape[2:]):
        values = F.interpolate(values, smaller, mode="area")
    if smaller != tuple(size):
        values = F.interpolate(values, size, mode="bilinear", align_corners=False)
    return values[0, 0]


def resized_fixations(fixations: Fixations, size: tuple[int, int]) -> Tensor:
    """Fixations at another size: each point is in the pixel that its centre falls into, so that none is lost."""
    rows, columns = np.nonzero(fixations)
    height, width = fixations.shape
    moved = torch.zeros(size, dtype=torch.bool)
    moved[(2 * rows + 1) * size[0] // (2 * height), (2 * columns + 1) * size[1] // (2 * width)] = True
    return moved
