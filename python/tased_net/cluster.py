"""Videos shared between the machines of a Ray cluster: a task a video, actors that hold the network.

Sources and results must lie where all machines see them. A worker that dies is started again and its video gone on with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
import torch

from .errors import MemoryWarning, first_line
from .frames import VideoWarning
from .jobs import Task

RETRIES = 3  # how often a video is begun again after a worker has died

Outcome = int | str  # a video's number of frames, or what went wrong with it


def on_ray(
    tasks: Iterable[tuple[Task, str | None]], make: Callable[[], Callable[[Task], int]], address: str | None
) -> Iterator[tuple[Task, Outcome]]:
    """Does tasks on a cluster and yields each with its outcome, as they end.

    Parameters
    ----------
    tasks
        To be done, with a sentence if one cannot be.
    make
        Makes what does a task and returns its number of frames; called once in each actor.
    address
        Of the cluster; None starts one on this machine.
    """
    threads = torch.get_num_threads()
    ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    try:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = gpus or max(1, int(resources.get("CPU", 1)) // threads)
        actor = ray.remote(num_cpus=threads, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=RETRIES)(
            _Actor
        )
        free: list[Any] = [actor.remote(make) for _ in range(count)]
        running: dict[Any, tuple[Task, Any]] = {}
        for task, failure in tasks:
            if failure is not None:
                yield task, failure
                continue
            if not free:
                yield _next(running, free)
            worker = free.pop()
            running[worker.work.remote(task)] = (task, worker)
        while running:
            yield _next(running, free)
    finally:
        ray.shutdown()


class _Actor:
    """Holds the network in a process of its own."""

    def __init__(self, make: Callable[[], Callable[[Task], int]]) -> None:
        self.make = make
        self.do: Callable[[Task], int] | None = None

    def work(self, task: Task) -> tuple[Outcome, list[str]]:
        """Does a task: its outcome, and what there was to warn of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VideoWarning)
            outcome = self._outcome(task)
        return outcome, [str(one.message) for one in caught if issubclass(one.category, (VideoWarning, MemoryWarning))]

    def _outcome(self, task: Task) -> Outcome:
        try:
            self.do = self.do or self.make()
            return self.do(task)
        except Exception as error:  # noqa: BLE001 as not every exception can be sent, a sentence always can
            return first_line(error)


def _next(running: dict[Any, tuple[Task, Any]], free: list[Any]) -> tuple[Task, Outcome]:
    """Waits for a task to end."""
    (done,), _ = ray.wait(list(running), num_returns=1)
    task, worker = running.pop(done)
    free.append(worker)
    try:
        outcome, warned = ray.get(done)
    except ray.exceptions.RayError as error:
        outcome = f"{task.name}: its worker died {RETRIES + 1} times ({type(error).__name__})"
        warned = []
    for message in warned:
        warnings.warn(message, VideoWarning, stacklevel=2)
    return task, outcome
