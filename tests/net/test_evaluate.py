"""`tased evaluate`, `compare` and `pack` on small data in the real layouts, and the metrics in other people's loops."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from net.layouts import SIZE, density, fixations, save, write_clips, write_dhf1k
from tased_net import Predictor, TASEDNet, cli, metrics, postprocess
from tased_net import torchmetrics as modules
from tased_net.data import DATASETS, Split, open_dataset
from tased_net.evaluate import evaluate
from tased_net.predictions import MapFolder, NetworkMaps, read_map
from tased_net.published import METRICS, published, table
from tased_net.score_plots import NAMED, chosen_examples, draw_frames, plot_time, plot_videos
from tased_net.scores import Scores, VideoScores, compare
from tased_net.scoring import OTHER_FRAMES
from tased_net.submission import check
from tased_net.texts import printable

LENGTHS = {number: 2 + number % 3 for number in range(601, 621)}  # 20 videos


def prediction(video: int, index: int, noise: float = 0.3, size: tuple[int, int] = (20, 40)) -> np.ndarray[Any, Any]:
    """The truth with something beside it, at another size."""
    generator = np.random.default_rng([video, index])
    mixed = density(video, index).astype(float) + noise * 255 * generator.random(SIZE)
    mixed = metrics.imresize(mixed, size).clip(0)
    return (mixed / mixed.max() * 255).round().astype(np.uint8)


def write_maps(folder: Path, lengths: dict[int, int], noise: float = 0.3) -> Path:
    for video, length in lengths.items():
        for index in range(length):
            save(folder / f"{video:04d}" / f"{index + 1:04d}.png", prediction(video, index, noise))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dhf1k(tmp_path_factory.mktemp("data") / "DHF1K", LENGTHS)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_maps(tmp_path_factory.mktemp("maps") / "pred", LENGTHS)


@pytest.fixture(scope="module")
def whole(data: Path, maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results for all of it, in one process."""
    output = tmp_path_factory.mktemp("results") / "scores"
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", output, "--quiet") == 0
    return output


@pytest.fixture
def few(tmp_path: Path) -> tuple[Path, Path]:
    """Data of three videos and maps for them, to be damaged."""
    lengths = {601: 3, 602: 2, 603: 2}
    return write_dhf1k(tmp_path / "DHF1K", lengths), write_maps(tmp_path / "pred", lengths)


