"""What the package's weights score on synthetic clips that they have not learned from, beside models that learn nothing.

`python -m bench.baselines ROOT` scores them on what `tased synth -o ROOT --split val --seed 2` has written, and prints the table of
docs/model-card.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tased_net import Predictor, TASEDNet
from tased_net.data import Scan
from tased_net.evaluate import evaluate
from tased_net.metrics import imresize
from tased_net.predictions import NetworkMaps
from tased_net.sharing import cores

from . import machine

Map = NDArray[Any]  # (h, w)
Frame = NDArray[np.uint8]  # (H, W, 3)

METRICS = {"nss": "NSS", "cc": "CC", "sim": "SIM", "auc_judd": "AUC-J", "shuffled_auc": "s-AUC"}
SIZE = (112, 192)
CENTRE = 0.2  # sigma, part of each side
MOTION_BLUR, RESIDUAL_BLUR = 0.08, 0.08  # sigma, part of the height
RESIDUAL_SIDE = 64


def grey(frame: Frame, size: tuple[int, int] = SIZE) -> Map:
    """Brightness (h, w) from 0 to 1."""
    return imresize(frame.mean(-1) / 255, size)


def centre(frames: Iterable[Frame]) -> Iterator[Map]:
    """A Gaussian in the middle of the frame, whatever is there."""
    rows, columns = ((np.arange(side) + 0.5) / side - 0.5 for side in SIZE)
    bump = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * CENTRE**2))
    for _ in frames:
        yield bump


def frame_difference(frames: Iterable[Frame]) -> Iterator[Map]:
    """How much each pixel differs from the frame before; the first frame's is that of the second."""
    greys = [grey(frame) for frame in frames]
    for index in range(len(greys)):
        after = max(index, 1)
        yield gaussian_filter(np.abs(greys[after] - greys[after - 1]), MOTION_BLUR * SIZE[0])


def spectral_residual(frames: Iterable[Frame]) -> Iterator[Map]:
    """What is unexpected in a frame's logarithmic spectrum (Hou and Zhang, CVPR 2007), at their 64 pixels."""
    for frame in frames:
        spectrum = np.fft.fft2(grey(frame, (RESIDUAL_SIDE, RESIDUAL_SIDE)))
        amplitude = np.log(np.abs(spectrum) + 1e-9)
        averaged = np.fft.ifft2(np.fft.fft2(amplitude) * _box(3)).real
        residual = np.fft.ifft2(np.exp(amplitude - averaged + 1j * np.angle(spectrum)))
        yield gaussian_filter(np.abs(residual) ** 2, RESIDUAL_BLUR * RESIDUAL_SIDE)


def _box(side: int) -> Map:
    """The transform of an average over a square."""
    kernel = np.zeros((RESIDUAL_SIDE, RESIDUAL_SIDE))
    kernel[:side, :side] = 1 / side**2
    return np.fft.fft2(np.roll(kernel, (-(side // 2), -(side // 2)), (0, 1)))


class Baseline:
    """A model that learns nothing, in the place of a `Predictor`."""

    precision = "float64"
    size = SIZE

    def __init__(self, model: Callable[[Iterable[Frame]], Iterator[Map]]) -> None:
        self.model = model

    def __call__(self, frames: Iterable[Frame]) -> Iterator[Map]:
        return self.model(frames)


def models(weights: str) -> dict[str, Predictor]:
    """By name, the network with these weights and all that it is compared with."""
    net = TASEDNet.from_pretrained(weights)
    torch.manual_seed(0)
    untrained = TASEDNet(**net.options)
    untrained.origin = net.origin
    plain = {"centre Gaussian": centre, "frame difference": frame_difference, "spectral residual": spectral_residual}
    return {
        **{name: cast("Predictor", Baseline(model)) for name, model in plain.items()},
        "untrained network": Predictor(untrained),
        "the weights": Predictor(net),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.baselines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, metavar="ROOT", help="a folder that tased synth has written, split val")
    parser.add_argument("--weights", default="synthetic", metavar="FILE", help="whose (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cores(), metavar="N", help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args(arguments)
    split = Scan(options.root, "dhf1k").open("val")
    found: dict[str, dict[str, list[float]]] = {}
    print(f"| | {' | '.join(METRICS.values())} |\n|---|{'---|' * len(METRICS)}", flush=True)
    for name, predictor in models(options.weights).items():
        evaluation = evaluate(split, NetworkMaps(predictor, name), workers=options.workers, progress=True)
        assert evaluation is not None
        scores = evaluation.scores
        ends = scores.interval()
        if ends is None:
            sys.exit(f"{options.root}: a single video tells nothing of others")
        mean, low, high = scores.mean(), *ends
        places = {metric: scores.metrics.index(metric) for metric in METRICS}
        found[name] = {metric: [float(values[i]) for values in (mean, low, high)] for metric, i in places.items()}
        cells = ("{:.3f} ({:.3f} to {:.3f})".format(*values) for values in found[name].values())
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"{len(split.videos)} videos, {scores.frames} frames")
    if options.out is not None:
        options.out.write_text(json.dumps({"machine": machine.facts("cpu"), "scores": found}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
