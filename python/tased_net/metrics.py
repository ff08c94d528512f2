"""The metrics of saliency as the MIT and DHF1K benchmarks compute them, for numpy arrays and torch tensors.

A prediction is resized to the truth's size as MATLAB's imresize does it; fixations are never resized. Where a metric draws at
random, its mean over all draws can be had exactly as well, because it is a matter of counting. A prediction that says nothing
(constant) scores what chance scores; a truth that says nothing (no fixations, a constant density) is refused by ValueError, so
that no average hides a NaN. docs/evaluation.md has the formulas.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

Array: TypeAlias = "NDArray[Any] | Tensor"

CUBIC = -0.5  # the free parameter of the bicubic kernel
EPS = float(np.finfo(np.float64).eps)
JITTERS = ("draw", "expected")
JITTER = 1e-7  # the benchmark's, on maps from 0 to 255: less than any two grey levels are apart
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
SPLITS = 100
STEPS = 10  # thresholds of s-AUC from 0 to 1


# ------------------------------------------------------------------------------------------------------------- resizing


def imresize(image: Array, size: tuple[int, int]) -> NDArray[Any]:
    """Resizes a map as MATLAB's ``imresize(image, size)`` does: bicubic with a = -0.5, antialiased where it shrinks.

    Parameters
    ----------
    image
        (h, w), uint8 or floating point.
    size
        Height and width of the result.

    Returns
    -------
    numpy.ndarray
        `size`. Of a uint8 map: uint8, computed in floating point over both axes and rounded once, at the end. Of any other:
        float64, which may overshoot the map's range near edges.

    Raises
    ------
    ValueError
        If the map is not (h, w), is empty or not finite, or a side of `size` is below 1.

    Examples
    --------
    >>> imresize(np.array([[0, 80]], np.uint8), (1, 4))
    array([[ 0, 16, 64, 88]], dtype=uint8)
    """
    source = _map(image, "image")
    height, width = size
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1x1, got {height}x{width}")
    if source.shape == (height, width):
        return source
    rows, columns = _weights(source.shape[0], height), _weights(source.shape[1], width)
    # Each product wants its right factor row by row.
    wide = np.ascontiguousarray((columns @ np.ascontiguousarray(source.T, np.float64)).T)
    resized: NDArray[np.float64] = rows @ wide
    if source.dtype != np.uint8:
        return resized
    resized += 0.5  # in place: to map new memory takes longer than to compute
    return resized.clip(0, 255.5, out=resized).astype(np.uint8)  # halves go up, as in MATLAB


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> csr_array:
    """What each of `source` pixels gives to each of `target`, (target, source); beyond its ends a line is mirrored."""
    stretch = max(1.0, source / target)  # a wider kernel where it shrinks
    centres = (np.arange(target) + 0.5) * (source / target) - 0.5
    first = np.ceil(centres - 2 * stretch).astype(np.int64)
    taps = first[:, None] + np.arange(int(4 * stretch) + 1)
    weights = _cubic((taps - centres[:, None]) / stretch)
    weights /= weights.sum(1, keepdims=True)
    taps %= 2 * source
    taps = np.minimum(taps, 2 * source - 1 - taps)
    lines = np.broadcast_to(np.arange(target)[:, None], taps.shape)
    return csr_array((weights.ravel(), (lines.ravel(), taps.ravel())), shape=(target, source))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = CUBIC * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


# -------------------------------------------------------------------------------------------------------------- metrics


def nss(pred: Array, fixations: Array) -> float:
    """Normalized Scanpath Saliency: the mean at fixated pixels of the map at mean 0 and (N-1) standard deviation 1.

    Parameters
    ----------
    pred
        The predicted map (h, w), of any scale; the benchmarks' are uint8. Of another size than the truth it is resized by
        `imresize`.
    fixations
        (H, W), above 0 where somebody looked; each pixel counts once.

    Returns
    -------
    float
        0 is chance, which a constant prediction scores.

    Raises
    ------
    ValueError
        If there are no fixations, or an input is not (H, W), empty or not finite.

    Examples
    --------
    >>> round(nss(np.array([[0, 0], [0, 1]]), np.array([[0, 0], [0, 1]])), 6)
    1.5
    """
    fixated = _fixations(fixations)
    image = _prediction(pred, fixated.shape).astype(np.float64)
    if _is_constant(image):
        return 0.0
    return float((image[fixated].mean() - image.mean()) / image.std(ddof=1))


def cc(pred: Array, density: Array) -> float:
    """Linear correlation coefficient (Pearson's) of prediction and continuous truth.

    Parameters
    ----------
    pred
        As for `nss`.
    density
        The continuous truth (H, W), of any scale.

    Returns
    -------
    float
        From -1 to 1; 0 for a constant prediction.

    Raises
    ------
    ValueError
        If the density is constant, or as for `nss`.
    """
    truth = _density(density)
    image = _prediction(pred, truth.shape).astype(np.float64)
    if _is_constant(image):
        return 0.0
    image -= image.mean()
    truth = truth - truth.mean()
    product = np.vdot(image, truth) / np.sqrt(np.vdot(image, image) * np.vdot(truth, truth))
    return float(product.clip(-1, 1))


def sim(pred: Array, density: Array) -> float:
    """Similarity: both maps scaled from 0 to 1, then divided by their sums; the sum over pixels of the lesser.

    Parameters
    ----------
    pred, density
        As for `cc`.

    Returns
    -------
    float
        From 0 to 1; 0 for a constant prediction, which scaling makes a map of zeros.

    Raises
    ------
    ValueError
        As for `cc`.
    """
    truth = _density(density)
    image = _prediction(pred, truth.shape)
    if _is_constant(image):
        return 0.0
    p, q = _scaled_distribution(image), _scaled_distribution(truth)
    return float(np.minimum(p, q, out=p).sum())


def auc_judd(pred: Array, fixations: Array, *, jitter: str = "draw", seed: int = 0) -> float:
    """Area under the ROC curve by Judd: fixated pixels against all others, thresholds at the fixated values.

    Parameters
    ----------
    pred, fixations
        As for `nss`.
    jitter
        The benchmark breaks ties among equal values by noise that is uniform from 0 to 1e-7. "draw" does so once, as the
        benchmark, which on 8-bit maps moves the score by 0.01 and more. "expected" gives the mean over the noise, exactly
        and without chance. Both suppose that different values are further apart than the noise is wide, as those of an
        8-bit map are.
    seed
        Of the noise.

    Returns
    -------
    float
        From 0 to 1. A constant prediction scores 1/2 + 1/(2n+2) with n fixations on average: trapezoids flatter (see Notes).

    Raises
    ------
    ValueError
        If every pixel is fixated, `jitter` has another name, or as for `nss`.

    Notes
    -----
    Noise below the distance of any two levels permutes equal pixels, each order as likely as the other. Let n pixels be
    fixated and m not. The i-th highest fixated value puts a point at height i/n, and the trapezoids between the points are
    larger than the steps of the exact ROC curve by f/2n in all, where f is the share of other pixels above the lowest
    fixated value. So the expectation is that of the exact area, which counts pairs of a fixated and another pixel in right
    order, a tie as half, plus that of f/2n: with a of the other pixels above the lowest fixated level, and t of them on it
    beside k fixated ones, a + tk/(k+1) lie above the lowest of these k in a random order.
    """
    if jitter not in JITTERS:
        raise ValueError(f"jitter must be one of {', '.join(map(repr, JITTERS))}, got {jitter!r}")
    fixated = _fixations(fixations)
    if fixated.all():
        raise ValueError("every pixel is fixated: there is nothing to tell the fixations from")
    image = _prediction(pred, fixated.shape)
    if jitter == "draw":
        image = image + np.random.default_rng(seed).random(image.shape) * JITTER
    hits = np.sort(image[fixated])
    values = np.sort(image, axis=None, kind="stable" if image.dtype == np.uint8 else None)  # stable: bytes are counted
    # Of the other pixels, how many are below each hit, and below or equal.
    below, up_to = (np.searchsorted(values, hits, side) - np.searchsorted(hits, hits, side) for side in SIDES)
    others = values.size - hits.size
    if jitter == "draw":
        return _area_by_thresholds(below, others)
    pairs = (below.sum() + up_to.sum()) / 2
    lowest = np.count_nonzero(hits == hits[0])
    above = others - up_to[0] + (up_to[0] - below[0]) * lowest / (lowest + 1)
    return float((pairs + above / 2) / (hits.size * others))


def _area_by_thresholds(below: NDArray[np.int64], others: int) -> float:
    """The area under the benchmark's curve: how many of the other pixels are below each fixated one, ascending, no ties."""
    fp = np.concatenate([[0], 1 - below[::-1] / others, [1]])
    tp = np.concatenate([[0], np.arange(1, below.size + 1) / below.size, [1]])
    return float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1])) / 2)


