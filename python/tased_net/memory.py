"""Memory: what is in use and to be had, and what a computation would take."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Where Linux tells of a container (cgroup 2 and 1): its limit, what is in use, and what of that are files that it can give up.
CONTAINERS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
M_ARENA_MAX = -8  # glibc's, of mallopt


def share_heap() -> None:
    """Has all threads take their memory from one heap, where the C library is glibc.

    By default a thread gets one of several, as many as eight a core, and each keeps the most that it was ever asked for. With
    the threads that every video starts anew, what lay free in them grew from video to video, to 390 MiB after ten (glibc 2.36).
    What the heap is asked for is large and seldom, so that threads do not wait for each other.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def used_bytes(device: torch.device) -> tuple[int, int]:
    """Bytes that this process has on a device, and how many more are to be had there.

    On a CPU the system's word, and what a container's limit leaves beside all that is in the container; where nothing is told, as
    much as a 64-bit number holds.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device)
        idle = held - torch.cuda.memory_allocated(device)
        return held - idle, free + idle
    used, free = _told("/proc/self/status", "VmRSS") or 0, _told("/proc/meminfo", "MemAvailable") or sys.maxsize
    for folder, most, now, cached in CONTAINERS:
        limit, taken = (_text(f"{folder}/{name}").strip() for name in (most, now))
        if limit.isdecimal():
            in_use = int(taken) - (_told(f"{folder}/memory.stat", cached) or 0) if taken.isdecimal() else used
            free = min(free, max(int(limit) - in_use, 0))
    return used, free


def _told(file: str, name: str) -> int | None:
    """The bytes that a line such as "VmRSS:   123 kB" or "inactive_file 4096" tells."""
    for line in _text(file).splitlines():
        words = line.split()
        if words and words[0].rstrip(":") == name:
            return int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    return None


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii")
    except OSError:
        return ""


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most bytes of tensors that a call makes and has alive at one time; those of "meta" tensors take none."""
    with _Count() as count:
        call()
    return count.most


class _Count(TorchDispatchMode):
    """Counts the storages that operations make, until they die."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size