@pytest.fixture(autouse=True)
def plots_where_results_are_compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nothing is plotted, which takes longer than all else."""
    if "whole" not in request.fixturenames:
        for name in ("plot_videos", "plot_time", "draw_frames"):
            monkeypatch.setattr(f"tased_net.commands.evaluate.{name}", lambda *_: None)


def tased(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def same_files(a: Path, b: Path) -> bool:
    names = sorted(file.name for file in a.iterdir())
    return names == sorted(file.name for file in b.iterdir()) and all(
        (a / name).read_bytes() == (b / name).read_bytes() for name in names
    )


# --------------------------------------------------------------------------------------------------------------- results


def test_every_frame_has_its_scores(whole: Path, data: Path, maps: Path) -> None:
    from tased_net.scoring import OtherFrames, read_points

    rows = rows_of(whole / "frames.csv")
    others = OtherFrames([read_points(video) for video in open_dataset(data, "dhf1k", "val").videos], seed=0)
    assert [(row["video"], row["frame"]) for row in rows] == [
        (f"{video:04d}", str(index + 1)) for video, length in LENGTHS.items() for index in range(length)
    ]
    for row in rows[::7]:
        video, index = int(row["video"]), int(row["frame"]) - 1
        pred, truth, points = prediction(video, index), density(video, index), fixations(video, index)
        assert float(row["nss"]) == pytest.approx(metrics.nss(pred, points), abs=1e-6)
        assert float(row["cc"]) == pytest.approx(metrics.cc(pred, truth), abs=1e-6)
        assert float(row["sim"]) == pytest.approx(metrics.sim(pred, truth), abs=1e-6)
        assert float(row["auc_judd"]) == pytest.approx(metrics.auc_judd(pred, points, jitter="expected"), abs=1e-6)
        assert float(row["kl_divergence"]) == pytest.approx(metrics.kl_divergence(pred, truth), abs=1e-6)
        elsewhere = others.of(video - 601, row["video"], index, SIZE).mask()
        shuffled_auc = metrics.shuffled_auc(pred, points, elsewhere, splits=None)
        assert float(row["shuffled_auc"]) == pytest.approx(shuffled_auc, abs=1e-6)


def test_the_score_is_the_mean_over_frames(whole: Path) -> None:
    frames, videos = rows_of(whole / "frames.csv"), rows_of(whole / "videos.csv")
    found = json.loads((whole / "scores.json").read_text())
    assert (found["videos"], found["frames"], found["split"]) == (20, sum(LENGTHS.values()), "val")
    for metric, score in found["scores"].items():
        assert score["mean"] == pytest.approx(np.mean([float(row[metric]) for row in frames]), abs=1e-6)
        assert score["mean_over_videos"] == pytest.approx(np.mean([float(row[metric]) for row in videos]), abs=1e-6)
        low, high = score["interval"]
        assert low < score["mean"] < high
    assert [int(row["frames"]) for row in videos] == list(LENGTHS.values())


def test_the_results_have_their_plots_and_nothing_else(whole: Path) -> None:
    names = {"scores.json", "videos.csv", "frames.csv", "videos.png", "time.png", "frames.png"}
    assert {file.name for file in whole.iterdir()} == names
    for name in ("videos.png", "time.png", "frames.png"):
        with Image.open(whole / name) as image:
            assert min(image.size) > 300


def test_examples_are_the_best_and_the_worst_frame_of_each_video(whole: Path, data: Path, maps: Path) -> None:
    split = open_dataset(data, "dhf1k", "val")
    found = evaluate(split, MapFolder(maps, split))
    assert found is not None
    of_video: dict[str, list[float]] = {}
    for row in rows_of(whole / "frames.csv"):
        of_video.setdefault(row["video"], []).append(float(row["nss"]))
    assert [(best.video, best.frame - 1, worst.frame - 1) for best, worst in found.examples] == [
        (video, int(np.argmax(scores)), int(np.argmin(scores))) for video, scores in of_video.items()
    ]
    for example in (example for pair in found.examples for example in pair):
        assert (example.map == prediction(int(example.video), example.frame - 1)).all()
        assert example.values[0] == pytest.approx(of_video[example.video][example.frame - 1], abs=1e-6)
    best, worst = chosen_examples(found.examples)
    assert [one.video for one in best] == sorted(of_video, key=lambda video: -max(of_video[video]))[:3]
    assert [one.video for one in worst] == sorted(of_video, key=lambda video: min(of_video[video]))[:3]


def test_the_sheet_shows_fixations_truth_and_prediction_where_they_are(tmp_path: Path) -> None:
    def blob(row: int, column: int) -> np.ndarray[Any, Any]:
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        return (255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)).round().astype(np.uint8)

    for clip in ("a", "b"):
        folder = tmp_path / "own" / clip
        save(folder / "images" / "1.png", np.full((*SIZE, 3), 128, np.uint8))
        save(folder / "fixation" / "1.png", (blob(9, 48) > 250) * np.uint8(255))
        save(folder / "maps" / "1.png", blob(9, 16))
        save(tmp_path / "pred" / clip / "1.png", blob(27, 16))
    split = open_dataset(tmp_path / "own", "folder")
    found = evaluate(split, MapFolder(tmp_path / "pred", split))
    assert found is not None
    draw_frames(tmp_path / "frames.png", split, found.scores.metrics, found.examples, "pred on own")
    sheet = np.array(Image.open(tmp_path / "frames.png"))
    plain = (sheet == 128).all(2)
    top = int(plain.any(1).argmax())  # of the first tiles
    lefts = np.flatnonzero(np.diff(plain[top].astype(int)) == 1) + 1
    width = int(plain[top, lefts[0] :].argmin())
    height = width * SIZE[0] // SIZE[1]
    tiles = [sheet[top : top + height, left : left + width] for left in lefts]
    assert [np.shape(tile) for tile in tiles] == [(height, width, 3)] * 3
    for tile, (row, column), is_yellow in zip(tiles, ((9, 48), (9, 16), (27, 16)), (True, False, False), strict=True):
        at = divmod(int(tile[..., 1].argmax()), width)
        assert at == pytest.approx(((row + 0.5) * height / SIZE[0], (column + 0.5) * width / SIZE[1]), abs=width / 64)
        assert (tile[at][2] < 128) == is_yellow  # heat is nearly white where it is most


def test_other_frames_are_ten_and_never_the_frame_itself(data: Path) -> None:
    from tased_net.scoring import OtherFrames, Points, read_points

    videos = open_dataset(data, "dhf1k", "val").videos
    points = [read_points(video) for video in videos]
    others = OtherFrames(points, seed=0)
    own = points[3][1]
    assert isinstance(own, Points)
    drawn = others.of(3, "0604", 1, SIZE)
    assert len(drawn.rows) == sum(5 for _ in range(OTHER_FRAMES))
    assert not np.array_equal(drawn.rows, others.of(3, "0604", 0, SIZE).rows)
    few = OtherFrames([[own, own], [own]], seed=1)
    assert all(len(few.of(0, "a", index, SIZE).rows) == 2 * len(own.rows) for index in range(2))


def test_points_move_to_where_they_are_on_a_map_of_another_size() -> None:
    from tased_net.scoring import Points

    points = Points((4, 8), np.array([0, 3], np.int32), np.array([0, 7], np.int32))
    larger, smaller = points.at((8, 16)), points.at((2, 3))
    assert (larger.rows.tolist(), larger.columns.tolist()) == ([1, 7], [1, 15])
    assert (smaller.rows.tolist(), smaller.columns.tolist()) == ([0, 1], [0, 2])


def test_the_draws_of_the_benchmark_depend_on_the_seed_alone(data: Path, maps: Path) -> None:
    split = open_dataset(data, "dhf1k", "val")
    part = Split(split.name, split.root, split.split, split.videos[:6], [])
    folder = MapFolder(maps, part)

    def scores(**options: Any) -> dict[str, float]:
        found = evaluate(part, folder, **options)
        assert found is not None
        return dict(zip(found.scores.metrics, found.scores.mean().tolist(), strict=True))

    expected, drawn, again, other = scores(), scores(draw=True), scores(draw=True), scores(draw=True, seed=5)
    assert drawn == again
    assert len({scores["auc_judd"] for scores in (expected, drawn, other)}) == 3
    assert drawn["auc_judd"] == pytest.approx(expected["auc_judd"], abs=0.01)
    assert drawn["nss"] == expected["nss"] == other["nss"]
    assert drawn["shuffled_auc"] == pytest.approx(expected["shuffled_auc"], abs=0.02)


def test_the_command_draws_by_the_seed_that_it_is_given(few: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = few
    split = open_dataset(data, "dhf1k", "val")
    found = evaluate(split, MapFolder(maps, split), draw=True, seed=5)
    assert found is not None
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    tables = []
    for number, flags in enumerate((["--draw", "--seed", 5], ["--draw"], ["--seed", 5])):
        assert tased(*arguments, *flags, "-o", tmp_path / str(number)) == 0
        tables.append(
            [
                [float(row[metric]) for metric in found.scores.metrics]
                for row in rows_of(tmp_path / f"{number}/frames.csv")
            ]
        )
    expected = np.concatenate([video.values for video in found.scores.videos])
    assert np.allclose(tables[0], expected, rtol=0, atol=1e-6)
    assert not np.allclose(tables[1], expected, rtol=0, atol=1e-4)
    assert not np.allclose(tables[2], expected, rtol=0, atol=1e-4)
    settings = json.loads((tmp_path / "0" / "scores.json").read_text())["settings"]
    assert (settings["draw"], settings["seed"]) == (True, 5)


def test_a_bar_tells_the_rate_and_the_time_left(few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, maps = few
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--overwrite"]
    assert tased(*arguments) == 0
    bar = r"scores: 100%\|.*\| 7/7 \[\d\d:\d\d<\d\d:\d\d, *[\d.]+(frame/s|s/frame)\]"
    assert re.search(bar, capsys.readouterr().err)
    assert tased(*arguments, "--quiet") == 0
    assert "scores:" not in capsys.readouterr().err


def test_a_baseline_adds_the_information_gain(few: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = few
    save(tmp_path / "centre.png", density(0, 4))
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    assert tased(*arguments, "--baseline", tmp_path / "centre.png") == 0
    row = rows_of(tmp_path / "pred_scores" / "frames.csv")[1]
    expected = metrics.information_gain(prediction(601, 1), fixations(601, 1), density(0, 4))
    assert float(row["information_gain"]) == pytest.approx(expected, abs=1e-6)


# ----------------------------------------------------------------------------------------------------- sharing and resuming


def test_workers_give_the_same_files(whole: Path, data: Path, maps: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores"
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", output, "--quiet", "--workers", 2]
    assert tased(*arguments) == 0
    assert same_files(whole, output)


def test_the_command_alone_chooses_workers(few: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from tased_net import evaluate as module

    data, maps = few
    split = open_dataset(data, "dhf1k", "val")
    long = [replace(video, length=1000, gaps=tuple(range(video.length, 1000))) for video in split.videos]
    chosen: list[int] = []
    original = module.executor_of
    monkeypatch.setattr(module, "executor_of", lambda workers: chosen.append(workers) or original(0))
    part = replace(split, videos=long)
    evaluate(part, MapFolder(maps, part))
    assert chosen == [0]  # a script that is not guarded may call it
    monkeypatch.setattr("tased_net.commands.evaluate.cores", lambda: 6)
    for many, processes in ((8, "1"), (7, "1"), (7, "2"), (7, "8")):
        monkeypatch.setattr("tased_net.commands.evaluate.MANY", many)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet", "--overwrite") == 0
    assert chosen[1:] == [0, 6, 3, 1]


def test_torchrun_gives_the_same_files_and_modules_sum_over_its_processes(
    whole: Path, data: Path, maps: Path, tmp_path: Path
) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        """
import json, sys
import torch
import torch.distributed as dist
from net.layouts import fixations
from net.test_evaluate import LENGTHS, prediction
from tased_net import cli, torchmetrics

