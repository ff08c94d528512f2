"""Folders of numbered files, listed quickly and held in little memory.

A dataset of 1,000 videos has millions of files. Their names follow a pattern, so that a folder is its pattern and its range of
numbers: a few words, where a path for each file would be hundreds of megabytes in every worker. A folder that has not changed
since it was listed is not read again, see `Lister`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..images import SUFFIXES
from ..sources import VIDEOS, holds
from .cache import cached, keep
from .errors import DataError

MATLAB = (".mat",)

_NUMBERS = 5  # in a name, any of which may be the frame's
_SPARSE = 50  # so much longer than its files a range of numbers may be
_JUST_CHANGED = 2_000_000_000  # nanoseconds in which a folder may change again without a new time


@dataclass(frozen=True)
class Series:
    """Numbered files of one folder.

    Most are called `before`, the number with at least `digits` digits, `after`; `others` are the rest by number. Numbers go
    from `first` to `last`, of which `holes` are missing, and beyond where others have such.
    """

    folder: str
    before: str
    digits: int
    after: str
    first: int
    last: int
    holes: tuple[int, ...] = ()
    others: dict[int, str] = field(default_factory=dict)

    def numbers(self) -> set[int]:
        """The numbers of all files."""
        return set(range(self.first, self.last + 1)).difference(self.holes).union(self.others)

    def path(self, number: int) -> str:
        """The file of a number; a `DataError` if it is not there."""
        name = self.others.get(number)
        if name is None and self.first <= number <= self.last and number not in self.holes:
            name = self._name(number)
        if name is None:
            raise DataError(f"{self.folder}: has no file with the number {number}")
        return os.path.join(self.folder, name)

    def _name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"


def series(folder: str, names: Sequence[str]) -> Series | None:
    """The numbered ones among files of a folder; the number is the last one in the name that is not the same in all.

    >>> series("maps", ["a_0003.png", "a_0001.png", "b2.png"])
    Series(folder='maps', before='a_', digits=4, after='.png', first=1, last=3, holes=(), others={2: 'b2.png'})
    """
    names = sorted(names)
    parsed = _parsed(names[0]) if names else None
    if parsed is not None:  # nearly all folders: one pattern, no file missing
        before, digits, after = parsed
        first = int(digits)
        found = Series(folder, before, len(digits), after, first, first + len(names) - 1)
        if names == [found._name(number) for number in range(first, first + len(names))]:
            return found
    return _irregular(folder, names)


def _irregular(folder: str, names: Iterable[str]) -> Series | None:
    readings = [[parsed for name in names if (parsed := _parsed(name, place))] for place in range(1, _NUMBERS + 1)]
    readings.sort(key=lambda parsed: -len({int(digits) for _, digits, _ in parsed}))
    patterns: dict[tuple[str, str], dict[int, str]] = {}
    for before, digits, after in readings[0]:
        patterns.setdefault((before, after), {}).setdefault(int(digits), before + digits + after)
    if not patterns:
        return None
    (before, after), main = max(patterns.items(), key=lambda item: len(item[1]))
    width = min(len(name) for name in main.values()) - len(before) - len(after)
    regular = {number for number, name in main.items() if name == f"{before}{number:0{width}d}{after}"}
    if max(regular) - min(regular) > _SPARSE * len(regular):  # times of day and the like: every name by itself
        regular = set()
    others = {number: name for found in patterns.values() for number, name in found.items() if number not in regular}
    first, last = min(regular, default=1), max(regular, default=0)
    holes = tuple(number for number in range(first, last + 1) if number not in regular and number not in others)
    return Series(folder, before, width, after, first, last, holes, others)


def _parsed(name: str, place: int = 1) -> tuple[str, str, str] | None:
    """A name about one of its numbers, by its place from the end, if it has so many."""
    stem, _ = os.path.splitext(name)
    numbers = list(re.finditer(r"\d+", stem, re.ASCII))
    if len(numbers) < place:
        return None
    start, end = numbers[-place].span()
    return name[:start], name[start:end], name[end:]


@dataclass(frozen=True)
class Folder:
    """What a folder holds: numbered images and .mat files, video files, and folders."""

    images: Series | None
    matrices: Series | None
    videos: tuple[str, ...]
    folders: tuple[str, ...]


def list_folder(path: str) -> Folder:
    """Lists a folder. Hidden files and what is of no use here are left out.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    images: list[str] = []
    matrices: list[str] = []
    videos: list[str] = []
    folders: list[str] = []
    kinds = ((SUFFIXES, images), (MATLAB, matrices), (VIDEOS, videos))
    of_suffix = {suffix[1:]: names for suffixes, names in kinds for suffix in suffixes}
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name == "__MACOSX":
                    continue
                suffix = name.rpartition(".")[2]
                names = of_suffix[suffix] if suffix in of_suffix else of_suffix.get(suffix.lower())
                if names is images or names is matrices:
                    names.append(name)
                elif holds(entry.is_dir):
                    folders.append(name)
                elif names is videos:
                    videos.append(name)
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error.strerror})") from error
    return Folder(series(path, images), series(path, matrices), tuple(sorted(videos)), tuple(sorted(folders)))


class Lister:
    """Lists the folders of a dataset, and remembers in the user's cache those that do not change."""

    def __init__(self, root: str) -> None:
        self._root = root
        known = cached("folders", root)
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        self._now: dict[str, Any] = {}

    def __call__(self, path: str) -> Folder:
        """The folder at a path; a DataError if it cannot be listed."""
        try:
            changed = os.stat(path).st_mtime_ns
        except OSError as error:
            raise DataError(f"{path}: cannot be listed ({error.strerror})") from error
        folder = _remembered(self._known.get(path), changed)
        if folder is not None:
            self._now[path] = self._known[path]  # as it was read, so that nothing new to save is seen in it
            return folder
        started = time.time_ns()
        folder = list_folder(path)
        if changed <= started - _JUST_CHANGED:
            self._now[path] = [changed, asdict(folder)]
        return folder

    def save(self) -> None:
        """Remembers what was listed."""
        if self._now != self._known:
            keep("folders", self._root, self._now)


def _remembered(entry: Any, changed: int) -> Folder | None:
    try:
        if entry is None or entry[0] != changed:
            return None
        folder = entry[1]
        return Folder(
            _series_from(folder["images"]),
            _series_from(folder["matrices"]),
            tuple(folder["videos"]),
            tuple(folder["folders"]),
        )
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return None


def _series_from(fields: dict[str, Any] | None) -> Series | None:
    if fields is None:
        return None
    others = {int(number): str(name) for number, name in fields["others"].items()}
    return Series(**{**fields, "holes": tuple(fields["holes"]), "others": others})
