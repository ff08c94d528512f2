"""Times of several calls that are compared with each other, and the statistics of their ratios.

Machines are shared and change their pace by the second, so only what was taken at one time is compared: in every round
each call has one turn, in an order drawn anew, and a ratio is the median over the rounds of the quotient of two turns.
What is compared meets the caches in the same state, too: all make equally many calls a turn, or each finds them cold.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

Call = Callable[[], object]

CACHES = 256 * 2**20  # bytes: more than the caches hold


class Clock(Protocol):
    turn: float  # seconds that the shortest turn lasts: shorter calls are repeated within it, with all others

    def time(self, call: Call, repeats: int) -> float:
        """Seconds that one of `repeats` calls in a row takes."""


class CpuClock:
    """Calls in a row, each of which finds in the caches what the one before it left there."""

    turn = 1e-3  # reading the clock costs nothing beside it

    def time(self, call: Call, repeats: int) -> float:
        start = time.perf_counter()
        for _ in itertools.repeat(None, repeats):
            call()
        return (time.perf_counter() - start) / repeats


class ColdCpuClock:
    """Each call by itself, after the caches were filled with something else, as by a layer that lies between."""

    turn = 0.0

    def __init__(self) -> None:
        self._fill = torch.ones(CACHES // 4).sum

    def time(self, call: Call, repeats: int) -> float:
        seconds = 0.0
        for _ in range(repeats):
            self._fill()
            start = time.perf_counter()
            call()
            seconds += time.perf_counter() - start
        return seconds / repeats


class CudaClock:
    """Events around each call, after the L2 cache was overwritten; that also hides how long a launch takes on the host."""

    turn = 1e-3

    def __init__(self) -> None:
        self._flush = torch.empty(CACHES, dtype=torch.uint8, device="cuda")

    def time(self, call: Call, repeats: int) -> float:
        pairs = []
        for _ in range(repeats):
            self._flush.zero_()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            pairs.append((start, end))
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in pairs) / 1e3 / repeats


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high)

    @property
    def percent(self) -> float:
        """Half the distance of the quartiles, in percent of the median."""
        return 50 * (self.high - self.low) / self.median


Samples = dict[str, list[float]]


def measure(calls: Mapping[str, Call], clock: Clock, seconds: float, rounds: tuple[int, int] = (5, 60)) -> Samples:
    """Seconds a call, by call and round.

    Parameters
    ----------
    calls : mapping
        What takes turns, by name.
    clock : Clock
        What times a turn.
    seconds : float
        How long to measure: rounds end when it is used up.
    rounds : (int, int)
        The least and the most of them, whatever the time.
    """
    shortest = math.inf
    for call in calls.values():
        call()  # compiles, maps memory
        shortest = min(shortest, max(clock.time(call, 1), 1e-7))
    repeats = max(1, math.ceil(clock.turn / shortest))
    order = list(calls)
    shuffle = random.Random(0).shuffle
    samples: Samples = {name: [] for name in calls}
    least, most = rounds
    used = 0.0
    gc.collect()
    gc.disable()
    try:
        for done in range(most):
            if done >= least and used >= seconds:
                break
            shuffle(order)
            for name in order:
                samples[name].append(clock.time(calls[name], repeats))
                used += samples[name][-1] * repeats
    finally:
        gc.enable()
    return samples


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """The quotients of turns of one round: a change of pace between rounds cancels in each of them."""
    return Spread.of([a / b for a, b in zip(numerator, denominator, strict=True)])


class Elsewhere:
    """How much of the machine others used since this was made, as a share of its cores; 0 where Linux does not tell."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds of all cores in work, of them this process's, and of the wall clock."""
        own = os.times()
        mine = own.user + own.system + own.children_user + own.children_system
        try:
            words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        except OSError:
            return mine, mine, time.monotonic()
        user, nice, system, _, _, irq, softirq, steal = map(int, words)
        work = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return work, mine, time.monotonic()

    def share(self) -> float:
        work, mine, wall = (now - start for now, start in zip(self._now(), self._start, strict=True))
        return min(1.0, max(0.0, (work - mine) / (wall * (os.cpu_count() or 1)))) if wall > 0 else 0.0