def shuffled_auc(
    pred: Array, fixations: Array, other_fixations: Array, *, splits: int | None = SPLITS, seed: int = 0
) -> float:
    """Shuffled AUC: fixated pixels against pixels that were fixated on other frames, so that the centre gains nothing.

    Parameters
    ----------
    pred, fixations
        As for `nss`.
    other_fixations
        (H, W), or (K, H, W) of K frames (the benchmark takes 10), which are merged into one map.
    splits
        Random choices of as many negatives as there are fixations (all, if there are fewer), over which the score is
        averaged. None for the mean over all choices, exactly and without chance.
    seed
        Of the choices.

    Returns
    -------
    float
        From 0 to 1; 1/2 for a constant prediction.

    Raises
    ------
    ValueError
        If there are no fixations on the other frames, their size is another, `splits` is below 1, or as for `nss`.

    Notes
    -----
    Thresholds go from 0 to the maximum of the map scaled to [0, 1], in steps of 0.1. So of a value only its step counts,
    and of a choice only how many of its negatives lie on each step. The area is linear in these numbers: its mean over all
    choices is the area with all negatives.
    """
    if splits is not None and splits < 1:
        raise ValueError(f"splits must be at least 1, or None for all, got {splits}")
    fixated = _fixations(fixations)
    elsewhere = _array(other_fixations, "other_fixations") > 0
    if elsewhere.ndim == 3:
        elsewhere = np.logical_or.reduce(elsewhere)
    if elsewhere.shape != fixated.shape:
        raise ValueError(f"other_fixations must be {_sized(fixated.shape)} as the fixations, got {elsewhere.shape}")
    if not elsewhere.any():
        raise ValueError("there are no fixations on the other frames")
    image = _prediction(pred, fixated.shape)
    if _is_constant(image):
        return 0.5
    hits, negatives = (np.bincount(_steps(image, chosen), minlength=STEPS + 1) for chosen in (fixated, elsewhere))
    share = hits / hits.sum()
    won = 1 - np.cumsum(share) + share / 2  # of the fixations, against a negative on each step
    if splits is None:
        return float(negatives @ won / negatives.sum())
    size = min(hits.sum(), negatives.sum())
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(negatives, size, splits)
    return float((drawn @ won).mean() / size)


