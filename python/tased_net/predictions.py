"""Predicted maps to be scored: a folder of them, or a network that predicts them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import DataError, Split, Video
from .data.listing import Series, list_folder
from .data.truth import read_density
from .frames import RGB
from .images import SUFFIXES
from .predict import postprocess
from .predictor import Predictor
from .words import plural, ranges

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
        """How many frames, and folders and images that belong to none."""
        return {
            "missing": sum(map(len, self.missing.values())),
            "extra": sum(map(len, self.extra.values())),
            "unreadable": len(self.unreadable),
            "unknown": len(self.unknown),
        }

    def lines(self) -> list[str]:
        """All of it, a line a video and kind."""
        found = []
        for kind, places in (("missing", self.missing), ("not of the video", self.extra)):
            for name, numbers in places.items():
                found.append(f"{name}: {len(numbers)} frame{plural(len(numbers))} {kind}: {ranges(numbers)}")
        for name in self.unknown:
            is_file = os.path.splitext(name)[1].lower() in SUFFIXES
            found.append(f"{name}: {'not the map of a frame' if is_file else 'no video of the split has this name'}")
        return found + self.unreadable


class MapFolder:
    """Maps in files: ``NAME/0001.png`` and on, below one folder, as ``tased predict --format maps`` writes them.

    Parameters
    ----------
    root
        The folder.
    split
        Whose videos they are of; leading zeros in the folders' names do not matter.

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
        folders, free = _claimed([video.name for video in split.videos], _folders(os.fspath(root), split))
        self.faults.unknown += free
        self._files: dict[str, Series] = {}
        for video in split.videos:
            folder = folders.get(video.name)
            found = list_folder(os.path.join(root, folder)).images if folder is not None else None
            if folder is not None:
                self.faults.unknown += [f"{folder}/{name}" for name in _unclaimed(os.path.join(root, folder), found)]
            numbers = found.numbers() if found is not None else set()
            if found is not None:
                self._files[video.name] = found
            missing = [index + 1 for index in expected_frames(video) if index + 1 not in numbers]
            extra = sorted(number for number in numbers if not 1 <= number <= video.length)
            if missing:
                self.faults.missing[video.name] = missing
            if extra:
                self.faults.extra[video.name] = extra

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


def _folders(root: str, split: Split) -> list[str]:
    """Folders that may be videos: those of the root, and in those that videos such as "train/street" are in."""
    above = {video.name.rpartition("/")[0] for video in split.videos if "/" in video.name}
    found = []
    for name in list_folder(root).folders:
        below = list_folder(os.path.join(root, name)).folders if name in above else ()
        found += [f"{name}/{one}" for one in below] if name in above else [name]
    return found


def _claimed(names: list[str], folders: list[str]) -> tuple[dict[str, str], list[str]]:
    """The folder of each video, which has its name or else its number, and the folders that are none's."""
    found = {name: name for name in names if name in folders}
    free = sorted(set(folders).difference(found))
    for name in names:
        folder = next((one for one in free if _known_name(one) == _known_name(name)), None)
        if name not in found and folder is not None:
            found[name] = folder
            free.remove(folder)
    return found, free


def _unclaimed(folder: str, images: Series | None) -> list[str]:
    """Images of a folder that have no number, or one that another has."""
    taken = set() if images is None else {os.path.basename(images.path(number)) for number in images.numbers()}
    return sorted(
        name
        for name in os.listdir(folder)
        if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES and name not in taken
    )


def _known_name(name: str) -> str:
    """A number is the same with and without leading zeros."""
    above, slash, last = name.rpartition("/")
    return f"{above}{slash}{int(last) if last.isdecimal() else last}"


@dataclass
class NetworkMaps:
    """Maps that a network predicts, in 8 bits at the network's size, as ``tased predict --format maps`` would write them.

    Attributes
    ----------
    predictor
        The network, and how it computes.
    identity
        Stands for its weights.
    faults
        Frames that could not be decoded, so far.
    """

    predictor: Predictor
    identity: str
    faults: Faults = field(default_factory=Faults)
    _told: dict[str, str] = field(default_factory=dict, repr=False)  # of `faults.unreadable`, by video

    def maps(self, video: Video) -> Iterator[tuple[int, Map8]]:
        """Numbers of a video's frames and their maps; ends early, with a fault, where a frame cannot be decoded."""
        there = set(expected_frames(video))
        done = 0
        if self.faults.missing.pop(video.name, None) is not None:  # of a former call
            self.faults.unreadable.remove(self._told.pop(video.name))
        try:
            for index, saliency in enumerate(self._predicted(video.images(range(video.length)))):
                if index in there:
                    yield index, saliency
                done = index + 1
        except DataError as error:
            self._told[video.name] = str(error)
            self.faults.unreadable.append(str(error))
            self.faults.missing[video.name] = [index + 1 for index in sorted(there) if index >= done]

    def key(self, video: Video) -> str:
        """Stands for the network, how it is used, and the files of the frames."""
        return f"{self.identity} {self.predictor.size} {self.predictor.precision} {files_key(video.source.paths())}"

    def whole(self, name: str) -> bool:
        """Whether all maps of a video have been given."""
        return name not in self.faults.missing

    def _predicted(self, frames: Iterable[RGB]) -> Iterator[Map8]:
        for saliency in self.predictor(frames):
            yield (postprocess(saliency) * 255).round().astype(np.uint8)
