"""The guide to `tased predict`: its commands and its Python run as they stand, on a small network and a short video."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from tased_net import TASEDNet, cli
from tased_net.video import VideoFrame, video_writer, write_image

PAGE = Path(__file__).parents[2] / "docs" / "guide.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in LINES if "tased " in line or "tased_net.cli" in line]
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)

VARIANT = {"clip_length": 8, "width": 0.02}
SMALL = "--size 32x48 --clip-length 8 --width 0.02"
SMALLER = {  # what the guide's Python says, and what is run in its place
    "TASEDNet()": "TASEDNet(clip_length=8, width=0.02)",
    "Predictor(net)": "Predictor(net, size=(32, 48))",
    "rtsp://camera.local/stream": "street.mp4",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the guide names, and the places of its commands, in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # so that what is set there is undone
    images = [np.full((48, 72, 3), 20 * number, np.uint8) for number in range(9)]
    for name in ("street.mp4", "skate_60fps.mp4", "market.webm", "clips/a.mp4", "clips/b.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        write_video(Path(name), images)
    Path("frames").mkdir()
    for number, image in enumerate(images):
        write_image(Path(f"frames/{number}.png"), image)
    torch.manual_seed(0)
    torch.save(TASEDNet(**VARIANT).state_dict(), "TASED_updated.pt")


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
    # There are no two GPUs, and another test starts a cluster.
    monkeypatch.setattr("tased_net.commands.predict.devices", lambda options: devices(options.device))
    monkeypatch.setattr("tased_net.commands.predict._cluster", lambda options, *_: refuse_unless_ray(options.cluster))
    ranks = int(re.search(r"--nproc-per-node (\d+)", launcher)[1]) if launcher else 1
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        assert cli.main([*shlex.split(arguments), *shlex.split(SMALL)]) == 0
    output = Path(arguments.split("-o ")[1].split()[0])
    assert any(output.iterdir())
    assert not any(output.glob(".*"))


def devices(names: str | None) -> list[torch.device]:
    return [torch.device(torch.device(name).type and "cpu") for name in (names or "cpu").split(",")]


def refuse_unless_ray(cluster: str | None) -> None:
    assert cluster is None or re.fullmatch(r"ray(:[\d.]+:\d+)?", cluster)


@pytest.mark.parametrize("name", re.findall(r"^\*\*`([\w-]+)`(?:, `([\w-]+)`)?", TEXT, flags=re.MULTILINE))
def test_files_are_called_as_the_guide_says(name: tuple[str, str]) -> None:
    paragraph = TEXT[TEXT.index(f"**`{name[0]}`") :].split("\n\n")[0].replace("\n", " ")
    formats = list(filter(None, name))
    arguments = f"predict street.mp4 -o out --weights TASED_updated.pt {SMALL} --format {' '.join(formats)}"
    assert cli.main(arguments.split()) == 0
    said = re.findall(r"`(out/[^`]+|\.webp)`", paragraph)
    for path in [str(Path(said[0]).with_suffix(one)) if one.startswith(".") else one for one in said]:
        assert Path(path).is_file(), path


def test_every_format_has_its_picture() -> None:
    from tased_net.writers import WRITERS

    described = {
        name for pair in re.findall(r"^\*\*`([\w-]+)`(?:, `([\w-]+)`)?", TEXT, flags=re.MULTILINE) for name in pair
    }
    assert described - {""} == set(WRITERS)
    pictures = re.findall(r"!\[[^]]+\]\((guide/[^)]+)\)", TEXT)
    assert {path.name for path in (PAGE.parent / "guide").iterdir()} == {Path(picture).name for picture in pictures}
    assert all((PAGE.parent / picture).stat().st_size < 120_000 for picture in pictures)


def test_the_guide_s_python_runs() -> None:
    names: dict[str, object] = {"__name__": "guide"}
    text = "\n".join(BLOCKS)
    for said, run in SMALLER.items():
        assert said in text
        text = text.replace(said, run)
    exec(compile(text, str(PAGE), "exec"), names)
    assert Path("street_saliency.mp4").is_file()
    assert names["maps"].shape == (9, 32, 48)