def _steps(image: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """The highest threshold that each of the chosen pixels reaches, 0 to `STEPS`; exact in integers for uint8 maps."""
    low, high = image.min(), image.max()
    if image.dtype == np.uint8:
        return STEPS * (image[chosen].astype(np.int64) - int(low)) // (int(high) - int(low))
    scaled = (image[chosen] - low) / (high - low)
    return np.searchsorted(np.arange(STEPS + 1) / STEPS, scaled, "right") - 1


def kl_divergence(pred: Array, density: Array) -> float:
    """Kullback-Leibler divergence of the prediction from the truth, in nats; both are divided by their sums.

    Parameters
    ----------
    pred
        As for `nss`, but not below 0. What resizing a floating point map puts below 0 counts as 0.
    density
        As for `cc`, but not below 0. A constant one is a uniform distribution here.

    Returns
    -------
    float
        0 for equal maps. Where the prediction is 0 the benchmark's epsilon of 2.2e-16 stands in, so that no score is
        infinite; a prediction of zeros scores about 36.

    Raises
    ------
    ValueError
        If the density is all zero, a map holds negative values, or as for `nss`.
    """
    truth = _map(density, "density").astype(np.float64)
    given = _map(pred, "pred")
    for name, values in (("pred", given), ("density", truth)):
        if values.min() < 0:
            raise ValueError(f"{name} is no distribution: its lowest value is {values.min():g}")
    if not truth.any():
        raise ValueError("the density is all zero: it says nothing about where people look")
    image = _resized(given, truth.shape).astype(np.float64).clip(0)
    seen = truth > 0  # the rest adds nothing
    p = image[seen] / (image.sum() or 1)
    q = truth[seen] / truth.sum()
    return float(np.vdot(q, np.log(EPS + q / (p + EPS))))


def information_gain(pred: Array, fixations: Array, baseline: Array) -> float:
    """Information gain over a baseline: how many bits more likely the prediction makes each fixation, on average.

    Parameters
    ----------
    pred, fixations
        As for `nss`.
    baseline
        A map (h, w) that knows nothing of the frame, such as the mean density of a training set; resized as `pred` is.

    Returns
    -------
    float
        In bits a fixation. Both maps are scaled from 0 to 1 and divided by their sums, and 2.2e-16 is added, as the
        benchmark does it; a constant map is the uniform distribution.

    Raises
    ------
    ValueError
        As for `nss`.
    """
    fixated = _fixations(fixations)
    gain = [
        np.log2(EPS + _scaled_distribution(_prediction(image, fixated.shape, name))[fixated]).mean()
        for image, name in ((pred, "pred"), (baseline, "baseline"))
    ]
    return float(gain[0] - gain[1])


# --------------------------------------------------------------------------------------------------------------- inputs


def _array(value: Array, name: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.to(torch.float64) if value.is_floating_point() else value).numpy()  # numpy has no bfloat16
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return array


def _map(value: Array, name: str) -> NDArray[Any]:
    """A map that can be computed with: uint8, or else float64."""
    array = _array(value, name)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} must be a map (H, W), got {array.shape}")
    return array if array.dtype == np.uint8 else array.astype(np.float64, copy=False)


