"""Scores as pictures: their distribution by video, their course over time, and the best and worst frames beside the truth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from .data import DataError, Split, Video
from .frames import RGB
from .render import TILE_WIDTH, Sheet, overlay
from .scores import TITLES, Scores
from .scoring import Example
from .texts import printable
from .writing import whole_file, write_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOR, DARK, FAINT = "#e4572e", "#7a2410", "#b8bfc9"
NAMED = 40  # videos that have room for their names
SHOWN = 3  # of the best and of the worst frames


def plot_videos(path: str | os.PathLike[str], scores: Scores, title: str) -> None:
    """Draws the distribution of each video's frames, a panel a metric, videos in the order of their medians."""
    figure, panels = _panels(scores, title)
    for column, (metric, axes) in enumerate(zip(scores.metrics, panels, strict=True)):
        ends = np.array([np.quantile(video.values[:, column], [0.1, 0.25, 0.5, 0.75, 0.9]) for video in scores.videos])
        order = np.argsort(ends[:, 2], kind="stable")
        ends, places = ends[order], np.arange(len(order))
        axes.vlines(places, ends[:, 0], ends[:, 4], color=FAINT, linewidth=1)
        axes.vlines(places, ends[:, 1], ends[:, 3], color=COLOR, linewidth=max(1.5, min(8, 240 / len(order))))
        axes.plot(places, ends[:, 2], ".", color=DARK, markersize=4)
        axes.axhline(scores.mean()[column], color=DARK, linewidth=0.8, linestyle="--")
        axes.set_ylabel(TITLES[metric])
        names = [printable(scores.videos[number].name) for number in order]
        if len(names) <= NAMED:
            axes.set_xticks(places, names, rotation=90, fontsize=7, parse_math=False)
        else:
            ends_named = [f"{names[0]} (lowest)", f"{names[-1]} (highest)"]
            axes.set_xticks([0, len(names) - 1], ends_named, fontsize=7, parse_math=False)
    panels[-1].set_xlabel("videos by median; thick: half of the frames, thin: 80 %; dashed: mean over all frames")
    _save(figure, path)


def plot_time(path: str | os.PathLike[str], scores: Scores, title: str) -> None:
    """Draws the scores over time, a panel a metric: the median over videos and the middle half of them."""
    figure, panels = _panels(scores, title)
    last = max(int(video.frames.max()) for video in scores.videos)
    for column, (metric, axes) in enumerate(zip(scores.metrics, panels, strict=True)):
        grid = np.full((len(scores.videos), last), np.nan)
        for row, video in zip(grid, scores.videos, strict=True):
            row[video.frames - 1] = video.values[:, column]
        times = np.flatnonzero(np.isfinite(grid).any(0))
        low, middle, high = np.nanquantile(grid[:, times], [0.25, 0.5, 0.75], axis=0)
        if len(scores.videos) <= NAMED // 4:
            axes.plot(np.arange(1, last + 1), grid.T, color=FAINT, linewidth=0.7)
        axes.fill_between(times + 1, low, high, color=COLOR, alpha=0.25, linewidth=0)
        axes.plot(times + 1, middle, color=COLOR, linewidth=1.2)
        axes.set_ylabel(TITLES[metric])
        axes.locator_params("x", integer=True)
    panels[-1].set_xlabel("frame; line: median over videos, band: the middle half of them")
    _save(figure, path)


def _panels(scores: Scores, title: str) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # half a second, which only a plot is to take

    count = len(scores.metrics)
    figure = Figure(figsize=(10, 0.8 + 1.7 * count), layout="constrained")
    panels = list(figure.subplots(count, 1, sharex=False, squeeze=False)[:, 0])
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", parse_math=False)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with whole_file(path) as beside:
        figure.savefig(beside, dpi=130, format="png", metadata={"Software": None})


# ------------------------------------------------------------------------------------------------------------------ frames


def chosen_examples(examples: Sequence[tuple[Example, Example]]) -> tuple[list[Example], list[Example]]:
    """The best and the worst frames of all, by the first metric and of different videos."""
    best = sorted((pair[0] for pair in examples), key=lambda one: -one.values[0])
    worst = sorted((pair[1] for pair in examples), key=lambda one: one.values[0])
    return best[:SHOWN], worst[:SHOWN]


def draw_frames(
    path: str | os.PathLike[str],
    split: Split,
    metrics: Sequence[str],
    examples: Sequence[tuple[Example, Example]],
    title: str,
) -> None:
    """Draws the best and the worst frames: the frame with its fixations, the truth and the prediction as heat over it."""
    videos = {video.name: video for video in split.videos}
    best, worst = chosen_examples(examples)
    rows = [
        (f"{word}: {printable(example.video)} frame {example.frame}", example, _scene(videos[example.video], example))
        for word, group in (("best", best), ("worst", worst))
        for example in group
    ]
    height = max(_tile(scene[0])[1] for _, _, scene in rows)
    sheet = Sheet(title, ("frame and fixations", "truth", "prediction"), len(rows), (TILE_WIDTH, height), line=22)
    for number, (words, example, scene) in enumerate(rows):
        values = "   ".join(f"{TITLES[m]} {value:.3f}" for m, value in zip(metrics, example.values, strict=True))
        sheet.draw.text((sheet.MARGIN, sheet.top(number)), f"{words}   {values}", "#f2f2f2", sheet.font)
        sheet.paste(number, (Image.fromarray(picture).resize(_tile(picture)) for picture in scene))
    write_image(path, sheet.pixels())


def _tile(picture: RGB) -> tuple[int, int]:
    """Width and height of a picture on the sheet."""
    return TILE_WIDTH, round(TILE_WIDTH * picture.shape[0] / picture.shape[1])


def _scene(video: Video, example: Example) -> tuple[RGB, RGB, RGB]:
    """The frame with fixations, the truth over it, the prediction over it; grey where the frame cannot be read."""
    index = example.frame - 1
    try:
        image = next(iter(video.images([index])))
    except DataError:
        image = np.full((*video.size, 3), 60, np.uint8)
    prediction = overlay(image, (example.map / 255).astype(np.float32))
    density, fixations = video.density(index), video.fixations(index)
    truth = image if density is None else overlay(image, density / max(float(density.max()), 1e-9))
    return (image if fixations is None else _marked(image, fixations)), truth, prediction


def _marked(image: RGB, fixations: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> RGB:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    radius = max(1.5, image.shape[1] / 160)
    for row, column in np.argwhere(fixations):
        x, y = ((column + 0.5) * image.shape[1] / fixations.shape[1], (row + 0.5) * image.shape[0] / fixations.shape[0])
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="#ffe14d", outline="black")
    return np.asarray(picture)
