"""The command, end to end: what it writes, what it says, how it ends."""

from __future__ import annotations

import os
import re
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

from net.clips import SMALL
from tased_net import Predictor, TASEDNet, cli, weights
from tased_net.video import PyAVReader, VideoFrame, video_writer


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
    assert "the network is untrained, with random weights (seed 0)" in message
    assert "clip_saliency.mp4: 10 frames in 0:0" in message


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


def test_fps_changes_the_clips_and_not_the_number_of_maps(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=20)  # 12.5 frames a second
    maps = []
    for folder, fps in (("same", 12.5), ("half", 6.25)):
        assert tased(clip, "-o", tmp_path / folder, "--format", "maps", "--fps", fps) == 0
        assert len(files_in(tmp_path / folder / "clip")) == 20
        maps.append((tmp_path / folder / "clip" / "0020.png").read_bytes())
    assert tased(clip, "-o", tmp_path / "own", "--format", "maps") == 0
    assert maps[0] == (tmp_path / "own" / "clip" / "0020.png").read_bytes() != maps[1]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--fps", "0"), "argument --fps: want a positive number, got '0'"),
        (("--fps", "fast"), "argument --fps: want a positive number, got 'fast'"),
        (("--fps", "inf"), "argument --fps: want a positive number, got 'inf'"),
        (("--alpha", "1.5"), "argument --alpha: want a number from 0 to 1, got '1.5'"),
        (("--alpha", "nan"), "argument --alpha: want a number from 0 to 1, got 'nan'"),
    ],
)
def test_numbers_out_of_range_are_refused(option: tuple[str, str], sentence: str, said: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        tased("a.mp4", "-o", "out", *option)
    assert stop.value.code == 2
    assert said().endswith(f"tased predict: error: {sentence}\n")


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
    assert f"tased: 2 of 3 videos failed:\ntased:   {broken}   not a video, or damaged at its beginning\n" in message
    assert f"tased:   {tmp_path / 'nowhere.mp4'}  no such file\n" in message
    assert "tased: the same command tries again what failed, and leaves what is done\n" in message
    assert "Traceback" not in message
    assert files_in(tmp_path / "out") == [".tased-predict.jsonl", "clip_saliency.mp4"]
    done = (tmp_path / "out" / "clip_saliency.mp4").stat()
    make_clip(broken)
    make_clip(tmp_path / "nowhere.mp4")
    assert tased(broken, clip, tmp_path / "nowhere.mp4", "-o", tmp_path / "out") == 0
    assert "tased: going on: 1 of 3 videos are done\n" in said()
    assert files_in(tmp_path / "out") == ["broken_saliency.mp4", "clip_saliency.mp4", "nowhere_saliency.mp4"]
    assert (tmp_path / "out" / "clip_saliency.mp4").stat() == done


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
        (["a.mp4", "-o", "c.avi"], "-o c.avi: overlay is a .mp4 file, name one that ends so, or a folder"),
        (["a.mp4", "-o", "c.png", "--format", "maps"], "-o c.png: maps are many files, name a folder"),
        (["x/a.mp4", "y/a.avi", "-o", "out"], "out/a_saliency.mp4 would be the result of several videos"),
        (["a.mp4", "-o", "./a.mp4", "--overwrite"], "-o a.mp4: a.mp4 is a video to read"),
        (["a.mp4", "-o", "out", "--clip-length", "12"], "--clip-length must be 4 or a multiple of 8, got 12"),
        (["a.mp4", "-o", "out", "--width", "-1"], "--width must be a positive number of at most 64, got -1.0"),
        (["a.mp4", "-o", "out", "--device", "abacus"], "--device abacus: "),
        (["a.mp4", "-o", "out", "--device", "cpu,abacus"], "--device cpu,abacus: "),
        (["a.mp4", "-o", "out", "--weights", "nowhere.pt"], "nowhere.pt: no such file"),
        (["a.mp4", "-o", "out", "--colormap", "inferna"], "colormap must be one of matplotlib's, such as inferno, "),
        (["a.mp4", "-o", "out", "--memory", "0.01"], "one window of 8 frames at 32x48 needs 0."),
        (["a.mp4", "-o", "out", "--cluster", "slurm"], "--cluster slurm: want ray, or ray:ADDRESS"),
        (["a.mp4", "-o", "a.mp4/out"], "-o a.mp4/out: cannot be written to (Not a directory)"),
    ],
)
def test_command_lines_that_make_no_sense_are_refused(
    arguments: list[str], message: str, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    assert tased(*arguments) == 2
    assert f"tased: error: {message}" in said()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VIDEO, -o/--output"),
        (["a.mp4", "-o", "out", "--size", "224"], "want HxW such as 224x384, both at least 17, got '224'"),
        (["a.mp4", "-o", "out", "--size", "16x384"], "want HxW such as 224x384, both at least 17, got '16x384'"),
        (["a.mp4", "-o", "out", "--alpha", "2"], "want a number from 0 to 1, got '2'"),
        (["a.mp4", "-o", "out", "--smooth", "-1"], "want a number of pixels, 0 or more, got '-1'"),
        (["a.mp4", "-o", "out", "--memory", "0"], "want a positive number of GiB, got '0'"),
        (["a.mp4", "-o", "out", "--format", "bmp"], "invalid choice: 'bmp'"),
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
    calls = iter([None] * 7)  # 2 to see how much memory it takes, 4 for the first 7 frames, and then for 2 more
    decode = TASEDNet.decode

    def interrupted(net: TASEDNet, *arguments: Any) -> torch.Tensor:
        if next(calls, "stop"):
            raise KeyboardInterrupt
        return decode(net, *arguments)

    monkeypatch.setattr(TASEDNet, "decode", interrupted)
    assert tased(clip, "-o", tmp_path / "out", "--format", format) == 130
    assert said().endswith("tased: stopped: the same command goes on\n")
    written = sorted(file.name for file in (tmp_path / "out").rglob("*") if file.is_file())
    log = [".tased-predict.jsonl"]
    assert written == log + ([] if format == "overlay" else [f"{number:04d}.png" for number in range(1, len(written))])
    assert len(written) <= 10


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_a_terminal_or_a_scheduler_s_end(tmp_path: Path, stop: signal.Signals) -> None:
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
    command.send_signal(stop)
    _, message = command.communicate(timeout=120)
    assert command.returncode == 130
    assert message.endswith("tased: stopped: the same command goes on\n")
    assert "Traceback" not in message
    assert files_in(tmp_path / "out") == [".tased-predict.jsonl"]


LOADING = """
import os, signal, sys
from tased_net import cli

class Stopped:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            os.kill(os.getpid(), int(sys.argv[1]))

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Stopped())
sys.exit(cli.main(["info"]))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_python_loads_is_a_sentence(stop: signal.Signals) -> None:
    command = [sys.executable, "-c", LOADING, str(stop.value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "tased: stopped\n")


def test_ctrl_c_when_all_is_told_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(arguments: object, came: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 1

    monkeypatch.setattr("tased_net.commands.main.run", told)
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "tased: stopped\n"


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


# ------------------------------------------------------------------------------------------------------- info and convert


def test_info_prints_a_stage_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    stages = {line.split()[0]: line.split()[1:] for line in lines}
    assert stages["base1"][:3] == ["192x16x56x96", "264,512", "35.72"]
    assert stages["convtsp2"][:3] == ["480x4x14x24", "3,595,200", "4.83"]
    assert stages["upsample3"][:3] == ["192x4x56x96", "0", "0.00"]
    assert stages["upsample3"][3:] == ["15.8", "MiB"]  # 192 * 4 * 56 * 96 * 4 bytes
    assert stages["total"][:2] == ["21,260,693", "78.46"]
    assert "21,200,000    63.20" in lines[-2]
    assert "has 62.35 GMAC" in lines[-1]


def test_info_shows_any_variant_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "--decoder", "unet", "--clip-length", "8", "--maps", "2", "--size", "90x160"]) == 0
    out = capsys.readouterr().out
    assert "decoder    96x1x23x40" in out
    assert "convtsp4   2x1x92x160" in out


def test_info_of_an_impossible_variant_is_one_sentence(said: Any) -> None:
    assert cli.main(["info", "--clip-length", "12"]) == 2
    assert said() == "tased: error: --clip-length must be 4 or a multiple of 8, got 12\n"


@pytest.mark.parametrize(
    "command",
    ["predict {clip} -o {out} --weights {file} --size 32x48", "info --weights {file}", "convert {file} {out}"],
)
def test_a_command_reads_its_weights_once(
    command: str, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.safetensors"
    TASEDNet(clip_length=8, width=0.125).save_pretrained(file)
    seen: list[str] = []
    read = weights._read
    monkeypatch.setattr(weights, "_read", lambda path: seen.append(str(path)) or read(path))
    out = tmp_path / "out.safetensors" if command.startswith("convert") else tmp_path / "out"
    assert cli.main(command.format(clip=clip, file=file, out=out).split()) == 0
    assert seen == [str(file)]


def test_weights_of_the_package_are_the_default_and_say_what_they_are(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["info", "--weights", "synthetic"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "convtsp4   1x1x112x192 " in "\n".join(lines)
    assert re.fullmatch(r"Weights synthetic: learned from synthetic clips .*no human gaze.*\.", lines[-1])
    out = tmp_path / "out"
    assert cli.main(["predict", str(clip), "-o", str(out), "--format", "npz", "report"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "tased: w" + lines[-1][1:].rstrip(".")
    with np.load(out / "clip_maps.npz") as file:
        assert file["maps"].shape == (10, 112, 192)
    assert "synthetic clips" in (out / "clip_report.html").read_text()
    assert cli.main(["predict", str(clip), "-o", str(out), "--width", "0.5"]) == 2
    assert capsys.readouterr().err == (
        "tased: error: --width: the weights that come with the package are those of TASEDNet(clip_length=16, width=0.25); give "
        "--weights FILE for others, or --weights none for random ones\n"
    )


def test_convert_states_size_and_origin(tmp_path: Path, said: Any) -> None:
    torch.save(TASEDNet(clip_length=8, width=0.02).state_dict(), tmp_path / "w.pt")
    one, two = str(tmp_path / "one.safetensors"), str(tmp_path / "two.safetensors")
    assert cli.main(["convert", str(tmp_path / "w.pt"), one, "--about", "learned from a zoo", "--size", "32x48"]) == 0
    assert cli.main(["convert", one, two]) == 0
    for file in (one, two):
        net = TASEDNet.from_pretrained(file)
        assert (net.origin.about, Predictor(net).size) == ("learned from a zoo", (32, 48))


def test_convert_finds_the_variant_and_predict_uses_it(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    net = TASEDNet(clip_length=16, width=0.25, aggregation="late", maps=2)
    torch.save({f"module.{name}": value for name, value in net.state_dict().items()}, tmp_path / "w.pt")
    target = tmp_path / "new" / "w.safetensors"
    assert cli.main(["convert", str(tmp_path / "w.pt"), str(target), "--dtype", "float16"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{target}: TASEDNet(clip_length=16, aggregation='late', maps=2, width=0.25)\n"
    assert err == ""
    back = TASEDNet.from_pretrained(target)
    assert torch.equal(
        back.get_parameter("base1.0.conv_s.weight"), net.get_parameter("base1.0.conv_s.weight").half().float()
    )
    assert cli.main(["convert", str(target), str(tmp_path / "again.safetensors")]) == 0  # halves stay halves
    assert (tmp_path / "again.safetensors").read_bytes() == target.read_bytes()
    capsys.readouterr()
    arguments = ["predict", "--size", "32x48", str(clip), "-o", str(tmp_path / "out"), "--weights", str(target)]
    assert cli.main([*arguments, "--format", "maps"]) == 0
    assert len(files_in(tmp_path / "out" / "clip")) == 10
    assert cli.main([*arguments, "--clip-length", "8"]) == 2
    assert "it would fit TASEDNet(clip_length=16, aggregation='late', maps=2, width=0.25)" in capsys.readouterr().err


def test_convert_of_four_frames_takes_the_clip_length(tmp_path: Path) -> None:
    torch.save(TASEDNet(clip_length=4, width=0.02).state_dict(), tmp_path / "w.pt")
    target = tmp_path / "w.safetensors"
    assert cli.main(["convert", str(tmp_path / "w.pt"), str(target)]) == 0
    assert TASEDNet.from_pretrained(target).clip_length == 8
    assert cli.main(["convert", str(tmp_path / "w.pt"), str(target), "--clip-length", "4", "--overwrite"]) == 0
    assert TASEDNet.from_pretrained(target).clip_length == 4


def test_convert_refuses_what_it_cannot_do(tmp_path: Path, said: Any) -> None:
    state = TASEDNet(clip_length=8, width=0.02).state_dict()
    source = tmp_path / "w.pt"
    torch.save(state, source)
    target = tmp_path / "w.safetensors"

    def refusal(*arguments: object) -> str:
        assert cli.main(["convert", *map(str, arguments)]) == 2
        message = said()
        assert message.count("\n") == 1
        return str(message)

    assert "name a file that ends in .safetensors" in refusal(source, tmp_path / "w.pth")
    assert "nowhere.pt: no such file" in refusal(tmp_path / "nowhere.pt", target)
    for about in ("one line\nand another", "a" * 301):
        sentence = "--about: what it says about its origin is no line of at most 300 characters"
        assert sentence in refusal(source, target, "--about", about)
    assert not target.exists()
    target.write_text("mine")
    assert "is there already: give --overwrite to replace it" in refusal(source, target)
    assert target.read_text() == "mine"
    target.unlink()
    torch.save({name: value for name, value in state.items() if name.startswith("base")}, source)
    assert "holds the encoder only, which is no network to convert" in refusal(source, target)
    torch.save({**state, "extra": torch.zeros(1)}, source)
    assert "fits no variant of TASEDNet" in refusal(source, target)
    assert "does not fit TASEDNet(clip_length=16, " in refusal(*saved_with_length(tmp_path, state), "--clip-length", 16)
    assert not target.exists()


def saved_with_length(folder: Path, state: dict[str, torch.Tensor]) -> tuple[Path, Path]:
    torch.save(state, folder / "w.pt")
    return folder / "w.pt", folder / "w.safetensors"
