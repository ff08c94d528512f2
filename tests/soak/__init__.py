"""What a process holds while it does the same thing again and again, and whether that grows."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LEAST = 9  # samples from which growth can be told: a quarter is for warming up, and the ends of the rest are compared


class _Mallinfo2(ctypes.Structure):
    """glibc's."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


_mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _Mallinfo2


@dataclass(frozen=True)
class Held:
    """What this process holds.

    Attributes
    ----------
    resident
        Bytes of memory that are mapped and there (RSS), which move by pages and with what the C library keeps.
    allocated
        Bytes that malloc has handed out and not got back, tensors among them: exact. 0 where the C library does not tell.
    objects
        Blocks of Python's own allocator.
    descriptors, threads
        How many are open, and how many run.
    """

    resident: int
    allocated: int
    objects: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        told = None if _mallinfo2 is None else _mallinfo2()
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE"),
            0 if told is None else told.uordblks + told.hblkhd,
            sys.getallocatedblocks(),
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
        )


@dataclass(frozen=True)
class Growth:
    """One measure, soon after the beginning and at the end."""

    before: float
    after: float
    allowed: int

    @property
    def too_much(self) -> bool:
        return self.after - self.before > self.allowed


def watch(rounds: Iterable[object], every: int = 1) -> list[Held]:
    """Goes through the rounds and samples after every so many of them."""
    samples = []
    gc.collect()
    gc.freeze()  # what is there already need not be looked through for every sample
    try:
        for number, _ in enumerate(rounds, 1):
            if number % every == 0:
                samples.append(Held.now())
    finally:
        gc.unfreeze()
    return samples


def growth(samples: Sequence[Held], allowed: Mapping[str, int]) -> dict[str, Growth]:
    """By measure: the median of the third of the samples that follows the first quarter, and that of the last third.

    Parameters
    ----------
    samples
        At least `LEAST`, in order.
    allowed
        By measure, what it may grow by; one that has no entry must not grow.
    """
    if len(samples) < LEAST:
        raise ValueError(f"growth is told from {LEAST} samples or more, not from {len(samples)}")
    settled = samples[len(samples) // 4 :]
    third = len(settled) // 3
    found = {}
    for name in asdict(settled[0]):
        values = [getattr(sample, name) for sample in settled]
        before, after = statistics.median(values[:third]), statistics.median(values[-third:])
        found[name] = Growth(before, after, allowed.get(name, 0))
    return found
