"""What training minimises: KL divergence (paper section 4.1), losses of the benchmark's scores CC, SIM and NSS, and mixes.

Each map counts for itself: its own sum, mean or range, whatever stands beside it in the batch. Maps of one value and maps
without truth have a defined loss and no gradient, so that none of them makes a batch NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

# What a pixel is given before a map is divided by its sum: far below the first grey level, 1/255 = 0.004, and
# it keeps the logarithm of an empty map finite.
EPSILON = 1e-7

MIXES = "kl, cc, sim or nss, or a sum of them such as kl+0.1*cc"  # what `Loss` takes, in words


def kl_divergence(saliency: Tensor, density: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the predicted distribution from the true one, in nats.

    Parameters
    ----------
    saliency
        Predicted maps (..., H, W), not negative.
    density
        True maps of the same shape; their scale does not matter.

    Returns
    -------
    Tensor
        (...), a value a map, 0 where prediction and truth agree. A map without truth (all zeros) has divergence 0; an
        empty prediction counts as one that is even.
    """
    likely = saliency + EPSILON
    true = density / density.sum((-2, -1), keepdim=True).clamp_min(torch.finfo(density.dtype).tiny)
    entropy = torch.xlogy(true, true).sum((-2, -1))
    return entropy - (true * likely.log()).sum((-2, -1)) + true.sum((-2, -1)) * likely.sum((-2, -1)).log()


def correlation(saliency: Tensor, density: Tensor) -> Tensor:
    """CC: Pearson's correlation of each predicted map (..., H, W) with the true one, 0 where either is of one value."""
    a, spread_a, a_varies = _centred(saliency)
    b, spread_b, b_varies = _centred(density)
    return torch.where(a_varies & b_varies, (a * b).sum((-2, -1)) / (spread_a * spread_b), 0)


def similarity(saliency: Tensor, density: Tensor) -> Tensor:
    """SIM: what each predicted map (..., H, W) has in common with the true one, both from 0 and of sum 1; 0 where either is
    of one value."""
    a, a_varies = _distribution(saliency)
    b, b_varies = _distribution(density)
    return torch.where(a_varies & b_varies, torch.minimum(a, b).sum((-2, -1)), 0)


def scanpath(saliency: Tensor, fixations: Tensor) -> Tensor:
    """NSS: mean of each map (..., H, W), standardised, where somebody looked, bool of the same shape; 0 where nobody did."""
    a, spread, varies = _centred(saliency)
    count = fixations.sum((-2, -1))
    deviation = spread / (saliency.shape[-2] * saliency.shape[-1] - 1) ** 0.5  # of a sample, as the benchmark has it
    return torch.where(varies & (count > 0), (a * fixations).sum((-2, -1)) / (deviation * count.clamp_min(1)), 0)


# The parts of a loss by name. Those of scores fall while the score rises; all but NSS end at 0.
PARTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "kl": lambda saliency, density, fixations: kl_divergence(saliency, density),
    "cc": lambda saliency, density, fixations: 1 - correlation(saliency, density),
    "sim": lambda saliency, density, fixations: 1 - similarity(saliency, density),
    "nss": lambda saliency, density, fixations: -scanpath(saliency, fixations),
}


class Loss:
    """A weighted sum of losses, such as ``"kl"`` or ``"kl+0.1*cc+0.1*nss"``.

    Parameters
    ----------
    mix
        Parts joined by ``+``, each ``kl`` (divergence), ``cc`` (1 - CC), ``sim`` (1 - SIM) or ``nss`` (-NSS), with a positive
        weight and ``*`` before it where that is not 1.

    Raises
    ------
    ValueError
        If the mix is written in any other way.

    Examples
    --------
    >>> import torch
    >>> truth = torch.rand(2, 32, 48)
    >>> Loss("kl+0.5*cc")(truth, truth, truth > 0.9).abs() < 1e-4
    tensor([True, True])
    """

    def __init__(self, mix: str) -> None:
        self.weights = _weights(mix)

    def __call__(self, saliency: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
        """The loss of each clip.

        Parameters
        ----------
        saliency
            Predicted maps, (N, H, W) or, of several frames a clip, (N, k, H, W); computed in float32 at least.
        density, fixations
            The truth, (N, k, H, W); with k = 1 also (N, H, W).

        Returns
        -------
        Tensor
            (N,), each the mean over the clip's k maps.
        """
        shape = (len(saliency), -1, *saliency.shape[-2:])
        saliency = saliency.reshape(shape).to(torch.promote_types(saliency.dtype, torch.float32))
        density, fixations = density.reshape(shape).to(saliency.dtype), fixations.reshape(shape)
        terms = [weight * PARTS[name](saliency, density, fixations) for name, weight in self.weights.items()]
        return torch.stack(terms).sum(0).mean(1)


def _weights(mix: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for term in mix.split("+"):
        found = re.fullmatch(r"\s*(?:(\d+\.?\d*|\.\d+)\s*\*\s*)?([a-z]+)\s*", term)
        if found is None or found[2] not in PARTS or found[2] in weights or float(found[1] or 1) == 0:
            raise ValueError(f"want {MIXES}, got {mix!r}")
        weights[found[2]] = float(found[1] or 1)
    return weights


def _centred(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maps less their means, the root of their sums of squares, and which of them are of more than one value."""
    centred = maps - maps.mean((-2, -1), keepdim=True)
    squares = centred.square().sum((-2, -1))
    varies = _varies(maps)
    return centred, torch.where(varies, squares, 1).sqrt(), varies


def _distribution(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The maps from 0 and of sum 1, and which of them are of more than one value."""
    raised = maps - maps.amin((-2, -1), keepdim=True)
    varies = _varies(maps)
    return raised / torch.where(varies, raised.sum((-2, -1)), 1)[..., None, None], varies


def _varies(maps: Tensor) -> Tensor:
    """Whether maps have more than one value, beyond what rounding makes; a map with NaN counts as one that has."""
    least, most = maps.detach().amin((-2, -1)), maps.detach().amax((-2, -1))
    return ~(most - least <= 8 * torch.finfo(maps.dtype).eps * most.abs())