leave = dist.destroy_process_group


def score_and_leave():  # in the group of the command: a second one of the same processes may meet traces of the first
    score = torchmetrics.NSS()
    frames = [(video, index) for video, length in LENGTHS.items() for index in range(length)]
    for video, index in frames[dist.get_rank() :: dist.get_world_size()]:
        score.update(torch.from_numpy(prediction(video, index)), torch.from_numpy(fixations(video, index)))
    mean = score.compute().item()
    if dist.get_rank() == 0:
        open(sys.argv[1], "w").write(json.dumps(mean))
    leave()


dist.destroy_process_group = score_and_leave
sys.exit(cli.main(sys.argv[2:]))
"""
    )
    output = tmp_path / "scores"
    arguments = [tmp_path / "nss.json", "evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", output, "--quiet"]
    here = Path(__file__).parents[1]
    paths = [str(here), str(here.parent), str(here.parent / "python"), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=240,
    )
    assert same_files(whole, output)
    mean = json.loads((whole / "scores.json").read_text())["scores"]["nss"]["mean"]
    assert json.loads((tmp_path / "nss.json").read_text()) == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("count", [2, NAMED + 1])
@pytest.mark.parametrize("name", ["cash$$", "$x^$", "a\nb", "caf\udce9"])
def test_names_are_drawn_as_they_are_and_not_as_formulas(name: str, count: int, tmp_path: Path) -> None:
    frames = np.array([1, 2])
    scores = Scores(
        ("nss",), [VideoScores(f"{name}{number}{name}", frames, np.full((2, 1), number)) for number in range(count)]
    )
    for draw in (plot_videos, plot_time):
        draw(tmp_path / "plot.png", scores, printable(f"{name} on a plain folder"))
        (tmp_path / "plot.png").unlink()


def test_maps_in_a_folder_named_like_a_formula_have_scores_and_plots(whole: Path, data: Path, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "pred$x^$", {601: 3})
    output = tmp_path / "scores"
    options = ("--allow-missing", "--quiet")
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", output, *options) == 0
    assert {file.name for file in output.iterdir()} == {file.name for file in whole.iterdir()}


def test_a_stopped_run_goes_on_where_it_was(
    whole: Path, data: Path, maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tased_net import evaluate as module

    output = tmp_path / "scores"
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", output, "--quiet"]
    scored: list[str] = []
    stop_at = 8

    def score(chunk: Any) -> Any:
        if len(scored) == stop_at:
            raise KeyboardInterrupt
        scored.append(chunk.video.name)
        return original(chunk)

    original = module.score_chunk
    monkeypatch.setattr(module, "score_chunk", score)
    assert tased(*arguments) == 130
    assert {file.name for file in output.iterdir()} == {".partial"}
    kept = sorted((output / ".partial").iterdir())
    assert len(kept) == 7  # the eighth is done when the next begins
    kept[0].write_bytes(b"damaged")
    os.utime(maps / "0602" / "0001.png", ns=(1, 1))  # another file, as far as one can see
    scored.clear()
    stop_at = 1000
    assert tased(*arguments) == 0
    assert scored == ["0601", "0602", *(f"{number:04d}" for number in range(608, 621))]
    assert same_files(whole, output)


def test_what_is_left_is_shared_when_a_run_goes_on(
    data: Path, maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tased_net import evaluate as module
    from tased_net.scoring import Settings

    split = open_dataset(data, "dhf1k", "val")
    videos, settings = split.videos[:8], Settings(("cc",))
    monkeypatch.setattr(module, "gathered", lambda value, world: [value, *[set()] * (world - 1)])

    def names(rank: int, others: list[Any], partial: Path) -> list[str]:
        scorer = module._Scorer(others, MapFolder(maps, split), None, 0, rank, 2, partial, False)
        return [record.name for record in scorer.records(settings, None)]

    (tmp_path / "partial").mkdir()
    assert names(0, videos, tmp_path / "partial") == [
        "0601",
        "0603",
        "0605",
        "0607",
    ]  # of the other process none is done
    assert names(0, videos, tmp_path / "partial") == ["0601", "0603", "0605", "0607", "0602", "0606"]


def test_a_process_waits_for_the_others_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tased_net.sharing import processes

    given: dict[str, Any] = {}
    distributed = torch.distributed
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "init_process_group", lambda _, **options: given.update(options))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    with processes() as shares:
        assert shares == (0, 1)
    assert given["timeout"] > timedelta(days=7)


def test_what_is_kept_is_not_used_for_other_settings(few: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = few
    split = open_dataset(data, "dhf1k", "val")
    for seed in (0, 1):
        kept = evaluate(split, MapFolder(maps, split), seed=seed, draw=True, partial=tmp_path / "partial")
        again = evaluate(split, MapFolder(maps, split), seed=seed, draw=True, partial=tmp_path / "partial")
        fresh = evaluate(split, MapFolder(maps, split), seed=seed, draw=True)
        assert kept is not None
        assert again is not None
        assert fresh is not None
        assert kept.scores.mean().tolist() == again.scores.mean().tolist() == fresh.scores.mean().tolist()


def test_a_baseline_of_other_pixels_or_of_another_shape_is_another_setting() -> None:
    from tased_net.scoring import Settings

    pixels = np.arange(12, dtype=np.uint8)
    baselines = [None, pixels.reshape(3, 4), pixels.reshape(4, 3), pixels[::-1].reshape(3, 4)]
    keys = [Settings(("nss",), baseline=baseline).key() for baseline in baselines]
    assert len(set(keys)) == 4


def test_what_is_kept_is_not_used_for_another_truth(few: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = few
    split = open_dataset(data, "dhf1k", "val")

    def scores(partial: Path | None) -> tuple[float, ...]:
        found = evaluate(split, MapFolder(maps, split), partial=partial)
        assert found is not None
        return tuple(found.scores.mean().tolist())

    seen = [scores(tmp_path / "partial")]
    for kind, truth in (("fixation", fixations(7, 9)), ("maps", density(7, 9))):
        save(data / "annotation" / "0602" / kind / "0001.png", truth)
        seen.append(scores(tmp_path / "partial"))
        assert seen[-1] == scores(None)
    assert len(set(seen)) == 3


# ------------------------------------------------------------------------------------------------------------ predictions


def test_maps_predicted_on_the_fly_score_as_maps_in_files(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "UCF" / "testing", {"a": (9, SIZE), "b": (1, (20, 30))})
    torch.manual_seed(0)
    net = TASEDNet(clip_length=8, width=0.02).eval()
    net.save_pretrained(tmp_path / "net.safetensors")
    for clip in ("a", "b"):
        write_video_maps(net, root / clip / "images", tmp_path / "maps" / clip)
    common = ["--data", tmp_path / "UCF", "--dataset", "ucfsports", "--quiet"]
    assert tased("evaluate", tmp_path / "maps", *common) == 0
    assert tased("evaluate", "--weights", tmp_path / "net.safetensors", "--size", "32x48", *common) == 0
    for name in ("frames.csv", "videos.csv"):
        assert (tmp_path / "maps_scores" / name).read_text() == (tmp_path / "net_scores" / name).read_text()


def test_what_is_kept_is_not_used_for_other_frames_or_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_clips(tmp_path / "own", {"a": (2, SIZE), "b": (1, SIZE)})
    torch.manual_seed(0)
    maps = NetworkMaps(Predictor(TASEDNet(clip_length=8, width=0.02).eval(), size=(32, 48)), "net")
    predicted: list[str] = []
    original = NetworkMaps.maps
    monkeypatch.setattr(NetworkMaps, "maps", lambda self, video: predicted.append(video.name) or original(self, video))

    def run() -> list[str]:
        predicted.clear()
        evaluate(open_dataset(root, "folder"), maps, partial=tmp_path / "partial")
        return predicted

    assert run() == ["a", "b"]
    assert run() == []
    save(root / "a" / "images" / "0002.png", np.full((*SIZE, 3), 9, np.uint8))
    assert run() == ["a"]
    monkeypatch.setattr("tased_net.evaluate.__version__", "another")
    assert run() == ["a", "b"]


def test_faults_are_those_of_one_call(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "own", {"a": (2, SIZE), "b": (1, SIZE)})
    (root / "a" / "images" / "0002.png").write_bytes(b"no image")
    torch.manual_seed(0)
    maps = NetworkMaps(Predictor(TASEDNet(clip_length=8, width=0.02).eval(), size=(32, 48)), "net")
    split = open_dataset(root, "folder")
    folder = MapFolder(write_own_maps(tmp_path / "pred"), split)
    (tmp_path / "pred" / "a" / "0001.png").write_bytes(b"no image")
    for _ in range(2):
        for predictions in (maps, folder):
            found = evaluate(split, predictions)
            assert found is not None
            assert len(found.faults.unreadable) == 1
        assert not folder.faults
        assert len(check(split, folder, resize=True).unreadable) == 1
    save(root / "a" / "images" / "0002.png", np.full((*SIZE, 3), 9, np.uint8))
    found = evaluate(split, maps)
    assert found is not None
    assert not found.faults


def write_own_maps(folder: Path) -> Path:
    for clip, length in (("a", 2), ("b", 1)):
        for index in range(length):
            save(folder / clip / f"{index + 1:04d}.png", prediction(1, index))
    return folder


def write_video_maps(net: TASEDNet, images: Path, target: Path) -> None:
    frames = [np.array(Image.open(file)) for file in sorted(images.iterdir())]
    for number, saliency in enumerate(Predictor(net, size=(32, 48))(frames), start=1):
        save(target / f"{number:04d}.png", (postprocess(saliency) * 255).round().astype(np.uint8))


def test_missing_extra_and_unknown_predictions_are_listed_and_refused(
    few: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    (maps / "0601" / "0002.png").unlink()
    shutil.copy(maps / "0601" / "0001.png", maps / "0601" / "0009.png")
    shutil.copytree(maps / "0602", maps / "0777")
    shutil.rmtree(maps / "0603")
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k"]
    assert tased(*arguments) == 1
    error = capsys.readouterr().err
    for sentence in (
        "0601: 1 frame is missing: 2",
        "0601: 1 frame is not of the video: 9",
        "0603: 2 frames are missing: 1-2",
        "0777: no video of the split has this name",
        "(3 missing, 1 extra, 1 unknown): mend them, or give --allow-missing",
    ):
        assert sentence in error
    assert not (tmp_path / "pred_scores").exists()
    assert tased(*arguments, "--allow-missing") == 0
    out, error = capsys.readouterr()
    assert "4 frames, 2 videos" in out
    assert "note: 3 missing" in error
    found = json.loads((tmp_path / "pred_scores" / "scores.json").read_text())
    assert found["faults"]["counts"] == {"missing": 3, "extra": 1, "unreadable": 0, "unknown": 1}
    assert found["faults"]["missing"] == {"0601": [2], "0603": [1, 2]}


def test_unreadable_predictions_are_listed_and_refused(
    few: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    (maps / "0601" / "0002.png").write_bytes((maps / "0601" / "0002.png").read_bytes()[:50])
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    assert tased(*arguments) == 1
    error = capsys.readouterr().err
    assert f"{maps / '0601' / '0002.png'}: " in error
    assert "(1 unreadable): mend them" in error
    assert not (tmp_path / "pred_scores" / "scores.json").exists()
    assert tased(*arguments, "--allow-missing") == 0
    assert len(rows_of(tmp_path / "pred_scores" / "frames.csv")) == 6
    save(maps / "0601" / "0002.png", prediction(601, 1))
    assert tased(*arguments, "--overwrite") == 0
    assert len(rows_of(tmp_path / "pred_scores" / "frames.csv")) == 7


def test_frames_that_cannot_be_predicted_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_clips(tmp_path / "own", {"a": (3, SIZE), "b": (2, SIZE)})
    (root / "a" / "images" / "0002.png").write_bytes(b"no image")
    torch.manual_seed(0)
    TASEDNet(clip_length=8, width=0.02).save_pretrained(tmp_path / "net.safetensors")
    arguments = ["evaluate", "--weights", tmp_path / "net.safetensors", "--size", "32x48", "--data", root]
    arguments += ["--dataset", "folder", "--quiet"]
    assert tased(*arguments) == 1
    assert "0002.png: damaged" in capsys.readouterr().err
    assert tased(*arguments, "--allow-missing") == 0
    assert {row["video"] for row in rows_of(tmp_path / "net_scores" / "frames.csv")} == {"b"}


def test_frames_whose_truth_says_nothing_are_left_out_and_counted(
    few: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    annotation = data / "annotation"
    save(annotation / "0601" / "fixation" / "0001.png", np.zeros(SIZE, np.uint8))
    save(annotation / "0602" / "fixation" / "0001.png", np.full(SIZE, 255, np.uint8))
    save(annotation / "0602" / "maps" / "0002.png", np.zeros(SIZE, np.uint8))
    (annotation / "0603" / "fixation" / "0001.png").write_bytes(b"")
    (annotation / "0603" / "maps" / "0002.png").write_bytes(b"")
    save(maps / "0601" / "0003.png", np.zeros(SIZE, np.uint8))
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "-o", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["left_out"] == {
        "without fixations": 1,
        "whose every pixel is fixated": 1,
        "whose density map is constant": 1,
        "whose fixations cannot be read": 1,
        "whose density map cannot be read": 1,
    }
    assert (found["frames"], found["videos"], found["constant_predictions"]) == (2, 1, 1)
    error = capsys.readouterr().err
    assert "note: 1 frame without fixations is left out" in error
    assert "note: 1 predicted map is constant, which scores as chance does" in error


# ---------------------------------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("dataset", ["hollywood2", "ucfsports"])
def test_clips_of_many_sizes_and_lengths_are_scored(dataset: str, tmp_path: Path) -> None:
    clips = {
        "actioncliptest00001": (5, (30, 60)),
        "actioncliptest00002": (1, (40, 50)),
        "actioncliptest00003": (3, SIZE),
    }
    root = write_clips(tmp_path / "data" / "testing", clips)
    for seed, (clip, (length, size)) in enumerate(clips.items()):
        for index in range(length):
            save(tmp_path / "pred" / clip / f"{index + 1:04d}.png", density(seed, index, size))
    assert root.exists()
    arguments = ["evaluate", tmp_path / "pred", "--data", tmp_path / "data", "--dataset", dataset, "--quiet"]
    assert tased(*arguments) == 0
    videos = rows_of(tmp_path / "pred_scores" / "videos.csv")
    assert [(row["video"], row["frames"]) for row in videos] == [(clip, str(clips[clip][0])) for clip in clips]
    for row in videos:
        assert float(row["cc"]) == pytest.approx(1)
        assert float(row["sim"]) == pytest.approx(1)
        assert float(row["kl_divergence"]) == pytest.approx(0, abs=1e-6)


def test_twenty_synthetic_videos_are_scored(tmp_path: Path) -> None:
    data = tmp_path / "synth"
    clips = ["--videos", 20, "--split", "val", "--size", "36x64", "--frames", "4-6"]
    assert tased("synth", "-o", data, *clips, "--workers", 1, "--quiet") == 0
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    centre = (255 * np.exp(-((rows - 17.5) ** 2 / 200 + (columns - 31.5) ** 2 / 600))).round().astype(np.uint8)
    for file in (data / "annotation").glob("*/maps/*.png"):
        for name in ("truth", "centre"):
            (tmp_path / name / file.parent.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "truth" / file.parent.parent.name)
        save(tmp_path / "centre" / file.parent.parent.name / file.name, centre)
    torch.manual_seed(0)
    TASEDNet(clip_length=8, width=0.02).save_pretrained(tmp_path / "net.safetensors")
    means = []
    for source in ([tmp_path / "truth"], [tmp_path / "centre"], ["--weights", tmp_path / "net.safetensors"]):
        output = tmp_path / f"scores_{len(means)}"
        arguments = ["--data", data, "--dataset", "dhf1k", "-o", output, "--size", "32x48", "--quiet"]
        assert tased("evaluate", *source, *arguments) == 0
        found = json.loads((output / "scores.json").read_text())
        assert (found["videos"], found["left_out"]) == (20, {})
        means.append({metric: score["mean"] for metric, score in found["scores"].items()})
    truth, centre_bias, network = means
    assert (truth["cc"], truth["sim"]) == pytest.approx((1, 1))
    for other in (centre_bias, network):
        assert all(truth[metric] > other[metric] for metric in ("nss", "cc", "sim", "auc_judd", "shuffled_auc"))
    assert centre_bias["nss"] > 0  # people look at the centre, also where they are made up


def test_a_folder_with_density_maps_alone_is_scored_by_them(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "own", {"a": (3, SIZE), "b": (2, SIZE)})
    for clip, length in (("a", 3), ("b", 2)):
        shutil.rmtree(root / clip / "fixation")
        for index in range(length):
            save(tmp_path / "pred" / clip / f"{index + 1:04d}.png", prediction(1, index))
    assert tased("evaluate", tmp_path / "pred", "--data", root, "--dataset", "folder", "--quiet") == 0
    row = rows_of(tmp_path / "pred_scores" / "frames.csv")[0]
    assert list(row) == ["video", "frame", "cc", "sim", "kl_divergence"]


def test_predicted_folders_may_lack_leading_zeros(few: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = few
    for video in (601, 602, 603):
        (maps / f"{video:04d}").rename(maps / str(video))
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet") == 0


def test_the_folder_of_the_very_name_is_scored_and_others_are_faults(few: tuple[Path, Path]) -> None:
    data, maps = few
    shutil.copytree(maps / "0601", maps / "602")
    shutil.copytree(maps / "0603", maps / "603")
    (maps / "0603").rename(maps / "00603")
    found = MapFolder(maps, open_dataset(data, "dhf1k", "val"))
    assert (found.faults.missing, found.faults.extra, found.faults.unknown) == ({}, {}, ["602", "603"])
    paths = {video.name: next(found.maps(video))[1] for video in open_dataset(data, "dhf1k", "val").videos}
    assert paths["0602"] == str(maps / "0602" / "0001.png")
    assert paths["0603"] == str(maps / "00603" / "0001.png")


def test_images_without_a_number_or_with_another_s_are_faults(
    few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    save(maps / "0601" / "0001.jpg", prediction(601, 2))
    save(maps / "0602" / "mean.png", prediction(601, 2))
    (maps / "0602" / ".hidden.png").touch()
    found = MapFolder(maps, open_dataset(data, "dhf1k", "val"))
    assert found.faults.unknown == ["0601/0001.jpg", "0602/mean.png"]
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k") == 1
    error = capsys.readouterr().err
    assert "0601/0001.jpg: not the map of a frame" in error
    assert "(2 unknown): mend them" in error


def test_names_of_one_s_own_videos_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "own"
    write_clips(root, {"1": (1, SIZE), "01": (1, SIZE)})
    write_clips(root / "train", {"street": (1, SIZE)})
    write_clips(root / "val", {"street": (1, SIZE)})
    names = ["01", "1", "train/street", "val/street"]
    for seed, name in enumerate([*names, "train/other"]):
        save(tmp_path / "pred" / name / "0001.png", prediction(seed, 0))
    split = open_dataset(root, "folder")
    assert sorted(video.name for video in split.videos) == names
    found = MapFolder(tmp_path / "pred", split)
    assert (found.faults.missing, found.faults.unknown) == ({}, ["train/other"])
    for video in split.videos:
        assert next(found.maps(video))[1] == str(tmp_path / "pred" / video.name / "0001.png")


def test_maps_of_sixteen_bits_and_of_colour_are_read(tmp_path: Path) -> None:
    values = prediction(601, 0)
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(values).convert("RGB").save(tmp_path / "colour.png")
    assert (read_map(tmp_path / "deep.png") == values).all()
    assert (read_map(tmp_path / "colour.png") == values).all()


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: [*a, "--weights", "net.pt"], "name a folder of predicted maps, or --weights to predict them"),
        (lambda a: a[:1] + a[2:], "name a folder of predicted maps, or --weights"),
        (lambda a: [*a, "--workers", "-1"], "--workers must not be negative, got -1"),
        (lambda a: [a[0], "nowhere", *a[2:]], "nowhere: no such folder"),
        (lambda a: [*a, "--split", "train"], "has no split 'train', only val"),
        (lambda a: [*a, "--baseline", "none.png"], "none.png: no such file"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(
    change: Callable[[list[str]], list[str]], sentence: str, few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    assert tased(*change(["evaluate", str(maps), "--data", str(data), "--dataset", "dhf1k"])) == 2
    assert sentence in capsys.readouterr().err


def test_a_split_without_truth_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dhf1k(tmp_path / "DHF1K", {701: 2})
    maps = write_maps(tmp_path / "pred", {701: 2})
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k", "--split", "test") == 2
    assert "the split 'test' has no ground truth to score with" in capsys.readouterr().err


def test_a_split_of_which_nothing_can_be_used_is_refused(
    few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    shutil.rmtree(data / "video")
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--allow-missing"]
    assert tased(*arguments) == 2
    error = capsys.readouterr().err
    assert "warning: 3 videos have no frames and are left out" in error
    assert f"error: {data}: no video of it can be used, see the warnings" in error


def test_results_are_not_overwritten_unasked(few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, maps = few
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    assert tased(*arguments) == 0
    assert tased(*arguments) == 2
    assert "pred_scores holds results already: give --overwrite" in capsys.readouterr().err


def test_strict_refuses_parts_of_a_dataset(few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, maps = few
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    assert tased(*arguments, "--strict") == 2
    assert f"{data}: is not complete: 97 videos are missing: 0604 to 0700" in capsys.readouterr().err
    assert tased(*arguments) == 0


def test_what_cannot_be_written_is_one_sentence(
    few: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    (tmp_path / "file").touch()
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    assert tased(*arguments, "-o", tmp_path / "file" / "out") == 1
    end = "file/out: not a directory; what is done is kept\n"
    assert capsys.readouterr().err.endswith(end)
    with pytest.raises(NotADirectoryError):
        tased(*arguments, "-o", tmp_path / "file" / "out", "--debug")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("tased_net.commands.evaluate.write_videos", raiser(full))
    assert tased(*arguments) == 1
    assert (
        f"error: {tmp_path / 'pred_scores'}: no space left on device; what is done is kept" in capsys.readouterr().err
    )
    assert (tmp_path / "pred_scores" / ".partial").exists()


def raiser(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_run_stopped_as_it_writes_goes_on(
    few: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    arguments = ["evaluate", maps, "--data", data, "--dataset", "dhf1k", "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr("tased_net.commands.evaluate.write_videos", raiser(KeyboardInterrupt()))
        assert tased(*arguments) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert (tmp_path / "pred_scores" / "frames.csv").exists()
    assert tased(*arguments) == 0
    assert (tmp_path / "pred_scores" / "scores.json").exists()


# -------------------------------------------------------------------------------------------------- the table of others


def test_all_rows_of_the_paper_s_tables_are_there() -> None:
    rows = published()
    of_table = {
        number: [row for row in rows if f"{number}" in row.source and "table" in row.source] for number in range(1, 6)
    }
    assert {number: len(found) for number, found in of_table.items()} == {1: 6, 2: 9, 3: 13, 4: 3, 5: 6}
    best = next(row for row in rows if row.model == "TASED-Net" and row.dataset == "dhf1k")
    assert best.scores == {"nss": 2.667, "cc": 0.470, "sim": 0.361, "auc_judd": 0.895, "shuffled_auc": 0.712}
    assert all(row.citation and row.url.startswith("https://") for row in rows)
    assert all(tuple(row.scores) == METRICS for row in rows)
    assert len({(row.dataset, row.split, row.model) for row in rows}) == len(rows)
    assert {row.dataset for row in rows if (row.year or 0) > 2019} == {"dhf1k", "hollywood2", "ucfsports"}


def test_the_table_shows_one_s_own_row_and_those_of_the_split_first(
    few: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = few
    assert tased("evaluate", maps, "--data", data, "--dataset", "dhf1k") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("pred ")
    assert lines[1].endswith("7 frames, 3 videos")
    assert lines[2].startswith("95 % interval from")
    assert lines[4].split()[-5:] == ["paper,", "tables", "1,", "4,", "5"]
    assert len(lines[4:]) == len(published("dhf1k"))
    assert ["test" in line for line in lines[4:]] == sorted("test" in line for line in lines[4:])


def test_one_frame_of_one_video_is_no_plural() -> None:
    one = Scores(("nss",), [VideoScores("1", np.array([1]), np.array([[2.0]]))])
    assert list(table(one, "dhf1k", "val", "pred"))[1].endswith("  1 frame, 1 video")


# ------------------------------------------------------------------------------------------------- intervals and comparison


def some_scores(means: list[float], counts: list[int]) -> Scores:
    videos = [
        VideoScores(str(number), np.arange(1, count + 1), np.full((count, 1), mean))
        for number, (mean, count) in enumerate(zip(means, counts, strict=True))
    ]
    return Scores(("nss",), videos)


def test_the_interval_is_that_of_a_mean_over_videos() -> None:
    generator = np.random.default_rng(0)
    means = generator.normal(2, 0.5, 200)
    interval = some_scores(means.tolist(), [3] * 200).interval()
    assert interval is not None
    error = means.std() / np.sqrt(200)
    assert interval[0][0] == pytest.approx(means.mean() - 1.96 * error, abs=0.06 * error)
    assert interval[1][0] == pytest.approx(means.mean() + 1.96 * error, abs=0.06 * error)


def test_videos_weigh_by_their_frames_in_the_interval_too() -> None:
    interval = some_scores([0.0, 1.0], [1, 3]).interval()
    assert interval is not None
    assert (interval[0][0], interval[1][0]) == (0, 1)
    assert some_scores([0.0, 1.0], [1, 3]).mean().tolist() == [0.75]
    assert some_scores([1.0], [3]).interval() is None


def test_a_comparison_is_paired_by_video() -> None:
    generator = np.random.default_rng(1)
    base = generator.normal(2, 1, 30)  # videos differ by far more than A and B do
    a = {str(n): np.array([value + 0.05 + generator.normal(0, 0.05), 1.0]) for n, value in enumerate(base)}
    b = {str(n): np.array([value, 1.0]) for n, value in enumerate(base)}
    first, second = compare(a, b, ["nss", "kl_divergence"])
    assert first.verdict == "A"
    assert 0 < first.low < 0.05 < first.high < 0.1
    assert (second.verdict, second.low, second.high, second.better) == (None, 0, 0, (0, 30))
    assert compare(b, a, ["nss", "kl_divergence"])[0].verdict == "B"
    assert compare(a, b, ["kl_divergence", "sim"])[0].verdict == "B"  # less is better


def test_compare_says_which_is_better(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = write_maps(tmp_path / "worse", {n: k for n, k in LENGTHS.items() if n < 615}, noise=1.0)
    arguments = ["evaluate", worse, "--data", data, "--dataset", "dhf1k", "--quiet", "--allow-missing"]
    assert tased(*arguments) == 0
    capsys.readouterr()
    assert tased("compare", whole / "frames.csv", tmp_path / "worse_scores" / "videos.csv") == 0
    out, error = capsys.readouterr()
    assert f"6 videos are in {whole / 'frames.csv'} only, such as 0615: left out" in error
    assert "14 of 14 videos" in out
    assert "A is better than B in NSS, CC" in out
    assert tased("compare", tmp_path / "worse_scores" / "videos.csv", whole / "videos.csv") == 0
    assert "A is worse than B in NSS, CC" in capsys.readouterr().out


def test_compare_warns_of_videos_that_were_scored_on_other_frames(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (whole / "frames.csv").read_text().splitlines()
    other = tmp_path / "frames.csv"
    for without, sentence in (
        (("0602,1,",), "1 video is scored on another number of frames, such as 0602 of 4 in A and 3 in B"),
        (("0601,1,", "0602,1,"), "2 videos are scored on another number of frames, such as 0601 of 3 in A and 2 in B"),
    ):
        other.write_text("\n".join([header, *(row for row in rows if not row.startswith(without))]))
        assert tased("compare", whole / "videos.csv", other) == 0
        assert f"warning: {sentence}" in capsys.readouterr().err
    assert tased("compare", whole / "videos.csv", whole / "frames.csv") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "no such file"),
        ("", "not a table of scores"),
        ("video,frame,size\na,1,2\n", "not a table of scores"),
        ("video,frame,nss\n", "holds no scores"),
        ("video,frame,nss\na,1,x\n", "line 2 holds something that is not a score"),
        ("video,frames,nss\na,x,1\n", "line 2 holds something that is not a score"),
        ("video,frame,nss\na,1,nan\n", "holds scores that are not finite"),
        ("video,frame,nss\na,1,1\n", "needs two videos in common at least, found 0"),
        ("video,frame,information_gain\n0601,1,1\n", "have no metric in common"),
    ],
)
def test_compare_refuses_what_is_no_table(
    text: str | None, sentence: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table.csv"
    if text is not None:
        file.write_text(text)
    assert tased("compare", file, whole / "videos.csv") == 2
    assert sentence in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- submissions


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """DHF1K's test split of 300 videos of a frame or two, and maps as the benchmark wants them."""
    root = tmp_path_factory.mktemp("submission")
    lengths = {number: 1 + (number == 701) for number in range(701, 1001)}
    data = write_dhf1k(root / "DHF1K", lengths, size=(6, 8))
    image = Image.fromarray(metrics.imresize(prediction(701, 0), (360, 640)))
    image.save(root / "map.png")
    for number, length in lengths.items():
        for index in range(length):
            target = root / "method" / f"{number:04d}" / f"{index + 1:04d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / "map.png", target)
    return data, root / "method"


