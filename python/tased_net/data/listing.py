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

from .cache import cached, keep
from .errors import DataError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv")
MATLAB = (".mat",)

_LAST_NUMBER = re.compile(r"(.*\D|)(\d+)(\D*)", re.DOTALL)
_SPARSE = 50  # so much longer than its files a range of numbers may be
_JUST_CHANGED = 2_000_000_000  # nanoseconds in which a folder may change again without a new time


@dataclass(frozen=True)
class Series:
    """Numbered files of one folder.

    Most are called `before`, the number with at least `digits` digits, `after`, and have numbers from `first` to `last` but
    for `holes`; `others` are the rest by number.
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
        """The file of a number that is there."""
        return os.path.join(self.folder, self.others.get(number) or self._name(number))

    def _name(self, number: int) -> str:
        return f"{self.before}{number:0{self.digits}d}{self.after}"


def series(folder: str, names: Sequence[str]) -> Series | None:
    """The numbered ones among files of a folder; the number is the last one in the name.

    >>> series("maps", ["a_0003.png", "a_0001.png", "b2.png"])
    Series(folder='maps', before='a_', digits=4, after='.png', first=1, last=3, holes=(2,), others={2: 'b2.png'})
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
    patterns: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        parsed = _parsed(name)
        if parsed is not None:
            before, digits, after = parsed
            patterns.setdefault((before, after), {}).setdefault(int(digits), name)
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


def _parsed(name: str) -> tuple[str, str, str] | None:
    stem, suffix = os.path.splitext(name)
    match = _LAST_NUMBER.fullmatch(stem)
    return (match[1], match[2], match[3] + suffix) if match else None


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
    kinds: dict[tuple[str, ...], list[str]] = {IMAGES: [], MATLAB: [], VIDEOS: []}
    of_suffix = {suffix: names for suffixes, names in kinds.items() for suffix in suffixes}
    folders = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name == "__MACOSX":
                    continue
                suffix = os.path.splitext(name)[1]
                names = of_suffix[suffix] if suffix in of_suffix else of_suffix.get(suffix.lower())
                if names is not None:
                    names.append(name)
                elif entry.is_dir():
                    folders.append(name)
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error.strerror})") from error
    return Folder(
        series(path, kinds[IMAGES]),
        series(path, kinds[MATLAB]),
        tuple(sorted(kinds[VIDEOS])),
        tuple(sorted(folders)),
    )


class Lister:
    """Lists the folders of a dataset, and remembers in the user's cache those that do not change."""

    def __init__(self, root: str) -> None:
        self._root = root
        known = cached("folders", root)
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        self._now: dict[str, Any] = {}

    def __call__(self, path: str) -> Folder:
        """The folder at a path."""
        try:
            changed = os.stat(path).st_mtime_ns
        except OSError as error:
            raise DataError(f"{path}: cannot be listed ({error.strerror})") from error
        folder = _remembered(self._known.get(path), changed)
        if folder is None:
            started = time.time_ns()
            folder = list_folder(path)
            if changed > started - _JUST_CHANGED:
                return folder
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
