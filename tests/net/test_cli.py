"""The command, end to end: what it writes, what it says, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tased_net import TASEDNet, cli
from tased_net.video import PyAVReader, VideoFrame, video_writer

SMALL = ["--clip-length", "8", "--width", "0.02", "--size", "32x48"]


def make_clip(path: Path, frames: int = 10) -> Path:
    """A bright square that moves over a slope, at 12.5 frames a second."""
    with video_writer(path, Fraction(25, 2), Fraction(2, 25)) as write:
        for number in range(frames):
            image = np.repeat(np.linspace(0, 120, 72, dtype=np.uint8)[None, :, None], 48, 0).repeat(3, 2)
            image[10:26, 4 * number : 4 * number + 16] = 250
            write(VideoFrame(image, Fraction(2 * number, 25)))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command has said to stderr since the last call; nothing ever goes to stdout."""

    def read() -> str:
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return read


def tased(*arguments: object) -> int:
    return cli.main(["predict", *SMALL, *map(str, arguments)])


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# ------------------------------------------------------------------------------------------------------- what it writes


def test_an_overlay_in_a_folder(tmp_path: Path, clip: Path, said: Any) -> None:
    assert tased(clip, "-o", tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == ["clip_saliency.mp4"]
    with PyAVReader(tmp_path / "out" / "clip_saliency.mp4") as video:
        assert video.rate == Fraction(25, 2)
        frames = list(video)
    assert len(frames) == 10
    assert frames[0].image.shape == (48, 72, 3)
    message = said()
    assert "no --weights given: the network is untrained, with random weights (seed 0)" in message
    assert "clip.mp4: 100%" in message
    assert "clip_saliency.mp4: 10 frames" in message


def test_an_overlay_in_a_file(tmp_path: Path, clip: Path) -> None:
    assert tased(clip, "-o", tmp_path / "here.mp4", "--alpha", "0.5", "--precision", "bfloat16") == 0
    assert files_in(tmp_path) == ["clip.mp4", "here.mp4"]


def test_maps_in_a_folder_a_video(tmp_path: Path, clip: Path) -> None:
    other = make_clip(tmp_path / "other.mp4", frames=3)
    assert tased(clip, other, "-o", tmp_path / "out.d", "--format", "maps") == 2  # that would be a file
    assert tased(clip, other, "-o", tmp_path / "out", "--format", "maps", "--precision", "float64") == 0
    assert files_in(tmp_path / "out") == ["clip", "other"]
    assert files_in(tmp_path / "out" / "clip") == [f"{number:04d}.png" for number in range(1, 11)]
    with Image.open(tmp_path / "out" / "other" / "0003.png") as image:
        assert (image.mode, image.size) == ("L", (48, 32))
        assert image.getextrema()[1] == 255


def test_a_folder_with_a_dot_is_a_folder_if_it_is_there(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "run.1").mkdir()
    assert tased(clip, "-o", tmp_path / "run.1") == 0
    assert files_in(tmp_path / "run.1") == ["clip_saliency.mp4"]


def test_the_seed_decides_the_maps_and_weights_do(tmp_path: Path, clip: Path, said: Any) -> None:
    def first_map(name: str, *arguments: object) -> bytes:
        assert tased(clip, "-o", tmp_path / name, "--format", "maps", "--quiet", *arguments) == 0
        return (tmp_path / name / "clip" / "0001.png").read_bytes()

    zero, one = first_map("a"), first_map("b", "--seed", 1)
    assert zero != one
    assert said().count("untrained") == 2
    torch.manual_seed(1)
    torch.save(TASEDNet(clip_length=8, width=0.02).state_dict(), tmp_path / "one.pt")
    assert first_map("c", "--weights", tmp_path / "one.pt") == one
    assert said() == ""


# ---------------------------------------------------------------------------------------------------- when things go wrong


def test_results_are_not_overwritten_unless_asked(tmp_path: Path, clip: Path, said: Any) -> None:
    for format, result in (("overlay", "clip_saliency.mp4"), ("maps", "clip")):
        arguments = (clip, "-o", tmp_path / "out", "--format", format)
        assert tased(*arguments) == 0
        said()
        assert tased(*arguments) == 1
        message = said()
        assert f"{tmp_path / 'out' / result} is there already: give --overwrite to replace it" in message
        assert tased(*arguments, "--overwrite") == 0


def test_a_broken_video_does_not_stop_the_others(tmp_path: Path, clip: Path, said: Any) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    assert tased(broken, clip, tmp_path / "nowhere.mp4", "-o", tmp_path / "out") == 1
    message = said()
    assert f"tased: error: {broken}: not a video, or damaged at its beginning\n" in message
    assert f"tased: error: {tmp_path / 'nowhere.mp4'}: no such file\n" in message
    assert "tased: 2 of 3 videos failed\n" in message
    assert "Traceback" not in message
    assert files_in(tmp_path / "out") == ["clip_saliency.mp4"]


def test_a_video_cut_short_gives_a_warning_and_a_result(tmp_path: Path, said: Any) -> None:
    cut = tmp_path / "cut.mp4"
    with video_writer(cut, Fraction(25), Fraction(1, 25)) as write:
        for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 48, 72, 3), np.uint8)):
            write(VideoFrame(image, Fraction(number, 25)))
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) * 3 // 4])  # the index comes first, so the frames before the cut can be read
    assert tased(cut, "-o", tmp_path / "out") == 0
    message = said()
    assert f"tased: warning: {cut}: damaged or cut short, only the " in message
    assert files_in(tmp_path / "out") == ["cut_saliency.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "b.mp4", "-o", "c.mp4"], "-o c.mp4: 2 videos do not go into one file, name a folder"),
        (["a.mp4", "-o", "c.avi"], "-o c.avi: overlays are MP4 files, name one that ends in .mp4, or a folder"),
        (["a.mp4", "-o", "c.png", "--format", "maps"], "-o c.png: maps are many files, name a folder"),
        (["x/a.mp4", "y/a.avi", "-o", "out"], "out/a_saliency.mp4 would be the result of several videos"),
        (["a.mp4", "-o", "./a.mp4", "--overwrite"], "-o a.mp4: a.mp4 is a video to read"),
        (["a.mp4", "-o", "out", "--clip-length", "12"], "--clip-length must be 4 or a multiple of 8, got 12"),
        (["a.mp4", "-o", "out", "--width", "-1"], "--width must be a positive number, got -1.0"),
        (["a.mp4", "-o", "out", "--device", "abacus"], "--device abacus: "),
        (["a.mp4", "-o", "out", "--weights", "nowhere.pt"], "nowhere.pt: no such file"),
    ],
)
def test_command_lines_that_make_no_sense_are_refused(arguments: list[str], message: str, said: Any) -> None:
    assert tased(*arguments) == 2
    assert f"tased: error: {message}" in said()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VIDEO, -o/--output"),
        (["a.mp4", "-o", "out", "--size", "224"], "want HxW such as 224x384, both at least 17, got '224'"),
        (["a.mp4", "-o", "out", "--size", "16x384"], "want HxW such as 224x384, both at least 17, got '16x384'"),
        (["a.mp4", "-o", "out", "--alpha", "2"], "want a number from 0 to 1, got '2'"),
        (["a.mp4", "-o", "out", "--format", "gif"], "invalid choice: 'gif'"),
    ],
)
def test_options_that_do_not_exist_are_refused(arguments: list[str], message: str, said: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["predict", *arguments])
    assert caught.value.code == 2
    assert message in said()


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        tased(tmp_path / "nowhere.mp4", "-o", tmp_path / "out", "--debug")


