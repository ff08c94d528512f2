"""One process or several, which torchrun starts: who this one is, and what they tell each other."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..sharing import gathered, processes


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes
    ----------
    rank
        Its number, from 0. Only number 0 writes files and speaks.
    count
        How many there are, on all machines.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether it is number 0."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """Replaces `values` by its sum over all processes, the same bits in each of them."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def any(self, here: bool) -> bool:
        """Whether something holds in any process."""
        return bool(self.add_up(torch.tensor(float(here))) > 0)

    def gather(self, texts: list[str]) -> list[str]:
        """The texts of all processes."""
        return [text for part in gathered(texts, self.count) for text in part]


def started() -> Processes:
    """What torchrun has told this process when it started it; known before and after the processes are joined."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    return Processes(int(os.environ["RANK"]), count) if count > 1 else Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Joins the other processes, if torchrun has started this one; leaves them at the end."""
    # torch's own choice is gloo for tensors on the CPU, and NCCL where there is CUDA.
    with processes(backend=None, timeout=None) as (rank, count):
        yield Processes(rank, count)


def distributed(net: nn.Module) -> DistributedDataParallel:
    """The network with gradients that are means over all processes. Its buffers are not sent about: see `statistics.py`."""
    keywords = inspect.signature(DistributedDataParallel).parameters  # torch 2.14 has a new name for this one
    name = "forward_sync_buffers" if "forward_sync_buffers" in keywords else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DistributedDataParallel(net, **options)


def local_device(name: str | None, processes: Processes) -> torch.device:
    """The device of this process: `name`, or CUDA if there is any; of several GPUs the one that torchrun's numbering gives.

    Raises
    ------
    ValueError
        If there is no such device, or if several processes would share one GPU.
    """
    device = torch.device("cpu")
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and device.index is not None and processes.count > 1:
            raise ValueError(f"{name}: each of {processes.count} processes needs a GPU of its own: give --device cuda")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{name or device}: {str(error).splitlines()[0]}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
