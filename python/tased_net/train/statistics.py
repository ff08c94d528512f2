"""Running statistics of batch norms over the batches of a step, in whatever order and process they were seen.

A batch norm normalises by the batch it sees, and every batch moves its running mean and variance by `momentum` of the way.
With several batches a step, the result would depend on their order, and each process would have its own. Here the batches
of a step are averaged first, over all processes, and the average moves the running values as far as the batches would
have done one after the other: by 1 - (1 - momentum)^batches of the way.
"""

from __future__ import annotations

import torch
from torch import nn

from .processes import Processes


class RunningStatistics:
    """Takes the running statistics of a network's batch norms in hand; call `begin`, `seen` after each batch, and `end`.

    While it does, the norms' buffers hold the statistics of the last batch alone within a step, and the running ones
    between steps.
    """

    def __init__(self, net: nn.Module, momentum: float, processes: Processes) -> None:
        self.momentum, self.processes = momentum, processes
        self.norms = [m for m in net.modules() if isinstance(m, (nn.BatchNorm3d, nn.SyncBatchNorm))]
        buffers = [(norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in self.norms]
        self.values = [value for mean, var, _ in buffers for value in (mean, var) if value is not None]
        self.counts = [count for *_, count in buffers if count is not None]
        self.momenta = [norm.momentum for norm in self.norms]
        self.synchronised = any(isinstance(norm, nn.SyncBatchNorm) for norm in self.norms)
        for norm in self.norms:
            norm.momentum = 1.0

    @torch.no_grad()
    def begin(self) -> None:
        """Before the first batch of a step."""
        self.before = [value.clone() for value in (*self.values, *self.counts)]
        self.sums = [torch.zeros_like(value) for value in self.values]

    @torch.no_grad()
    def seen(self) -> None:
        """After a batch."""
        torch._foreach_add_(self.sums, self.values)

    @torch.no_grad()
    def cancel(self) -> None:
        """Instead of `end`: as if the step had not been."""
        for value, before in zip((*self.values, *self.counts), self.before, strict=True):
            value.copy_(before)

    @torch.no_grad()
    def end(self, batches: int) -> None:
        """After the last batch of a step of `batches` batches over all processes."""
        total = torch.cat(self.sums)
        self.processes.add_up(total)
        self.cancel()
        if self.synchronised:  # every process has seen the statistics of all
            total, batches = total / self.processes.count, batches // self.processes.count
        means = (total / batches).split([len(value) for value in self.values])
        torch._foreach_lerp_(self.values, means, 1 - (1 - self.momentum) ** batches)
        for count in self.counts:
            count += batches

    def release(self) -> None:
        """Gives the norms their own momentum back."""
        for norm, momentum in zip(self.norms, self.momenta, strict=True):
            norm.momentum = momentum
