"""Words for people: names in a row, numbers of things, ranges of numbers, times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names in a sentence, with a word before the last one.

    >>> listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed(["a"])
    ('a, b and c', 'a or b', 'a')
    """
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def counted(count: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "frame"), counted(2, "frame"), counted(1000, "frame")
    ('1 frame', '2 frames', '1000 frames')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def plural(count: int) -> str:
    """What goes between a noun and what is said of so many of it.

    >>> f"1 frame{plural(1)} missing, 2 frame{plural(2)} missing"
    '1 frame is missing, 2 frames are missing'
    """
    return " is" if count == 1 else "s are"


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


def clock(seconds: float) -> str:
    """A time of so many seconds.

    >>> clock(7), clock(750), clock(3723)
    ('0:07', '12:30', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
