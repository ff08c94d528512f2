"""What a run shows on the screen: a table of times, one of memory, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .results import Memory, Outcome
from .targets import Judgement
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
    "x compil",
    "x floor",
)


def line(cells: Sequence[str], widths: Sequence[int] = _WIDTHS, left: int = 4) -> str:
    """One row of a table: words to the left, numbers to the right."""
    aligned = [
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return " ".join(aligned).rstrip()


def header() -> str:
    return f"{line(_NAMES)}\n{line(['-' * width for width in _WIDTHS])}"


def outcome_line(outcome: Outcome) -> str:
    """Times are medians ± half the distance of the quartiles; ratios say how much faster ours is, and how far its floor."""
    row, times, ratios = outcome.row, outcome.times, outcome.ratios
    cells = [row.work, row.site.name, row.layout, row.dtype, str(row.threads)]
    cells += [_time(times[name]) if name in times else "" for name in ("ours", "eager", "compiled")]
    cells.append(seconds(times["floor"].median) if "floor" in times else "")
    cells += [f"{ratios[name].median:.2f}" if name in ratios else "" for name in ("eager", "compiled", "floor")]
    return line(cells) + ("  busy" if outcome.elsewhere > 0.1 else "")


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
    lines = [line(names, widths, 3), line(["-" * width for width in widths], widths, 3)]
    for memory in memories:
        row = memory.row
        cells = [row.operation, row.site.name, row.layout, _slashed(memory.saved)]
        cells += [_slashed(peak, 2**20) for peak in (memory.peak_inference, memory.peak_training)]
        lines.append(line(cells, widths, 3))
    return "\n".join(lines)


def _slashed(values: dict[str, float] | dict[str, int], unit: float = 1) -> str:
    return " / ".join(f"{values[name] / unit:.3g}" if name in values else "-" for name in ("ours", "eager", "compiled"))


def targets_table(judgements: Sequence[Judgement]) -> str:
    """A line a target: whether all its rows reach it, and the row that is nearest to missing it or misses it most."""
    lines = []
    for (target, name), group in groupby(judgements_by_target(judgements), key=lambda j: (j.target, j.name)):
        rows = list(group)
        reached = sum(judgement.reached for judgement in rows)
        least = name in ("eager", "compiled", "better")
        worst = (min if least else max)(rows, key=lambda judgement: judgement.measured)
        verdict = "reached" if reached == len(rows) else "MISSED"
        where = f"{worst.row.work} {worst.row.site.name} {worst.row.layout} {worst.row.dtype}"
        lines.append(f"{verdict:8}{f'{reached}/{len(rows)}':>6}  {target.subject}: {worst.words}")
        lines.append(f"{'':16}worst {worst.measured:.3g} ({where})")
    return "\n".join(lines)


def judgements_by_target(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Those of one bound of one target side by side, targets in the order of the table."""
    order: dict[tuple[object, str], int] = {}
    for judgement in judgements:
        order.setdefault((judgement.target, judgement.name), len(order))
    return sorted(judgements, key=lambda judgement: order[judgement.target, judgement.name])
