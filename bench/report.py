"""What a run shows on the screen: a table of times, one of memory, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .results import Memory, Outcome
from .targets import Judgement, Target
from .timing import Spread

_WIDTHS = (24, 13, 23, 8, 3, 15, 15, 15, 9, 8, 8, 8)
_NAMES = (
    "work",
    "map",
    "layout",
    "dtype",
    "thr",
    "ours",
    "eager",
    "compiled",
    "floor",
    "x eager",
    "x comp.",
    "x floor",
)


def _line(cells: Sequence[str], widths: Sequence[int] = _WIDTHS, left: int = 4) -> str:
    """One row of a table: words to the left, numbers to the right."""
    aligned = [
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return " ".join(aligned).rstrip()


def header() -> str:
    return f"{_line(_NAMES)}\n{_line(['-' * width for width in _WIDTHS])}"


def outcome_line(outcome: Outcome) -> str:
    """Times are medians ± half the distance of the quartiles; ratios say how much faster ours is, and how far its floor."""
    row, times, ratios = outcome.row, outcome.times, outcome.ratios
    cells = [row.work, row.site.name, row.layout, row.dtype, str(row.threads)]
    cells += [_time(times[name]) if name in times else "" for name in ("ours", "eager", "compiled")]
    cells.append(seconds(times["floor"].median) if "floor" in times else "")
    cells += [f"{ratios[name].median:.2f}" if name in ratios else "" for name in ("eager", "compiled", "floor")]
    return _line(cells) + ("  busy" if outcome.elsewhere > 0.1 else "")


def _time(spread: Spread) -> str:
    return f"{seconds(spread.median)} ±{spread.percent:3.0f}%"


def seconds(value: float) -> str:
    """A time in its natural unit: 812 ns, 3.85 us, 12.1 ms, 1.02 s."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def memory_table(memories: Iterable[Memory]) -> str:
    """Bytes a window that backward keeps, and the MiB that a call allocates at its peak; ours / eager / compiled."""
    widths = (16, 13, 23, 24, 27, 27)
    names = ("operation", "map", "layout", "kept, bytes a window", "peak of inference, MiB", "peak of training, MiB")
    lines = [_line(names, widths, 3), _line(["-" * width for width in widths], widths, 3)]
    for memory in memories:
        row = memory.row
        cells = [row.operation, row.site.name, row.layout, _slashed(memory.saved)]
        cells += [_slashed(peak, 2**20) for peak in (memory.peak_inference, memory.peak_training)]
        lines.append(_line(cells, widths, 3))
    return "\n".join(lines)


def _slashed(values: dict[str, float] | dict[str, int], unit: float = 1) -> str:
    return " / ".join(f"{values[name] / unit:.3g}" if name in values else "-" for name in ("ours", "eager", "compiled"))


def targets_table(judgements: Sequence[Judgement]) -> str:
    """A line a bound: whether all of its rows keep it and the worst of them, and a line for every row that does not.

    Of those that moving the bytes alone would not keep either, it tells how far that would come.
    """
    bounds: dict[tuple[Target, str], list[Judgement]] = {}
    for judgement in judgements:
        bounds.setdefault((judgement.target, judgement.name), []).append(judgement)
    lines = []
    for (target, name), group in bounds.items():
        missed = [judgement for judgement in group if not judgement.reached]
        worst = (min if name in ("eager", "compiled", "better") else max)(group, key=lambda one: one.measured)
        counts = f"{len(group) - len(missed)}/{len(group)}"
        about = f"{target.about}: {worst.words}"
        lines.append(f"{'MISSED' if missed else 'reached':7} {counts:>7}  {about:88} worst {worst.measured:.3g}")
        for one in missed:
            floor = f" (the floor itself: {one.at_floor:.3g})" if one.beyond_floor else ""
            lines.append(f"{'':18}{one.measured:.3g}  {one.row}{floor}")
    return "\n".join(lines)


def summary(judgements: Sequence[Judgement], unmeasured: int) -> str:
    """How many bounds are reached, in all and by dtype, and how many of the others are beyond the floor."""

    def count(chosen: Sequence[Judgement]) -> str:
        return f"{sum(judgement.reached for judgement in chosen)} of {len(chosen)}"

    dtypes = dict.fromkeys(judgement.row.dtype for judgement in judgements)
    parts = ", ".join(f"{dtype} {count([one for one in judgements if one.row.dtype == dtype])}" for dtype in dtypes)
    detail = f" ({parts})" if len(dtypes) > 1 else ""
    beyond = sum(judgement.beyond_floor for judgement in judgements)
    others = f"; beyond the floor: {beyond}" if beyond else ""
    return f"{count(judgements)} bounds reached{detail}{others}; {unmeasured} not measured in this run"
