"""Opening a dataset: which videos it has, which of their frames can be used, and what is wrong with the rest."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from ..texts import read_text
from .cache import log
from .errors import DataError
from .layouts import DATASETS, SPLITS, Found, Layout, find_videos
from .listing import Series
from .problems import Problem, Problems, natural
from .seeking import VideoFile, open_file
from .videos import ImageFiles, Source, Split, Video

_LONGEST_LIST = 2**24  # bytes of a split's file of names
_MOST_GAPS = 2**20  # numbers that a video's frames may lack: beyond it they are no numbers of frames
_OPENED_AT_ONCE = 4  # video files that are indexed at a time


def open_dataset(
    root: str | os.PathLike[str], name: str, split: str | None = None, *, strict: bool = False, progress: bool = False
) -> Split:
    """Finds the videos of a dataset, or of a part of it.

    The first time, a dataset's folders are listed and its video files are gone through, without decoding them; what is found
    is kept in the user's cache.

    Parameters
    ----------
    root
        The dataset's folder.
    name
        "dhf1k", "hollywood2", "ucfsports" or "folder"; docs/data.md shows their layouts.
    split
        "train", "val" or "test", or, for a list of names in the file ``NAME.txt`` of the root, NAME; None for all videos.
    strict
        Whether everything must be there. By default a part of a dataset is enough, and `problems` tells what is missing.
    progress
        Whether to show a bar on stderr while video files are gone through.

    Returns
    -------
    Split
        Its `problems` tell what is missing or broken.

    Raises
    ------
    DataError
        If no video is found, there is no such split, or, with `strict`, anything is missing.
    ValueError
        If there is no dataset of this name.
    """
    return Scan(root, name).open(split, strict=strict, progress=progress)


class Scan:
    """The videos that are in a dataset's folder.

    Parameters
    ----------
    root, name
        As for `open_dataset`.

    Attributes
    ----------
    splits
        Those that have videos here.

    Raises
    ------
    DataError, ValueError
        As `open_dataset`.
    """

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
        if name not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(map(repr, DATASETS))}, got {name!r}")
        self.root, self.name, self._layout = Path(root), name, DATASETS[name]
        path = os.path.abspath(root)
        if not os.path.isdir(path):
            raise DataError(f"{root}: no such folder")
        self._found = find_videos(path, self._layout)
        if not self._found:
            raise DataError(f"{root}: holds no videos as {self._layout.title} has them, docs/data.md shows how")
        self._lists = {part: names for part in ("train", "val", "test") if (names := self._listed(part)) is not None}
        self._named: dict[str, list[str]] = {}
        for part, names in self._lists.items():
            for video in names:
                self._named.setdefault(video, []).append(part)
        self.splits = [part for part in ("train", "val", "test") if self._of(part)]

    def open(self, split: str | None, *, strict: bool = False, progress: bool = False) -> Split:
        """The videos of a split, or all: see `open_dataset`."""
        wanted = self._found if split is None else self._of(split)
        if not wanted:
            there = f"only {', '.join(self.splits)}" if self.splits else "as no video is in any: leave the split out"
            raise DataError(f"{self.root}: has no split {split!r}, {there}")
        problems = Problems()
        self._note_missing(split, wanted, problems)
        wanted = sorted(wanted, key=lambda found: natural(found.name))
        files = _opened([found for found in wanted if found.images is None], progress)
        parts = [self._splits_of(found) for found in wanted]
        annotated = {tuple(part) for part, found in zip(parts, wanted, strict=True) if found.maps}
        videos = [
            video
            for part, found in zip(parts, _apart(wanted), strict=True)
            if (video := _video(found, self._layout, files, tuple(part) in annotated, problems)) is not None
        ]
        sentences = problems.sentences()
        if strict and sentences:
            raise DataError(f"{self.root}: is not complete: {'; '.join(sentences)}")
        return Split(self.name, self.root, split, videos, sentences)

    def _splits_of(self, found: Found) -> list[str]:
        """The splits whose lists name a video, or else that of its folder."""
        return self._named.get(found.name) or ([found.split] if found.split else [])

    def _of(self, split: str) -> list[Found]:
        if split in SPLITS.values():
            return [found for found in self._found if split in self._splits_of(found)]
        names = set(self._listed(split) or ())
        return [found for found in self._found if found.name in names]

    def _listed(self, split: str) -> list[str] | None:
        """The names in the root's file of a split, if there is one and the dataset's splits are not fixed."""
        file = self.root / f"{split}.txt"
        if self._layout.expected:
            return None
        try:
            lines = read_text(file, _LONGEST_LIST).splitlines() if file.is_file() else None
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read as text ({error})") from error
        return None if lines is None else [line.strip() for line in lines if line.strip() and line[0] != "#"]

    def _note_missing(self, split: str | None, wanted: list[Found], problems: Problems) -> None:
        there = {found.name for found in wanted}
        ranges = [numbers for part, numbers in self._layout.expected.items() if split in (part, None)]
        expected = [f"{number:04d}" for numbers in ranges for number in numbers]
        listed = [self._listed(split) or []] if split else self._lists.values()
        for name in [*expected, *chain.from_iterable(listed)]:
            if name not in there:
                problems.add(Problem.MISSING, name)


def _apart(wanted: list[Found]) -> list[Found]:
    """The same with the split before names that occur in several: "train/street"."""
    count = Counter(found.name for found in wanted)
    return [replace(found, name=f"{found.split}/{found.name}") if count[found.name] > 1 else found for found in wanted]


def _opened(wanted: list[Found], progress: bool) -> dict[str, VideoFile | None]:
    """The video files among the parts, None for those that cannot be decoded."""
    paths = [found.file for found in wanted if found.file is not None]

    def try_to_open(path: str) -> VideoFile | None:
        try:
            return open_file(path)
        except DataError as error:
            log.debug("%s", error)
            return None

    pool = ThreadPoolExecutor(_OPENED_AT_ONCE)
    try:
        opened = pool.map(try_to_open, paths)
        shown = tqdm(opened, "videos", len(paths), unit="file", leave=False, delay=0.5, disable=not progress)
        return dict(zip(paths, shown, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # ctrl-C does not wait for the rest


def _end_alike(images: Series | None, truth: list[set[int]]) -> bool:
    return images is not None and max(images.numbers()) == max(map(max, truth))


def _video(
    found: Found, layout: Layout, files: dict[str, VideoFile | None], annotated: bool, problems: Problems
) -> Video | None:
    """The video, or None if it cannot be used; `annotated` tells whether others of its split have maps."""
    note = partial(problems.add, name=found.name)
    if found.maps is None and annotated:
        return note(Problem.LEFT_OUT)
    if found.maps is None and found.split not in layout.unannotated:
        note(Problem.NO_MAPS)
    if found.fixations is None and found.split not in layout.unannotated:
        note(Problem.NO_FIXATIONS)
    if found.images is not None:
        numbers = found.images.numbers()
        first = min(numbers) if layout.first is None else min(*numbers, layout.first)
        source: Source = ImageFiles(found.images, first)
        frames = {number - first for number in numbers}
    elif found.file is not None:
        file = files[found.file]
        if file is None:
            return note(Problem.UNREADABLE)
        if not file.index.whole:
            note(Problem.CUT_SHORT)
        first, source, frames = 1, file, set(range(len(file.index)))
    else:
        return note(Problem.NO_FRAMES)
    truth = [part.numbers() for part in (found.maps, found.fixations) if part is not None]
    # The same frames, counted from 0 here and from 1 there. But images that end with the number with which the truth ends are
    # counted as it is: a first one is missing.
    if truth and {first, min(map(min, truth))} == {0, 1} and not _end_alike(found.images, truth):
        first = 1 - first
    usable = frames.intersection(*({number - first for number in part} for part in truth))
    if not usable:
        return note(Problem.NO_MATCH)
    length = max(usable) + 1
    if length - len(usable) > _MOST_GAPS:
        return note(Problem.NO_NUMBERS)
    gaps = tuple(sorted(set(range(length)) - usable))
    if gaps:
        note(Problem.GAPS)
    if any(max(part) - first > max(frames) for part in truth):
        note(Problem.TOO_FEW)
    if max(frames) - length >= (1 if found.images is None else 0):  # decoders differ in whether they give a last frame
        note(Problem.TOO_MANY)
    return Video(found.name, length, source, found.maps, found.fixations, first, gaps)
