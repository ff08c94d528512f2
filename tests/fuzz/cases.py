"""What a target is, what becomes of a case, and how a case's randomness is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

BLOCK = 100  # examples that hypothesis draws at a time


class Refusal(Exception):
    """A command that was refused, with its sentence."""


class Finding(Exception):
    """Something that may not happen: its kind, and what can be said of it."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class Outcome:
    """What became of a case: "accepted", "refused", or the kind of a finding; and the megabytes that it took."""

    kind: str
    detail: str = ""
    megabytes: float = 0.0

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("accepted", "refused")


class Draw(Random):
    """The random numbers of one case, and the value that hypothesis drew for it, if its target has a strategy."""

    value: Any = None

    def one_in(self, count: int) -> bool:
        return self.randrange(count) == 0


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers send.

    Attributes
    ----------
    name
        What the command line calls it.
    make
        Makes a case in a folder: gives what `read` takes.
    read
        Reads it; returns if it is accepted.
    refusals
        The exceptions by which it may be refused, whose message is one line.
    absurd
        Cases that are always run, before the random ones: as `make`, but for the randomness.
    strategy
        What hypothesis draws for `Draw.value`.
    weight
        Its share of the cases, beside other targets.
    """

    name: str
    make: Callable[[Draw, Path], Any]
    read: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = ()
    absurd: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    strategy: SearchStrategy[Any] | None = None
    weight: int = 10

    def case(self, number: int, base: int, folder: Path) -> Any:
        """Makes case `number` of a run with the seed `base`."""
        if number < len(self.absurd):
            return list(self.absurd.values())[number](folder)
        draw = Draw(f"{base}/{self.name}/{number}")
        if self.strategy is not None:
            examples = _examples(self, base, number // BLOCK)
            draw.value = examples[number % len(examples)]
        return self.make(draw, folder)

    def title(self, number: int) -> str:
        """A case by its name, if it has one."""
        return list(self.absurd)[number] if number < len(self.absurd) else f"case {number}"

    def __hash__(self) -> int:
        return hash(self.name)


@lru_cache(maxsize=4)
def _examples(target: Target, base: int, block: int) -> list[Any]:
    """What hypothesis draws for a block of cases: the same for the same target, seed and block."""
    assert target.strategy is not None
    found: list[Any] = []

    @seed(int.from_bytes(hashlib.sha256(f"{base}/{target.name}/{block}".encode()).digest()[:8], "big"))
    @settings(
        max_examples=BLOCK,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found
