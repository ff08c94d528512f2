"""The metrics against closed forms by hand, the published definitions step by step, scipy and Octave; and odd input."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.stats
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from net import plain_metrics as plain
from pages.blocks import text_of
from tased_net.metrics import (
    auc_judd,
    cc,
    imresize,
    information_gain,
    kl_divergence,
    nss,
    shuffled_auc,
    sim,
)

Map = NDArray[Any]
SIZE = (36, 64)


def smooth_map(generator: np.random.Generator, size: tuple[int, int] = SIZE, sigma: float = 3.0) -> Map:
    """An 8-bit map with some peaks, 0 to 255."""
    values = gaussian_filter(generator.random(size) ** 9, sigma)
    values -= values.min()
    return (values / values.max() * 255).round().astype(np.uint8)


def some_fixations(generator: np.random.Generator, count: int, size: tuple[int, int] = SIZE) -> Map:
    mask = np.zeros(size, bool)
    mask.flat[generator.choice(mask.size, count, replace=False)] = True
    return mask


def odd_cases() -> dict[str, tuple[Map, Map]]:
    """Predictions of the truth's size and fixations."""
    generator = np.random.default_rng(7)
    smooth = smooth_map(generator)
    corners = np.zeros(SIZE, bool)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    single = np.zeros(SIZE, bool)
    single[20, 31] = True
    plateaus = (smooth // 64 * 64).astype(np.uint8)
    cut = np.where(smooth > 180, smooth, 0).astype(np.uint8)  # a plateau of zeros
    return {
        "smooth": (smooth, some_fixations(generator, 40)),
        "plateaus": (plateaus, some_fixations(generator, 40)),
        "mostly zero": (cut, some_fixations(generator, 25)),
        "two levels": (((smooth > 90) * 255).astype(np.uint8), some_fixations(generator, 5)),
        "single fixation": (smooth, single),
        "single fixation on a plateau": (cut, single),
        "corners": (smooth, corners),
        "corners on plateaus": (plateaus, corners),
        "low contrast": ((100 + smooth // 100).astype(np.uint8), some_fixations(generator, 30)),
        "many fixations": (cut, some_fixations(generator, 2000)),
    }


ODD = odd_cases()
DENSITY = smooth_map(np.random.default_rng(3)).astype(np.float32) / 255
OTHERS = np.stack([some_fixations(np.random.default_rng(100 + number), 12) for number in range(10)])


def expected_auc(pred: Any, fixations: Any) -> float:
    return auc_judd(pred, fixations, jitter="expected")


def within_three_errors(expected: float, draws: list[float]) -> bool:
    error = float(np.std(draws, ddof=1)) / math.sqrt(len(draws))
    return abs(float(np.mean(draws)) - expected) <= 3 * error + 1e-12


# --------------------------------------------------------------------------------------------------- closed forms by hand


def test_nss_by_hand() -> None:
    # Mean 1, squared distances 1 1 1 9, over N - 1 = 3: deviation 2. The fixated values are 4 and 0.
    pred = np.array([[0, 0], [0, 4]], np.uint8)
    assert nss(pred, np.array([[0, 0], [0, 1]])) == pytest.approx(3 / 2, abs=1e-15)
    assert nss(pred, np.array([[1, 0], [0, 255]])) == pytest.approx((3 / 2 - 1 / 2) / 2, abs=1e-15)


def test_cc_by_hand() -> None:
    # About their means: -1 0 1 and -2 1 1.
    assert cc(np.array([[1, 2, 3]]), np.array([[0, 3, 3]])) == pytest.approx(3 / math.sqrt(2 * 6), abs=1e-15)
    assert cc(np.array([[1, 2, 3]]), np.array([[5, 3, 1]])) == -1


def test_sim_by_hand() -> None:
    # From 0 to 1: 0 1/2 1 and 1 1 0; over their sums: 0 1/3 2/3 and 1/2 1/2 0. The lesser: 0 1/3 0.
    assert sim(np.array([[10, 20, 30]], np.uint8), np.array([[0.4, 0.4, 0.1]])) == pytest.approx(1 / 3, abs=1e-15)


def test_auc_judd_by_hand() -> None:
    # Fixated 9 and 5, others 7 3 1: points (0,0) (0,1/2) (1/3,1) (1,1), whose trapezoids are 0 + 1/4 + 2/3.
    pred, fixations = np.array([[9, 7, 5, 3, 1]], np.uint8), np.array([[1, 0, 1, 0, 0]])
    assert expected_auc(pred, fixations) == pytest.approx(11 / 12, abs=1e-15)
    assert auc_judd(pred, fixations, jitter="draw") == pytest.approx(11 / 12, abs=1e-15)


def test_auc_judd_s_expectation_by_hand() -> None:
    # One fixated pixel ties with one other: half the time the curve is (0,0) (0,1) (1,1), else (0,0) (1,1).
    assert expected_auc(np.zeros((1, 2)), np.array([[1, 0]])) == pytest.approx(3 / 4, abs=1e-15)
    # Of a constant map with n fixations: 1/2 + 1/(2n + 2).
    assert expected_auc(np.full((4, 5), 7), some_fixations(np.random.default_rng(0), 4, (4, 5))) == pytest.approx(0.6)


def test_shuffled_auc_by_hand() -> None:
    # Steps of 0.1 from 0 to 10: the fixated pixels are on 10 and 4, the others' on 4, 0 and 0.
    pred = np.array([[10, 4.9, 4.2, 0.9, 0]])
    fixations, others = np.array([[1, 1, 0, 0, 0]]), np.array([[0, 0, 1, 1, 1]])
    assert shuffled_auc(pred, fixations, others, splits=None) == pytest.approx((3 + 2.5) / 6, abs=1e-15)


def test_a_value_on_a_threshold_reaches_it() -> None:
    # 153/255 is 0.6, which 6 times 0.1 exceeds in floating point: 153 and 170 are on one step.
    pred = np.array([[0, 153, 170, 255]], np.uint8)
    fixations, others = np.array([[0, 1, 0, 0]]), np.array([[0, 0, 1, 0]])
    assert shuffled_auc(pred, fixations, others) == 0.5
    assert shuffled_auc(pred / 255, fixations, others) == 0.5


def test_kl_divergence_by_hand() -> None:
    pred, density = np.array([[1, 3]], np.uint8), np.array([[0.5, 0.5]])
    assert kl_divergence(pred, density) == pytest.approx(math.log(2) / 2 + math.log(2 / 3) / 2, abs=1e-12)
    assert kl_divergence(pred, pred) == pytest.approx(0, abs=1e-12)


def test_information_gain_by_hand() -> None:
    # Shares 1/3 and 2/3 against 1/2 and 1/2 at two of the pixels.
    pred, baseline = np.array([[0, 1, 2]], np.uint8), np.array([[0, 4, 4]], np.uint8)
    assert information_gain(pred, np.array([[0, 0, 1]]), baseline) == pytest.approx(math.log2(4 / 3), abs=1e-12)
    assert information_gain(pred, np.array([[0, 1, 1]]), baseline) == pytest.approx(math.log2(8 / 9) / 2, abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------- imresize


def test_imresize_halves_with_eight_taps() -> None:
    # Distances 1/4 3/4 5/4 7/4 of the widened kernel.
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    impulse = np.zeros((1, 16))
    for place in range(4, 12):
        impulse[:] = 0
        impulse[0, place] = 256
        expected = [256 * taps[place - 2 * i + 3] if 0 <= place - 2 * i + 3 < 8 else 0 for i in range(8)]
        np.testing.assert_allclose(imresize(impulse, (1, 8))[0], expected, rtol=0, atol=1e-12)


def test_imresize_doubles_with_four_taps() -> None:
    values = np.array([[3.0, 8, 1, 9, 4, 6]])
    left = np.array([-3, 29, 111, -9]) / 128  # of the pixel half a step to the left
    doubled = imresize(values, (1, 12))[0]
    assert doubled[4] == pytest.approx(values[0, 0:4] @ left, abs=1e-12)
    assert doubled[5] == pytest.approx(values[0, 1:5] @ left[::-1], abs=1e-12)
    assert doubled[0] == pytest.approx(np.array([8, 3, 3, 8]) @ left, abs=1e-12)  # mirrored at the border


def test_imresize_keeps_constants_and_the_inside_of_slopes() -> None:
    assert (imresize(np.full((7, 9), 131, np.uint8), (23, 4)) == 131).all()
    slope = np.add.outer(2.0 * np.arange(30), 3.0 * np.arange(40))
    # Pixel centres: (i + 1/2) 30/75 - 1/2.
    expected = np.add.outer(2 * ((np.arange(75) + 0.5) * 0.4 - 0.5), 3 * ((np.arange(60) + 0.5) * 2 / 3 - 0.5))
    np.testing.assert_allclose(imresize(slope, (75, 60))[6:-6, 6:-6], expected[6:-6, 6:-6], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "size", [(36, 64), (72, 128), (50, 91), (18, 32), (10, 200), (1, 1), (37, 1), (200, 3)], ids=str
)
def test_imresize_follows_its_definition(size: tuple[int, int]) -> None:
    image = smooth_map(np.random.default_rng(1), (36, 64), 1.0)
    ours, expected = imresize(image, size), plain.resized(image, size)
    assert ours.dtype == np.uint8
    assert ours.shape == size
    apart = np.abs(ours.astype(int) - expected)
    assert apart.max() <= 1  # where the sum is within rounding of a half
    assert np.count_nonzero(apart) <= 0.001 * ours.size
    np.testing.assert_allclose(imresize(image / 7, size), plain.resized(image / 7, size), rtol=0, atol=1e-10)


def test_imresize_rounds_once_at_the_end() -> None:
    image = smooth_map(np.random.default_rng(2), (24, 40), 1.0)
    exact = imresize(image.astype(float), (45, 80))
    assert (imresize(image, (45, 80)) == np.floor(exact.clip(0, 255) + 0.5)).all()
    twice = imresize(imresize(image, (45, 40)), (45, 80))
    assert np.count_nonzero(twice != imresize(image, (45, 80))) > 100


# --------------------------------------------------------------------------------------------- the published definitions


@pytest.mark.parametrize(
    "pred_size", [None, (22, 38), (72, 128), (50, 40)], ids=["same size", "smaller", "larger", "odd"]
)
@pytest.mark.parametrize("case", ODD)
def test_the_metrics_follow_their_definitions(case: str, pred_size: tuple[int, int] | None) -> None:
    pred, fixations = ODD[case]
    if pred_size is not None:
        pred = imresize(pred, pred_size)
    sized = plain.resized(pred, SIZE)
    assert nss(pred, fixations) == pytest.approx(plain.nss(sized, fixations), abs=1e-4)
    assert cc(pred, DENSITY) == pytest.approx(plain.cc(sized, DENSITY), abs=1e-4)
    assert sim(pred, DENSITY) == pytest.approx(plain.sim(sized, DENSITY), abs=1e-4)
    assert kl_divergence(pred, DENSITY) == pytest.approx(plain.kl_divergence(sized, DENSITY), abs=1e-3)
    baseline = (DENSITY * 255).astype(np.uint8)
    gain = plain.information_gain(sized, fixations, baseline)
    assert information_gain(pred, fixations, baseline) == pytest.approx(gain, abs=1e-3)
    generator = np.random.default_rng(5)
    draws = [plain.auc_judd(sized, fixations, generator) for _ in range(40)] if fixations.sum() < 100 else []
    assert not draws or within_three_errors(expected_auc(pred, fixations), draws)
    splits = [plain.shuffled_auc(sized, fixations, OTHERS.any(0), generator, 1) for _ in range(100)]
    assert within_three_errors(shuffled_auc(pred, fixations, OTHERS, splits=None), splits)


@pytest.mark.parametrize("case", ODD)
def test_expected_auc_judd_is_the_mean_over_a_thousand_draws(case: str) -> None:
    pred, fixations = ODD[case]
    draws = [auc_judd(pred, fixations, jitter="draw", seed=seed) for seed in range(1000)]
    assert within_three_errors(expected_auc(pred, fixations), draws)
    assert len(set(draws)) > 1


def test_expected_auc_judd_of_a_map_of_full_size_is_the_mean_over_draws() -> None:
    generator = np.random.default_rng(11)
    pred = imresize(smooth_map(generator, (224, 384), 20.0), (360, 640))
    fixations = some_fixations(generator, 40, (360, 640)) & (pred > 20)
    draws = [auc_judd(pred, fixations, jitter="draw", seed=seed) for seed in range(60)]
    assert within_three_errors(expected_auc(pred, fixations), draws)


@pytest.mark.parametrize("case", ODD)
def test_all_splits_of_shuffled_auc_are_the_mean_over_seeds(case: str) -> None:
    pred, fixations = ODD[case]
    draws = [shuffled_auc(pred, fixations, OTHERS, splits=5, seed=seed) for seed in range(1000)]
    assert within_three_errors(shuffled_auc(pred, fixations, OTHERS, splits=None), draws)


def test_one_seed_is_one_draw() -> None:
    pred, fixations = ODD["plateaus"]
    for score in (
        lambda seed: auc_judd(pred, fixations, jitter="draw", seed=seed),
        lambda seed: shuffled_auc(pred, fixations, OTHERS, seed=seed),
    ):
        assert score(1) == score(1) != score(2)


# -------------------------------------------------------------------------------------------------------- other programs


@pytest.mark.parametrize("case", ODD)
def test_scipy_finds_the_same_correlation_and_the_same_pairs(case: str) -> None:
    pred, fixations = ODD[case]
    assert cc(pred, DENSITY) == pytest.approx(scipy.stats.pearsonr(pred.ravel(), DENSITY.ravel().astype(float))[0])
    pairs = scipy.stats.mannwhitneyu(pred[fixations].astype(float), pred[~fixations].astype(float)).statistic
    rank_auc = pairs / (fixations.sum() * (~fixations).sum())
    assert rank_auc <= expected_auc(pred, fixations) <= rank_auc + 1 / (2 * fixations.sum()) + 1e-12
    kl = scipy.stats.entropy(DENSITY.ravel().astype(float) + 1e-9, pred.ravel() + 0.01)
    assert kl_divergence(pred + 0.01, DENSITY + 1e-9) == pytest.approx(kl, abs=1e-6)


SMALL = smooth_map(np.random.default_rng(4), (13, 29), 1.0)


def octave_scores(pred: Map, fixations: Map, folder: Path) -> dict[str, list[float]]:
    """What the script prints, which also brings `SMALL` to the maps' size."""
    octave = shutil.which("octave-cli")
    if octave is None:
        pytest.skip("no octave-cli: apt-get install octave")
    maps = {"pred": pred, "small": SMALL, "density": DENSITY.astype(float)}
    maps |= {"fixated": fixations.astype(float), "elsewhere": OTHERS.any(0).astype(float)}
    draws = 300 if fixations.sum() < 100 else 5
    scipy.io.savemat(folder / "maps.mat", {**maps, "draws": draws, "splits": 100})
    script = Path(__file__).with_name("metrics.m")
    done = subprocess.run(
        [octave, "--no-init-file", "--quiet", str(script)],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    return {words[0]: [float(word) for word in words[1:]] for words in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("case", ODD)
def test_octave_finds_the_same(case: str, tmp_path: Path) -> None:
    pred, fixations = ODD[case]
    # No value is a multiple of a tenth of the highest: the next test tells why.
    pred = np.minimum(pred, 251)
    found = octave_scores(pred, fixations, tmp_path)
    assert [imresize(SMALL, SIZE).ravel().tolist()] == [found["imresize"]]
    assert nss(pred, fixations) == pytest.approx(found["nss"][0], abs=1e-9)
    assert cc(pred, DENSITY) == pytest.approx(found["cc"][0], abs=1e-6)
    assert sim(pred, DENSITY) == pytest.approx(found["sim"][0], abs=1e-6)
    assert kl_divergence(pred, DENSITY) == pytest.approx(found["kl_divergence"][0], abs=1e-6)
    assert within_three_errors(expected_auc(pred, fixations), found["auc_judd"])
    assert within_three_errors(shuffled_auc(pred, fixations, OTHERS, splits=None), found["shuffled_auc"])


@pytest.mark.parametrize(("step", "missed"), [(51, [153]), (25, [75, 150, 175])])
def test_thresholds_of_the_benchmark_s_script_miss_three_six_and_seven_tenths(
    step: int, missed: list[int], tmp_path: Path
) -> None:
    highest = 255 // step * step
    # On the thresholds and between them.
    values = [0, highest, *range(step, highest, step), *range(step - 10, highest, step)]
    pred = np.random.default_rng(9).choice(values, SIZE).astype(np.uint8)
    fixations = ODD["many fixations"][1]  # so many that all negatives are in every split
    theirs = octave_scores(pred, fixations, tmp_path)["shuffled_auc"]
    assert len(set(theirs)) == 1

    def ours(*lowered: int) -> float:
        return shuffled_auc(pred - np.isin(pred, lowered), fixations, OTHERS, splits=None)

    assert ours(*missed) == pytest.approx(theirs[0], abs=1e-12)
    for level in range(step, highest, step):  # and no other level is missed
        assert ours(*set(missed) ^ {level}) != pytest.approx(theirs[0], abs=1e-5)


# ------------------------------------------------------------------------------------------------------------- kinds of input


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_tensors_score_as_arrays_do(dtype: torch.dtype) -> None:
    pred, fixations = ODD["plateaus"]
    tensor = torch.from_numpy(pred).to(dtype)  # multiples of 64, which bfloat16 holds exactly
    mask, density = torch.from_numpy(fixations), torch.from_numpy(DENSITY)
    assert nss(tensor, mask) == pytest.approx(nss(pred, fixations))
    assert cc(tensor, density) == pytest.approx(cc(pred, DENSITY))
    assert sim(tensor, density) == pytest.approx(sim(pred, DENSITY))
    assert expected_auc(tensor, mask) == pytest.approx(expected_auc(pred, fixations))
    assert shuffled_auc(tensor, mask, torch.from_numpy(OTHERS)) == pytest.approx(shuffled_auc(pred, fixations, OTHERS))
    assert kl_divergence(tensor, density) == pytest.approx(kl_divergence(pred, DENSITY))
    assert information_gain(tensor, mask, density) == pytest.approx(information_gain(pred, fixations, DENSITY))


def test_a_tensor_that_requires_grad_is_scored() -> None:
    pred, fixations = ODD["smooth"]
    tensor = torch.from_numpy(pred).double().requires_grad_()
    assert nss(tensor, fixations) == pytest.approx(nss(pred, fixations))


def test_scale_and_offset_of_a_map_do_not_matter() -> None:
    pred, fixations = ODD["smooth"]
    other = pred * 0.37 - 12.5
    assert nss(other, fixations) == pytest.approx(nss(pred, fixations))
    assert cc(other, DENSITY * 255) == pytest.approx(cc(pred, DENSITY))
    assert sim(other, DENSITY * 255) == pytest.approx(sim(pred, DENSITY))
    assert expected_auc(other, fixations) == pytest.approx(expected_auc(pred, fixations))


def test_other_frames_may_come_as_one_map_or_as_many() -> None:
    pred, fixations = ODD["smooth"]
    assert shuffled_auc(pred, fixations, OTHERS) == shuffled_auc(pred, fixations, OTHERS.any(0))


@pytest.mark.parametrize(
    ("value", "dtype"), [(0, np.uint8), (90, np.uint8), (255, np.uint8), (0.1, float), (7.7, float), (0.1, np.float32)]
)
def test_a_constant_prediction_scores_chance(value: float, dtype: type[np.generic]) -> None:
    fixations = ODD["smooth"][1]
    pred = np.full((9, 9), value, dtype)
    assert nss(pred, fixations) == 0
    assert cc(pred, DENSITY) == 0
    assert sim(pred, DENSITY) == 0
    assert expected_auc(pred, fixations) == pytest.approx(0.5 + 1 / 82)
    assert shuffled_auc(pred, fixations, OTHERS) == 0.5
    uniform = np.full(SIZE, 1 / (SIZE[0] * SIZE[1]))
    assert kl_divergence(pred, DENSITY) == (
        pytest.approx(kl_divergence(uniform, DENSITY)) if value else pytest.approx(36, abs=8)
    )
    assert information_gain(pred, fixations, pred) == 0


GOOD = np.array([[0.0, 1.0], [2.0, 3.0]])
FIXED = np.array([[0, 1], [0, 0]])
WITH_PRED: dict[str, Callable[[Map], float]] = {
    "nss": lambda pred: nss(pred, FIXED),
    "cc": lambda pred: cc(pred, GOOD),
    "sim": lambda pred: sim(pred, GOOD),
    "auc_judd": lambda pred: expected_auc(pred, FIXED),
    "shuffled_auc": lambda pred: shuffled_auc(pred, FIXED, 1 - FIXED),
    "kl_divergence": lambda pred: kl_divergence(pred, GOOD),
    "information_gain": lambda pred: information_gain(pred, FIXED, GOOD),
}


@pytest.mark.parametrize("metric", WITH_PRED)
@pytest.mark.parametrize(
    ("pred", "sentence"),
    [
        (np.array([[0, np.nan], [1, 2]]), "pred holds NaN or infinite values"),
        (np.array([[0, np.inf], [1, 2]]), "pred holds NaN or infinite values"),
        (np.zeros((0, 4)), r"pred must be a map \(H, W\), got \(0, 4\)"),
        (np.zeros((3, 2, 2)), r"pred must be a map \(H, W\), got \(3, 2, 2\)"),
        (np.array([["a"]]), "pred must hold numbers"),
        (np.array([[1j]]), "pred must hold numbers"),
    ],
    ids=["nan", "inf", "empty", "stack", "text", "complex"],
)
def test_a_prediction_that_is_no_map_is_refused(metric: str, pred: Map, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        WITH_PRED[metric](pred)


@pytest.mark.parametrize("metric", WITH_PRED)
def test_a_prediction_of_one_pixel_scores_as_a_constant_one(metric: str) -> None:
    assert WITH_PRED[metric](np.array([[5]])) == WITH_PRED[metric](np.full((2, 2), 5))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: nss(GOOD, 0 * FIXED), "there are no fixations"),
        (lambda: expected_auc(GOOD, 0 * FIXED), "there are no fixations"),
        (lambda: shuffled_auc(GOOD, 0 * FIXED, FIXED), "there are no fixations: leave"),
        (lambda: shuffled_auc(GOOD, FIXED, 0 * FIXED), "no fixations on the other frames"),
        (lambda: information_gain(GOOD, 0 * FIXED, GOOD), "there are no fixations"),
        (lambda: nss(GOOD, np.array([[np.nan, 1]])), "fixations holds NaN"),
        (lambda: expected_auc(GOOD, np.ones((2, 2))), "every pixel is fixated"),
        (lambda: expected_auc(GOOD, np.ones((1, 1))), "every pixel is fixated"),
        (lambda: cc(GOOD, 0 * GOOD), "the density is 0 everywhere"),
        (lambda: sim(GOOD, 0 * GOOD + 0.5), r"the density is 0\.5 everywhere"),
        (lambda: cc(GOOD, GOOD * np.nan), "density holds NaN"),
        (lambda: kl_divergence(GOOD, 0 * GOOD), "the density is all zero"),
        (lambda: kl_divergence(GOOD - 1, GOOD), "pred is no distribution: its lowest value is -1"),
        (lambda: kl_divergence(GOOD, GOOD - 1), "density is no distribution"),
        (lambda: information_gain(GOOD, FIXED, GOOD + np.inf), "baseline holds NaN"),
        (
            lambda: shuffled_auc(GOOD, FIXED, np.ones((3, 2))),
            r"other_fixations must be 2x2 as the fixations, got \(3, 2\)",
        ),
        (lambda: shuffled_auc(GOOD, FIXED, FIXED, splits=0), "splits must be at least 1"),
        (lambda: auc_judd(GOOD, FIXED, jitter="none"), "jitter must be one of 'draw', 'expected', got 'none'"),
        (lambda: imresize(GOOD, (0, 3)), "size must be at least 1x1, got 0x3"),
        (lambda: imresize(GOOD * np.nan, (2, 3)), "image holds NaN"),
    ],
)
def test_a_truth_that_says_nothing_is_refused(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_resized_floating_point_map_may_overshoot_below_zero() -> None:
    pred = np.zeros((4, 4))
    pred[1, 1] = 1
    assert imresize(pred, (8, 8)).min() < 0
    assert math.isfinite(kl_divergence(pred, np.eye(8)))


@pytest.mark.parametrize("name", ["nss", "cc", "sim", "auc_judd", "shuffled_auc", "kl_divergence", "information_gain"])
def test_every_metric_has_its_section_in_the_docs(name: str) -> None:
    sections = re.split(r"^### ", text_of("docs/evaluation.md"), flags=re.MULTILINE)
    assert any(f"`tased_net.metrics.{name}`" in section and "$$" in section for section in sections)
