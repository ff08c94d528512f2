"""Training end to end, with tiny networks on data in the real layouts: what it writes, how it stops and goes on, how it fails."""

from __future__ import annotations

import csv
import dataclasses
import errno
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from net.layouts import write_clips, write_dhf1k
from tased_net import TASEDNet, cli, losses
from tased_net.data import Place, Scan
from tased_net.recipes import Recipe, RecipeError, load_recipe
from tased_net.train import TrainingError, interrupts, processes, train, trainer
from tased_net.train.datasets import open_splits
from tased_net.train.folder import RunFolder
from tased_net.train.interrupts import Interrupt

SMALL: dict[str, Any] = {
    "dataset": "dhf1k",
    "clip_length": 8,
    "width": 0.02,
    "size": "32x48",
    "batch": 2,
    "accumulate": 2,
    "steps": 4,
    "lr": 0.01,
    "drops": (2,),
    "bn_momentum": 0.1,
    "validate_every": 2,
    "validation_clips": 3,
    "save_every": 2,
    "workers": 0,
}


@pytest.fixture(scope="module")
def dhf1k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dhf1k(tmp_path_factory.mktemp("dhf1k"), {1: 12, 2: 5, 3: 9, 601: 9, 602: 10})


@pytest.fixture
def recipe(dhf1k: Path) -> Recipe:
    return Recipe(data=str(dhf1k), **SMALL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    """The run of a recipe that nothing has disturbed."""
    runs: dict[Recipe, Path] = {}

    def run(recipe: Recipe) -> Path:
        recipe = replace(recipe, save_every=4)  # which changes nothing
        if recipe not in runs:
            runs[recipe] = tmp_path_factory.mktemp("whole")
            train(recipe, runs[recipe])
        return runs[recipe]

    return run


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than a step."""
    for name in ("draw_losses", "draw_scenes"):
        monkeypatch.setattr(trainer, name, lambda *arguments: None)


def weights(run: Path, name: str = "last") -> dict[str, Tensor]:
    return TASEDNet.from_pretrained(run / f"{name}.safetensors").state_dict()


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def log(run: Path) -> list[dict[str, str]]:
    """The rows of the log, less what tells the time."""
    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: text for name, text in row.items() if name not in ("seconds", "images_per_second")} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    assert log(one) == log(other)
    for name in ("last.safetensors", "best.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    states = [torch.load(run / "state.pt", weights_only=True) for run in (one, other)]
    for part in ("network", "optimiser", "average", "rates", "scaler", "best", "skipped", "step", "pending"):
        torch.testing.assert_close(states[0][part], states[1][part], rtol=0, atol=0)


def arguments(recipe: Recipe, run: Path) -> list[str]:
    """The command line of a recipe."""
    options = {**SMALL, "data": recipe.data, "dataset": recipe.dataset, "drops": "2"}
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", "-o", str(run), *flags]


# ------------------------------------------------------------------------------------------------------- what it writes


def test_a_run_has_its_weights_log_pictures_and_recipe(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # it may be installed here
    run = tmp_path / "runs" / "first"
    assert cli.main(arguments(recipe, run)) == 0
    files = ["best.safetensors", "last.safetensors", "log.csv", "loss.png", "recipe.toml", "state.pt", "validation.png"]
    assert sorted(file.name for file in run.iterdir()) == files
    rows = log(run)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [(row["lr"], row["encoder_lr"]) for row in rows] == [("0.01", "0.001")] * 2 + [("0.001", "0.001")] * 2
    assert all(float(row["loss"]) > 0 for row in rows)
    assert [row["val_loss"] != "" for row in rows] == [False, True] * 2
    assert all(row["val_kl"] == row["val_loss"] and -1 < float(row["val_cc"]) < 1 for row in rows if row["val_loss"])
    net = TASEDNet.from_pretrained(run / "last.safetensors")
    assert (net.clip_length, net.options["width"]) == (8, 0.02)
    lowest = min(float(row["val_loss"]) for row in rows if row["val_loss"])
    out, err = capsys.readouterr()
    assert out == ""
    assert "the encoder begins with random weights; the paper's begins with those of Kinetics" in err
    assert re.search(r"4/4 .*(step/s|s/step).*loss \d\.\d{4}, \d+\.\d images/s", err)
    assert f"{run}: 4 steps, lowest validation loss {lowest:.4f}\n" in err
    for name in ("loss.png", "validation.png"):
        with Image.open(run / name) as image:
            assert len(image.convert("RGB").getcolors(1 << 20)) > 50


@pytest.mark.usefixtures("no_pictures")
def test_the_saved_recipe_repeats_the_run(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "one")
    saved = load_recipe(str(tmp_path / "one" / "recipe.toml"))
    assert saved == replace(recipe, aggregation="updated", upsampling="unpool", denser=False, maps=1, decoder="tased")
    train(saved, tmp_path / "two")
    assert_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.usefixtures("no_pictures")
def test_best_is_the_network_of_the_lowest_validation_loss(recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, lr=0.5, encoder_lr=0.5, drops=()), tmp_path)  # so high that it gets worse
    losses = {int(row["step"]): float(row["val_loss"]) for row in log(tmp_path) if row["val_loss"]}
    best = min(losses, key=lambda step: losses[step])
    assert best == 2
    train(replace(recipe, lr=0.5, encoder_lr=0.5, drops=(), steps=best), tmp_path / "to best")
    assert_equal(weights(tmp_path, "best"), weights(tmp_path / "to best"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("layout", ["dhf1k", "hollywood2", "ucfsports", "folder"])
def test_every_layout_trains_and_resumes(layout: str, dhf1k: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    size = (36, 64)
    if layout == "hollywood2":
        write_clips(data, {f"actionclip{part}{n:05d}": (n, size) for part in ("train", "test") for n in (1, 9, 12)})
    elif layout == "ucfsports":
        write_clips(data / "training", {"Diving-001": (9, size), "Golf-002": (12, (40, 30)), "Golf-003": (2, size)})
    elif layout == "folder":
        write_clips(data, {"a": (9, size)})
    else:
        data = dhf1k
    said: list[str] = []
    recipe = Recipe(**{**SMALL, "data": str(data), "dataset": layout, "steps": 2})
    train(recipe, tmp_path / "run", tell=said.append)
    outcome = train(replace(recipe, steps=3), tmp_path / "run", resume=True, tell=said.append)
    assert (outcome.step, outcome.signal) == (3, None)
    assert f"{tmp_path / 'run'}: goes on after step 2 of 3" in said
    held_out = {
        "hollywood2": "no validation split: 1 of 3 videos are held out for it",
        "ucfsports": "no validation split: 1 of 3 videos are held out for it",
        "folder": "a single video: validation uses it as well, and tells nothing about others",
    }
    assert held_out.get(layout) in {*said, None}


@pytest.mark.usefixtures("no_pictures")
def test_tensorboard_gets_what_the_log_gets(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[tuple[str, int], float] = {}

    class SummaryWriter:
        def __init__(self, folder: Path, purge_step: int) -> None:
            assert (folder, purge_step) == (tmp_path / "tensorboard", 1)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written[name, step] = value

        def close(self) -> None:
            written["closed", 0] = 1

    board = types.ModuleType("torch.utils.tensorboard")
    vars(board)["SummaryWriter"] = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    train(replace(recipe, steps=2), tmp_path)
    rows = log(tmp_path)
    assert {f"{written['loss', int(row['step'])]:.10g}" for row in rows} == {row["loss"] for row in rows}
    assert f"{written['val_nss', 2]:.10g}" == rows[1]["val_nss"]
    assert ("closed", 0) in written


# --------------------------------------------------------------------------------------------------- stopping and going on


class Killed(BaseException):
    """A process that ends there and then: nothing of ours runs after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, place: str, call: int, recipe: Recipe, run: Path) -> None:
    """Runs until a place is come to for the n-th time, and ends there."""
    owner, name = {
        "step": (trainer.Trainer, "_update"),
        "statistics": (trainer.RunningStatistics, "end"),
        "validation": (trainer, "validate"),
        "row": (RunFolder, "write_row"),
        "state": (RunFolder, "write_state"),
        "file": (os, "replace"),
    }[place]
    original = getattr(owner, name)
    calls = 0

    def until(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, until)
        with pytest.raises(Killed):
            train(recipe, run)


