"""The targets as data, and the judgement of what was measured. Each is a ratio taken within one run.

`CPU` and `CUDA` are the tables of bench/README.md: which work, on which maps, in which layout, keeps which bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .results import Memory, Outcome, row_to_json
from .works import OPERATIONS, Row

CONTIGUOUS = ("contiguous",)
CHANNELS_LAST = ("channels_last_3d",)
DEEP = ("i2", "i1")
POOLS = ("192x16x28x48", "480x8x14x24", "192x16x56x96")
SITES = (*DEEP, "i0", *POOLS)
ALL = tuple(OPERATIONS)
AUX = tuple(name for name in OPERATIONS if name != "max_pool3d")
HUGE = ("aux_pool_unpool", "max_pool3d")
DIFFERENTIABLE = tuple(name for name, operation in OPERATIONS.items() if operation.gradient)
MODES = ("inference", "training", "backward")

NOISE = 1.05  # how far two equal calls may differ in one run: what "not behind" allows


@dataclass(frozen=True)
class Target:
    """The rows that it speaks of, and the bounds that each of them keeps.

    Attributes
    ----------
    about : str
        The rows in words. They have one of `operations`, `sites`, `modes`, `layouts` (None: any) and numbers of `threads`.
    floor : float
        At most so many times the floor.
    eager, compiled, better : float
        At least so many times as fast as stock PyTorch, as torch.compile, as the better of the two.
    beyond_call : bool
        Not behind stock PyTorch by more than a call on an empty map costs.
    calls : float
        At most so many times what a stock operation's call costs.
    saved : float
        At most so many bytes a window kept for backward.
    """

    about: str
    operations: tuple[str, ...]
    sites: tuple[str, ...]
    layouts: tuple[str, ...] | None = None
    modes: tuple[str, ...] = ("inference",)
    threads: int | None = 2
    floor: float | None = None
    eager: float | None = None
    compiled: float | None = None
    better: float | None = None
    beyond_call: bool = False
    calls: float | None = None
    saved: float | None = None

    def speaks_of(self, row: Row) -> bool:
        return (
            row.operation in self.operations
            and row.site.name in self.sites
            and (self.layouts is None or row.layout in self.layouts)
            and row.mode in self.modes
            and self.threads in (None, row.threads)
        )

    @property
    def bounds(self) -> dict[str, tuple[float, str]]:
        """Each bound by name, with its words."""
        named = {
            "floor": (self.floor, "" if self.floor is None else f"at most {self.floor:.3g}x the floor"),
            "eager": (self.eager, _faster(self.eager, "eager")),
            "compiled": (self.compiled, _faster(self.compiled, "compiled")),
            "better": (self.better, _faster(self.better, "the better peer")),
            "beyond_call": (NOISE if self.beyond_call else None, "not behind eager beyond the cost of a call"),
            "calls": (self.calls, f"at most {self.calls}x a stock operation's"),
            "saved": (self.saved, f"at most {self.saved} kept for backward"),
        }
        return {name: (bound, words) for name, (bound, words) in named.items() if bound is not None}


def _faster(times: float | None, peer: str) -> str:
    return f"not behind {peer}" if times == 1 else f"at least {times}x as fast as {peer}"


CPU = (
    Target("aux_pool, contiguous", ("aux_pool",), DEEP, CONTIGUOUS, floor=1.3, eager=20, compiled=4),
    Target("aux_pool, channels_last_3d", ("aux_pool",), DEEP, CHANNELS_LAST, floor=1.3, better=1.8),
    Target("aux_pool_unpool, contiguous", ("aux_pool_unpool",), DEEP, CONTIGUOUS, floor=1.5, eager=15, compiled=4),
    Target("aux_pool_unpool, channels_last_3d", ("aux_pool_unpool",), DEEP, CHANNELS_LAST, floor=1.5, better=2),
    Target("max_unpool", ("max_unpool",), DEEP, floor=1.5, eager=1),
    Target("max_pool3d 3x3x3, contiguous", ("max_pool3d",), POOLS[:1], CONTIGUOUS, floor=3, eager=30),
    Target("max_pool3d 3x3x3, channels_last_3d", ("max_pool3d",), POOLS[:1], CHANNELS_LAST, floor=3, better=2.5),
    Target("max_pool3d 3x3x3 in cache, contiguous", ("max_pool3d",), POOLS[1:2], CONTIGUOUS, eager=15, better=1.5),
    Target("max_pool3d 3x3x3 in cache, channels_last_3d", ("max_pool3d",), POOLS[1:2], CHANNELS_LAST, better=1.5),
    Target("max_pool3d 1x3x3, contiguous", ("max_pool3d",), POOLS[2:], CONTIGUOUS, floor=1.5, eager=10),
    Target("max_pool3d 1x3x3, channels_last_3d", ("max_pool3d",), POOLS[2:], CHANNELS_LAST, floor=1.5, better=1.3),
    Target("every backward, contiguous", DIFFERENTIABLE, (*DEEP, *POOLS), CONTIGUOUS, ("backward",), eager=3),
    Target("every backward, channels_last_3d", DIFFERENTIABLE, (*DEEP, *POOLS), CHANNELS_LAST, ("backward",), better=1),
    Target("everything at i0", AUX, ("i0",), None, MODES, better=1),
    Target("one thread", ALL, SITES, None, MODES, threads=1, beyond_call=True),
    Target("small maps", ALL, ("small",), None, MODES, beyond_call=True),
    Target("odd maps", ALL, ("odd",), None, MODES, beyond_call=True),
    Target("views", ALL, ("view",), None, MODES, beyond_call=True),
    Target("huge maps", HUGE, ("huge",), None, MODES, beyond_call=True),
    Target("cost of a call", ALL, ("empty",), threads=None, calls=1.5),
    Target("cost of a call with autograd", DIFFERENTIABLE, ("empty",), None, ("training", "backward"), None, calls=4),
    Target("bytes a window of aux_max_pool", ("aux_max_pool",), SITES, None, ("memory",), saved=2),
    Target(
        "bytes a window of all others",
        ("aux_pool_unpool", "max_unpool", "max_pool3d"),
        SITES,
        None,
        ("memory",),
        saved=1,
    ),
)

# At least 85 % of the bandwidth that a device-to-device copy of the same bytes reaches.
CUDA = (
    Target("everything at i2 and i1", AUX, (*DEEP, "i2x8", "i1x8"), None, MODES, None, floor=1 / 0.85),
    Target("max_pool3d", ("max_pool3d",), (POOLS[0], POOLS[2]), None, MODES, None, floor=1 / 0.85),
)


@dataclass(frozen=True)
class Judgement:
    """One bound of one target on one row. `at_floor`: how many times as fast as the peer the floor itself is."""

    target: Target
    name: str
    row: Row
    measured: float
    reached: bool
    at_floor: float | None = None

    @property
    def bound(self) -> float:
        return self.target.bounds[self.name][0]

    @property
    def words(self) -> str:
        return self.target.bounds[self.name][1]

    @property
    def beyond_floor(self) -> bool:
        """Whether it is missed, and would be by moving the bytes alone."""
        return not self.reached and self.at_floor is not None and self.at_floor < self.bound

    def to_json(self) -> dict[str, Any]:
        return {
            **row_to_json(self.row),
            "target": self.words,
            "bound": self.bound,
            "measured": self.measured,
            "reached": self.reached,
            "at_floor": self.at_floor,
        }


def judge(targets: Sequence[Target], outcomes: Sequence[Outcome], memories: Sequence[Memory] = ()) -> list[Judgement]:
    """Every bound on every row that was measured for it."""
    calls = {(o.row.operation, o.row.mode): o.times["ours"].median for o in outcomes if o.row.kind == "call"}
    judgements: list[Judgement] = []
    for target in targets:
        for outcome in outcomes:
            if target.speaks_of(outcome.row):
                judgements += _judge_times(target, outcome, calls.get((outcome.row.operation, outcome.row.mode), 0.0))
        for memory in memories:
            if target.speaks_of(memory.row) and target.saved is not None:
                saved = memory.saved["ours"]
                judgements.append(Judgement(target, "saved", memory.row, saved, saved <= target.saved))
    return judgements


def _judge_times(target: Target, outcome: Outcome, call: float) -> Iterator[Judgement]:
    row = outcome.row
    for name, (bound, _) in target.bounds.items():
        if name == "floor" and "floor" in outcome.ratios:
            measured = outcome.ratios["floor"].median
            yield Judgement(target, name, row, measured, measured <= bound)
        elif name in ("eager", "compiled", "better") and name in outcome.ratios:
            # The better peer is known only where both were asked.
            if name == "better" and "compiled" not in outcome.ratios:
                continue
            measured = outcome.ratios[name].median
            at_floor = measured * outcome.ratios["floor"].median if "floor" in outcome.ratios else None
            yield Judgement(target, name, row, measured, measured >= (1 / NOISE if bound == 1 else bound), at_floor)
        elif name == "beyond_call":
            measured = max(0.0, outcome.times["ours"].median - call) / outcome.times["eager"].median
            yield Judgement(target, name, row, measured, measured <= bound)
        elif name == "calls":
            measured = 1 / outcome.ratios["eager"].median
            yield Judgement(target, name, row, measured, measured <= bound)


def unmeasured(targets: Sequence[Target], rows: Sequence[Row], judgements: Sequence[Judgement]) -> int:
    """How many bounds on `rows` have no judgement."""
    return sum(len(target.bounds) for target in targets for row in rows if target.speaks_of(row)) - len(judgements)
