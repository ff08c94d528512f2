"""What is missing or broken in a dataset, in a sentence for each kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from ..texts import shown

_SHOWN = 6  # names or ranges of names in a sentence


class Problem(Enum):
    """What can be wrong with a video: the predicates of one and of several."""

    MISSING = ("is missing", "are missing")
    UNREADABLE = ("cannot be decoded and is left out", "cannot be decoded and are left out")
    NO_FRAMES = ("has no frames and is left out", "have no frames and are left out")
    NO_MAPS = ("has no maps", "have no maps")
    LEFT_OUT = ("has no maps and is left out", "have no maps and are left out")
    NO_FIXATIONS = ("has no fixations", "have no fixations")
    NO_MATCH = (
        "has no frame with all of its truth and is left out",
        "have no frame with all of its truth and are left out",
    )
    NO_NUMBERS = (
        "has frames whose numbers are far apart and is left out",
        "have frames whose numbers are far apart and are left out",
    )
    CUT_SHORT = ("is cut short", "are cut short")
    TOO_FEW = ("has truth after its last frame", "have truth after their last frame")
    TOO_MANY = ("has frames after the last of its truth", "have frames after the last of their truth")
    GAPS = ("lacks images or truth in between", "lack images or truth in between")


class Problems:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self._names: dict[Problem, list[str]] = {}

    def add(self, problem: Problem, name: str) -> None:
        """Notes a video."""
        self._names.setdefault(problem, []).append(name)

    def sentences(self) -> list[str]:
        """In the order of `Problem`, such as "3 videos have no maps: 0007, 0012, 0044"."""
        return [_sentence(problem, self._names[problem]) for problem in Problem if problem in self._names]


def _sentence(problem: Problem, names: list[str]) -> str:
    one, several = problem.value
    runs = [shown(run) for run in _runs(sorted(set(names), key=natural))]
    listed = ", ".join(runs[:_SHOWN]) + (", …" if len(runs) > _SHOWN else "")
    return f"{len(names)} videos {several}: {listed}" if len(names) > 1 else f"1 video {one}: {listed}"


def _runs(names: Sequence[str]) -> list[str]:
    """Names, numbers that follow each other as "0003 to 0012"."""
    runs: list[list[str]] = []
    for name in names:
        if runs and name.isdecimal() and runs[-1][-1].isdecimal() and int(name) == int(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, numbers in them by their value.

    >>> sorted(["clip10", "clip9"], key=natural)
    ['clip9', 'clip10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
