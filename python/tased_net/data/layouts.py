"""Where the videos of a dataset are, in the layouts that people have on their disks.

One walk finds them all. Folders with a general name hold videos: of a split (``training``), or of a kind of file (``video``,
``annotation``, ``maps``). Below them, a folder or a video file is one video, whose parts from different places are put
together by its name. The datasets differ in what a video may be called, and in how a split is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .errors import DataError
from .listing import Folder, Lister, Series
from .videos import ImageFiles, Split, Video

# Names of folders, in lower case.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
KINDS = {
    **dict.fromkeys(("video", "videos", "frame", "frames", "image", "images"), "frames"),
    **dict.fromkeys(("map", "maps", "annotation", "annotations"), "maps"),
    **dict.fromkeys(("fixation", "fixations"), "fixations"),
}


@dataclass
class Found:
    """A video's parts."""

    name: str
    split: str | None
    images: Series | None = None
    file: str | None = None
    maps: Series | None = None
    fixations: Series | None = None

    def add(self, kind: str, folder: Folder) -> None:
        """Adds the numbered files of a folder; what was found first stays."""
        if kind == "frames":
            self.images = self.images or folder.images
        elif kind == "maps":
            self.maps = self.maps or folder.images
        else:
            self.fixations = self.fixations or folder.images or folder.matrices


@dataclass(frozen=True)
class Dataset:
    """What is particular to a dataset.

    `video_name` gives the name of the video in a folder or file of some name, or None if that is not one; `split_of` the split
    that goes with a video's name, or None; `splits` those that the dataset has, empty if that is open.
    """

    title: str
    splits: tuple[str, ...]
    video_name: Callable[[str], str | None]
    split_of: Callable[[str], str | None]
    first: int | None = None  # number of the first frame, None if that is the first that is there
    unannotated: tuple[str, ...] = ()


def _dhf1k_name(name: str) -> str | None:
    return f"{int(name):04d}" if name.isdecimal() and 1 <= int(name) <= 1000 else None


def _dhf1k_split(name: str) -> str:
    return "train" if name <= "0600" else "val" if name <= "0700" else "test"


def _hollywood2_split(name: str) -> str | None:
    match = re.match(r"actionclip(train|test)", name, re.IGNORECASE)
    return match[1].lower() if match else None


def _any_name(name: str) -> str:
    return name


def _no_split(name: str) -> None:
    return None


DATASETS = {
    "dhf1k": Dataset("DHF1K", ("train", "val", "test"), _dhf1k_name, _dhf1k_split, 1, ("test",)),
    "hollywood2": Dataset("Hollywood-2", ("train", "test"), _any_name, _hollywood2_split),
    "ucfsports": Dataset("UCF-Sports", ("train", "test"), _any_name, _no_split),
    "folder": Dataset("a folder", (), _any_name, _no_split),
}


