"""Which frames each map is predicted from, against the protocol spelled out by brute force."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest

from tased_net.sliding import sliding_clips


def protocol(t: int, clip_length: int, frames: int) -> list[int]:
    """The clip of frame t (from 1) in a video that is repeated until it is long enough; frames numbered from 1."""
    video = list(range(1, frames + 1))
    while len(video) < 2 * clip_length - 1:
        video += video[:frames]
    if t >= clip_length:
        return [video[i - 1] for i in range(t - clip_length + 1, t + 1)]
    return [video[i - 1] for i in range(t + clip_length - 1, t - 1, -1)]


@pytest.mark.parametrize("clip_length", [1, 2, 3, 4, 8, 32])
def test_every_map_sees_the_frames_of_the_protocol(clip_length: int) -> None:
    for frames in range(1, 3 * clip_length + 2):
        clips = list(sliding_clips(range(1, frames + 1), clip_length))
        assert clips == [protocol(t, clip_length, frames) for t in range(1, frames + 1)]


def test_an_empty_video_has_no_maps() -> None:
    assert list(sliding_clips([], 4)) == []


def test_clips_come_as_soon_as_their_frames_are_there() -> None:
    taken: list[int] = []

    def camera() -> Iterator[int]:
        for number in range(1, 41):
            taken.append(number)
            yield number

    clip_length = 8
    for t, clip in enumerate(sliding_clips(camera(), clip_length), 1):
        assert clip[-1] == t
        assert len(taken) == max(t, t + clip_length - 1 if t < clip_length else 2 * clip_length - 2)


def test_frames_held_do_not_grow_with_the_video() -> None:
    class Frame:
        pass

    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    def camera() -> Iterator[Frame]:
        for _ in range(200):
            frame = Frame()
            alive.add(frame)
            yield frame
            del frame

    clip_length = 8
    most = 0
    for clip in sliding_clips(camera(), clip_length):
        del clip
        most = max(most, len(alive))
    assert most == 2 * clip_length - 2
