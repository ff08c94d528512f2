"""Work shared by worker processes, and by processes under torchrun, with results in the order of the jobs."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from .images import quieten_pillow

PATIENCE = timedelta(days=30)  # of a process that has done its share and waits for the others

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextmanager
def processes(backend: str | None = "gloo", timeout: timedelta | None = PATIENCE) -> Iterator[tuple[int, int]]:
    """Number of this process and how many there are, which are joined if torchrun has started several.

    Parameters
    ----------
    backend, timeout
        Of `torch.distributed.init_process_group`, None for its own choice. Processes that are joined already stay so.
    """
    distributed = torch.distributed.is_available()
    ours = distributed and not torch.distributed.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if ours:
        torch.distributed.init_process_group(backend, timeout=timeout)
    try:
        together = distributed and torch.distributed.is_initialized()
        yield (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
    finally:
        if ours:
            torch.distributed.destroy_process_group()


def gathered(value: Result, world: int) -> list[Result]:
    """What all processes have, in each of them."""
    if world == 1:
        return [value]
    parts: list[Any] = [None] * world
    torch.distributed.all_gather_object(parts, value)
    return parts


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_worker() -> None:
    """Makes a process one of several that work side by side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that waits
    torch.set_num_threads(1)
    quieten_pillow()


class _Spawn(SpawnContext):  # forking a process that has threads is not safe
    """Remembers what it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        process = SpawnProcess(*args, **kwargs)
        self.started.append(process)
        return process

    def kill(self) -> None:
        for process in self.started:
            if process.pid is not None:
                process.kill()


@contextmanager
def executor_of(
    workers: int, prepare: Callable[..., object] = prepare_worker, arguments: tuple[Any, ...] = ()
) -> Iterator[Executor | None]:
    """Worker processes, each of which is prepared by `prepare(*arguments)`, or None for none.

    Raises
    ------
    concurrent.futures.process.BrokenProcessPool
        If a worker has died.
    """
    if not workers:
        yield None
        return
    context = _Spawn()
    executor = ProcessPoolExecutor(workers, context, prepare, arguments)
    try:
        yield executor
    except BrokenProcessPool:
        # Python ends the other workers and waits for all, among them one that was just being started and does not end.
        context.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def ordered(
    work: Callable[[Job], Result], jobs: Iterable[Job], executor: Executor | None, ahead: int
) -> Iterator[Result]:
    """Results in the order of their jobs, of which no more than `ahead` wait.

    Raises
    ------
    concurrent.futures.process.BrokenProcessPool
        If a worker has died.
    """
    if executor is None:
        yield from map(work, jobs)
        return
    waiting: deque[Future[Result]] = deque()
    for job in jobs:
        try:
            waiting.append(executor.submit(work, job))
        except OSError as error:  # what Python says where it is just about to find that a worker has died
            raise BrokenProcessPool(str(error)) from error
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