def open_dataset(root: str | os.PathLike[str], name: str, split: str | None = None, *, strict: bool = False) -> Split:
    """Finds the videos of a dataset, or of a part of it.

    Parameters
    ----------
    root
        The dataset's folder.
    name
        "dhf1k", "hollywood2", "ucfsports" or "folder"; docs/data.md shows their layouts.
    split
        "train", "val" or "test", for a folder any that it has; None for all videos.
    strict
        Whether everything must be there. By default a part of a dataset is enough, and `problems` tells what is missing.

    Returns
    -------
    Split
        Videos whose frames, or whose truth where the split has any, are missing are left out.

    Raises
    ------
    DataError
        If no video is found, the split is none of the dataset's, or, with `strict`, anything is missing.
    ValueError
        If there is no dataset of this name.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(map(repr, DATASETS))}, got {name!r}")
    dataset = DATASETS[name]
    path = os.path.abspath(root)
    if not os.path.isdir(path):
        raise DataError(f"{root}: no such folder")
    videos = _find(path, dataset)
    if not videos:
        raise DataError(f"{root}: holds no videos in a layout of {dataset.title}: docs/data.md shows them")
    wanted = videos if split is None else [video for video in videos if video.split == split]
    if not wanted:
        there = sorted({video.split for video in videos if video.split})
        raise DataError(f"{root}: has no split {split!r}" + (f", but {', '.join(there)}" if there else ""))
    complaints = Complaints()
    used = [video for found in wanted if (video := _video(found, dataset, complaints)) is not None]
    problems = complaints.sentences()
    if strict and problems:
        raise DataError(f"{root}: is not complete: {problems[0]}")
    return Split(name, Path(root), split, used, problems)


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, numbers by their value.

    >>> sorted(["clip10", "clip9"], key=natural)
    ['clip9', 'clip10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


class Complaints:
    """What is wrong, by kind, with the videos that it concerns."""

    def __init__(self) -> None:
        self._videos: dict[str, list[str]] = {}

    def add(self, what: str, name: str) -> None:
        """Notes a video."""
        self._videos.setdefault(what, []).append(name)

    def sentences(self, shown: int = 6) -> list[str]:
        """A sentence for each kind: "3 videos have no maps: 0007, 0012, 0044"."""
        return [_sentence(what, names, shown) for what, names in self._videos.items()]


def _sentence(what: str, names: list[str], shown: int) -> str:
    count = "1 video has" if len(names) == 1 else f"{len(names)} videos have"
    listed = ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
    return f"{count} {what}: {listed}"


def _find(root: str, dataset: Dataset) -> list[Found]:
    lister = Lister(root)
    videos: dict[tuple[str | None, str], Found] = {}

    def video(name: str, split: str | None) -> Found:
        split = split or dataset.split_of(name)
        return videos.setdefault((split, name), Found(name, split))

    def container(path: str, split: str | None, kind: str, depth: int) -> None:
        folder = lister(path)
        for file in folder.videos:
            name = dataset.video_name(os.path.splitext(file)[0])
            if name is not None:
                found = video(name, split)
                found.file = found.file or os.path.join(path, file)
        for name in folder.folders:
            below, lower = os.path.join(path, name), name.lower()
            if (lower in SPLITS or lower in KINDS) and depth:
                container(below, SPLITS.get(lower, split), KINDS.get(lower, kind), depth - 1)
            elif (known := dataset.video_name(name)) is not None:
                one(below, video(known, split), kind)

    def one(path: str, found: Found, kind: str) -> None:
        folder = lister(path)
        for name in folder.folders:
            part = KINDS.get(name.lower())
            if part is not None:
                parts(os.path.join(path, name), found, part)
        found.add(kind, folder)
        if folder.videos:
            found.file = found.file or os.path.join(path, folder.videos[0])

    def parts(path: str, found: Found, part: str) -> None:
        folder = lister(path)
        found.add(part, folder)
        if part == "fixations":
            for name in folder.folders:
                if name.lower() in ("maps", "map"):
                    found.add(part, lister(os.path.join(path, name)))

    container(root, SPLITS.get(os.path.basename(root).lower()), "frames", 3)
    lister.save()
    return sorted(
        (found for found in videos.values() if found.images or found.file or found.maps or found.fixations),
        key=lambda found: natural(found.name),
    )


def _video(found: Found, dataset: Dataset, complaints: Complaints) -> Video | None:
    """The video, or None if it cannot be used."""
    complain = partial(complaints.add, name=found.name)
    truth = [numbers for numbers in (found.maps, found.fixations) if numbers is not None]
    if found.images is None:
        complain("no frames")
        return None
    if found.split not in dataset.unannotated:
        if found.maps is None:
            complain("no maps")
        if found.fixations is None:
            complain("no fixations")
    images = found.images.numbers()
    lowest = min(images)
    first = lowest if dataset.first is None else min(lowest, dataset.first)
    usable = {number - first for number in images}
    offset = first
    if truth:
        starts = min(min(files.numbers()) for files in truth)
        if {first, starts} == {0, 1}:  # the same frames, counted from 0 here and from 1 there
            offset = starts
        for files in truth:
            usable &= {number - offset for number in files.numbers()}
    if not usable:
        complain("no frame with its truth")
        return None
    length = max(usable) + 1
    gaps = tuple(index for index in range(length) if index not in usable)
    if gaps:
        complain("frames of which a part is missing")
    return Video(found.name, length, ImageFiles(found.images, first), found.maps, found.fixations, offset, gaps)