@pytest.mark.parametrize("format", ["overlay", "maps"])
def test_ctrl_c_leaves_whole_files_only(
    tmp_path: Path, clip: Path, said: Any, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    calls = iter([None] * 4)
    forward = TASEDNet.forward

    def interrupted(net: TASEDNet, clip: torch.Tensor) -> torch.Tensor:
        if next(calls, "stop"):
            raise KeyboardInterrupt
        return forward(net, clip)

    monkeypatch.setattr(TASEDNet, "forward", interrupted)
    assert tased(clip, "-o", tmp_path / "out", "--format", format) == 130
    assert said().endswith("tased: stopped\n")
    written = [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert sorted(written) == ([] if format == "overlay" else [f"{number:04d}.png" for number in range(1, 5)])


def test_ctrl_c_in_a_terminal(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=400)
    arguments = ["predict", *SMALL, str(clip), "-o", str(tmp_path / "out")]
    command = subprocess.Popen(
        [sys.executable, "-m", "tased_net.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for _ in wait_up_to(120):
        if any((tmp_path / "out").glob(".*.part")):
            break
    command.send_signal(signal.SIGINT)
    _, message = command.communicate(timeout=120)
    assert command.returncode == 130
    assert message.endswith("tased: stopped\n")
    assert "Traceback" not in message
    assert files_in(tmp_path / "out") == []


def wait_up_to(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
    pytest.fail(f"nothing happened in {seconds} seconds")


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["predict", "--help"])
    assert caught.value.code == 0
    assert "tased predict street.mp4 -o street_saliency.mp4" in capsys.readouterr().out
