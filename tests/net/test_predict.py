"""From frames to maps: resizing, the window, smoothing; memory that does not grow; overlays and contact sheets."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tased_net import Predictor, TASEDNet, postprocess, predict_video, predictor
from tased_net.render import contact_sheet, overlay
from tased_net.sliding import sliding_windows
from tased_net.video import READERS, RGB, PyAVReader, VideoFrame, VideoReader, video_writer

SIZE = (32, 48)


def small_predictor(**options: Any) -> Predictor:
    torch.manual_seed(0)
    return Predictor(TASEDNet(**{"clip_length": 8, "width": 0.02, **options}))


def noise(count: int, height: int = 40, width: int = 60) -> list[RGB]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def test_fps_spreads_the_clips_of_a_fast_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with video_writer(tmp_path / "fast.mp4", Fraction(60), Fraction(1, 60)) as write:
        for number, image in enumerate(noise(20, *SIZE)):
            write(VideoFrame(image, Fraction(number, 60)))
    steps: list[Fraction] = []
    monkeypatch.setattr(
        predictor, "sliding_windows", lambda *arguments: steps.append(arguments[3]) or sliding_windows(*arguments)
    )
    for fps in (30, 60, 24000 / 1001, None):
        assert predict_video(small_predictor(), tmp_path / "fast.mp4", tmp_path / "out.mp4", fps=fps) == 20
    assert steps == [2, 1, Fraction(60 * 1001, 24000), 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "format must be one of 'overlay', 'maps', got 'gif'"),
        ({"fps": 0}, "fps must be a positive number, got 0"),
        ({"reader": "cv2"}, "reader must be one of 'pyav', 'skvideo', got 'cv2'"),
    ],
)
def test_formats_and_readers_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict_video(small_predictor(), "a.mp4", "b.mp4", **options)


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
    assert not postprocess(torch.zeros(32, 48)).any()


# ---------------------------------------------------------------------------------------------------------------- memory


class Camera(VideoReader):
    """Gives frames for as long as it is asked to, and counts those that are alive."""

    rate, time_base, expected_frames = Fraction(25), Fraction(1, 25), None
    most_alive = 0

    def __init__(self, path: str) -> None:
        self.length = int(Path(path).name)
        self.alive: weakref.WeakSet[VideoFrame] = weakref.WeakSet()

    def __iter__(self) -> Iterator[VideoFrame]:
        for number in range(self.length):
            frame = VideoFrame(np.full((40, 60, 3), number % 256, np.uint8), Fraction(number, 25))
            self.alive.add(frame)
            Camera.most_alive = max(Camera.most_alive, len(self.alive))
            yield frame
            del frame

    def close(self) -> None:
        pass


@pytest.mark.parametrize("format", ["overlay", "maps"])
def test_frames_held_do_not_grow_with_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Any) -> None:
    monkeypatch.setitem(READERS, "camera", Camera)
    monkeypatch.setattr(Camera, "most_alive", 0)
    predictor = small_predictor(clip_length=4)
    assert predict_video(predictor, "80", tmp_path / "out.mp4", format=format, reader="camera") == 80
    assert Camera.most_alive <= 2 * predictor.clip_length


# --------------------------------------------------------------------------------------------------------------- pictures


def test_the_overlay_leaves_a_frame_alone_where_nothing_is_salient() -> None:
    (image,) = noise(1)
    saliency = np.zeros((8, 12), np.float32)
    saliency[:, 8:] = 1
    result = overlay(image, saliency)
    assert np.array_equal(result[:, :30], image[:, :30])
    assert not np.array_equal(result[:, -10:], image[:, -10:])
    assert np.array_equal(overlay(image, saliency, alpha=0), image)


def test_the_overlay_ends_in_the_colour_map_s_last_colour() -> None:
    (image,) = noise(1)
    result = overlay(image, np.ones((8, 12), np.float32), alpha=1)
    assert (result == (252, 254, 164)).all()  # inferno's


def test_the_contact_sheet_shows_frames_maps_and_overlays_side_by_side() -> None:
    frames = [VideoFrame(np.full((40, 60, 3), value, np.uint8), Fraction(value, 25)) for value in (50, 150)]
    saliency = np.zeros((8, 12), np.float32)
    sheet = contact_sheet([(frame, saliency) for frame in frames], "title", tile_width=60)
    rows = [row for row in range(sheet.shape[0]) if (sheet[row] == 150).all(axis=1).sum() >= 100]
    assert len(rows) > 10  # frame and overlay, which are equal here, of the second scene
    assert (sheet == 50).all(axis=2).sum() > 2 * 60 * 20
    assert (sheet == (0, 0, 3)).all(axis=2).sum() >= 2 * 60 * 40  # inferno's darkest, the maps


# ------------------------------------------------------------------------------------------------------------------ files


def test_map_files_hold_the_smoothed_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "camera", Camera)
    predictor = small_predictor()
    (tmp_path / "0012.png").write_bytes(b"of a longer video that stood here before")
    (tmp_path / "0012_notes.png").write_bytes(b"not ours")
    assert predict_video(predictor, "11", tmp_path, format="maps", reader="camera") == 11
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *(f"{number:04d}.png" for number in range(1, 12)),
        "0012_notes.png",
    ]
    maps = predictor(frame.image for frame in Camera("11"))
    for number, saliency in enumerate(maps, 1):
        with Image.open(tmp_path / f"{number:04d}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), (postprocess(saliency) * 255).round())


def test_the_overlay_video_keeps_size_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "camera", Camera)
    predict_video(small_predictor(), "11", tmp_path / "a" / "out.mp4", reader="camera")
    with PyAVReader(tmp_path / "a" / "out.mp4") as video:
        frames = list(video)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(11)]
    assert frames[0].image.shape == (40, 60, 3)
