"""Frames scored one by one: predicted maps against fixated pixels and density maps."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import metrics
from .data import DataError, Video
from .predictions import Map8, expected_frames, read_map

OTHER_FRAMES = 10  # whose fixations are the negatives of s-AUC
CANNOT_BE_READ = "whose {} cannot be read"


class Points(NamedTuple):
    """Fixated pixels of a map of `size`."""

    size: tuple[int, int]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]

    def mask(self) -> NDArray[np.bool_]:
        """The map, bool (H, W)."""
        mask = np.zeros(self.size, bool)
        mask[self.rows, self.columns] = True
        return mask

    def at(self, size: tuple[int, int]) -> Points:
        """The points where they are on a map of another size: in the pixel that a point's centre falls into."""
        if size == self.size:
            return self
        rows = (2 * self.rows + 1) * size[0] // (2 * self.size[0])
        columns = (2 * self.columns + 1) * size[1] // (2 * self.size[1])
        return Points(size, rows, columns)


Fixated: TypeAlias = "list[list[Points | str]]"  # by video and frame; a word for why there are none


@dataclass(frozen=True)
class Settings:
    """How frames are scored.

    Attributes
    ----------
    metrics
        Names of what is computed.
    seed
        Of the other frames of s-AUC, and of what is drawn.
    draw
        Whether the benchmark's random draws are made, one jitter for AUC-Judd and 100 splits for s-AUC, in place of their
        exact means.
    baseline
        The map that the information gain is over, uint8 (h, w).
    """

    metrics: tuple[str, ...]
    seed: int = 0
    draw: bool = False
    baseline: Map8 | None = field(default=None, repr=False)

    def key(self) -> str:
        """Stands for them."""
        base = ""
        if self.baseline is not None:
            base = f"{self.baseline.shape} {hashlib.sha256(self.baseline.tobytes()).hexdigest()}"
        return f"{self.metrics} {self.seed} {self.draw} {base}"


@dataclass
class Example:
    """A frame, numbered from 1, with its predicted map and its scores."""

    video: str
    frame: int
    map: Map8
    values: NDArray[np.float64]


@dataclass
class Record:
    """What came of some frames of a video.

    `left_out` counts frames by the reason for which they have no score; `best` and `worst` are by the first metric.
    """

    name: str
    frames: list[int] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    constant: int = 0
    unreadable: list[str] = field(default_factory=list)
    best: Example | None = None
    worst: Example | None = None

    def add(self, other: Record) -> None:
        """Adds what came of other frames of the video."""
        self.frames += other.frames
        self.values += other.values
        self.left_out += other.left_out
        self.constant += other.constant
        self.unreadable += other.unreadable
        for example in (other.best, other.worst):
            if example is not None:
                self.show(example)

    def show(self, example: Example) -> None:
        """Keeps a frame if it is the best or the worst so far."""
        if self.best is None or example.values[0] > self.best.values[0]:
            self.best = example
        if self.worst is None or example.values[0] < self.worst.values[0]:
            self.worst = example


@dataclass
class Chunk:
    """Some frames of a video to be scored: by their 0-based numbers, with maps or files of maps, fixated pixels, and pixels
    that were fixated on other frames."""

    video: Video
    settings: Settings
    indices: list[int]
    maps: list[Map8 | str]
    fixated: list[Points] | None
    elsewhere: list[Points] | None


def read_points(video: Video) -> list[Points | str]:
    """The fixated pixels of a video's frames, or why a frame has none that can be used."""
    found: list[Points | str] = [CANNOT_BE_READ.format("fixations")] * video.length
    for index in expected_frames(video):
        try:
            mask = video.fixations(index)
        except DataError:
            continue
        if mask is None or not mask.any():
            found[index] = "without fixations"
        elif mask.all():
            found[index] = "whose every pixel is fixated"
        else:
            rows, columns = (places.astype(np.int32) for places in np.nonzero(mask))
            found[index] = Points((mask.shape[0], mask.shape[1]), rows, columns)
    return found


