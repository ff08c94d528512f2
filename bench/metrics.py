"""The metrics' time a frame, against the definitions taken step by step; on one thread.

`python -m bench.metrics` takes half a minute. A frame is a predicted map of the network's size, which is resized to the truth's
640x360, and the five metrics of it. All peers take turns in one run; only the ratios can be compared with another run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tased_net import metrics
from tests.cases import threads
from tests.net import plain_metrics as plain

from . import machine
from .timing import Call, CpuClock, Elsewhere, Spread, measure, ratio

TARGET = 0.06  # seconds for the five together

Map = NDArray[Any]


def frame(pred_size: tuple[int, int], size: tuple[int, int]) -> dict[str, Map]:
    """A prediction, and a truth with 50 fixations and 500 of other frames."""
    generator = np.random.default_rng(0)

    def smooth(height: int, width: int) -> Map:
        values = gaussian_filter(generator.random((height, width)) ** 9, height / 16)
        return (values - values.min()) / np.ptp(values)

    def points(count: int) -> Map:
        mask = np.zeros(size, bool)
        mask.flat[generator.choice(mask.size, count, replace=False)] = True
        return mask

    return {
        "pred": (smooth(*pred_size) * 255).round().astype(np.uint8),
        "density": smooth(*size).astype(np.float32),
        "fixated": points(50),
        "elsewhere": points(500),
    }


def peers(pred: Map, density: Map, fixated: Map, elsewhere: Map) -> dict[str, tuple[Call, Call]]:
    """By name, our call and the plain one."""
    sized = metrics.imresize(pred, density.shape)

    def five(resize: Callable[..., Map], *scores: Call) -> Call:
        def call() -> None:
            resize(pred, density.shape)
            for score in scores:
                score()

        return call

    generator = np.random.default_rng(0)
    single: dict[str, tuple[Call, Call]] = {
        "nss": (lambda: metrics.nss(sized, fixated), lambda: plain.nss(sized, fixated)),
        "cc": (lambda: metrics.cc(sized, density), lambda: plain.cc(sized, density)),
        "sim": (lambda: metrics.sim(sized, density), lambda: plain.sim(sized, density)),
        "auc_judd": (
            lambda: metrics.auc_judd(sized, fixated, jitter="expected"),
            lambda: plain.auc_judd(sized, fixated, generator),
        ),
        "shuffled_auc": (
            lambda: metrics.shuffled_auc(sized, fixated, elsewhere),
            lambda: plain.shuffled_auc(sized, fixated, elsewhere, generator),
        ),
    }
    return {
        "imresize": (lambda: metrics.imresize(pred, density.shape), lambda: plain.resized(pred, density.shape)),
        **single,
        "a frame": (
            five(metrics.imresize, *(ours for ours, _ in single.values())),
            five(plain.resized, *(theirs for _, theirs in single.values())),
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints and writes the table; returns 1 if the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    add = parser.add_argument
    add("--pred-size", type=int, nargs=2, default=(224, 384), metavar=("H", "W"))
    add("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"), help="of the truth")
    add("--seconds", type=float, default=4.0, help="to measure a row for (default: %(default)s)")
    add("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    facts = {**machine.facts("cpu"), "threads": 1, "frame": f"{options.pred_size} to {options.size}"}
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    print("\nmetric            ours, ms    plain, ms  x plain")
    elsewhere = Elsewhere()
    table: list[dict[str, Any]] = []
    with threads(1):
        for name, (ours, theirs) in peers(**frame(tuple(options.pred_size), tuple(options.size))).items():
            samples = measure({"ours": ours, "plain": theirs}, CpuClock(), options.seconds)
            spreads = {peer: Spread.of(turns) for peer, turns in samples.items()}
            times = ratio(samples["plain"], samples["ours"]).median
            table.append({"metric": name, **{peer: s.median for peer, s in spreads.items()}, "x_plain": times})
            cells = (f"{1e3 * spread.median:8.2f} ±{spread.percent:2.0f}%" for spread in spreads.values())
            print(f"{name:<13}{' '.join(cells)}{times:9.1f}", flush=True)
    reached = table[-1]["ours"] < TARGET
    print(f"The target, {1e3 * TARGET:.0f} ms a frame, is {'reached' if reached else 'MISSED'}.")
    print(f"Other processes used {elsewhere.share():.0%} of the cores meanwhile.")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "metrics.json"
    file.write_text(json.dumps({"machine": facts, "rows": table}, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {file}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
