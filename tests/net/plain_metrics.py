"""The metrics step by step as they are published, as plain as can be: what tests and bench compare `tased_net.metrics` with.

Definitions: the MIT saliency benchmark (Bylinskii et al., 2016), which DHF1K's evaluation uses; MATLAB's documentation of
imresize. Maps are numpy arrays, fixations boolean; predictions must have the truth's size, `resized` brings them to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[Any]
Mask = NDArray[np.bool_]

EPS = 2.220446049250313e-16


def kernel(x: float) -> float:
    """Keys' cubic convolution with a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x < 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def resized_lines(image: Map, lines: int) -> Map:
    """(h, w) to (lines, w), in floating point; pixel centres count from 1."""
    source = len(image)
    scale = lines / source
    shrink = min(scale, 1.0)
    result = np.zeros((lines, image.shape[1]))
    for line in range(1, lines + 1):
        centre = line / scale + (1 - 1 / scale) / 2
        total = 0.0
        for tap in range(math.floor(centre - 2 / shrink), math.ceil(centre + 2 / shrink) + 1):
            weight = kernel(shrink * (centre - tap))
            place = tap
            while not 1 <= place <= source:  # symmetric continuation
                place = 1 - place if place < 1 else 2 * source + 1 - place
            result[line - 1] += weight * image[place - 1]
            total += weight
        result[line - 1] /= total
    return result


def resized(image: Map, size: tuple[int, ...]) -> Map:
    """MATLAB's imresize; a uint8 map is rounded once."""
    if image.shape == size:
        return image
    values = resized_lines(resized_lines(image.astype(np.float64), size[0]).T, size[1]).T
    if image.dtype != np.uint8:
        return values
    return np.floor(np.clip(values, 0, 255) + 0.5).astype(np.uint8)


def nss(pred: Map, fixations: Mask) -> float:
    values = pred.astype(np.float64)
    deviation = math.sqrt(((values - values.mean()) ** 2).sum() / (values.size - 1))
    return float(((values - values.mean()) / deviation)[fixations].mean())


def cc(pred: Map, density: Map) -> float:
    return float(np.corrcoef(pred.ravel().astype(np.float64), density.ravel().astype(np.float64))[0, 1])


def to_unit(image: Map) -> Map:
    values = image.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


def sim(pred: Map, density: Map) -> float:
    maps = []
    for image in (pred, density):
        values = image.astype(np.float64)
        if values.any():
            values = to_unit(values)
            values = values / values.sum()
        maps.append(values)
    return float(np.minimum(*maps).sum())


def trapezoids(fp: list[float], tp: list[float]) -> float:
    return sum((fp[i] - fp[i - 1]) * (tp[i] + tp[i - 1]) / 2 for i in range(1, len(fp)))


def auc_judd(pred: Map, fixations: Mask, generator: np.random.Generator) -> float:
    """With one draw of the jitter."""
    values = to_unit(pred + generator.random(pred.shape) / 10_000_000)
    count = int(fixations.sum())
    fp, tp = [0.0], [0.0]
    for number, threshold in enumerate(sorted(values[fixations], reverse=True), start=1):
        above = int((values >= threshold).sum())
        tp.append(number / count)
        fp.append((above - number) / (values.size - count))
    return trapezoids([*fp, 1.0], [*tp, 1.0])


def shuffled_auc(pred: Map, fixations: Mask, others: Mask, generator: np.random.Generator, splits: int = 100) -> float:
    values = to_unit(pred)
    hits, elsewhere = values[fixations], values[others]
    count = min(hits.size, elsewhere.size)
    scores = []
    for _ in range(splits):
        negatives = generator.permutation(elsewhere)[:count]
        highest = max(hits.max(), negatives.max())
        # A threshold is its number over 10: 0.1 times 3 is not 0.3 in floating point.
        thresholds = [step / 10 for step in range(11) if step / 10 <= highest][::-1]
        fp = [0.0, *(float((negatives >= threshold).mean()) for threshold in thresholds), 1.0]
        tp = [0.0, *(float((hits >= threshold).mean()) for threshold in thresholds), 1.0]
        scores.append(trapezoids(fp, tp))
    return float(np.mean(scores))


def kl_divergence(pred: Map, density: Map) -> float:
    p = pred.astype(np.float64) / pred.sum()
    q = density.astype(np.float64) / density.sum()
    return float((q * np.log(EPS + q / (p + EPS))).sum())


def information_gain(pred: Map, fixations: Mask, baseline: Map) -> float:
    p, b = to_unit(pred), to_unit(baseline)
    p, b = p / p.sum(), b / b.sum()
    return float((np.log2(EPS + p[fixations]) - np.log2(EPS + b[fixations])).mean())
