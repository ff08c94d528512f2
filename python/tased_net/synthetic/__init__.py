"""Synthetic clips with known attention, to train and to test on where there are no recordings of gaze.

A clip is a pure function of a seed and its number: shots with a moving camera, things that move, stop, come up and hide each
other, bystanders that move with the camera only; and for every frame the density of attention that stated rules give
(docs/synthetic.md), with the fixations of observers who follow it.

Examples
--------
>>> from tased_net.synthetic import render
>>> scene = render(seed=0, number=1, size=(54, 96), frames=(32, 48))
>>> scene.images.shape[1:], scene.densities.dtype, bool(scene.fixations.any())
((54, 96, 3), dtype('float32'), True)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..frames import RGB
from .attention import ROWS, watch
from .picture import Renderer, sensor_noise
from .shots import make_shot

__all__ = ["FRAMES", "MIN_SIDE", "RATES", "SIZE", "Clip", "Scene", "render"]

SIZE = (360, 640)
MIN_SIDE = 32
FRAMES = (100, 300)
RATES = {24: 0.1, 25: 0.3, 30: 0.4, 50: 0.1, 60: 0.1}  # frames a second, and how often
OBSERVERS = (20, 40)
SHOTS = (0.5, 0.25, 0.15, 0.1)  # probability of 1, 2, … shots
SHORTEST_SHOT = 1.0  # second
BLUR = 0.05  # sigma of the Gaussian that makes a density of fixations, in heights of a frame


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip with its truth.

    Attributes
    ----------
    images
        uint8 RGB (N, H, W, 3).
    densities
        float32 (N, H, W), each from 0 to 1: the fixations, blurred, as in recorded data.
    truths
        float32 (N, H, W), each from 0 to 1: the density of attention by the rules, which the fixations are drawn from.
    fixations
        bool (N, H, W).
    rate
        Frames a second.
    """

    images: NDArray[np.uint8]
    densities: NDArray[np.float32]
    truths: NDArray[np.float32]
    fixations: NDArray[np.bool_]
    rate: Fraction


def check(seed: int, number: int, size: tuple[int, int], frames: tuple[int, int]) -> None:
    """Raises ValueError if there is no such clip."""
    if min(seed, number) < 0:
        raise ValueError(f"seed and number must not be negative, got {seed} and {number}")
    if min(size) < MIN_SIDE or size[0] % 2 or size[1] % 2:
        raise ValueError(f"size must be even and at least {MIN_SIDE}x{MIN_SIDE}, got {size[0]}x{size[1]}")
    if not 2 <= frames[0] <= frames[1]:
        raise ValueError(f"frames must be MIN-MAX with 2 <= MIN <= MAX, got {frames[0]}-{frames[1]}")


class Clip:
    """A clip that is made up but not yet rendered: any frame of it can be had on its own.

    Parameters
    ----------
    seed, number
        What the clip follows from. At another size the same things happen.
    size
        Height and width in pixels.
    frames
        Least and greatest number of frames.

    Attributes
    ----------
    length
        Number of frames.
    rate
        Frames a second.
    shots, gaze
        What happens, and where one looks.

    Raises
    ------
    ValueError
        If a number is negative, a side is below 32 pixels or odd, or `frames` is not an ascending pair of at least 2.
    """

    def __init__(self, seed: int, number: int, size: tuple[int, int] = SIZE, frames: tuple[int, int] = FRAMES) -> None:
        check(seed, number, size, frames)
        plot, eyes, grain, *rest = np.random.SeedSequence((seed, number)).spawn(3 + len(SHOTS))
        rng = np.random.default_rng(plot)
        self.size = size
        self.length = int(rng.integers(frames[0], frames[1] + 1))
        self.rate = Fraction(int(rng.choice(list(RATES), p=list(RATES.values()))))
        self._starts = self._cuts(rng)
        ends = [*self._starts[1:], self.length]
        observers = int(rng.integers(OBSERVERS[0], OBSERVERS[1] + 1))
        with _one_thread():
            self.shots = [
                make_shot(child, end - start, float(self.rate), size, ROWS)
                for child, start, end in zip(rest, self._starts, ends, strict=False)
            ]
            self.gaze = watch(self.shots, np.random.default_rng(eyes), observers)
        noise = sensor_noise(grain, size)
        self._renderers = [Renderer(shot, size, noise, index) for index, shot in enumerate(self.shots)]

    def _cuts(self, rng: np.random.Generator) -> list[int]:
        """The first frames of the shots."""
        wanted = int(rng.choice(len(SHOTS), p=SHOTS))
        cuts = np.sort(rng.uniform(0, self.length, wanted)).astype(int)
        least = max(2, round(SHORTEST_SHOT * self.rate))
        starts = [0]
        for cut in cuts.tolist():
            if cut - starts[-1] >= least and self.length - cut >= least:
                starts.append(cut)
        return starts

    def image(self, index: int) -> RGB:
        """The frame, uint8 RGB (H, W, 3); the first is 0."""
        shot = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._renderers[shot].frame(index - self._starts[shot])

    def images(self) -> Iterator[RGB]:
        """All frames in turn."""
        return (self.image(index) for index in range(self.length))

    def fixations(self, index: int) -> NDArray[np.bool_]:
        """Where the observers look, bool (H, W)."""
        points = self._points(index)
        fixated = np.zeros(self.size, np.bool_)
        fixated[tuple(np.floor(points[:, ::-1] * self.size[0]).astype(int).T)] = True
        return fixated

    def density(self, index: int) -> NDArray[np.float32]:
        """The fixations, blurred, float32 (H, W) from 0 to 1."""
        points = self._points(index)
        height, width = self.size
        variance = 2 * BLUR**2
        down = np.exp(-(((np.arange(height) + 0.5) / height - points[:, 1:]) ** 2) / variance)
        across = np.exp(-(((np.arange(width) + 0.5) / height - points[:, :1]) ** 2) / variance)
        density = down.T @ across
        result: NDArray[np.float32] = (density / max(density.max(), 1e-9)).astype(np.float32)
        return result

    def truth(self, index: int) -> NDArray[np.float32]:
        """The density of attention by the rules, float32 (H, W) from 0 to 1."""
        coarse = torch.from_numpy(self.gaze.density[index])[None, None]
        fine = F.interpolate(coarse, self.size, mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
        return (fine / fine.max()).numpy()

    def _points(self, index: int) -> NDArray[np.float64]:
        points = self.gaze.points[index]
        return points[~np.isnan(points[:, 0])]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same, to the bit, however many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def render(
    seed: int,
    number: int,
    size: tuple[int, int] = SIZE,
    frames: tuple[int, int] = FRAMES,
    span: tuple[int, int] | None = None,
) -> Scene:
    """Renders a clip in memory.

    Parameters
    ----------
    seed, number
        What the clip follows from.
    size
        Height and width in pixels.
    frames
        Least and greatest number of frames of the clip.
    span
        First frame and the one after the last that are wanted; all by default. `Clip` tells the length beforehand.

    Raises
    ------
    ValueError
        As `Clip`, and if there is no such span.
    """
    clip = Clip(seed, number, size, frames)
    start, end = span if span is not None else (0, clip.length)
    if not 0 <= start < end <= clip.length:
        raise ValueError(f"span must lie in the clip's frames 0 to {clip.length}, got {start} to {end}")
    indices = range(start, end)
    return Scene(
        np.stack([clip.image(index) for index in indices]),
        np.stack([clip.density(index) for index in indices]),
        np.stack([clip.truth(index) for index in indices]),
        np.stack([clip.fixations(index) for index in indices]),
        clip.rate,
    )
