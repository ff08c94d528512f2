"""Predicted maps scored on a dataset: every frame that has a truth, in worker processes and under torchrun if wished.

The numbers do not depend on how the work is shared: what is drawn for a frame is drawn by its own seed. Work that was stopped
goes on where it was: a video that is done leaves a file in a folder, `partial`, from which it is taken up again as long as
predictions, truth and settings are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import __version__
from .data import Split, Video
from .predictions import Faults, Map8, MapFolder, NetworkMaps, expected_frames, files_key
from .scores import TITLES, Scores, ScoresError, VideoScores
from .scoring import (
    Chunk,
    Example,
    Fixated,
    OtherFrames,
    Points,
    Record,
    Settings,
    points_key,
    read_points,
    score_chunk,
)
from .sharing import executor_of, gathered, ordered, processes
from .writing import whole_file

CHUNK = 16  # frames that a worker is given at a time

OF_FIXATIONS = ("nss", "auc_judd", "shuffled_auc", "information_gain")
OF_DENSITY = ("cc", "sim", "kl_divergence")


@dataclass
class Evaluation:
    """The scores of predictions on a split.

    Attributes
    ----------
    scores
        Of every frame.
    faults
        What is wrong with the predictions.
    left_out
        How many frames have no score, by reason.
    constant
        How many predicted maps are constant, and so score as chance does.
    examples
        The best and the worst frame of each video, by the first metric.
    """

    scores: Scores
    faults: Faults
    left_out: dict[str, int]
    constant: int
    examples: list[tuple[Example, Example]] = field(repr=False)


# ------------------------------------------------------------------------------------------------------------- the whole


def evaluate(
    split: Split,
    predictions: MapFolder | NetworkMaps,
    *,
    seed: int = 0,
    draw: bool = False,
    baseline: Map8 | None = None,
    workers: int = 0,
    partial: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Evaluation | None:
    """Scores predictions on a split.

    Parameters
    ----------
    split
        Videos with fixations, density maps or both, which decides what can be computed. Videos that lack what others have
        are left out.
    predictions
        Maps of its frames. What is missing is left out, see `Evaluation.faults`.
    seed, draw, baseline
        See `Settings`.
    workers
        Processes that read and score, 0 for none but this one. They are spawned: a script that wants some calls this below
        ``if __name__ == "__main__"``. A network predicts in this process.
    partial
        A folder that keeps the videos that are done, for the next call. Who has used the scores is to delete it.
    progress
        Whether to show a bar with rate and time left on stderr.

    Returns
    -------
    Evaluation or None
        Under torchrun, where processes share the videos, None in all but the first.

    Raises
    ------
    ScoresError
        If no frame can be scored.
    OSError
        If `partial` cannot be written to.
    concurrent.futures.process.BrokenProcessPool
        If a worker has died; what is done is kept in `partial`.
    """
    videos, kinds, left_out = _annotated(split)
    with processes() as (rank, world):
        with executor_of(workers) as executor:
            bar = progress and rank == 0
            scorer = _Scorer(videos, predictions, executor, workers, rank, world, _made(partial), bar)
            points = scorer.fixations() if "fixations" in kinds else None
            chosen = _computed(kinds, points, baseline)
            mine = scorer.records(Settings(chosen, seed, draw, baseline), points)
        records = [record for part in gathered(mine, world) for record in part]
        faults = _together(gathered(predictions.faults, world))
    if rank:
        return None
    order = {video.name: number for number, video in enumerate(videos)}
    records.sort(key=lambda record: order[record.name])
    return _evaluation(chosen, records, faults, left_out)


def _annotated(split: Split) -> tuple[list[Video], set[str], Counter[str]]:
    """The videos that have every kind of truth that any has, these kinds, and what is left out."""
    if not split.videos:
        raise ScoresError(f"{split.root}: no video of it can be used, see the warnings")
    has = {
        video.name: {kind for kind, files in (("fixations", video.fixation_maps), ("density", video.maps)) if files}
        for video in split.videos
    }
    kinds = set().union(*has.values())
    if not kinds:
        part = f"the split {split.split!r}" if split.split else "it"
        raise ScoresError(f"{split.root}: {part} has no ground truth to score with")
    left_out: Counter[str] = Counter()
    for video in split.videos:
        lacking = sorted(kinds - has[video.name])
        if lacking:
            left_out[f"no {' and no '.join(lacking)} for the video"] += video.length
    return [video for video in split.videos if has[video.name] == kinds], kinds, left_out


def _computed(kinds: set[str], points: Fixated | None, baseline: Map8 | None) -> tuple[str, ...]:
    names = set(OF_FIXATIONS if "fixations" in kinds else ()) | set(OF_DENSITY if "density" in kinds else ())
    if baseline is None:
        names.discard("information_gain")
    if points is not None and sum(isinstance(found, Points) for video in points for found in video) < 2:
        names.discard("shuffled_auc")  # there is no other frame
    return tuple(name for name in TITLES if name in names)


def _evaluation(names: tuple[str, ...], records: list[Record], faults: Faults, left_out: Counter[str]) -> Evaluation:
    for record in records:
        left_out.update(record.left_out)
        faults.unreadable += record.unreadable
    scored = [record for record in records if record.frames]
    if not scored:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise ScoresError(f"no frame can be scored{f': {reasons}' if reasons else ''}")
    videos = [VideoScores(one.name, np.array(one.frames), np.array(one.values)) for one in scored]
    examples = [(one.best, one.worst) for one in scored if one.best is not None and one.worst is not None]
    constant = sum(record.constant for record in records)
    return Evaluation(Scores(names, videos), faults, dict(left_out), constant, examples)


def _together(parts: list[Faults]) -> Faults:
    faults = deepcopy(parts[0])  # those of the predictions, which are to stay as they are
    for part in parts[1:]:
        faults.missing.update(part.missing)
        faults.unreadable += [line for line in part.unreadable if line not in faults.unreadable]
    return faults


@dataclass
class _Scorer:
    videos: list[Video]
    predictions: MapFolder | NetworkMaps
    executor: Executor | None
    workers: int
    rank: int
    world: int
    folder: Path | None
    progress: bool

    def fixations(self) -> Fixated:
        """The fixated pixels of all frames."""
        mine = self.videos[self.rank :: self.world]
        found = tqdm(
            ordered(read_points, mine, self.executor, 4 * self.workers),
            desc="fixations",
            total=len(mine),
            unit="video",
            disable=not self.progress,
            leave=False,
        )
        parts = gathered(list(found), self.world)
        return [parts[number % self.world][number // self.world] for number in range(len(self.videos))]

    def records(self, settings: Settings, points: Fixated | None) -> list[Record]:
        """What came of the videos of this process. Those that are done are taken up first, then the rest is shared."""
        everyone = range(len(self.videos))
        truth = points_key(points)  # of all videos, as s-AUC draws among all
        done: dict[int, Record] = {}
        for number in everyone[self.rank :: self.world]:
            if (record := self._taken_up(number, self._key(number, settings, truth))) is not None:
                done[number] = record
        settled = set().union(*gathered(set(done), self.world))
        chosen = [number for number in everyone if number not in settled][self.rank :: self.world]
        keys = {number: self._key(number, settings, truth) for number in chosen}
        others = (
            OtherFrames(points, settings.seed) if points is not None and "shuffled_auc" in settings.metrics else None
        )
        records = {number: Record(self.videos[number].name) for number in chosen}
        total, begun = (sum(self.videos[number].length for number in numbers) for numbers in ([*done, *chosen], done))
        with tqdm(total=total, initial=begun, unit="frame", desc="scores", disable=not self.progress) as bar:
            jobs = (job for number in chosen for job in self._chunks(number, settings, points, others, records[number]))
            results = ordered(_numbered_chunk, jobs, self.executor, 4 * self.workers)
            last = -1
            for number, frames, result in results:
                if result is not None:
                    records[number].add(result)
                if last not in (-1, number):
                    self._keep(last, keys[last], records[last])
                last = number
                bar.update(frames)
            if last >= 0:
                self._keep(last, keys[last], records[last])
        return [*done.values(), *records.values()]

    def _chunks(
        self,
        number: int,
        settings: Settings,
        points: Fixated | None,
        others: OtherFrames | None,
        record: Record,
    ) -> Iterator[tuple[int, int, Chunk | None]]:
        """A video's frames in chunks, with the number of the video and how many frames that settles."""
        video = self.videos[number]
        maps: Iterator[tuple[int, Map8 | str]] = iter(self.predictions.maps(video))
        settled = 0
        while part := list(islice(maps, CHUNK)):
            indices, predicted = [index for index, _ in part], [saliency for _, saliency in part]
            fixated = elsewhere = None
            if points is not None:
                found = [points[number][index] for index in indices]
                record.left_out.update(reason for reason in found if isinstance(reason, str))
                there = [place for place, one in enumerate(found) if isinstance(one, Points)]
                indices, predicted = [indices[place] for place in there], [predicted[place] for place in there]
                fixated = [one for one in found if isinstance(one, Points)]
            if others is not None and fixated is not None:
                elsewhere = [
                    others.of(number, video.name, index, one.size) for index, one in zip(indices, fixated, strict=True)
                ]
            settled += len(part)
            yield number, len(part), Chunk(video, settings, indices, predicted, fixated, elsewhere)
        yield number, video.length - settled, None  # the bar counts missing frames as well

    # What is kept of a video that is done.

    def _key(self, number: int, settings: Settings, truth: str) -> str:
        video = self.videos[number]
        maps = video.maps
        densities = [] if maps is None else [maps.path(video.first + index) for index in expected_frames(video)]
        parts = [__version__, video.name, settings.key(), truth, files_key(densities), self.predictions.key(video)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _file(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{number:05d}.npz"

    def _keep(self, number: int, key: str, record: Record) -> None:
        file = self._file(number)
        if file is None or not self.predictions.whole(record.name):
            return
        words = {name: getattr(record, name) for name in ("name", "left_out", "constant", "unreadable")}
        arrays: dict[str, Any] = {"frames": record.frames, "values": record.values}
        for which, example in (("best", record.best), ("worst", record.worst)):
            if example is not None:
                arrays |= {
                    f"{which}_map": example.map,
                    f"{which}_frame": example.frame,
                    f"{which}_values": example.values,
                }
        with whole_file(file) as beside, open(beside, "wb") as stream:
            np.savez(stream, words=json.dumps({"key": key, **words}), **arrays)

    def _taken_up(self, number: int, key: str) -> Record | None:
        file = self._file(number)
        return None if file is None else kept_record(file, key)


def kept_record(file: Path, key: str) -> Record | None:
    """What a stopped run has kept of a video, or None where that is nothing, of another key, or damaged."""
    if not file.exists():
        return None
    with suppress(Exception):  # damage is met with many types: the video is scored again
        with zipfile.ZipFile(file) as archive:  # not compressed, so that no file takes more memory than it is long
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                return None
        with np.load(file, allow_pickle=False) as kept:
            words = json.loads(str(kept["words"]))
            if words.pop("key") != key:
                return None
            words["left_out"] = Counter(words["left_out"])
            record = Record(**words, frames=kept["frames"].tolist(), values=list(kept["values"]))
            for which in ("best", "worst"):
                if f"{which}_map" in kept:
                    frame, values = int(kept[f"{which}_frame"]), kept[f"{which}_values"]
                    record.show(Example(record.name, frame, kept[f"{which}_map"], values))
            return record
    return None


def _made(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def _numbered_chunk(job: tuple[int, int, Chunk | None]) -> tuple[int, int, Record | None]:
    number, frames, chunk = job
    return number, frames, None if chunk is None else score_chunk(chunk)
