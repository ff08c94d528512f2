"""Predicted maps to be scored: a folder of them, or a network that predicts them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import DataError, Split, Video
from .data.listing import Series, list_folder
from .data.truth import read_density
from .predict import postprocess
from .predictor import Predictor
from .video import RGB

Map8 = NDArray[np.uint8]  # (h, w)


def read_map(path: str | os.PathLike[str]) -> Map8:
    """A predicted map as uint8 (h, w); of 16 bits the upper eight, rounded. DataError if it cannot be read."""
    return (read_density(os.fspath(path)) * 255).round().astype(np.uint8)


def expected_frames(video: Video) -> list[int]:
    """0-based numbers of the frames whose truth is there."""
    gaps = set(video.gaps)
    return [index for index in range(video.length) if index not in gaps]


@dataclass
class Faults:
    """What is wrong with the predictions, by video or folder: numbers of frames from 1, and sentences.

    >>> faults = Faults()
    >>> faults.missing["0601"] = [3, 4, 5, 9]
    >>> print("\\n".join(faults.lines()))
    0601: 4 frames are missing: 3-5, 9
    """

    missing: dict[str, list[int]] = field(default_factory=dict)
    extra: dict[str, list[int]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.unknown or self.unreadable)

    def counts(self) -> dict[str, int]:
        """How many frames, and folders of unknown name."""
        return {
            "missing": sum(map(len, self.missing.values())),
            "extra": sum(map(len, self.extra.values())),
            "unreadable": len(self.unreadable),
            "unknown_folders": len(self.unknown),
        }

    def lines(self) -> list[str]:
        """All of it, a line a video and kind."""
        found = []
        for kind, places in (("missing", self.missing), ("not of the video", self.extra)):
            for name, numbers in places.items():
                found.append(f"{name}: {len(numbers)} frame{_plural(numbers)} {kind}: {ranges(numbers)}")
        return found + [f"{name}: no video of the split has this name" for name in self.unknown] + self.unreadable


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in words as few as possible.

    >>> ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _plural(numbers: Sequence[int]) -> str:
    return " is" if len(numbers) == 1 else "s are"


class MapFolder:
    """Maps in files: ``NAME/0001.png`` and on, below one folder, as ``tased predict --format maps`` writes them.

    Attributes
    ----------
    faults
        What is missing, and what is too much.

    Raises
    ------
    DataError
        If the folder cannot be read.
    """

    def __init__(self, root: str | os.PathLike[str], split: Split) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{root}: no such folder")
        self.faults = Faults()
        folders = {_known_name(name): name for name in list_folder(os.fspath(root)).folders}
        self._files: dict[str, Series] = {}
        for video in split.videos:
            folder = folders.pop(_known_name(video.name), None)
            found = list_folder(os.path.join(root, folder)).images if folder is not None else None
            numbers = found.numbers() if found is not None else set()
            if found is not None:
                self._files[video.name] = found
            missing = [index + 1 for index in expected_frames(video) if index + 1 not in numbers]
            extra = sorted(number for number in numbers if not 1 <= number <= video.length)
            if missing:
                self.faults.missing[video.name] = missing
            if extra:
                self.faults.extra[video.name] = extra
        self.faults.unknown += sorted(folders.values())

    def maps(self, video: Video) -> Iterator[tuple[int, str]]:
        """Numbers of a video's frames and files of their maps, as far as they are there."""
        files = self._files.get(video.name)
        numbers = files.numbers() if files is not None else set()
        for index in expected_frames(video):
            if files is not None and index + 1 in numbers:
                yield index, files.path(index + 1)

    def key(self, video: Video) -> str:
        """Stands for the files of a video, as long as none of them changes."""
        return files_key([path for _, path in self.maps(video)])

    def whole(self, _: str) -> bool:
        """Whether all maps of a video that there are have been given."""
        return True


def files_key(paths: Iterable[str]) -> str:
    """Stands for files as long as none of them changes."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue  # whoever reads it will say so
        digest.update(
            f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _known_name(name: str) -> str:
    """A number is the same with and without leading zeros."""
    return str(int(name)) if name.isdecimal() else name


@dataclass
class NetworkMaps:
    """Maps that a network predicts, in 8 bits at the network's size, as ``tased predict --format maps`` would write them.

    Attributes
    ----------
    predictor
        The network, and how it computes.
    identity
        Stands for its weights.
    """

    predictor: Predictor
    identity: str
    faults: Faults = field(default_factory=Faults)

    def maps(self, video: Video) -> Iterator[tuple[int, Map8]]:
        """Numbers of a video's frames and their maps; ends early, with a fault, where a frame cannot be decoded."""
        there = set(expected_frames(video))
        done = 0
        try:
            for index, saliency in enumerate(self._predicted(video.images(range(video.length)))):
                if index in there:
                    yield index, saliency
                done = index + 1
        except DataError as error:
            self.faults.unreadable.append(str(error))
            self.faults.missing[video.name] = [index + 1 for index in sorted(there) if index >= done]

    def key(self, video: Video) -> str:
        """Stands for the network and how it is used."""
        return f"{self.identity} {self.predictor.size} {self.predictor.precision}"

    def whole(self, name: str) -> bool:
        """Whether all maps of a video have been given."""
        return name not in self.faults.missing

    def _predicted(self, frames: Iterable[RGB]) -> Iterator[Map8]:
        for saliency in self.predictor(frames):
            yield (postprocess(saliency) * 255).round().astype(np.uint8)
