"""Which clips a step sees. Every draw is a function of (seed, step, number of the clip in the step) and of nothing else.

So there is no generator whose position a stopped run would have to keep, workers and processes may share the clips in any
way, and validation cannot disturb training. The numbers come from Philox, a generator that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

from ..data import Clips, Place

_ORDERS, _CLIPS, _LAYERS = 0, 1, 2  # what numbers are drawn for, so that no number serves twice


class Draws:
    """Random dense clips: every video once before any comes again, in an order drawn anew each time; any start; half flipped.

    Parameters
    ----------
    starts
        The first frames of each video's clips, see `usable_starts`; videos without any are left out.
    clips_per_step
        How many clips a step has.
    seed
        Of all draws.
    """

    def __init__(self, starts: Sequence[Sequence[int]], clips_per_step: int, seed: int) -> None:
        self.videos = [(video, firsts) for video, firsts in enumerate(starts) if firsts]
        self.clips_per_step, self.seed = clips_per_step, seed

    def place(self, step: int, index: int, attempt: int = 0) -> Place:
        """The clip of a step, from 1, by its number, from 0; other attempts give other clips, of any video."""
        video, start, flip = (int(value) for value in _numbers(self.seed, _CLIPS, (attempt, index, step), 3))
        number, firsts = self.videos[self._turn(step, index) if attempt == 0 else _below(len(self.videos), video)]
        return Place(number, firsts[_below(len(firsts), start)], bool(flip & 1))

    def _turn(self, step: int, index: int) -> int:
        round_, position = divmod((step - 1) * self.clips_per_step + index, len(self.videos))
        return int(_order(self.seed, round_, len(self.videos))[position])


class FixedDraws:
    """A few clips again and again, in an order drawn anew each time: those that `--overfit` learns by heart."""

    def __init__(self, places: Sequence[Place], clips_per_step: int, seed: int) -> None:
        self.places = places
        self._draws = Draws([range(1)] * len(places), clips_per_step, seed)

    def place(self, step: int, index: int, attempt: int = 0) -> Place:
        """As of `Draws`."""
        return self.places[self._draws.place(step, index, attempt).video]


def usable_starts(clips: Clips) -> list[Sequence[int]]:
    """The first frames of each video's clips, without clips that lack a part of their truth."""
    return [_usable_starts(clips, video) for video in range(len(clips.split.videos))]


def _usable_starts(clips: Clips, video: int) -> Sequence[int]:
    source, firsts = clips.split.videos[video], range(clips.starts(video))
    if not source.gaps:
        return firsts
    gaps, last = set(source.gaps), clips.clip_length - 1
    return [
        first
        for first in firsts
        if not any((first + last - back) % source.length in gaps for back in range(clips.maps))
    ]


def uniform_places(starts: Sequence[Sequence[int]], count: int) -> list[Place]:
    """`count` clips, spread evenly over all; all of them if there are no more."""
    places = [(video, first) for video, firsts in enumerate(starts) for first in firsts]
    count = min(count, len(places))
    return [Place(*places[(2 * number + 1) * len(places) // (2 * count)]) for number in range(count)]


def layer_seed(seed: int, step: int, turn: int) -> int:
    """For torch's generator before a batch, for layers and losses that draw: those of `TASEDNet` do not."""
    return int(_numbers(seed, _LAYERS, (0, turn, step), 1)[0]) >> 1


def _numbers(seed: int, purpose: int, counter: tuple[int, int, int], count: int) -> NDArray[np.uint64]:
    """Random numbers of 64 bits that belong to a seed, a purpose and a counter."""
    # The counter's lowest word counts the numbers; the others are ours.
    numbers: NDArray[np.uint64] = Philox(key=[seed, purpose], counter=[0, *counter]).random_raw(count)
    return numbers


def _below(count: int, number: int) -> int:
    """A number of 64 bits brought to 0 … count - 1."""
    return number * count >> 64


@lru_cache(maxsize=2)
def _order(seed: int, round_: int, count: int) -> NDArray[np.intp]:
    return np.argsort(_numbers(seed, _ORDERS, (0, 0, round_), count), kind="stable")
