"""What the pages speak of, small: a folder with the files that they name, and their commands cut to seconds."""

from __future__ import annotations

import argparse
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from net.layouts import write_clips, write_dhf1k, write_ucfsports
from net.test_evaluate import write_maps
from tased_net import Predictor, TASEDNet, cli
from tased_net.commands import evaluate, predict, shared
from tased_net.data import DATASETS
from tased_net.train import trainer
from tased_net.video import VideoFrame, video_writer, write_image
from tased_net.weights import BUNDLED

VARIANT = {"clip_length": 8, "width": 0.02}
OF_THE_FILE = ["--clip-length", "8", "--width", "0.02"]  # what TASED_updated.pt is here
SIZE = ["--size", "32x48"]
SHORT_RUN = [
    *(*OF_THE_FILE, *SIZE, "--batch", "2", "--accumulate", "1", "--steps", "2", "--workers", "0"),
    *("--validate-every", "2", "--validation-clips", "1", "--bn-momentum", "0.1"),
]

# What a page's Python and commands say, and what is run in its place.
SMALLER = {
    "docs/guide.md": {
        "TASEDNet()": "TASEDNet(clip_length=8, width=0.02)",
        "Predictor(net)": "Predictor(net, size=(32, 48))",
        "rtsp://camera.local/stream": "street.mp4",
        "https://example.org": "file://{folder}",
    },
    "docs/training.md": {
        'train(recipe, "run"': 'train(recipe, "run_of_python"',
        '"width": 0.25, "steps": 2': '"width": 0.02, "steps": 2, "clip_length": 8, "size": "32x48", "workers": 0, '
        '"batch": 2, "accumulate": 1, "validate_every": 2, "validation_clips": 1, "bn_momentum": 0.1',
    },
}


def furnish(folder: Path) -> None:
    """Writes every file that a page takes for granted."""
    images = [np.full((48, 72, 3), 20 * number, np.uint8) for number in range(9)]
    for name in (
        "street.mp4",
        "skate_60fps.mp4",
        "market.webm",
        "bikes.mp4",
        "video.mp4",
        "clips/a.mp4",
        "clips/b.mp4",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        with video_writer(folder / name, Fraction(60), Fraction(1, 60)) as write:
            for number, image in enumerate(images):
                write(VideoFrame(image, Fraction(number, 60)))
    (folder / "frames").mkdir()
    for number, image in enumerate(images):
        write_image(folder / "frames" / f"{number}.png", image)
    torch.manual_seed(0)
    net = TASEDNet(**VARIANT)
    state = net.state_dict()
    net.save_pretrained(folder / "tased.safetensors")
    torch.save(state, folder / "TASED_updated.pt")
    torch.save(kinetics(state), folder / "S3D_kinetics400.pt")
    write_dhf1k(folder / "DHF1K", {1: 9, 2: 8, 601: 2, 602: 3, 701: 2, 702: 1})
    write_ucfsports(folder / "UCFSports", {"Diving-Side-001": (9, (36, 64)), "Golf-002": (8, (36, 64))}, {})
    write_clips(folder / "mine", {"park": (24, (36, 64)), "street": (3, (36, 64)), "market": (1, (36, 64))})
    (folder / "mine" / "train.txt").write_text("park\nstreet\n")
    write_maps(folder / "maps", {601: 2, 602: 3})
    write_maps(folder / "other", {601: 2, 602: 3}, noise=0.8)
    scored = ["evaluate", str(folder / "other"), "--data", str(folder / "DHF1K"), "--dataset", "dhf1k", "--quiet"]
    assert cli.main(scored) == 0
    write_maps(folder / "maps_of_test", {701: 2, 702: 1})
    for place in (".local/share/bash-completion/completions", ".zfunc"):
        (folder / place).mkdir(parents=True)


def kinetics(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder's weights under the names of S3D's file."""
    first = {"base1": 0, "base2": 5, "base3": 8, "base4": 14}
    names = {name: name.split(".", 2) for name in state if name.startswith("base")}
    return {f"base.{first[base] + int(index)}.{rest}": state[name] for name, (base, index, rest) in names.items()}


def smaller(arguments: list[str]) -> list[str]:
    """A command line of `tased`, with options that make it short; of two that say the same the last one counts."""
    command, weights = arguments[0], "--weights" in arguments
    if command == "predict":
        return [*arguments, *SIZE, *(OF_THE_FILE if weights else ())]
    if command == "evaluate":
        return [*arguments, *(SIZE if weights else ()), *(("--workers", "0") if "--workers" in arguments else ())]
    if command == "synth":
        return [*arguments, "--videos", "2", "--frames", "8-9", "--size", "36x64", "--workers", "1"]
    if command == "train" and "--resume" not in arguments:
        return [*arguments, *SHORT_RUN]
    if command == "train" and "--steps" in arguments:
        return [*arguments, "--steps", "3"]
    return arguments


def results(arguments: list[str]) -> Path | None:
    """What a command writes and will not replace."""
    if arguments[0] == "predict":
        return Path(arguments[arguments.index("-o") + 1])
    return Path(arguments[2]) if arguments[0] == "convert" else None


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs are made of the CPU; networks and predictors are kept, and nothing is drawn, as that is what takes time."""
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # what is set there is undone
    monkeypatch.setattr(predict, "devices", devices)
    monkeypatch.setattr(predict, "network", network)
    monkeypatch.setattr(predict, "Predictor", predictor)
    monkeypatch.setitem(DATASETS["dhf1k"].expected, "test", range(701, 703))
    for name in ("draw_losses", "draw_scenes"):
        monkeypatch.setattr(trainer, name, nothing)
    for name in ("plot_videos", "plot_time", "draw_frames"):
        monkeypatch.setattr(evaluate, name, nothing)


def nothing(*arguments: object) -> None:
    pass


def devices(options: argparse.Namespace) -> tuple[torch.device, ...]:
    return tuple(torch.device("cpu") for name in (options.device or "cpu").split(",") if torch.device(name))


def network(options: argparse.Namespace) -> TASEDNet:
    return cached_network(options.weights)


@cache
def cached_network(weights: str) -> TASEDNet:
    return shared.network(
        argparse.Namespace(weights=weights, **({} if weights in BUNDLED else VARIANT), seed=0, device="cpu")
    )


predictor = cache(Predictor)