@pytest.mark.parametrize("name", ["_gradients", "_forward"])
def test_no_worker_outlives_a_run_that_fails(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, batches = getattr(trainer.Trainer, name), 0

    def until(*arguments: Any) -> Any:  # the first gradients, or the first validation's second batch
        nonlocal batches
        batches += 1
        if batches == (1 if name == "_gradients" else 6):
            assert multiprocessing.active_children()
            raise Killed
        return original(*arguments)

    monkeypatch.setattr(trainer.Trainer, name, until)
    with pytest.raises(Killed) as caught:  # with the frames that were left, which hold what they held
        train(replace(recipe, workers=1, validation_clips=6), tmp_path)
    assert caught.tb is not None
    assert multiprocessing.active_children() == []


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plateau": {"drops": "plateau", "patience": 1, "lr": 0.1, "encoder_lr": 0.1, "validate_every": 1},
    "average": {"ema": 0.7, "clip_gradient": 0.1},
    "adamw": {"optimizer": "adamw", "lr": 0.001, "drop_encoder": True},
    "float16": {"precision": "float16", "loss": "kl+0.1*cc"},
    "bfloat16": {"precision": "bfloat16", "clip_length": 24},
    "maps, recomputed": {"maps": 3, "checkpoint": True},
}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_stopped_after_any_step_goes_on_as_if_it_had_not(name: str, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, **{"validation_clips": 2, "save_every": 3, **OPTIONS[name]})
    train(recipe, tmp_path / "whole")
    for step in range(1, 5) if name == "plain" else (2, 3, 4):
        train(replace(recipe, steps=step), tmp_path / "parts", resume=True)
    # A shorter run validates after its last step: that decides nothing but which network is the best.
    rows = log(tmp_path / "parts")
    for row, expected in zip(rows, log(tmp_path / "whole"), strict=True):
        assert {key: text for key, text in row.items() if expected[key] or not key.startswith("val")} == {
            key: text for key, text in expected.items() if text or not key.startswith("val")
        }
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    if name == "plateau":
        assert float(rows[-1]["lr"]) < 0.1


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("place", "call", "save_every"),
    [
        *(("step", 3, 1), ("statistics", 4, 3), ("validation", 1, 3), ("validation", 2, 1)),
        *(("row", 2, 3), ("state", 3, 1), ("file", 8, 1)),
    ],
)
def test_a_run_that_was_killed_anywhere_goes_on_as_if_it_had_not(
    place: str,
    call: int,
    save_every: int,
    recipe: Recipe,
    tmp_path: Path,
    whole: Callable[[Recipe], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = replace(recipe, save_every=save_every, validation_clips=2)
    expected = whole(recipe)
    killed_at(monkeypatch, place, call, recipe, tmp_path)
    train(recipe, tmp_path, resume=True)
    assert_same_run(expected, tmp_path)


@pytest.mark.usefixtures("no_pictures")
def test_kill_9_loses_nothing_but_steps_since_the_last_state(
    recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path]
) -> None:
    code = f"""
import os, signal
from tased_net import cli
from tased_net.train import trainer
trainer.draw_losses = trainer.draw_scenes = lambda *arguments: None
write = trainer.RunFolder.write_row
def write_row(folder, row):
    write(folder, row)
    if row["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
trainer.RunFolder.write_row = write_row
cli.main({[*arguments(recipe, tmp_path / "killed"), "--quiet"]!r})
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(log(tmp_path / "killed")) == 3
    assert torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] == 2
    train(recipe, tmp_path / "killed", resume=True)
    assert_same_run(whole(recipe), tmp_path / "killed")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("where", ["step", "validation"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_saves_the_state_and_tells_how_to_go_on(
    where: str,
    number: int,
    status: int,
    recipe: Recipe,
    tmp_path: Path,
    whole: Callable[[Recipe], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "stopped"
    validate, update = trainer.validate, trainer.Trainer._update

    def stop(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return validate(*arguments, **options)

    def stop_at_2(self: trainer.Trainer, step: int) -> float:
        if step == 2:
            os.kill(os.getpid(), number)
        return update(self, step)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        if where == "step":
            patch.setattr(trainer.Trainer, "_update", stop_at_2)
        else:
            patch.setattr(trainer, "validate", stop)
        assert cli.main(arguments(recipe, run)) == status
    assert signal.getsignal(number) is handler
    said = capsys.readouterr().err
    assert "stops after this step; ctrl-C again stops at once" in said
    assert f"stopped after step 2 of 4; to go on: tased train -o {run} --resume" in said
    assert cli.main(["train", "-o", str(run), "--resume", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert_same_run(whole(recipe), run)


@pytest.mark.usefixtures("no_pictures")
def test_a_signal_when_all_is_done_stops_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, update = RunFolder.write_row, trainer.Trainer._update

    def stop_after_2(folder: RunFolder, row: dict[str, float]) -> None:
        write(folder, row)
        if row["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def stop_in_2(self: trainer.Trainer, step: int) -> float:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, step)

    recipe = replace(recipe, steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_row", stop_after_2)
        assert train(recipe, tmp_path / "done").signal is None
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_update", stop_in_2)  # the validation is left
        assert train(recipe, tmp_path / "left").signal == signal.SIGINT
    assert train(recipe, tmp_path / "left", resume=True).signal is None
    assert_same_run(tmp_path / "done", tmp_path / "left")


@pytest.mark.usefixtures("no_pictures")
def test_sigterm_to_the_whole_group_lets_the_step_end(
    recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path]
) -> None:
    code = f"""
import os, signal, time
from tased_net import cli
from tased_net.train import trainer
trainer.draw_losses = trainer.draw_scenes = lambda *arguments: None
update = trainer.Trainer._update
def ended(self, step):
    os.killpg(os.getpgid(0), signal.SIGTERM)
    time.sleep(1)
    return update(self, step)
trainer.Trainer._update = ended
raise SystemExit(cli.main({[*arguments(recipe, tmp_path), "--workers", "1", "--quiet"]!r}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
        check=False,
        start_new_session=True,
    )
    assert ended.returncode == 143
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 1
    train(recipe, tmp_path, resume=True)
    assert_same_run(whole(recipe), tmp_path)


@pytest.mark.usefixtures("no_pictures")
def test_a_validation_that_a_longer_run_leaves_out_leaves_no_row_behind(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, validate_every=10, save_every=10, steps=3)
    update = trainer.Trainer._update

    def stop(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        raise trainer.Stopped

    def stop_at_5(self: trainer.Trainer, step: int) -> float:
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "validate", stop)
        assert train(recipe, tmp_path).signal == signal.SIGINT
    recipe = replace(recipe, steps=8)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_update", stop_at_5)
        assert train(recipe, tmp_path, resume=True).step == 5
    train(recipe, tmp_path, resume=True)
    assert [row["step"] for row in log(tmp_path)] == list("12345678")


def test_a_second_ctrl_c_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupts.interrupts(lambda message: None) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # torchrun passes on what the terminal has sent already
        assert interrupt.signal == signal.SIGINT
        monkeypatch.setattr(interrupts, "AGAIN_AFTER", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("no_pictures")
def test_validation_takes_nothing_from_training(
    recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path]
) -> None:
    train(replace(recipe, validate_every=4, save_every=4), tmp_path)
    assert_equal(weights(whole(recipe)), weights(tmp_path))


@pytest.mark.usefixtures("no_pictures")
def test_losses_that_draw_random_numbers_resume_as_well(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(saliency: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
        return losses.kl_divergence(saliency + torch.rand(()), density)

    monkeypatch.setitem(losses.PARTS, "kl", noisy)
    recipe = replace(recipe, save_every=4)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, steps=2), tmp_path / "parts")
    torch.manual_seed(1)
    train(recipe, tmp_path / "parts", resume=True)
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.usefixtures("no_pictures")
def test_workers_change_nothing(recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path]) -> None:
    train(replace(recipe, workers=2, validate_every=4, save_every=4), tmp_path)
    assert_equal(weights(whole(recipe)), weights(tmp_path))


@pytest.mark.usefixtures("no_pictures")
def test_a_run_is_not_written_over_nor_made_another(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, steps=1)
    train(recipe, tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(RecipeError, match=r": holds a run already: --resume goes on with it, -o OTHER begins another$"):
        train(recipe, tmp_path)
    with pytest.raises(
        RecipeError, match=r": the run began with seed = 0, and 1 would make it another: leave it out, or"
    ):
        train(replace(recipe, seed=1), tmp_path, resume=True)
    assert (tmp_path / "state.pt").read_bytes() == before
    said: list[str] = []
    train(recipe, tmp_path, resume=True, tell=said.append)
    assert f"{tmp_path}: has done its 1 steps; --steps N asks for more" in said
    for damaged in (before[:1000], b""):
        (tmp_path / "state.pt").write_bytes(damaged)
        with pytest.raises(
            TrainingError, match=r"state\.pt: not the state of a run, or damaged; move it away to begin anew$"
        ):
            train(recipe, tmp_path, resume=True)
    torch.save({"format": 1}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match=r"state\.pt: has no recipe; move it away to begin anew$"):
        train(recipe, tmp_path, resume=True)
    torch.save({"format": 1, "recipe": dataclasses.asdict(recipe)}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match=r"state\.pt: does not fit the run; move it away to begin anew$"):
        train(recipe, tmp_path, resume=True)
    torch.save({"format": 99}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match="of another version of tased; move it away to begin anew"):
        train(recipe, tmp_path, resume=True)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), r"cannot be read \(Permission denied\): mend that, and"),
        (OSError(errno.EIO, "Input/output error"), r"cannot be read \(Input/output error\): mend that, and --resume$"),
        (MemoryError(), r"memory does not suffice to read it, or it is damaged: make room, and --resume; or move it"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory does not suffice to read it"),
    ],
)
def test_a_state_that_cannot_be_read_now_is_not_called_damaged(
    error: Exception, sentence: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, steps=1)
    train(recipe, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", failing(error))
        with pytest.raises(TrainingError, match=rf"state\.pt: {sentence}"):
            train(recipe, tmp_path, resume=True)
    train(recipe, tmp_path, resume=True)


# ------------------------------------------------------------------------------------------------------------ what goes wrong


def spoil(root: Path, video: int, frames: range) -> None:
    for frame in frames:
        (root / "video" / f"{video:04d}" / f"{frame:04d}.png").write_bytes(b"not an image")


@pytest.mark.usefixtures("no_pictures")
def test_clips_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    data = write_dhf1k(tmp_path / "data", {1: 10, 2: 12, 3: 12, 601: 9, 602: 9})
    spoil(data, 1, range(9, 10))
    spoil(data, 601, range(1, 10))
    said: list[str] = []
    recipe = Recipe(data=str(data), **SMALL)
    train(recipe, tmp_path / "run", tell=said.append)
    rows = log(tmp_path / "run")
    counts = [int(row["skipped"]) for row in rows]
    assert 0 < counts[-1] == sum("left out a clip: " in sentence and "0001" in sentence for sentence in said)
    assert counts == sorted(counts)
    assert all(row["val_loss"] for row in rows[1::2])  # of the clips of 602
    named = [sentence for sentence in said if "left out a clip of the validation: " in sentence]
    assert len(named) == 2 * len({sentence for sentence in named if "0601" in sentence}) > 0
    assert said.count(f"the validation is without {len(named) // 2} of its 3 clips") == 2
    with pytest.raises(
        TrainingError, match=r"^step \d: \d+ clips could not be read, more than max_skipped = 0; repair"
    ):
        train(replace(recipe, max_skipped=0), tmp_path / "strict")
    assert torch.load(tmp_path / "strict" / "state.pt", weights_only=True)["step"] < 4
    train(replace(recipe, max_skipped=50), tmp_path / "strict", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "strict")


@pytest.mark.usefixtures("no_pictures")
def test_data_of_which_nothing_can_be_read_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: Recipe
) -> None:
    data = write_dhf1k(tmp_path / "data", {1: 9, 601: 9})
    spoil(data, 1, range(1, 10))
    command = arguments(replace(recipe, data=str(data)), tmp_path / "run")
    assert cli.main(command) == 1
    assert "error: 10 clips in a row cannot be read, the last one: " in capsys.readouterr().err
    data = write_dhf1k(tmp_path / "other", {1: 9, 601: 9})
    spoil(data, 601, range(1, 10))
    assert cli.main(arguments(replace(recipe, data=str(data)), tmp_path / "other run")) == 1
    assert "error: no clip of the validation can be read" in capsys.readouterr().err
    assert cli.main(arguments(replace(recipe, data=str(tmp_path / "none")), tmp_path / "no run")) == 1
    assert "none: no such folder" in capsys.readouterr().err
    data = write_dhf1k(tmp_path / "bare", {1: 9, 601: 9}, annotated=[])
    assert cli.main(arguments(replace(recipe, data=str(data)), tmp_path / "no run")) == 1
    assert (
        "bare, train: no video has both frames and density maps; docs/data.md shows the layouts"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "no run").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_state_that_cannot_be_written_leaves_the_one_before(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: dict[str, Any], path: Path) -> None:
        path.write_bytes(b"a part")
        raise RuntimeError("unexpected pos 704 vs 598")  # as torch.save does where the disk is full

    train(replace(recipe, steps=1), tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        TrainingError, match=r"state\.pt: cannot be written, is the disk full\? \(unexpected pos 704 vs 598\)"
    ):
        train(recipe, tmp_path, resume=True)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("file", ["last.safetensors", "best.safetensors", "log.csv"])
