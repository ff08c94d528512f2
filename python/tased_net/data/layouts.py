"""Where the videos of a dataset are, in the layouts that people have on their disks.

One walk finds them all. Folders with a general name hold videos: those of a split (``training``), or a kind of file of each
(``video``, ``annotation``, ``maps``). Below them, a folder or a video file is one video, whose parts from different places are
put together by its name. The datasets differ in what a video may be called, and in how a split is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from .listing import Folder, Lister, Series

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
_DEPTH = 3  # folders with a general name inside each other


@dataclass
class Found:
    """The parts of a video that are there."""

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
class Layout:
    """What is particular to a dataset.

    Attributes
    ----------
    title
        Its name in full.
    video_name
        The name of the video in a folder or file called so, or None if that is no video's.
    split_of
        The split of a video by its name, or None if the name does not tell.
    expected
        Numbers of the videos that belong to a split, where they are fixed.
    first
        Number of the first frame; None if it is the first number that is there.
    unannotated
        Splits whose ground truth is not published.
    """

    title: str
    video_name: Callable[[str], str | None]
    split_of: Callable[[str], str | None]
    expected: dict[str, range]
    first: int | None = None
    unannotated: tuple[str, ...] = ()


def _dhf1k_name(name: str) -> str | None:
    return f"{int(name):04d}" if name.isdecimal() and 1 <= int(name) <= 1000 else None


def _dhf1k_split(name: str) -> str:
    return next(split for split, numbers in _DHF1K.items() if int(name) in numbers)


def _hollywood2_split(name: str) -> str | None:
    match = re.match(r"actionclip(train|test)", name, re.IGNORECASE)
    return match[1].lower() if match else None


def _any_name(name: str) -> str:
    return name


def _untold(name: str) -> None:
    return None


_DHF1K = {"train": range(1, 601), "val": range(601, 701), "test": range(701, 1001)}

DATASETS = {
    "dhf1k": Layout("DHF1K", _dhf1k_name, _dhf1k_split, _DHF1K, 1, ("test",)),
    "hollywood2": Layout("Hollywood-2", _any_name, _hollywood2_split, {}),
    "ucfsports": Layout("UCF-Sports", _any_name, _untold, {}),
    "folder": Layout("a plain folder", _any_name, _untold, {}),
}


def find_videos(root: str, layout: Layout) -> list[Found]:
    """Walks through a dataset's folder."""
    walk = _Walk(layout, Lister(root))
    walk.container(root, SPLITS.get(os.path.basename(root).lower()), "frames", _DEPTH)
    walk.lister.save()
    return [found for found in walk.videos.values() if found.images or found.file or found.maps or found.fixations]


class _Walk:
    def __init__(self, layout: Layout, lister: Lister) -> None:
        self.layout, self.lister = layout, lister
        self.videos: dict[tuple[str | None, str], Found] = {}

    def container(self, path: str, split: str | None, kind: str, depth: int) -> None:
        """A folder of videos, or of one kind of their files."""
        folder = self.lister(path)
        for file in folder.videos:
            found = self.video(os.path.splitext(file)[0], split)
            if found is not None:
                found.file = found.file or os.path.join(path, file)
        for name in folder.folders:
            below, lower = os.path.join(path, name), name.lower()
            if (lower in SPLITS or lower in KINDS) and depth:
                self.container(below, SPLITS.get(lower, split), KINDS.get(lower, kind), depth - 1)
            elif (found := self.video(name, split)) is not None:
                self.folder_of(found, below, kind)

    def video(self, name: str, split: str | None) -> Found | None:
        known = self.layout.video_name(name)
        if known is None:
            return None
        split = self.layout.split_of(known) or split
        return self.videos.setdefault((split, known), Found(known, split))

    def folder_of(self, found: Found, path: str, kind: str) -> None:
        """The folder of one video, with its files of one kind, or a folder for each kind."""
        folder = self.lister(path)
        for name in folder.folders:
            if name.lower() in KINDS:
                self.part(found, os.path.join(path, name), KINDS[name.lower()])
        found.add(kind, folder)
        if folder.videos:
            found.file = found.file or os.path.join(path, folder.videos[0])

    def part(self, found: Found, path: str, kind: str) -> None:
        folder = self.lister(path)
        found.add(kind, folder)
        for name in folder.folders:
            if kind == "fixations" and name.lower() in ("map", "maps"):  # of .mat files
                found.add(kind, self.lister(os.path.join(path, name)))
