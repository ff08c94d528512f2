"""The guide to `tased predict`: its commands and its Python run as they stand, on a small network and a short video."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tased_net import Predictor, TASEDNet, cli
from tased_net.commands import shared
from tased_net.video import VideoFrame, video_writer, write_image
from tased_net.weights import BUNDLED
from tased_net.writers import WRITERS

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in LINES if "tased " in line or "tased_net.cli" in line]
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)

VARIANT = {"clip_length": 8, "width": 0.02}
SMALL = "--size 32x48"
OF_THE_FILE = "--clip-length 8 --width 0.02"  # what TASED_updated.pt is here
SMALLER = {  # what the guide's Python says, and what is run in its place
    "TASEDNet()": "TASEDNet(clip_length=8, width=0.02)",
    "Predictor(net)": "Predictor(net, size=(32, 48))",
    "rtsp://camera.local/stream": "street.mp4",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the guide names."""
    files = tmp_path_factory.mktemp("files")
    images = [np.full((48, 72, 3), 20 * number, np.uint8) for number in range(9)]
    for name in ("clips", "frames"):
        (files / name).mkdir()
    for name in ("street.mp4", "skate_60fps.mp4", "market.webm", "clips/a.mp4", "clips/b.mp4"):
        write_video(files / name, images)
    for number, image in enumerate(images):
        write_image(files / "frames" / f"{number}.png", image)
    torch.manual_seed(0)
    torch.save(TASEDNet(**VARIANT).state_dict(), files / "TASED_updated.pt")
    return files


@pytest.fixture(autouse=True)
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, and two GPUs made of the CPU; predictors are kept, as it is making them that takes time."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # what is set there is undone
    monkeypatch.setattr("tased_net.commands.predict.devices", devices)
    monkeypatch.setattr("tased_net.commands.predict.network", network)
    monkeypatch.setattr("tased_net.commands.predict.Predictor", predictor)


def devices(options: argparse.Namespace) -> tuple[torch.device, ...]:
    return tuple(torch.device("cpu") for name in (options.device or "cpu").split(",") if torch.device(name))


def network(options: argparse.Namespace) -> TASEDNet:
    return cached_network(options.weights)


@cache
def cached_network(weights: str) -> TASEDNet:
    return shared.network(argparse.Namespace(weights=weights, **({} if weights in BUNDLED else VARIANT), seed=0))


predictor = cache(Predictor)


def write_video(path: Path, images: list[np.ndarray]) -> None:
    with video_writer(path, Fraction(60), Fraction(1, 60)) as write:
        for number, image in enumerate(images):
            write(VideoFrame(image, Fraction(number, 60)))


@pytest.fixture
def street_on_standard_input(folder: None) -> Iterator[None]:
    before, file = os.dup(0), os.open("street.mp4", os.O_RDONLY)
    os.dup2(file, 0)
    yield
    os.dup2(before, 0)
    os.close(before)
    os.close(file)


def test_other_lines_are_no_commands_of_ours() -> None:
    assert set(LINES) - set(COMMANDS) == {"pip install .", "xdg-open out/street_saliency.mp4"}


@pytest.mark.usefixtures("street_on_standard_input")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_guide_s_commands_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = command.rpartition("| ")[2].partition(" >")[0].replace("https://example.org", tmp_path.as_uri())
    launcher, program, arguments = re.fullmatch(r"(torchrun .*?-m )?(tased(?:_net\.cli)?) (.*)", ours).groups()
    assert (program == "tased") == (launcher is None)
    if arguments.startswith("--print-completion"):
        with pytest.raises(SystemExit) as exit:
            cli.main(shlex.split(arguments))
        assert exit.value.code == 0
        assert "predict" in capsys.readouterr().out
        return
    # Another test starts a cluster.
    monkeypatch.setattr("tased_net.commands.predict._cluster", lambda options, *_: refuse_unless_ray(options.cluster))
    ranks = int(re.search(r"--nproc-per-node (\d+)", launcher)[1]) if launcher else 1
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        small = f"{SMALL} {OF_THE_FILE if '--weights' in arguments else ''}"
        assert cli.main([*shlex.split(arguments), *shlex.split(small)]) == 0
    output = Path(arguments.split("-o ")[1].split()[0])
    assert any(output.iterdir())
    assert not any(output.glob(".*"))


def refuse_unless_ray(cluster: str | None) -> None:
    assert cluster is None or re.fullmatch(r"ray(:[\d.]+:\d+)?", cluster)


def test_every_format_is_described_with_the_files_that_it_writes() -> None:
    paragraphs = [part.replace("\n", " ") for part in TEXT.split("\n\n") if part.startswith("**`")]
    names = [name for part in paragraphs for name in re.findall(r"`([\w-]+)`", re.split(r"\*\*[:,]", part)[0])]
    assert sorted(names) == sorted(WRITERS)
    assert cli.main(f"predict street.mp4 -o out {SMALL} --format {' '.join(WRITERS)}".split()) == 0
    written = {file.as_posix() for file in Path("out").iterdir()} - {"out/street"} | {"out/street/0001.png"}
    said = re.findall(r"`(out/street[^`]+)`", " ".join(paragraphs))
    assert {*said, "out/street_saliency.webp"} == written


def test_every_format_has_its_picture() -> None:
    pictures = {PAGE.parent / picture for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)}
    assert set((PAGE.parent / "guide").iterdir()) == pictures
    assert {picture.stem for picture in pictures} >= set(WRITERS) - {"webp"}
    assert all(picture.stat().st_size < 120_000 for picture in pictures)


def test_the_guide_s_python_runs() -> None:
    names: dict[str, object] = {"__name__": "guide"}
    text = "\n".join(BLOCKS)
    for said, run in SMALLER.items():
        assert said in text
        text = text.replace(said, run)
    exec(compile(text, str(PAGE), "exec"), names)
    assert Path("street_saliency.mp4").is_file()
    assert names["maps"].shape == (9, 32, 48)
