"""Which frames each map is predicted from, against the protocol spelled out by brute force."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest

from tased_net.sliding import sliding_windows


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
        windows = list(sliding_windows(range(1, frames + 1), clip_length))
        assert [window.clip for window in windows] == [protocol(t, clip_length, frames) for t in range(1, frames + 1)]
        assert {tuple(window.maps) for window in windows} == {(0,)}


@pytest.mark.parametrize(("clip_length", "maps"), [(2, 2), (4, 2), (4, 3), (4, 4), (8, 3), (8, 5), (8, 8)])
def test_several_maps_are_those_of_their_frames(clip_length: int, maps: int) -> None:
    for frames in range(1, 3 * clip_length + 2):
        predicted = []
        windows = list(sliding_windows(range(frames), clip_length, maps))
        for window in windows:
            clip, taken = window.clip, window.maps
            assert len(clip) == clip_length
            steps = {(b - a) % frames for a, b in pairwise(clip)}
            assert steps in ({1 % frames}, {-1 % frames})  # forward or reversed, looped where it is short
            predicted += [clip[clip_length - maps + number] for number in taken]  # map number j of k: frame T-k+j
        assert predicted == list(range(frames))
        assert len(windows) == -(-frames // maps)
        if frames >= 2 * clip_length - 1:
            assert all(max(window.clip) - min(window.clip) == clip_length - 1 for window in windows)


@pytest.mark.parametrize("step", [Fraction(2), Fraction(1, 2), Fraction(5, 4), Fraction(3, 2), Fraction(30000, 25025)])
def test_a_step_spreads_the_clip_over_time(step: Fraction) -> None:
    clip_length, frames = 5, 40
    windows = list(sliding_windows(range(frames), clip_length, step=step))
    assert len(windows) == frames
    for t, window in enumerate(windows):
        clip = window.clip
        away = [abs(frame - t) for frame in clip]
        for number, distance in enumerate(reversed(away)):
            assert abs(distance - number * step) <= Fraction(1, 2)
        assert clip == sorted(clip, reverse=t < away[0])


def test_a_short_video_is_looped_in_steps_as_well() -> None:
    clips = [window.clip for window in sliding_windows(range(5), 4, step=2)]
    assert clips == [[1, 4, 2, 0], [2, 0, 3, 1], [3, 1, 4, 2], [4, 2, 0, 3], [0, 3, 1, 4]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "step must be positive, got 0"),
        ({"step": 2, "maps": 2}, "a network with maps=2 predicts neighbouring frames: it takes a step of 1, got 2"),
    ],
)
def test_impossible_steps_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(sliding_windows(range(9), 4, **options))


def test_an_empty_video_has_no_maps() -> None:
    assert list(sliding_windows([], 4)) == []


@pytest.mark.parametrize("maps", [1, 3])
def test_windows_come_as_soon_as_their_frames_are_there(maps: int) -> None:
    taken: list[int] = []

    def camera() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    clip_length = 8
    for number, window in enumerate(sliding_windows(camera(), clip_length, maps)):
        clip = window.clip
        first, last = number * maps, number * maps + maps - 1
        if last < clip_length - 1:
            assert taken[-1] == max(clip) == first + clip_length - 1
        elif last < 2 * clip_length - 2:
            assert clip[-1] == last  # its frames were there before, for the reversed clips
        else:
            assert taken[-1] == clip[-1] == min(last, 39)


@pytest.mark.parametrize(("maps", "step", "most"), [(1, 1, 14), (3, 1, 11), (1, 2, 28)])
def test_frames_held_do_not_grow_with_the_video(maps: int, step: int, most: int) -> None:
    class Frame:
        pass

    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    def camera() -> Iterator[Frame]:
        for _ in range(200):
            frame = Frame()
            alive.add(frame)
            yield frame
            del frame

    seen = 0
    for window in sliding_windows(camera(), 8, maps, step):
        del window
        seen = max(seen, len(alive))
    assert seen == most
