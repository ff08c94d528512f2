"""The sliding window: which frames each map is predicted from, made as the frames come (paper section 3.1).

Map t is predicted from the frames t-T+1 to t. The first T-1 frames have no such past: theirs is predicted from the
reversed clip, frames t+T-1 down to t. A video too short for that (under 2T-1 frames) is looped: after its last frame
comes its first one again, so frame i is frame i modulo N. All counting here starts at 0.

A network that gives the maps of its clip's last k frames takes steps of k frames. A video of another frame rate than the
network has learned at is seen in steps as well: every frame has its map, from a clip whose frames lie `step` apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Generic, TypeVar

Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Window(Generic[Frame]):  # a NamedTuple is not generic before Python 3.11
    """A clip of T frames, and which of the network's maps to take from it, in the order of the video."""

    clip: list[Frame]
    maps: range

    @property
    def reversed(self) -> bool:
        """Whether the clip runs back in time."""
        return self.maps.step < 0


def look_back(clip_length: int, step: Fraction | int = 1) -> list[int]:
    """How many frames before its last one each frame of a clip lies, in the clip's order."""
    return [floor(k * Fraction(step) + Fraction(1, 2)) for k in reversed(range(clip_length))]


def sliding_windows(
    frames: Iterable[Frame], clip_length: int, maps: int = 1, step: Fraction | int = 1, first: int = 0
) -> Iterator[Window[Frame]]:
    """Yields the window of every frame, or of every `maps` frames, in order, as soon as its frames are there.

    Parameters
    ----------
    frames
        The video's frames, of any type and number; they are taken one by one.
    clip_length
        Frames T of a clip.
    maps
        How many of the clip's last frames one window predicts.
    step
        Frames of the video from one frame of a clip to the next, rounded to whole frames; not with several maps.
    first
        Number of the first window wanted, 0 or one that looks back. `frames` then begin with its clip's first frame.

    Yields
    ------
    Window
        At most 2T-2 frames are held at a time (times `step`).

    Raises
    ------
    ValueError
        If `step` is not positive, or not 1 with several maps.

    Examples
    --------
    >>> for window in sliding_windows("abcde", clip_length=3):
    ...     print("".join(window.clip), end=" ")
    cba dcb abc bcd cde
    >>> for window in sliding_windows("abcde", clip_length=3, maps=2):
    ...     print("".join(window.clip), list(window.maps), end=" ")
    cba [1, 0] bcd [0, 1] cde [1]
    """
    if step <= 0:
        raise ValueError(f"step must be positive, got {step}")
    if maps > 1 and step != 1:
        raise ValueError(f"a network with maps={maps} predicts neighbouring frames: it takes a step of 1, got {step}")
    back = look_back(clip_length, step)
    reach = back[0]
    if 0 < first < reach // maps:
        raise ValueError(f"windows before number {reach // maps} look ahead: there is no starting at number {first}")
    held: dict[int, Frame] = {}
    t = first * maps
    count = t + maps - 1 - reach if first else 0

    def past(last: int, wanted: int) -> Window[Frame]:
        return Window([held[last - k] for k in back], range(maps - wanted, maps))

    def future(wanted: int, length: int | None = None) -> Window[Frame]:
        indices = (t + k for k in back)
        return Window(
            [held[i if length is None else i % length] for i in indices], range(maps - 1, maps - 1 - wanted, -1)
        )

    for frame in frames:
        held[count] = frame
        count += 1
        while True:
            last = t + maps - 1
            if last >= reach and last < count:
                yield past(last, maps)
            elif last < reach and t + reach < count:
                yield future(maps)
            else:
                break
            t += maps
            for old in range(t - reach - maps, t - reach):
                held.pop(old, None)
    while t < count:
        wanted = min(maps, count - t)
        yield past(t + wanted - 1, wanted) if t + maps > reach and count > reach else future(wanted, count)
        t += maps
