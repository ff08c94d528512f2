"""What a row came to: times, and the ratios that can be compared with those of another run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .timing import Samples, Spread, ratio
from .works import Row

SUBJECTS: tuple[str, ...] = ("ours", "eager", "compiled")


@dataclass(frozen=True)
class Outcome:
    """Times and ratios of a row.

    Attributes
    ----------
    times : dict of str to Spread
        Seconds of ours, eager, compiled and the floor.
    ratios : dict of str to Spread
        ``eager``, ``compiled``, ``better`` (of the two): their time over ours. ``floor``: our time over the floor's.
    rounds : int
        How often each took a turn.
    elsewhere : float
        The share of the cores that other processes used meanwhile.
    """

    row: Row
    times: dict[str, Spread]
    ratios: dict[str, Spread]
    rounds: int
    elsewhere: float = 0.0

    @classmethod
    def of(cls, row: Row, samples: Samples, elsewhere: float = 0.0) -> Outcome:
        times = {name: Spread.of(turns) for name, turns in samples.items()}
        ours = samples["ours"]
        peers = [name for name in SUBJECTS[1:] if name in samples]
        ratios = {name: ratio(samples[name], ours) for name in peers}
        # Better by its median: the lesser of two noisy turns would be less than either peer.
        ratios["better"] = ratios[min(peers, key=lambda name: times[name].median)]
        if "floor" in samples:
            ratios["floor"] = ratio(ours, samples["floor"])
        return cls(row, times, ratios, len(ours), elsewhere)

    def to_json(self) -> dict[str, Any]:
        return {
            **row_to_json(self.row),
            "rounds": self.rounds,
            "elsewhere": round(self.elsewhere, 3),
            "seconds": {name: vars(spread) for name, spread in self.times.items()},
            "ratios": {name: vars(spread) for name, spread in self.ratios.items()},
        }


@dataclass(frozen=True)
class Memory:
    """Bytes of a row, by subject: kept for backward, in bytes a window, and allocated at the peak of a call."""

    row: Row
    saved: dict[str, float]
    peak_inference: dict[str, int]
    peak_training: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {
            **row_to_json(self.row),
            "saved_bytes_a_window": self.saved,
            "peak_bytes_inference": self.peak_inference,
            "peak_bytes_training": self.peak_training,
        }


def row_to_json(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "operation": row.operation,
        "mode": row.mode,
        "site": row.site.name,
        "shape": row.site.shape,
        "pooling": str(row.site.pooling),
        "layout": row.layout,
        "dtype": row.dtype,
        "threads": row.threads,
    }