def test_a_submission_is_packed_the_same_every_time(submission: tuple[Path, Path], tmp_path: Path) -> None:
    data, maps = submission
    for name in ("one.zip", "two.zip"):
        assert tased("pack", maps, "--data", data, "-o", tmp_path / name, "--quiet") == 0
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == 301
        assert names[:3] == ["method/0701/0001.png", "method/0701/0002.png", "method/0702/0001.png"]
        assert archive.read(names[0]) == (maps / "0701" / "0001.png").read_bytes()
    assert tased("pack", maps, "--data", data, "-o", tmp_path / "one.zip", "--quiet") == 2


def test_a_submission_at_fault_is_refused(
    submission: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = submission
    copy = tmp_path / "mine"
    shutil.copytree(maps, copy, copy_function=os.link)
    for place, content in (("0705/0001.png", prediction(1, 1)), ("0706/0001.png", None), ("0707/0001.png", b"none")):
        (copy / place).unlink()
        if isinstance(content, bytes):
            (copy / place).write_bytes(content)
        elif content is not None:
            save(copy / place, content)
    output = tmp_path / "mine.zip"
    assert tased("pack", copy, "--data", data, "-o", output) == 1
    error = capsys.readouterr().err
    assert "0705/0001.png: is 40x20, the benchmark wants 640x360 (--resize)" in error
    assert "0706: 1 frame is missing: 1" in error
    assert "0707/0001.png: damaged, or no image" in error
    assert "this is no submission (1 missing, 2 unreadable)" in error
    assert not output.exists()
    for place in ("0706/0001.png", "0707/0001.png"):
        save(copy / place, prediction(1, 2))
    assert tased("pack", copy, "--data", data, "-o", output, "--resize", "--method", "TASED") == 0
    assert "301 maps of 300 videos" in capsys.readouterr().err
    with zipfile.ZipFile(output) as archive, archive.open("TASED/0705/0001.png") as file, Image.open(file) as image:
        assert (image.size, image.mode) == ((640, 360), "L")
        assert (np.asarray(image) == metrics.imresize(prediction(1, 1), (360, 640))).all()


def test_a_part_of_the_test_split_is_no_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dhf1k(tmp_path / "DHF1K", {701: 1})
    maps = write_maps(tmp_path / "pred", {701: 1})
    assert tased("pack", maps, "--data", data) == 2
    assert "is not complete: 299 videos are missing: 0702 to 1000" in capsys.readouterr().err
    assert tased("pack", maps, "--data", data, "-o", "pred.tar") == 2
    assert "name a file that ends in .zip" in capsys.readouterr().err


def test_a_submission_that_cannot_be_written_is_one_sentence(
    submission: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = submission
    (tmp_path / "file").touch()
    arguments = ["pack", maps, "--data", data, "-o", tmp_path / "file" / "out.zip"]
    assert tased(*arguments, "--quiet") == 1
    assert capsys.readouterr().err == f"tased: error: {tmp_path / 'file'}: file exists\n"
    assert tased(*arguments) == 1
    assert "maps checked" in capsys.readouterr().err
    with pytest.raises(FileExistsError):
        tased(*arguments, "--debug")


def test_frames_and_folders_too_many_are_no_submission(
    submission: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, maps = submission
    copy = tmp_path / "mine"
    shutil.copytree(maps, copy, copy_function=os.link)
    os.link(copy / "0705" / "0001.png", copy / "0705" / "0002.png")
    (copy / "1001").mkdir()
    assert tased("pack", copy, "--data", data, "-o", tmp_path / "mine.zip", "--quiet") == 1
    error = capsys.readouterr().err
    assert "0705: 1 frame is not of the video: 2" in error
    assert "1001: no video of the split has this name" in error
    assert not (tmp_path / "mine.zip").exists()


def test_an_incomplete_dataset_makes_no_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DATASETS["dhf1k"].expected, "test", range(701, 703))
    data = write_dhf1k(tmp_path / "DHF1K", {701: 3, 702: 1})
    (data / "video" / "0701" / "0002.png").unlink()
    maps = tmp_path / "pred"
    for place in ("0701/0001.png", "0701/0003.png", "0702/0001.png"):
        save(maps / place, metrics.imresize(prediction(701, 0), (360, 640)))
    assert tased("pack", maps, "--data", data, "-o", tmp_path / "pred.zip") == 2
    assert "1 video lacks images or truth in between: 0701" in capsys.readouterr().err
    assert not (tmp_path / "pred.zip").exists()


# ------------------------------------------------------------------------------------------------------ torchmetrics modules


def test_modules_average_over_frames_whatever_the_batches() -> None:
    frames = [(601, 0), (602, 1), (603, 2), (604, 0), (605, 1)]
    preds = torch.stack([torch.from_numpy(prediction(*frame)) for frame in frames])
    points = torch.stack([torch.from_numpy(fixations(*frame)) for frame in frames])
    truths = torch.stack([torch.from_numpy(density(*frame)) for frame in frames])
    others = points.roll(1, 0)[:, None].repeat(1, 3, 1, 1)
    base = truths[0]
    expected: dict[type[modules.FrameMean], tuple[tuple[Any, ...], tuple[Any, ...], Callable[..., float]]] = {
        modules.NSS: ((), (points,), metrics.nss),
        modules.CorrelationCoefficient: ((), (truths,), metrics.cc),
        modules.Similarity: ((), (truths,), metrics.sim),
        modules.KLDivergence: ((), (truths,), metrics.kl_divergence),
        modules.AUCJudd: ((), (points,), lambda *maps: metrics.auc_judd(*maps, jitter="expected")),
        modules.ShuffledAUC: ((), (points, others), lambda *maps: metrics.shuffled_auc(*maps, splits=None)),
        modules.InformationGain: ((base,), (points,), lambda *maps: metrics.information_gain(*maps, base)),
    }
    for module, (settings, truth, function) in expected.items():
        score = module(*settings)
        score.update(preds[:2], *(one[:2] for one in truth))
        score.update(preds[2:4, None], *(one[2:4] for one in truth))
        score.update(preds[4], *(one[4] if one.ndim == 3 else one[4:] for one in truth))
        mean = np.mean([function(*maps) for maps in zip(preds, *truth, strict=True)])
        assert score.compute().item() == pytest.approx(mean), module
        assert score.count == 5


def test_modules_leave_frames_without_truth_out() -> None:
    preds = torch.from_numpy(np.stack([prediction(601, 0), prediction(602, 0)]))
    points = torch.from_numpy(np.stack([fixations(601, 0), np.zeros(SIZE, np.uint8)]))
    score = modules.NSS()
    score.update(preds, points)
    assert score.compute().item() == pytest.approx(metrics.nss(prediction(601, 0), fixations(601, 0)))
    assert (score.count, score.left_out) == (1, 1)
    score.reset()
    assert (score.count, score.left_out) == (0, 0)
    with pytest.raises(ValueError, match="as many maps of each kind"):
        score.update(preds, points[:1])


def test_where_torchmetrics_is_missing_a_sentence_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "tased_net.torchmetrics")
    with pytest.raises(ImportError, match=r"needs torchmetrics: pip install tased-net\[metrics\]"):
        importlib.import_module("tased_net.torchmetrics")
