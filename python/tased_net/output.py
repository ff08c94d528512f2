"""What all writers share: their interface, files that are whole or not there, and samples of a video of unknown length."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .frames import VideoFrame, VideoInfo
from .render import Map
from .style import Style

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")


class Writer(ABC):
    """Takes a video's frames and maps in turn; a context manager that closes at its end, and aborts at an exception.

    Parameters
    ----------
    target
        The file or folder. Missing folders on the way to it are made.
    video
        What is known of the video beforehand.
    style
        How maps are shown.

    Attributes
    ----------
    suffix
        What a file's name adds to the video's, "" for a folder.
    needs_images
        Whether `write` looks at frames' images; if not, their times are all that counts.
    """

    suffix: ClassVar[str]
    needs_images: ClassVar[bool] = True

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        self.target, self.video, self.style = target, video, style
        (target if not self.suffix else target.parent).mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        """Takes one frame and its map.

        Parameters
        ----------
        number
            Of the frame, from 0; one after the other.
        frame
            The frame; without its image (`frames.NO_IMAGE`) where `needs_images` is false.
        raw
            The network's map, (h, w).
        shown
            The same as it is shown, from 0 to 1 (`Style.shown`).
        """

    @abstractmethod
    def close(self) -> None:
        """All is written: the result takes its name."""

    @abstractmethod
    def abort(self) -> None:
        """Something stopped it: what cannot be gone on with vanishes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class FileWriter(Writer):
    """One file; `_open` holds what it needs, and undoes it when it is stopped."""

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        super().__init__(target, video, style)
        self._open = ExitStack()

    def close(self) -> None:
        with self._open:
            self._finish()

    def abort(self) -> None:
        stop = InterruptedError(f"{self.target}: not finished")
        self._open.__exit__(InterruptedError, stop, None)

    def _finish(self) -> None:
        """Writes what comes at the end."""


class EvenSample(Generic[Item]):
    """An even sample of a sequence whose length shows only at its end: every n-th, n doubled whenever they get too many.

    Parameters
    ----------
    most
        That are kept at a time.
    expected
        Length of the sequence as far as one knows it, so that n fits from the start.
    step
        The least that n may be.
    """

    def __init__(self, most: int, expected: int | None, step: int = 1) -> None:
        self._most, self._step, self._count = most, max(step, math.ceil((expected or 0) / most)), 0
        self.kept: list[Item] = []

    def offer(self, make: Callable[[], Item]) -> None:
        """The next of the sequence, which is made only if it is kept."""
        if self._count % self._step == 0:
            if len(self.kept) == self._most:
                self.kept = self.kept[::2]
                self._step *= 2
            if self._count % self._step == 0:
                self.kept.append(make())
        self._count += 1

    def pick(self, number: int) -> list[Item]:
        """At most `number` of those kept, each from the middle of its part of the sequence."""
        kept = len(self.kept)
        number = min(number, kept)
        return [self.kept[(2 * index + 1) * kept // (2 * number)] for index in range(number)]