def test_a_full_disk_is_one_sentence(
    file: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)

    write = Path.write_bytes
    if file == "log.csv":
        monkeypatch.setattr(RunFolder, "write_row", full)
    else:
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: full() if file in path.name else write(path, data))
    assert cli.main([*arguments(recipe, tmp_path), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"tased: error: {tmp_path}")
    assert "cannot be written ([Errno 28] No space left on device" in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("no_pictures")
def test_a_worker_that_is_killed_ends_the_run_with_a_word(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = trainer.Draws.place

    def killed(self: trainer.Draws, step: int, index: int, attempt: int = 0) -> Any:
        if step == 2 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return place(self, step, index, attempt)

    monkeypatch.setattr(trainer.Draws, "place", killed)
    with pytest.raises(
        TrainingError, match=r"^a process that reads clips has ended \(DataLoader worker .*: memory may be short"
    ):
        train(replace(recipe, workers=1), tmp_path)

    def killed_with_the_run(self: trainer.Draws, step: int, index: int, attempt: int = 0) -> Any:
        if step == 2 and multiprocessing.parent_process() is not None:
            os.kill(os.getppid(), signal.SIGTERM)
        return killed(self, step, index, attempt)

    monkeypatch.setattr(trainer.Draws, "place", killed_with_the_run)
    outcome = train(replace(recipe, workers=1), tmp_path, resume=True)
    assert (outcome.signal, outcome.step) == (
        signal.SIGTERM,
        torch.load(tmp_path / "state.pt", weights_only=True)["step"],
    )


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("told", [ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EOFError()])
def test_a_connection_that_a_killed_worker_has_closed_is_not_a_full_disk(
    told: Exception, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(self: Any) -> Any:  # what PyTorch passes on while it still takes the worker for alive
        threading.Timer(0.2, os.kill, (self._workers[0].pid, signal.SIGKILL)).start()
        raise told

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter._next_data", closed)
    with pytest.raises(
        TrainingError, match=r"^a process that reads clips has ended \(DataLoader worker .*: memory may"
    ):
        train(replace(recipe, workers=1), tmp_path)


@pytest.mark.usefixtures("no_pictures")
def test_an_error_in_a_worker_is_not_told_as_lack_of_memory(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: trainer.Draws, step: int, index: int, attempt: int = 0) -> Any:
        raise RuntimeError("wrong")

    monkeypatch.setattr(trainer.Draws, "place", wrong)
    with pytest.raises(RuntimeError, match="Caught RuntimeError in DataLoader worker process 0") as error:
        train(replace(recipe, workers=1), tmp_path)
    assert not isinstance(error.value, TrainingError)


@pytest.mark.usefixtures("no_pictures")
def test_lack_of_memory_names_the_cure_and_keeps_the_step_before(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward, calls = trainer.Trainer._forward, iter(range(100))

    def short(self: trainer.Trainer, *arguments: Any) -> Tensor:
        if next(calls) == 2:  # the first batch of the second step
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_forward", short)
    assert cli.main([*arguments(recipe, tmp_path), "--quiet"]) == 1
    said = "tased: error: out of memory: give a smaller --batch and a larger --accumulate, or --checkpoint\n"
    assert capsys.readouterr().err == said
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 1


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_with_the_clips_name_and_the_state_before(
    what: str, recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def infinitely_steep(saliency: Tensor) -> Tensor:
        return (saliency - saliency.detach()).sum().square().sqrt()

    def broken(saliency: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        values = losses.kl_divergence(saliency, density)
        if calls == 8:  # the second batch of the third step, after a validation of two batches
            values = values + (torch.tensor([[0.0], [math.nan]]) if what == "loss" else infinitely_steep(saliency))
        return values

    with monkeypatch.context() as patch:
        patch.setitem(losses.PARTS, "kl", broken)
        named = r"the loss of 000\d:\d+" if what == "loss" else "the gradients' norm"
        with pytest.raises(
            TrainingError, match=rf"^step 3: {named} is not finite; .*state\.pt holds the run after step 2\. "
        ):
            train(recipe, tmp_path / "broken")
    assert torch.load(tmp_path / "broken" / "state.pt", weights_only=True)["step"] == 2
    train(recipe, tmp_path / "broken", resume=True)
    assert_same_run(whole(recipe), tmp_path / "broken")


# ------------------------------------------------------------------------------------------------------- ways to compute


@pytest.mark.usefixtures("no_pictures")
def test_two_processes_that_torchrun_restarts_compute_what_one_does(recipe: Recipe, tmp_path: Path) -> None:
    # Three batches a step, so that the processes' shares differ; steps that are short enough for rounding to stay small.
    recipe = replace(recipe, accumulate=3, precision="float64", clip_gradient=1.0, lr=0.1)
    train(recipe, tmp_path / "one")
    marker = tmp_path / "was killed"
    code = f"""
import os, signal
from pathlib import Path
from tased_net.recipes import Recipe
from tased_net.train import train, trainer
trainer.draw_losses = trainer.draw_scenes = lambda *arguments: None
update = trainer.Trainer._update
def killed_once(self, step):
    if step == 3 and os.environ["RANK"] == "1" and not Path({str(marker)!r}).exists():
        Path({str(marker)!r}).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, step)
trainer.Trainer._update = killed_once
train({recipe!r}, {str(tmp_path / "two")!r}, resume=True)
"""
    (tmp_path / "script.py").write_text(code)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    launched = subprocess.run(
        [sys.executable, *launch, str(tmp_path / "script.py")],
        # Torchrun's default hands the addresses of processes that have ended to those that it starts anew.
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    assert launched.returncode == 0, launched.stderr
    assert marker.exists()
    for row, expected in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        for name, text in row.items():
            assert (text == "") == (expected[name] == "")
            assert not text or float(text) == pytest.approx(float(expected[name]), rel=1e-9)
    for name in ("last", "best"):
        torch.testing.assert_close(weights(tmp_path / "two", name), weights(tmp_path / "one", name), rtol=0, atol=1e-9)
    states = [torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("one", "two")]
    torch.testing.assert_close(states[0]["optimiser"], states[1]["optimiser"], rtol=0, atol=1e-9)
    assert states[0]["network"]["base1.0.bn_s.num_batches_tracked"] == 12


@pytest.mark.usefixtures("no_pictures")
def test_what_another_process_cannot_read_is_told_counted_and_ends_all_alike(tmp_path: Path) -> None:
    data = write_dhf1k(tmp_path / "data", {1: 12, 2: 12, 601: 9})
    spoil(data, 1, range(1, 13))
    code = f"""
import os, sys
from tased_net import cli
from tased_net.data import Place, Scan
from tased_net.train import trainer
trainer.draw_losses = trainer.draw_scenes = lambda *arguments: None
def place(self, step, index, attempt=0):
    broken = os.environ["RANK"] == "1" and (step == 3 or (step, index, attempt) == (1, 2, 0))
    return Place(0 if broken else 1, 0)
trainer.Draws.place = place
status = cli.main({[*arguments(Recipe(data=str(data), dataset="dhf1k"), tmp_path / "run"), "--save-every", "4"]!r})
open(f"{tmp_path}/{{os.environ['RANK']}}", "w").write(str(status))
"""
    (tmp_path / "script.py").write_text(code)
    launched = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            str(tmp_path / "script.py"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["1", "1"], launched.stderr
    assert launched.stderr.count("error: 10 clips in a row cannot be read, the last one: ") == 1  # by the first alone
    assert launched.stderr.count("left out a clip: ") == 1 + 2 * 10
    assert [row["skipped"] for row in log(tmp_path / "run")] == ["1", "1"]
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 2


def test_more_processes_than_batches_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    said = "5 processes share the 2 batches of a step: give --accumulate 5 or more"
    with pytest.raises(RecipeError, match=f"^{said}$"):
        trainer.Trainer(recipe, RunFolder(tmp_path), None, processes.Processes(0, 5), "cpu", Interrupt(), print, False)


def test_processes_do_not_share_a_gpu(recipe: Recipe, tmp_path: Path) -> None:
    said = "--device cuda:1: each of 2 processes needs a GPU of its own: give --device cuda"
    with pytest.raises(RecipeError, match=f"^{said}$"):
        trainer.Trainer(
            recipe, RunFolder(tmp_path), None, processes.Processes(0, 2), "cuda:1", Interrupt(), print, False
        )


@pytest.mark.usefixtures("no_pictures")
def test_batches_and_accumulation_share_the_clips_of_a_step_in_any_way(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, seen = trainer.Draws.place, []

    def noted(self: trainer.Draws, *key: int) -> Place:
        seen.append((key, place(self, *key)))
        return seen[-1][1]

    monkeypatch.setattr(trainer.Draws, "place", noted)
    train(replace(recipe, steps=2, batch=4, accumulate=1), tmp_path / "at once")
    at_once = seen.copy()
    seen.clear()
    train(replace(recipe, steps=2, batch=2, accumulate=2), tmp_path / "in parts")
    assert seen == at_once
    assert [key for key, _ in seen] == [(step, number, 0) for step in (1, 2) for number in range(4)]


@pytest.mark.usefixtures("no_pictures")
def test_recomputed_activations_change_no_bit(recipe: Recipe, tmp_path: Path, whole: Callable[[Recipe], Path]) -> None:
    train(replace(recipe, checkpoint=True), tmp_path)
    assert_equal(weights(whole(recipe)), weights(tmp_path))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")  # of torch's own compiler
def test_a_compiled_network_trains_alike(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(recipe, steps=1)
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        compiled.append(len(inputs))
        return graph.forward

    compiler = TASEDNet.compile
    monkeypatch.setattr(TASEDNet, "compile", lambda net: compiler(net, backend=backend))
    monkeypatch.setattr(trainer, "validate", lambda *arguments, **options: ({"val_loss": 1.0}, []))  # once is enough
    train(recipe, tmp_path / "plain")
    train(replace(recipe, compile=True), tmp_path / "compiled")
    torch._dynamo.reset()
    assert len(compiled) == 1
    torch.testing.assert_close(weights(tmp_path / "plain"), weights(tmp_path / "compiled"), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("no_pictures")
def test_gradients_are_clipped_to_the_norm(recipe: Recipe, tmp_path: Path) -> None:
    first = replace(recipe, steps=1, lr=1.0, encoder_lr=1.0, weight_decay=0.0)
    train(replace(first, lr=0.0, encoder_lr=0.0), tmp_path / "start")
    train(replace(first, clip_gradient=0.5), tmp_path / "clipped")
    norm = float(log(tmp_path / "clipped")[0]["grad_norm"])
    start, end = weights(tmp_path / "start"), weights(tmp_path / "clipped")
    moved = [
        (end[name] - start[name]).square().sum() for name, _ in TASEDNet(clip_length=8, width=0.02).named_parameters()
    ]
    assert norm > 0.5
    assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.usefixtures("no_pictures")
def test_the_moving_average_is_what_is_validated_and_written(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, steps=2, save_every=1, validate_every=1)
    expected: dict[str, Tensor] = {}
    for steps in (0, 1, 2):
        begun = replace(
            recipe, steps=max(steps, 1), **({} if steps else {"lr": 0.0, "encoder_lr": 0.0, "weight_decay": 0.0})
        )
        train(begun, tmp_path / str(steps))
        for name, value in weights(tmp_path / str(steps)).items():
            if name.endswith("weight"):
                way = max(1 - 0.2, 9 / (10 + steps))  # 9/11, and 0.8 after the second step
                expected[name] = value if steps == 0 else (1 - way) * expected[name] + way * value
    train(replace(recipe, ema=0.2), tmp_path / "average")
    written = weights(tmp_path / "average")
    for name, value in expected.items():
        torch.testing.assert_close(written[name], value, rtol=0, atol=1e-6)
    assert log(tmp_path / "average")[1]["val_loss"] != log(tmp_path / "2")[1]["val_loss"]
    assert log(tmp_path / "average")[1]["loss"] == log(tmp_path / "2")[1]["loss"]


@pytest.mark.usefixtures("no_pictures")
def test_what_cannot_be_computed_is_refused(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = arguments(recipe, tmp_path / "run")
    for option, sentence in (
        (
            ("--sync-bn",),
            "sync_bn needs GPUs that share the batches of a step evenly: 1 processes on cpu, accumulate = 2",
        ),
        (("--compile", "--checkpoint"), "compile and checkpoint do not go together: leave out one"),
        (("--precision", "bfloat16"), "bfloat16 on a CPU goes wrong with clips of 8 frames: PyTorch's gradient of a"),
        (
            ("--batch", "1"),
            "a batch of one clip of 8 frames of 32x48 has a single value in its smallest maps, which batch norms cannot",
        ),
        (("--maps", "9"), "maps must be from 1 to clip_length = 8, got 9"),
        (("--device", "cuda:99"), "--device cuda:99: "),
        (("--device", "tpu"), "--device tpu: "),
        (("--weights", "none.pt"), "none.pt: no such file"),
    ):
        assert cli.main([*command, *option]) == 2
        assert f"error: {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------------------------- where it begins


@pytest.mark.usefixtures("no_pictures")
def test_transfer_begins_with_the_weights_and_the_variant_of_a_file(recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, steps=2, maps=2), tmp_path / "first")
    still = {"lr": 0.0, "encoder_lr": 0.0, "weight_decay": 0.0, "steps": 1, "seed": 5}
    data = write_clips(tmp_path / "data" / "train", {"a": (9, (40, 30)), "b": (9, (36, 64))}).parent
    moved = Recipe(**{**SMALL, **still, "data": str(data), "dataset": "ucfsports"})
    file = tmp_path / "first" / "last.safetensors"
    train(replace(moved, weights=str(file), clip_length=None, width=None), tmp_path / "second")
    one, other = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert_equal(*({name: value for name, value in state.items() if name.endswith("weight")} for state in (one, other)))
    with pytest.raises(ValueError, match=r"does not fit TASEDNet\(clip_length=16"):
        train(replace(moved, weights=str(file), clip_length=16), tmp_path / "other")
    with pytest.raises(RecipeError, match=r"last\.safetensors: holds a whole network: give it as --weights$"):
        train(replace(recipe, encoder_weights=str(file), maps=2), tmp_path / "other")
    with pytest.raises(RecipeError, match=r"^weights and encoder_weights are both given"):
        train(replace(moved, weights=str(file), encoder_weights=str(file)), tmp_path / "other")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("length", [4, 8])
def test_a_resumed_transfer_has_the_variant_that_it_began_with(length: int, recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "first.safetensors"
    TASEDNet(clip_length=length, width=0.02, decoder="tased").save_pretrained(file)
    moved = replace(recipe, weights=str(file), clip_length=None, width=None, steps=2, drops=())
    train(moved, tmp_path / "run")
    file.unlink()  # what has begun needs it no more
    train(replace(moved, steps=3), tmp_path / "run", resume=True)
    options = TASEDNet.from_pretrained(tmp_path / "run" / "last.safetensors").options
    assert (options["clip_length"], options["width"]) == (length, 0.02)
    assert len(log(tmp_path / "run")) == 3


@pytest.mark.usefixtures("no_pictures")
def test_an_encoder_file_gives_the_encoder_and_the_seed_the_rest(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, steps=1, lr=0.0, encoder_lr=0.0, weight_decay=0.0)
    torch.manual_seed(9)
    stages = {"base1": 0, "base2": 5, "base3": 8, "base4": 14}  # where they begin in S3D's one row of layers
    kinetics = {}
    for key, value in TASEDNet(clip_length=8, width=0.02).state_dict().items():
        stage, _, rest = key.partition(".")
        if stage in stages:
            number, _, rest = rest.partition(".")
            kinetics[f"module.base.{stages[stage] + int(number)}.{rest}"] = value
    torch.save(kinetics, tmp_path / "s3d.pt")
    said: list[str] = []
    train(recipe, tmp_path / "none")
    train(replace(recipe, encoder_weights=str(tmp_path / "s3d.pt")), tmp_path / "kinetics", tell=said.append)
    assert not any("random weights" in sentence for sentence in said)
    none, with_file = weights(tmp_path / "none"), weights(tmp_path / "kinetics")
    key = "base1.0.conv_s.weight"
    torch.testing.assert_close(
        with_file[key], kinetics[f"module.base.0.{key.removeprefix('base1.0.')}"], rtol=0, atol=0
    )
    assert not torch.equal(with_file[key], none[key])
    torch.testing.assert_close(with_file["convtsp1.0.weight"], none["convtsp1.0.weight"], rtol=0, atol=0)


@pytest.mark.usefixtures("no_pictures")
def test_a_few_clips_are_learned_by_heart(recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, overfit=2, accumulate=1, steps=60, validate_every=60, save_every=60, drops=())
    train(replace(recipe, width=0.1, size="32x64", lr=0.1, encoder_lr=0.02), tmp_path)
    rows = log(tmp_path)
    assert float(rows[-1]["loss"]) < 0.15 * float(rows[0]["loss"])
    assert float(rows[-1]["val_loss"]) < 0.5 * float(rows[0]["loss"])  # of the same clips


@pytest.mark.parametrize(("overfit", "opened"), [(0, ["train", "val"]), (2, ["train"])])
def test_no_split_is_opened_that_is_not_used(
    overfit: int, opened: list[str], recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, names = Scan.open, []

    def noted(scan: Scan, name: str, progress: bool) -> Any:
        names.append(name)
        return original(scan, name, progress=progress)

    monkeypatch.setattr(Scan, "open", noted)
    open_splits(replace(recipe, overfit=overfit), print, False)
    assert names == opened
