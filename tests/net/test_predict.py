"""From a video to files: threads, memory that does not grow, what is decoded twice, going on where a run was stopped."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from net.clips import files_of
from tased_net import Predictor, Style, TASEDNet, VideoError, postprocess, predict, predictor, render_video
from tased_net.predict import ahead, maps_in
from tased_net.sliding import sliding_windows
from tased_net.video import READERS, RGB, PyAVReader, VideoFrame, VideoReader, video_writer

SIZE = (32, 48)


def small_predictor(**options: Any) -> Predictor:
    torch.manual_seed(0)
    return Predictor(TASEDNet(**{"clip_length": 8, "width": 0.02, **options}), size=SIZE)


def noise(count: int, height: int = 40, width: int = 60) -> list[RGB]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def make_clip(path: Path, frames: int) -> Path:
    with video_writer(path, Fraction(25), Fraction(1, 25)) as write:
        for number, image in enumerate(noise(frames)):
            write(VideoFrame(image, Fraction(number, 25)))
    return path


def test_fps_spreads_the_clips_of_a_fast_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with video_writer(tmp_path / "fast.mp4", Fraction(60), Fraction(1, 60)) as write:
        for number, image in enumerate(noise(20, *SIZE)):
            write(VideoFrame(image, Fraction(number, 60)))
    steps: list[Fraction] = []
    monkeypatch.setattr(
        predictor, "sliding_windows", lambda *arguments: steps.append(arguments[3]) or sliding_windows(*arguments)
    )
    for fps in (30, 60, 24000 / 1001, None):
        assert render_video(small_predictor(), tmp_path / "fast.mp4", {"overlay": tmp_path / "out.mp4"}, fps=fps) == 20
    assert steps == [2, 1, Fraction(60 * 1001, 24000), 1]


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ({"tiff": "a"}, {}, "formats must be some of 'overlay', 'heatmap', .*, got 'tiff'"),
        ({}, {}, "formats must be some of 'overlay', "),
        ({"overlay": "b.mp4"}, {"fps": 0}, "fps must be a positive number, got 0"),
        ({"overlay": "b.mp4"}, {"reader": "cv2"}, "reader must be one of 'pyav', 'skvideo', got 'cv2'"),
    ],
)
def test_what_does_not_exist_is_refused(
    tmp_path: Path, targets: dict[str, str], options: dict[str, Any], message: str
) -> None:
    clip = make_clip(tmp_path / "a.mp4", 2)
    with pytest.raises(ValueError, match=message):
        render_video(small_predictor(), clip, {name: tmp_path / file for name, file in targets.items()}, **options)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


# ------------------------------------------------------------------------------------------------------------- smoothing


def test_smoothing_is_a_gaussian_that_goes_with_the_size() -> None:
    for height, width in ((224, 384), (112, 384), (448, 192)):
        impulse = torch.zeros(height, width)
        impulse[height // 2, width // 2] = 1
        smooth = postprocess(impulse)
        assert smooth.max() == 1
        for axis, length, full in ((0, height, 224), (1, width, 384)):
            profile = smooth.sum(axis=1 - axis) / smooth.sum()
            position = np.arange(length) - length // 2
            assert np.sqrt((profile * position**2).sum()) == pytest.approx(7 * length / full, rel=0.01)


def test_a_map_of_zeros_stays_one() -> None:
    assert not postprocess(np.zeros((32, 48))).any()


# --------------------------------------------------------------------------------------------------------------- threads


def test_items_are_taken_ahead_in_a_thread_of_their_own() -> None:
    taken: list[tuple[int, str]] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            taken.append((number, threading.current_thread().name))
            yield number

    items = ahead(numbers())
    assert next(items) == 0
    while len(taken) < predict.QUEUE:
        time.sleep(0.001)
    assert list(items) == list(range(1, 20))
    assert len(taken) == 20
    assert {name for _, name in taken}.isdisjoint({threading.current_thread().name})


def test_no_more_are_taken_than_wait() -> None:
    taken: list[int] = []
    items = ahead(taken.append(number) or number for number in range(100))
    next(items)
    time.sleep(0.05)
    assert len(taken) <= predict.QUEUE + 1
    items.close()
    assert len(taken) <= predict.QUEUE + 1


def test_an_error_in_the_thread_comes_in_its_turn() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise OSError("broken")

    items = ahead(numbers())
    assert next(items) == 1
    with pytest.raises(OSError, match="broken"):
        next(items)


def test_threads_end_with_the_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 12)
    before = threading.active_count()
    render_video(small_predictor(), clip, {"overlay": tmp_path / "out.mp4"})
    with pytest.raises(ValueError, match="smoothing fails"):
        render_video(small_predictor(), clip, {"overlay": tmp_path / "out.mp4"}, style=Failing())
    assert threading.active_count() == before


class Failing(Style):
    def smoothed(self, raw: Any) -> Any:
        raise ValueError("smoothing fails")


# ---------------------------------------------------------------------------------------------------------------- memory


class Camera(VideoReader):
    """Gives frames for as long as it is asked to, and counts those that are alive."""

    rate, time_base, expected_frames = Fraction(25), Fraction(1, 25), None
    most_alive = opened = 0

    def __init__(self, path: str) -> None:
        self.source, self.length = str(path), int(Path(path).name)
        self.alive: weakref.WeakSet[VideoFrame] = weakref.WeakSet()
        Camera.opened += 1

    def __iter__(self) -> Iterator[VideoFrame]:
        for number in range(self.length):
            frame = VideoFrame(np.full((40, 60, 3), number % 256, np.uint8), Fraction(number, 25))
            self.alive.add(frame)
            Camera.most_alive = max(Camera.most_alive, len(self.alive))
            yield frame
            del frame

    def close(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    monkeypatch.setitem(READERS, "camera", Camera)
    monkeypatch.setattr(Camera, "most_alive", 0)
    monkeypatch.setattr(Camera, "opened", 0)
    return Camera


@pytest.mark.parametrize("format", ["overlay", "maps"])
def test_frames_held_do_not_grow_with_the_video(tmp_path: Path, camera: type[Camera], format: Any) -> None:
    predictor = small_predictor(clip_length=4)
    assert render_video(predictor, "80", {format: tmp_path / "out.mp4"}, reader="camera") == 80
    assert camera.most_alive <= predictor.most_frames() + 2 * predict.QUEUE + 2
    assert camera.opened == 1


@pytest.mark.parametrize("formats", [("overlay", "npz"), ("npz",)])
def test_large_frames_are_decoded_a_second_time_if_images_are_needed(
    tmp_path: Path, camera: type[Camera], monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...]
) -> None:
    results = []
    for limit in (predict.HELD_BYTES, 1000):
        monkeypatch.setattr(predict, "HELD_BYTES", limit)
        folder = tmp_path / str(limit)
        render_video(small_predictor(), "30", {format: folder / format for format in formats}, reader="camera")
        results.append(files_of(folder))
    assert results[0] == results[1]
    assert camera.opened == 2 + ("overlay" in formats)


def test_a_pipe_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "HELD_BYTES", 0)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 60, 40
        for image in noise(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    os.mkfifo(tmp_path / "pipe.mkv")
    data = (tmp_path / "a.mkv").read_bytes()
    for style in (Style(), Style(normalize="video")):
        writer = threading.Thread(target=write_all, args=(tmp_path / "pipe.mkv", data))
        writer.start()
        if style.normalize == "frame":
            assert render_video(small_predictor(), tmp_path / "pipe.mkv", {"overlay": tmp_path / "o.mp4"}) == 12
        else:
            with pytest.raises(VideoError, match=r"pipe\.mkv: normalize='video' reads a video twice"):
                render_video(small_predictor(), tmp_path / "pipe.mkv", {"overlay": tmp_path / "p.mp4"}, style=style)
        writer.join(60)
        assert not writer.is_alive()


def write_all(path: Path, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), path.open("wb") as pipe:
        pipe.write(data)


def test_a_video_that_has_changed_meanwhile_is_told(
    tmp_path: Path, camera: type[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "HELD_BYTES", 0)
    opened = predict.open_video
    lengths = iter(["30", "20"])
    monkeypatch.setattr(predict, "open_video", lambda source, reader: opened(next(lengths), reader))
    with pytest.raises(VideoError, match="20: has fewer frames than when it was read before"):
        render_video(small_predictor(), "30", {"overlay": tmp_path / "a.mp4"}, reader="camera")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------------ files


def test_map_files_hold_the_smoothed_maps(tmp_path: Path, camera: type[Camera]) -> None:
    predictor = small_predictor()
    (tmp_path / "0012.png").write_bytes(b"of a longer video that stood here before")
    (tmp_path / "0012_notes.png").write_bytes(b"not ours")
    assert render_video(predictor, "11", {"maps": tmp_path}, reader="camera") == 11
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *(f"{number:04d}.png" for number in range(1, 12)),
        "0012_notes.png",
    ]
    maps = predictor(frame.image for frame in Camera("11"))
    for number, saliency in enumerate(maps, 1):
        with Image.open(tmp_path / f"{number:04d}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), (postprocess(saliency) * 255).round())


def test_the_overlay_video_keeps_size_and_times(tmp_path: Path, camera: type[Camera]) -> None:
    render_video(small_predictor(), "11", {"overlay": tmp_path / "a" / "out.mp4"}, reader="camera")
    with PyAVReader(tmp_path / "a" / "out.mp4") as video:
        frames = list(video)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(11)]
    assert frames[0].image.shape == (40, 60, 3)


def test_all_formats_come_from_one_run(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 12)
    counted: list[int] = []
    targets = {"overlay": tmp_path / "o.mp4", "maps": tmp_path / "maps", "npz": tmp_path / "m.npz"}
    assert render_video(small_predictor(), clip, targets, tick=counted.append) == 12
    assert sum(counted) == 12
    with np.load(tmp_path / "m.npz") as file:
        assert file["maps"].shape == (12, *SIZE)
        assert np.allclose(file["times"], np.arange(12) / 25)
    assert len(list((tmp_path / "maps").iterdir())) == 12


@pytest.mark.parametrize("formats", [("maps",), ("maps", "overlay")])
def test_maps_are_divided_by_the_video_s_maximum(
    tmp_path: Path, camera: type[Camera], formats: tuple[str, ...]
) -> None:
    predictor, style = small_predictor(), Style(normalize="video")
    targets = {format: tmp_path / format for format in formats}
    assert render_video(predictor, "20", targets, reader="camera", style=style) == 20
    assert camera.opened == len(formats)
    smooth = [style.smoothed(one) for one in predictor(frame.image for frame in Camera("20"))]
    peak = max(one.max() for one in smooth)
    for number, one in enumerate(smooth, 1):
        with Image.open(tmp_path / "maps" / f"{number:04d}.png") as image:
            assert np.abs(np.asarray(image, float) - one / peak * 255).max() <= 1
    assert {file.name for file in tmp_path.iterdir()} == set(formats)


def test_maps_that_wait_for_the_video_s_end_and_the_video_written_meanwhile_are_two_files(tmp_path: Path) -> None:
    """150 frames are more than x264 looks ahead: the video's file fills while the maps are read."""
    clip, style = make_clip(tmp_path / "a.mp4", 150), Style(normalize="video")
    targets = {"overlay": tmp_path / "out" / "a.mp4", "maps": tmp_path / "out" / "a"}
    targets["maps"].mkdir(parents=True)
    assert render_video(small_predictor(), clip, targets, style=style) == 150
    with PyAVReader(targets["overlay"]) as video:
        assert len(list(video)) == 150
    assert maps_in(targets["maps"]) == 150
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.mp4", "a"}


