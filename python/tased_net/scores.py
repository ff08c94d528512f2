"""Scores of a set of videos: means, intervals by bootstrap over videos, files, and the comparison of two sets.

The score of a dataset is the mean over its frames, as in the benchmarks. Frames of one video resemble each other, so what
could have come out otherwise is drawn by video: a bootstrap sample takes as many videos as there are, with replacement.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .texts import read_text
from .writing import whole_file

TITLES = {
    "nss": "NSS",
    "cc": "CC",
    "sim": "SIM",
    "auc_judd": "AUC-J",
    "shuffled_auc": "s-AUC",
    "kl_divergence": "KL",
    "information_gain": "IG",
}
MOST_BYTES = 2**26  # of a table
LESS_IS_BETTER = ("kl_divergence",)

RESAMPLES = 10_000
LEVEL = 0.95

Values = NDArray[np.float64]


class ScoresError(Exception):
    """Scores that cannot be had or read."""


@dataclass
class VideoScores:
    """Scores of a video's frames.

    Attributes
    ----------
    name
        The video.
    frames
        Numbers of the frames, from 1.
    values
        A row a frame, a column a metric.
    """

    name: str
    frames: NDArray[np.int64]
    values: Values


@dataclass
class Scores:
    """Scores of a set of videos.

    Attributes
    ----------
    metrics
        Names of the columns, of `TITLES`.
    videos
        Those with frames that were scored.
    """

    metrics: tuple[str, ...]
    videos: list[VideoScores] = field(repr=False)

    @property
    def frames(self) -> int:
        """How many there are in all."""
        return int(self.counts().sum())

    def counts(self) -> NDArray[np.int64]:
        """Frames of each video."""
        return np.array([len(video.frames) for video in self.videos], np.int64)

    def by_video(self) -> Values:
        """The means of each video, (videos, metrics)."""
        return np.array([video.values.mean(0) for video in self.videos])

    def mean(self) -> Values:
        """The means over all frames, (metrics,)."""
        return np.concatenate([video.values for video in self.videos]).mean(0)

    def interval(self, *, seed: int = 0) -> tuple[Values, Values] | None:
        """The interval of the means by bootstrap over videos: it holds `LEVEL` of the means of `RESAMPLES` samples.

        Parameters
        ----------
        seed
            Of the draws.

        Returns
        -------
        tuple or None
            Lower and upper ends, (metrics,) each; None for a single video, which tells nothing of others.
        """
        counts = self.counts()
        if len(counts) < 2:
            return None
        draws = _drawn_videos(len(counts), seed)
        means = draws @ (self.by_video() * counts[:, None]) / (draws @ counts)[:, None]
        return _interval(means)


def _drawn_videos(videos: int, seed: int) -> NDArray[np.int64]:
    """How often each video is in each bootstrap sample, (samples, videos)."""
    return np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), RESAMPLES)


def _interval(means: Values) -> tuple[Values, Values]:
    """The ends between which the middle of the samples' means lies, by column."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


# -------------------------------------------------------------------------------------------------------------------- files


def write_frames(path: str | os.PathLike[str], scores: Scores) -> None:
    """Writes a CSV file with a line a frame."""
    rows = [
        [video.name, frame, *map(_number, values)]
        for video in scores.videos
        for frame, values in zip(video.frames, video.values, strict=True)
    ]
    _write(path, ["video", "frame", *scores.metrics], rows)


def write_videos(path: str | os.PathLike[str], scores: Scores) -> None:
    """Writes a CSV file with a line a video: its number of frames and the means over them."""
    rows = [
        [video.name, len(video.frames), *map(_number, means)]
        for video, means in zip(scores.videos, scores.by_video(), strict=True)
    ]
    _write(path, ["video", "frames", *scores.metrics], rows)


def _number(value: float) -> str:
    return f"{value:.6f}"


def _write(path: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with whole_file(path) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@dataclass
class Means:
    """Scores by video, as a table of them tells.

    Attributes
    ----------
    metrics
        Names of the columns.
    values
        A row for each video, a column a metric.
    frames
        How many frames of each video were scored.
    """

    metrics: tuple[str, ...]
    values: dict[str, Values]
    frames: dict[str, int]


def read_means(path: str | os.PathLike[str]) -> Means:
    """Reads what `write_videos` or `write_frames` wrote.

    Raises
    ------
    ScoresError
        If it is no such file.
    """
    try:
        text = read_text(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise ScoresError(f"{path}: {reason}") from error
    try:
        return _read_means(path, csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ScoresError(f"{path}: not a table of scores ({error})") from error


def _read_means(path: str | os.PathLike[str], reader: csv.DictReader[str]) -> Means:
    metrics = tuple(name for name in reader.fieldnames or () if name in TITLES)
    if "video" not in (reader.fieldnames or ()) or not metrics:
        raise ScoresError(f"{path}: not a table of scores, which has a column video and columns such as nss")
    found: dict[str, list[list[float]]] = {}
    frames: Counter[str] = Counter()
    for line in reader:
        try:
            found.setdefault(line["video"], []).append([float(line[name]) for name in metrics])
            frames[line["video"]] += int(line.get("frames", 1))
        except (TypeError, ValueError) as error:
            raise ScoresError(f"{path}: line {reader.line_num} holds something that is not a score") from error
    means = {video: np.array(rows).mean(0) for video, rows in found.items()}
    if not all(np.isfinite(values).all() for values in means.values()):
        raise ScoresError(f"{path}: holds scores that are not finite")
    if not means:
        raise ScoresError(f"{path}: holds no scores")
    return Means(metrics, means, dict(frames))


# --------------------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Difference:
    """How much higher A scores than B in a metric, on average over videos.

    Attributes
    ----------
    metric
        Its name.
    a, b
        Means over the videos.
    low, high
        Ends of the interval of the difference a - b.
    better
        On how many videos A is better, of how many.
    verdict
        "A", "B", or None if the interval holds 0.
    """

    metric: str
    a: float
    b: float
    low: float
    high: float
    better: tuple[int, int]
    verdict: str | None


def compare(a: dict[str, Values], b: dict[str, Values], metrics: Sequence[str], *, seed: int = 0) -> list[Difference]:
    """Compares two sets of scores video by video.

    Parameters
    ----------
    a, b
        Means by video, of which those in both are compared; every video has the same weight.
    metrics
        Names of their columns.
    seed
        Of the bootstrap over videos, see `Scores.interval`.

    Raises
    ------
    ScoresError
        If fewer than two videos are in both.
    """
    common = [video for video in a if video in b]
    if len(common) < 2:
        raise ScoresError(f"a comparison needs two videos in common at least, found {len(common)}")
    ours, theirs = (np.array([scores[video] for video in common]) for scores in (a, b))
    differences = ours - theirs
    means = _drawn_videos(len(common), seed) @ differences / len(common)
    low, high = _interval(means)
    found = []
    for column, metric in enumerate(metrics):
        sign = -1 if metric in LESS_IS_BETTER else 1
        better = int(np.count_nonzero(sign * differences[:, column] > 0))
        ends = sorted((sign * low[column], sign * high[column]))
        verdict = "A" if ends[0] > 0 else "B" if ends[1] < 0 else None
        mean_a, mean_b = float(ours[:, column].mean()), float(theirs[:, column].mean())
        interval = float(low[column]), float(high[column])
        found.append(Difference(metric, mean_a, mean_b, *interval, (better, len(common)), verdict))
    return found