def points_key(points: Fixated | None) -> str:
    """Stands for the fixations of all videos."""
    digest = hashlib.sha256()
    for found in (found for video in points or () for found in video):
        if isinstance(found, str):
            digest.update(found.encode())
        else:
            digest.update(f"{found.size} {len(found.rows)} ".encode() + found.rows.tobytes() + found.columns.tobytes())
    return digest.hexdigest()


class OtherFrames:
    """Draws other frames for s-AUC, by a seed of the frame's own."""

    def __init__(self, points: Fixated, seed: int) -> None:
        self._seed = seed
        self._points: list[Points] = []
        self._place: dict[tuple[int, int], int] = {}
        for number, video in enumerate(points):
            for index, found in enumerate(video):
                if isinstance(found, Points):
                    self._place[number, index] = len(self._points)
                    self._points.append(found)

    def of(self, number: int, name: str, index: int, size: tuple[int, int]) -> Points:
        """The pixels that were fixated on other frames, on a map of `size`."""
        own = self._place[number, index]
        count = len(self._points) - 1
        generator = np.random.default_rng([*frame_seed(self._seed, name, index), 0])
        places = generator.choice(count, min(OTHER_FRAMES, count), replace=False)
        chosen = [self._points[place + (place >= own)].at(size) for place in places]
        return Points(
            size, np.concatenate([one.rows for one in chosen]), np.concatenate([one.columns for one in chosen])
        )


def frame_seed(seed: int, name: str, index: int) -> tuple[int, int, int]:
    """What a frame's draws depend on."""
    return seed, zlib.crc32(name.encode()), index


def score_chunk(chunk: Chunk) -> Record:
    """Scores some frames of a video."""
    record = Record(chunk.video.name)
    for place, (index, given) in enumerate(zip(chunk.indices, chunk.maps, strict=True)):
        try:
            saliency = read_map(given) if isinstance(given, str) else given
        except DataError as error:
            record.unreadable.append(str(error))
            continue
        try:
            density = chunk.video.density(index)
        except DataError:
            record.left_out[CANNOT_BE_READ.format("density map")] += 1
            continue
        if density is not None and density.min() == density.max():
            record.left_out["whose density map is constant"] += 1
            continue
        fixated = chunk.fixated[place] if chunk.fixated is not None else None
        elsewhere = chunk.elsewhere[place] if chunk.elsewhere is not None else None
        seed = np.random.default_rng([*frame_seed(chunk.settings.seed, chunk.video.name, index), 1])
        values = score_frame(saliency, density, fixated, elsewhere, chunk.settings, int(seed.integers(2**63)))
        record.constant += int(saliency.min() == saliency.max())
        record.frames.append(index + 1)
        record.values.append(values)
        record.show(Example(chunk.video.name, index + 1, saliency, values))
    return record


def score_frame(
    saliency: Map8,
    density: NDArray[np.float32] | None,
    fixated: Points | None,
    elsewhere: Points | None,
    settings: Settings,
    seed: int,
) -> NDArray[np.float64]:
    """The scores of one map in the order of the settings' metrics."""
    mask = None if fixated is None else fixated.mask()
    others = None if elsewhere is None else elsewhere.mask()
    sizes = {truth.shape for truth in (mask, density) if truth is not None}
    sized = {size: metrics.imresize(saliency, size) for size in sizes}
    of: dict[str, Callable[[], float]] = {}
    if density is not None:
        image, truth = sized[density.shape], density
        of["cc"] = lambda: metrics.cc(image, truth)
        of["sim"] = lambda: metrics.sim(image, truth)
        of["kl_divergence"] = lambda: metrics.kl_divergence(image, truth)
    if mask is not None:
        jitter, splits = ("draw", metrics.SPLITS) if settings.draw else ("expected", None)
        on, points, baseline = sized[mask.shape], mask, settings.baseline
        of["nss"] = lambda: metrics.nss(on, points)
        of["auc_judd"] = lambda: metrics.auc_judd(on, points, jitter=jitter, seed=seed)
        if others is not None:
            negatives = others
            of["shuffled_auc"] = lambda: metrics.shuffled_auc(on, points, negatives, splits=splits, seed=seed)
        if baseline is not None:
            base = baseline
            of["information_gain"] = lambda: metrics.information_gain(on, points, base)
    return np.array([of[name]() for name in settings.metrics])
