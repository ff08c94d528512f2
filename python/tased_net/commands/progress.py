"""How `tased predict` shows where it is: bars in a terminal, lines elsewhere, JSON for programs, or nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..texts import printable
from ..words import clock, counted
from .shared import say

EVERY = 10.0  # seconds between two lines


class Progress:
    """Says nothing but errors; the base of those that say more.

    Parameters
    ----------
    videos
        How many there are to do.
    frames
        How many frames they have, None if that is not known of all.
    """

    def __init__(self, videos: int, frames: int | None) -> None:
        self.videos, self.frames = videos, frames

    def begin(self, source: str, expected: int | None) -> None:
        """A video begins, of as many frames as its header knows."""

    def tick(self, count: int) -> None:
        """That many more frames of it are predicted."""

    def finish(self, source: str, targets: Sequence[Path], frames: int) -> None:
        """It is done; on a cluster, without having begun here."""

    def fail(self, source: str, sentence: str) -> None:
        """It cannot be done."""
        say(f"error: {sentence}")

    def end(self, failures: Mapping[str, str]) -> None:
        """All are done or have failed, with a sentence each."""
        if failures and self.videos > 1:
            say(f"{len(failures)} of {self.videos} videos failed:")
            width = max(map(len, failures))
            for source, sentence in failures.items():
                say(f"  {source:<{width}}  {sentence.removeprefix(f'{source}: ')}")


class Bars(Progress):
    """A bar for the video, and one below it for all of them if there are several."""

    def __init__(self, videos: int, frames: int | None) -> None:
        super().__init__(videos, frames)
        self.bar: Any = None
        self.total: Any = None
        if videos > 1:
            unit = "video" if frames is None else "frame"
            self.total = tqdm(
                desc="all", total=videos if frames is None else frames, unit=unit, position=1, leave=False
            )

    def begin(self, source: str, expected: int | None) -> None:
        self.bar = tqdm(desc=printable(os.path.basename(source)), total=expected, unit="frame", position=0, leave=False)

    def tick(self, count: int) -> None:
        self.bar.update(count)
        if self.total is not None and self.frames is not None:
            self.total.update(count)

    def finish(self, source: str, targets: Sequence[Path], frames: int) -> None:
        if self.bar is None and self.total is not None and self.frames is not None:
            self.total.update(frames)
        self._close()
        for target in targets:
            say(f"{target}: {counted(frames, 'frame')}")

    def fail(self, source: str, sentence: str) -> None:
        self._close()
        super().fail(source, sentence)

    def end(self, failures: Mapping[str, str]) -> None:
        if self.total is not None:
            self.total.close()
        super().end(failures)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if self.total is not None and self.frames is None:
            self.total.update(1)


class Lines(Progress):
    """A line every ten seconds, for logs."""

    source: str | None = None  # what has begun here

    def begin(self, source: str, expected: int | None) -> None:
        self.source, self.expected, self.count = source, expected, 0
        self.started = self.told = time.monotonic()

    def tick(self, count: int) -> None:
        self.count += count
        now = time.monotonic()
        if now - self.told >= EVERY:
            self.told = now
            say(f"{os.path.basename(self.source or '')}: {self._position(now)}")

    def finish(self, source: str, targets: Sequence[Path], frames: int) -> None:
        time_taken = f" in {clock(time.monotonic() - self.started)}" if source == self.source else ""
        for target in targets:
            say(f"{target}: {counted(frames, 'frame')}{time_taken}")

    def _position(self, now: float) -> str:
        rate = self.count / (now - self.started)
        if not self.expected:
            return f"{counted(self.count, 'frame')}, {rate:.2f} a second"
        left = max(self.expected - self.count, 0) / rate if rate else 0.0
        return f"{self.count} of {counted(self.expected, 'frame')}, {rate:.2f} a second, {clock(left)} left"


class Json(Progress):
    """A line of JSON on stdout for everything that happens: "event" is begin, progress, done, failed or end."""

    def begin(self, source: str, expected: int | None) -> None:
        self.source, self.expected, self.count, self.told = source, expected, 0, time.monotonic()
        self._write("begin", video=source, expected_frames=expected)

    def tick(self, count: int) -> None:
        self.count += count
        if time.monotonic() - self.told >= 1:
            self.told = time.monotonic()
            self._write("progress", video=self.source, frames=self.count, expected_frames=self.expected)

    def finish(self, source: str, targets: Sequence[Path], frames: int) -> None:
        self._write("done", video=source, frames=frames, results=[str(target) for target in targets])

    def fail(self, source: str, sentence: str) -> None:
        self._write("failed", video=source, error=sentence)
        super().fail(source, sentence)

    def end(self, failures: Mapping[str, str]) -> None:
        self._write("end", videos=self.videos, failed=len(failures))

    def _write(self, event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), flush=True)


def progress_for(quiet: bool, as_json: bool) -> type[Progress]:
    """The one that options and terminal ask for."""
    if as_json:
        return Json
    if quiet:
        return Progress
    return Bars if sys.stderr.isatty() else Lines
