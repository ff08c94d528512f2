"""Clips on their way to the network: read by worker processes ahead of time, in batches, unreadable ones replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..data import Clips, DataError, Place, Sample
from ..images import quieten_pillow
from ..sharing import cores
from .draws import Draws, FixedDraws

ATTEMPTS = 10  # clips that are tried in place of one before the data counts as broken

Key = tuple[int, int]  # step and number of the clip in it


class Batch(NamedTuple):
    """Clips (N, 3, T, h, w) with density and fixations (N, k, h, w).

    `numbers` are those of the clips that could be read, `skipped` what was said of the others.
    """

    clips: Tensor
    density: Tensor
    fixations: Tensor
    names: list[str]
    numbers: list[int]
    skipped: list[str]


class Loaded(NamedTuple):
    """A clip, or None, its number, and what was said of the clips that could not be read in its place."""

    sample: Sample | None
    number: int
    skipped: list[str]


class TrainingClips(Dataset[Loaded]):
    """The clips of training by step and number."""

    def __init__(self, clips: Clips, draws: Draws | FixedDraws) -> None:
        self.clips, self.draws = clips, draws

    def __getitem__(self, key: Key) -> Loaded:
        step, index = key
        skipped: list[str] = []
        for attempt in range(ATTEMPTS):
            try:
                return Loaded(self.clips.clip(*self.draws.place(step, index, attempt)), index, skipped)
            except DataError as error:
                skipped.append(str(error))
        return Loaded(None, index, skipped)


class ValidationClips(Dataset[Loaded]):
    """Clips at fixed places."""

    def __init__(self, clips: Clips, places: Sequence[Place]) -> None:
        self.clips, self.places = clips, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Loaded:
        try:
            return Loaded(self.clips.clip(*self.places[number]), number, [])
        except DataError as error:
            return Loaded(None, number, [str(error)])


class StepKeys(Sampler[list[Key]]):
    """The keys of this process's batches: of each step's `accumulate` batches, every `processes`-th from `rank` on."""

    def __init__(self, steps: range, batch: int, accumulate: int, rank: int, processes: int) -> None:
        self.steps, self.batch, self.turns = steps, batch, range(rank, accumulate, processes)

    def __iter__(self) -> Iterator[list[Key]]:
        for step in self.steps:
            for turn in self.turns:
                yield [(step, turn * self.batch + place) for place in range(self.batch)]


def training_batches(clips: TrainingClips, keys: StepKeys, workers: int, pin: bool) -> DataLoader[Batch]:
    """The batches of training, read ahead of time by `workers` processes."""
    return _loader(clips, keys, workers, pin)


def validation_batches(
    clips: ValidationClips, batch: int, rank: int, processes: int, workers: int, pin: bool
) -> DataLoader[Batch]:
    """The batches of validation that fall to this process; they may be gone through any number of times."""
    numbers = [list(range(first, min(first + batch, len(clips)))) for first in range(0, len(clips), batch)]
    return _loader(clips, numbers[rank::processes], workers, pin)


@contextmanager
def taken(batches: DataLoader[Batch]) -> Iterator[Iterator[Batch]]:
    """The batches one after the other, and an end to the workers that read them, whoever else holds the iterator.

    A traceback may. Python would then send them SIGTERM as it ends, which they do not hear, and wait for them.
    """
    iterator = iter(batches)
    workers: list[BaseProcess] = getattr(iterator, "_workers", [])  # there is no public way to them, nor to their end
    try:
        yield _told_of_ends(iterator, workers)
    finally:
        if workers:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
        for worker in workers:
            worker.kill()  # one that hangs


def _told_of_ends(iterator: Iterator[Batch], workers: Sequence[BaseProcess]) -> Iterator[Batch]:
    """The batches; where a worker has ended, what PyTorch says of it.

    A process that is killed closes its connections a moment before its end is known: PyTorch then passes on what the closed
    connection has said.
    """
    while True:
        try:
            batch = next(iterator, None)
        except (OSError, EOFError) as error:
            for worker in workers:
                worker.join(1 / len(workers))  # a second in all
            if ended := [str(worker.pid) for worker in workers if not worker.is_alive()]:
                raise RuntimeError(f"DataLoader worker (pid(s) {', '.join(ended)}) exited unexpectedly") from error
            raise
        if batch is None:
            return
        yield batch


def _loader(
    clips: Dataset[Loaded], keys: Sampler[list[Key]] | list[list[int]], workers: int, pin: bool
) -> DataLoader[Batch]:
    return DataLoader(
        cast("Dataset[Batch]", clips),  # its items, once collated
        batch_sampler=keys,
        num_workers=min(workers, cores()),
        collate_fn=_batch,
        pin_memory=pin,
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # it draws seeds for workers, which need none: not from torch's own
    )


def _batch(loaded: Sequence[Loaded]) -> Batch:
    samples = [item.sample for item in loaded if item.sample is not None]
    parts = [torch.stack(tensors) for tensors in zip(*((s.clip, s.density, s.fixations) for s in samples), strict=True)]
    clips, density, fixations = parts or [torch.empty(0)] * 3
    return Batch(
        clips,
        density,
        fixations,
        [sample.name for sample in samples],
        [item.number for item in loaded if item.sample is not None],
        [sentence for item in loaded for sentence in item.skipped],
    )


def _prepare_worker(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal, and torchrun's SIGTERM all of its group: the parent finishes its step, for
    which it needs its workers. They end when it tells them, or has ended itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    quieten_pillow()  # which a worker that is not forked has not inherited