# ---------------------------------------------------------------------------------------------------------------- resuming


def test_maps_are_counted_up_to_the_first_that_is_missing(tmp_path: Path) -> None:
    assert maps_in(tmp_path / "nowhere") == 0
    for name in ("0001.png", "0002.png", "0003.png", "0005.png"):
        (tmp_path / name).write_bytes(b"map")
    assert maps_in(tmp_path) == 3
    (tmp_path / "0002.png").write_bytes(b"")  # as a power cut leaves it
    assert maps_in(tmp_path) == 1


def test_maps_are_gone_on_with_and_come_out_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    clip = make_clip(tmp_path / "a.mp4", 40)
    render_video(small_predictor(), clip, {"maps": tmp_path / "whole"})
    whole = files_of(tmp_path / "whole")
    for left in (5, 16, 30, 40):
        folder = tmp_path / str(left)
        folder.mkdir()
        for name in sorted(whole)[:left]:
            (folder / name).write_bytes(whole[name])
        computed: list[int] = []
        render_video(small_predictor(), clip, {"maps": folder}, resume=True, tick=computed.append)
        assert files_of(folder) == whole
        assert computed[0] == {5: 0, 16: 15, 30: 23, 40: 39}[left]  # the segment's beginning, where it goes on
        assert sum(computed) == 40


@pytest.mark.parametrize("style", [None, Style(normalize="video")])
def test_other_formats_begin_again(tmp_path: Path, style: Style | None) -> None:
    clip = make_clip(tmp_path / "a.mp4", 10)
    targets = {"maps": tmp_path / "maps", **({} if style else {"npz": tmp_path / "m.npz"})}
    render_video(small_predictor(), clip, targets, style=style)
    whole = files_of(tmp_path)
    for number in range(5, 11):
        (tmp_path / "maps" / f"{number:04d}.png").unlink()
    render_video(small_predictor(), clip, targets, style=style, resume=True)
    assert files_of(tmp_path) == whole
