"""The baselines find what they are made to find, and the bench scores all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import baselines
from tased_net.synthetic.dataset import Settings, write_dataset


def frames(count: int = 3) -> list[baselines.Frame]:
    """Grey noise, and a bright square that moves right from (60, 30), 20 pixels a frame."""
    world = np.random.default_rng(0).integers(90, 110, (112, 192, 1)).repeat(3, -1).astype(np.uint8)
    images = [world.copy() for _ in range(count)]
    for number, image in enumerate(images):
        image[55:65, 25 + 20 * number : 35 + 20 * number] = 255
    return images


def test_the_centre_does_not_look() -> None:
    one, two = baselines.centre(frames(2))
    assert np.array_equal(one, two)
    assert np.unravel_index(one.argmax(), one.shape) in {(row, column) for row in (55, 56) for column in (95, 96)}


def test_the_difference_lies_where_a_square_was_and_is() -> None:
    maps = list(baselines.frame_difference(frames()))
    assert len(maps) == 3
    assert np.array_equal(maps[0], maps[1])
    for saliency, columns in ((maps[1], (30, 50)), (maps[2], (50, 70))):
        row, column = np.unravel_index(saliency.argmax(), saliency.shape)
        assert abs(row - 60) < 4
        assert columns[0] - 4 < column < columns[1] + 4


def test_the_residual_lies_on_what_is_odd() -> None:
    (saliency,) = baselines.spectral_residual(frames(1))
    row, column = np.unravel_index(saliency.argmax(), saliency.shape)
    assert (abs(row - 60 * 64 / 112) < 6, abs(column - 30 * 64 / 192) < 6) == (True, True)


def test_the_bench_scores_every_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path, range(601, 604), Settings(2, (36, 64), (6, 9), "fixations"), workers=1)
    baselines.main([str(tmp_path), "--workers", "0", "--out", str(tmp_path / "scores.json")])
    names = ["centre Gaussian", "frame difference", "spectral residual", "untrained network", "the weights"]
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert list(scores) == names
    for metrics in scores.values():
        assert list(metrics) == list(baselines.METRICS)
        assert all(low <= mean <= high for mean, low, high in metrics.values())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:7]] == [f"| {name}" for name in names]
    assert lines[7].startswith("3 videos, ")
