"""The sliding window: one clip of T frames for every frame of a video, made as the frames come (paper section 3.1).

Map t is predicted from the frames t-T+1 to t. The first T-1 frames have no such past: theirs is predicted from the
reversed clip, frames t+T-1 down to t. A video too short for that (under 2T-1 frames) is looped: after its last frame
comes its first one again, so frame i is frame i modulo N. All counting here starts at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Frame = TypeVar("Frame")


def clip_indices(t: int, clip_length: int) -> range:
    """Frames of the clip that predicts frame `t`, the last one being `t`; some may lie past a short video's end.

    >>> list(clip_indices(5, 4)), list(clip_indices(1, 4))
    ([2, 3, 4, 5], [4, 3, 2, 1])
    """
    if t >= clip_length - 1:
        return range(t - clip_length + 1, t + 1)
    return range(t + clip_length - 1, t - 1, -1)


def sliding_clips(frames: Iterable[Frame], clip_length: int) -> Iterator[list[Frame]]:
    """Yields the clip of every frame, in order, as soon as its frames are there.

    Parameters
    ----------
    frames
        The video's frames, of any type and number; they are taken one by one.
    clip_length
        Frames T of a clip.

    Yields
    ------
    list
        The T frames that predict frame 0, then frame 1, and so on. At most 2T-2 frames are held at a time.

    Examples
    --------
    >>> for clip in sliding_clips("abcde", clip_length=3):
    ...     print("".join(clip), end=" ")
    cba dcb abc bcd cde
    """
    held: dict[int, Frame] = {}
    t = count = 0
    for frame in frames:
        held[count] = frame
        count += 1
        while t < count and max(indices := clip_indices(t, clip_length)) < count:
            yield [held[i] for i in indices]
            t += 1
            held.pop(t - clip_length, None)  # the clips to come begin at frame t-T+1
    for late in range(t, count):
        yield [held[i % count] for i in clip_indices(late, clip_length)]
