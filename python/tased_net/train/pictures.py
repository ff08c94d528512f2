"""Pictures of a run: the curve of its losses, and maps beside the truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..frames import RGB
from ..render import COLORMAP, Map
from ..texts import printable
from ..writing import whole_file
from .folder import Row

SMOOTHED = 25  # steps that the smooth curve averages


class Scene(NamedTuple):
    """A clip's last frame, its true map and the predicted one."""

    name: str
    image: RGB
    truth: Map
    predicted: Map


def draw_losses(path: str | os.PathLike[str], rows: Sequence[Row], loss: str) -> None:
    """Draws the loss of every step, its running mean, the validation loss, and where the learning rate drops."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    steps, losses = (np.array([row[name] for row in rows]) for name in ("step", "loss"))
    axes.plot(steps, losses, color="#b8c4d6", linewidth=0.8, label="training, each step")
    if len(rows) > SMOOTHED:
        smooth = np.convolve(losses, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
        axes.plot(steps[SMOOTHED - 1 :], smooth, color="#28568f", linewidth=1.6, label=f"mean of {SMOOTHED} steps")
    validated = [row for row in rows if "val_loss" in row]
    if validated:
        points = ([row["step"] for row in validated], [row["val_loss"] for row in validated])
        axes.plot(*points, "o-", color="#d9541e", markersize=4, linewidth=1.2, label="validation")
    for before, after in pairwise(rows):
        if after["lr"] < before["lr"]:
            axes.axvline(before["step"], color="#888888", linestyle=":", linewidth=1)
            axes.annotate(
                f" lr {after['lr']:.3g}", (before["step"], 1), xycoords=("data", "axes fraction"), va="top", fontsize=8
            )
    axes.set(xlabel="step", ylabel=f"loss ({loss})")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path)


def draw_scenes(path: str | os.PathLike[str], scenes: Sequence[Scene], title: str) -> None:
    """Draws clips' last frames, true maps and predicted maps in three columns; each map is scaled to its maximum."""
    height, width = scenes[0].truth.shape
    tile = 2.6
    size = (3 * tile, len(scenes) * tile * height / width + 0.6)
    figure = Figure(figsize=size, dpi=120, layout="constrained", facecolor="#111114")
    figure.suptitle(title, color="#f2f2f2", fontsize=9)
    grid: NDArray[np.object_] = figure.subplots(len(scenes), 3, squeeze=False)
    for row, scene in zip(grid, scenes, strict=True):
        row[0].imshow(scene.image)
        for axes, map_ in zip(row[1:], (scene.truth, scene.predicted), strict=True):
            axes.imshow(map_, cmap=COLORMAP, vmin=0, vmax=max(float(map_.max()), 1e-12))
        for axes in row:
            axes.set_axis_off()
        row[0].set_title(printable(scene.name), color="#f2f2f2", fontsize=7, loc="left", pad=2, parse_math=False)
    for axes, name in zip(grid[0, 1:], ("truth", "predicted"), strict=True):
        axes.set_title(name, color="#f2f2f2", fontsize=7, loc="left", pad=2)
    _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with whole_file(path) as beside:
        figure.savefig(beside, format="png")
