"""Memory: what backward keeps, what a call allocates at its peak, and how the C library hands memory out."""

from __future__ import annotations

import ctypes
import mmap
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .results import Memory
from .works import Row, inputs, subjects, windows

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_memory_mapped() -> bool:
    """Let freed memory stay with the process, for all calls alike; False where the C library cannot.

    glibc maps large blocks anew for every tensor and gives them back, so that each call pays a page fault for every 4 KiB
    of its result: often more than the work, the same for every peer, and not paid where an allocator caches.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1)])


def give_back() -> None:
    """Return freed memory to the system after all: a heap with holes in it may have no room for the next huge map."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def page_fault_seconds() -> tuple[float, float]:
    """Seconds to write 16 MiB that were just mapped, and to write them again."""
    with mmap.mmap(-1, 2**24) as memory:
        x = torch.frombuffer(memory, dtype=torch.uint8)
        seconds = []
        for value in (1, 2):
            start = time.perf_counter()
            x.fill_(value)
            seconds.append(time.perf_counter() - start)
        del x
    return seconds[0], seconds[1]


def count(row: Row, device: str) -> Memory:
    """The bytes a window that a row's graph keeps, and the peaks of its inference and of a step of its training.

    The maps count as alive anyway; switches or indices that are given to an unpooling are kept for its sake.
    """
    inference, training, step = (
        subjects(replace(row, mode=mode), device) for mode in ("inference", "training", "step")
    )
    tensors = inputs(row, device)
    maps = [tensors[name] for name in ("z", "x") if name in tensors]
    return Memory(
        row,
        {name: saved_bytes(call, maps) / windows(row) for name, call in training.items()},
        {name: peak_bytes(call, device) for name, call in inference.items()},
        {name: peak_bytes(call, device) for name, call in step.items()},
    )


class _Kept:
    """A tensor that backward keeps, for as long as its graph lives."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(call: Callable[[], Any], excluding: Iterable[Tensor] = ()) -> int:
    """Bytes that the graph of a call's result keeps for backward, each storage once.

    Parameters
    ----------
    call : callable
        Returns what the graph hangs on.
    excluding : tensors
        Those that are alive anyway.
    """
    kept: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Kept:
        holder = _Kept(tensor.detach())
        kept.add(holder)
        return holder

    with saved_tensors_hooks(pack, lambda holder: holder.tensor):
        result = call()
    storages = {holder.tensor.untyped_storage().data_ptr(): holder.tensor.untyped_storage().nbytes() for holder in kept}
    for tensor in excluding:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    del result
    return sum(storages.values())


def peak_bytes(call: Callable[[], Any], device: str) -> int:
    """The most bytes that a call has allocated at one time, results included."""
    call()  # what is made once only
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = call()
        torch.cuda.synchronize()
        del result
        return torch.cuda.max_memory_allocated() - before
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        result = call()
    del result
    events = [event for event in profile.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