def _prediction(value: Array, size: tuple[int, ...], name: str = "pred") -> NDArray[Any]:
    return _resized(_map(value, name), size)


def _resized(image: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    if _is_constant(image):
        return np.full(size, image.flat[0])  # which the rounding of weights would take from a map of floating point
    return imresize(image, (size[0], size[1]))


def _fixations(value: Array) -> NDArray[np.bool_]:
    fixated = _map(value, "fixations") > 0
    if not fixated.any():
        raise ValueError("there are no fixations: leave the frame out")
    return fixated


def _density(value: Array) -> NDArray[np.float64]:
    truth = _map(value, "density").astype(np.float64, copy=False)
    if _is_constant(truth):
        raise ValueError(f"the density is {truth.flat[0]:g} everywhere: it says nothing about where people look")
    return truth


def _is_constant(image: NDArray[Any]) -> bool:
    return bool(image.min() == image.max())


def _scaled_distribution(image: NDArray[Any]) -> NDArray[np.float64]:
    """The map from 0 to 1, divided by its sum."""
    scaled = image.astype(np.float64)
    if _is_constant(image):
        scaled[:] = 1
    else:
        scaled -= image.min()
    scaled /= scaled.sum()  # to scale to 1 before would change nothing
    return scaled


def _sized(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
