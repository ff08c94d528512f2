"""The metrics as torchmetrics modules, for other people's loops: they sum over frames, and over processes when computed.

They need the package torchmetrics (``pip install tased-net[metrics]``). Frames without fixations, or whose density map is
constant, are left out, as the benchmarks leave them out; `left_out` counts them. The result is the mean over all frames of all
processes, whatever the batches.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import metrics

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError("tased_net.torchmetrics needs torchmetrics: pip install tased-net[metrics]") from error

__all__ = ["NSS", "AUCJudd", "CorrelationCoefficient", "InformationGain", "KLDivergence", "ShuffledAUC", "Similarity"]


class FrameMean(Metric):
    """A metric's mean over frames.

    Attributes
    ----------
    total, count, left_out
        Sum of the scores, number of frames scored, and number of frames that have no truth to score with.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    total: Tensor
    count: Tensor
    left_out: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("left_out", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, *truth: Tensor) -> None:
        """Scores frames.

        Parameters
        ----------
        pred
            Predicted maps, (N, h, w), (N, 1, h, w) or one (h, w).
        truth
            What the metric compares them with, in the same form but for the size: fixations or density maps, and for
            `ShuffledAUC` the fixations of other frames, (N, H, W) or (N, K, H, W).

        Raises
        ------
        ValueError
            If a map holds NaN, the numbers of maps differ, or as the function of `tased_net.metrics`.
        """
        for frame, *facts in _frames(pred, *truth):
            if not self._says_something(facts[0]):
                self.left_out += 1
                continue
            self.total += self._score(frame, *facts)
            self.count += 1

    def compute(self) -> Tensor:
        """The mean over all frames, float64; NaN, with torchmetrics' warning, before there are any."""
        return self.total / self.count

    @staticmethod
    def _says_something(truth: NDArray[Any]) -> bool:
        """Whether a frame's fixations are there and not everywhere, or its density varies."""
        return bool((truth != truth.flat[0]).any())

    @abstractmethod
    def _score(self, *maps: Any) -> float:
        """One frame's score."""


def _frames(*batches: Tensor) -> Iterator[list[NDArray[Any]]]:
    """The maps that belong together; only the truth of other frames may have a dimension more."""
    whole = [batch[None] if batch.ndim == 2 else batch for batch in batches]
    whole = [batch[:, 0] if batch.ndim == 4 and batch.shape[1] == 1 else batch for batch in whole]
    if len({len(batch) for batch in whole}) != 1:
        raise ValueError(f"as many maps of each kind are wanted, got {', '.join(str(tuple(b.shape)) for b in batches)}")
    arrays = [batch.detach().cpu().to(torch.float64 if batch.is_floating_point() else batch.dtype) for batch in whole]
    return (list(maps) for maps in zip(*(np.asarray(array) for array in arrays), strict=True))


class NSS(FrameMean):
    """`tased_net.metrics.nss` over frames.

    Examples
    --------
    >>> score = NSS()
    >>> score.update(torch.tensor([[0, 0], [0, 1]]), torch.tensor([[0, 0], [0, 1]]))
    >>> score.compute()
    tensor(1.5000, dtype=torch.float64)
    """

    def _score(self, *maps: Any) -> float:
        return metrics.nss(*maps)


class CorrelationCoefficient(FrameMean):
    """`tased_net.metrics.cc` over frames."""

    def _score(self, *maps: Any) -> float:
        return metrics.cc(*maps)


class Similarity(FrameMean):
    """`tased_net.metrics.sim` over frames."""

    def _score(self, *maps: Any) -> float:
        return metrics.sim(*maps)


class KLDivergence(FrameMean):
    """`tased_net.metrics.kl_divergence` over frames; less is better."""

    higher_is_better = False

    def _score(self, *maps: Any) -> float:
        return metrics.kl_divergence(*maps)


class AUCJudd(FrameMean):
    """`tased_net.metrics.auc_judd` over frames, its expectation over the jitter."""

    def _score(self, *maps: Any) -> float:
        return metrics.auc_judd(*maps, jitter="expected")


class ShuffledAUC(FrameMean):
    """`tased_net.metrics.shuffled_auc` over frames, its mean over all splits."""

    def _score(self, *maps: Any) -> float:
        return metrics.shuffled_auc(*maps, splits=None)


class InformationGain(FrameMean):
    """`tased_net.metrics.information_gain` over frames.

    Parameters
    ----------
    baseline
        The map that the gain is over, (h, w).
    """

    baseline: Tensor

    def __init__(self, baseline: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.register_buffer("baseline", baseline, persistent=False)

    def _score(self, *maps: Any) -> float:
        pred, fixations = maps
        return metrics.information_gain(pred, fixations, self.baseline)
