"""A split of a dataset and its videos, as the rest of the package sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ..frames import RGB
from .listing import Series
from .truth import Density, Fixations, frame_size, read_density, read_fixations, read_image, truth_size


class Source(Protocol):
    """Where a video's frames come from."""

    def images(self, indices: Iterable[int]) -> Iterator[RGB]:
        """Frames by their 0-based numbers."""

    def size(self) -> tuple[int, int]:
        """(H, W)."""

    def rate(self) -> Fraction | None:
        """Frames a second, if known."""

    def paths(self) -> list[str]:
        """All files of it."""


@dataclass(frozen=True)
class ImageFiles:
    """Frames that are images of a folder; frame 0 has the number `first`."""

    files: Series
    first: int

    def images(self, indices: Iterable[int]) -> Iterator[RGB]:
        """Frames by their 0-based numbers."""
        return (read_image(self.files.path(self.first + index)) for index in indices)

    def size(self) -> tuple[int, int]:
        """(H, W) of the first frame."""
        return frame_size(self.files.path(min(self.files.numbers())))

    def rate(self) -> None:
        """Unknown."""

    def paths(self) -> list[str]:
        """All files of it."""
        return [self.files.path(number) for number in sorted(self.files.numbers())]


@dataclass(frozen=True)
class Video:
    """A video with its ground truth, if it has any. Files are opened when something of them is asked for.

    Attributes
    ----------
    name
        Unique within the split.
    length
        Frames from the first on that can be used: their images are there, and their truth if the video has any.
    gaps
        0-based numbers below `length` of frames whose image or a part of whose truth is missing. To ask for what is missing
        is a `DataError`.
    source
        The frames.
    maps, fixation_maps
        Files of the ground truth, or None.
    first
        Number in the name of the truth's file of frame 0.
    """

    name: str
    length: int
    source: Source = field(repr=False)
    maps: Series | None = field(default=None, repr=False)
    fixation_maps: Series | None = field(default=None, repr=False)
    first: int = field(default=1, repr=False)
    gaps: tuple[int, ...] = field(default=(), repr=False)

    def images(self, indices: Iterable[int]) -> Iterator[RGB]:
        """Decodes frames.

        Parameters
        ----------
        indices
            0-based numbers below `length`, in any order. Runs of frames that follow each other are decoded in one go.

        Yields
        ------
        numpy.ndarray
            uint8 RGB (H, W, 3) for each number in turn.

        Raises
        ------
        IndexError
            If there is no such frame.
        DataError
            If a frame is missing or cannot be decoded; frames before it are given, and others can still be asked for.
        """
        wanted = list(indices)
        for index in wanted:
            self._check(index)
        return self.source.images(wanted)

    def density(self, index: int) -> Density | None:
        """The density map of a frame: float32 (H, W) from 0 to 1, grey values over 255; None if the video has none."""
        self._check(index)
        return None if self.maps is None else read_density(self.maps.path(self.first + index))

    def fixations(self, index: int) -> Fixations | None:
        """The fixated pixels of a frame: bool (H, W); None if the video has none."""
        self._check(index)
        return None if self.fixation_maps is None else read_fixations(self.fixation_maps.path(self.first + index))

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the ground truth, or of the frames where there is none."""
        truth = self.maps or self.fixation_maps
        if truth is None:
            return self.source.size()
        return truth_size(truth.path(min(truth.numbers())))

    @cached_property
    def rate(self) -> Fraction | None:
        """Frames a second as far as a video file tells it, else None."""
        return self.source.rate()

    def _check(self, index: int) -> None:
        if not 0 <= index < self.length:
            raise IndexError(f"{self.name}: has frames 0 to {self.length - 1}, asked for {index}")


@dataclass(frozen=True)
class Split:
    """The videos of a part of a dataset.

    Attributes
    ----------
    name
        The dataset: "dhf1k", "hollywood2", "ucfsports" or "folder".
    root
        Its folder.
    split
        The part, or None for all of it.
    videos
        In natural order of their names.
    problems
        What is missing or broken, a sentence for each kind.
    """

    name: str
    root: Path
    split: str | None
    videos: list[Video] = field(repr=False)
    problems: list[str] = field(repr=False)
