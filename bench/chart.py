"""The bar chart: every work as a multiple of its floor, ours beside eager and compiled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .results import Outcome
from .works import DENSE

COLORS = {"eager": "#b8bfc9", "compiled": "#6b8fb5", "ours": "#e4572e"}
LABELS = {"eager": "stock PyTorch, eager", "compiled": "stock PyTorch, torch.compile", "ours": "tased_ext"}
INK, FAINT = "#22262b", "#7a828c"


def draw(outcomes: Sequence[Outcome], path: Path, title: str) -> None:
    """Draw the rows at TASED-Net's maps, one panel a layout; their dtype and number of threads should be one."""
    rows = [outcome for outcome in outcomes if outcome.row.kind == "site" and "floor" in outcome.times]
    names = list(dict.fromkeys((outcome.row.work, outcome.row.site.name) for outcome in rows))
    layouts = [layout for layout in DENSE if any(outcome.row.layout == layout for outcome in rows)]
    figure, panels = plt.subplots(
        1,
        len(layouts),
        figsize=(2.4 + 5.2 * len(layouts), 1.9 + 0.62 * len(names)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, layout in zip(panels[0], layouts, strict=True):
        by_name = {(o.row.work, o.row.site.name): o for o in rows if o.row.layout == layout}
        for place, name in enumerate(names):
            if name in by_name:
                _group(axes, place, by_name[name])
        _dress(axes, layout)
    panels[0][0].set_yticks(range(len(names)), [f"{work}\n{site}" for work, site in names])
    panels[0][0].set_ylim(len(names) - 0.45, -0.75)
    panels[0][0].set_xlim(left=min(0.85, panels[0][0].get_xlim()[0]))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    figure.supxlabel(
        "times the floor: the time to read the inputs and write the result once (log scale; shorter is faster)",
        fontsize=9,
        color=INK,
    )
    handles = [Patch(color=COLORS[name]) for name in ("ours", "compiled", "eager")]
    figure.legend(
        handles,
        [LABELS[name] for name in ("ours", "compiled", "eager")],
        loc="outside upper right",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=150, facecolor="white")
    plt.close(figure)


def _group(axes: Axes, place: int, outcome: Outcome) -> None:
    """The bars of one work, from the floor to its multiple, with whiskers from quartile to quartile."""
    floor = outcome.times["floor"].median
    subjects = [name for name in ("ours", "compiled", "eager") if name in outcome.times]
    height = 0.8 / 3
    for i, name in enumerate(subjects):
        spread = outcome.times[name]
        low, value, high = (seconds / floor for seconds in (spread.low, spread.median, spread.high))
        y = place + (i - 1) * height
        axes.barh(y, value - 1, height * 0.88, left=1, color=COLORS[name], zorder=2)
        axes.hlines(y, low, high, color=INK, linewidth=0.8, zorder=3)
        text, color = _label(outcome, name)
        end = (max(value, high, 1), y)
        axes.annotate(text, end, xytext=(4, 0), textcoords="offset points", va="center", fontsize=7.5, color=color)


def _label(outcome: Outcome, name: str) -> tuple[str, str]:
    """What stands beside a bar, and its colour: dark where a peer is faster."""
    if name == "ours":
        return f"{_times(outcome.ratios['floor'].median)} floor", COLORS["ours"]
    value = outcome.ratios[name].median
    return f"{_times(value)} ours", FAINT if value >= 1 else INK


def _times(value: float) -> str:
    return f"{value:.2f}x" if value < 1 else f"{value:.1f}x" if value < 10 else f"{value:.0f}x"


def _dress(axes: Axes, layout: str) -> None:
    axes.set_xscale("log")
    axes.set_title(layout, loc="left", fontsize=10, color=INK)
    axes.axvline(1, color=INK, linewidth=1.2, zorder=4)
    axes.annotate(
        "floor",
        (1, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -9),
        textcoords="offset points",
        fontsize=8,
        color=INK,
    )
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="x", color="#e3e6ea", linewidth=0.8, zorder=0)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.12)
