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

from tased_net import TASEDNet, postprocess, predict, predict_maps, predict_video
from tased_net.render import contact_sheet, overlay
from tased_net.sliding import sliding_windows
from tased_net.video import READERS, RGB, PyAVReader, VideoFrame, VideoReader, video_writer

SIZE = (32, 48)


def small_net(**options: Any) -> TASEDNet:
    torch.manual_seed(0)
    return TASEDNet(**{"clip_length": 8, "width": 0.02, **options}).eval()


def noise(count: int, height: int = 40, width: int = 60) -> list[RGB]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def network_input(image: RGB) -> torch.Tensor:
    """A frame that has the network's size already, (3, h, w)."""
    return (2 * torch.from_numpy(image).permute(2, 0, 1).float() - 255) / 255


# ------------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize(("k", "step"), [(1, 1), (3, 1), (1, Fraction(5, 2))])
def test_maps_are_the_network_s_on_the_window_s_clips(count: int, k: int, step: Fraction) -> None:
    net, frames = small_net(maps=k), noise(count, *SIZE)
    maps = list(predict_maps(net, iter(frames), size=SIZE, step=step, reuse=False))
    expected = []
    for clip, taken in sliding_windows(map(network_input, frames), 8, k, step):
        with torch.inference_mode():
            saliency = net(torch.stack(clip, dim=1)[None].contiguous(memory_format=torch.channels_last_3d))
        expected += [saliency[0, number] if k > 1 else saliency[number] for number in taken]
    assert len(maps) == len(expected) == count
    assert all(torch.equal(one, other) for one, other in zip(maps, expected, strict=True))


def test_fps_spreads_the_clips_of_a_fast_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with video_writer(tmp_path / "fast.mp4", Fraction(60), Fraction(1, 60)) as write:
        for number, image in enumerate(noise(20, *SIZE)):
            write(VideoFrame(image, Fraction(number, 60)))
    steps: list[Fraction] = []
    monkeypatch.setattr(
        predict, "sliding_windows", lambda *arguments: steps.append(arguments[3]) or sliding_windows(*arguments)
    )
    for fps in (30, 60, 24000 / 1001, None):
        assert predict_video(small_net(), tmp_path / "fast.mp4", tmp_path / "out.mp4", size=SIZE, fps=fps) == 20
    assert steps == [2, 1, Fraction(60 * 1001, 24000), 1]


def test_frames_are_resized_bilinearly_between_pixel_centres() -> None:
    clips = []
    net = small_net()
    net.register_forward_pre_hook(lambda module, arguments: clips.append(arguments[0]))
    (frame,) = noise(1, 2 * SIZE[0], 2 * SIZE[1])
    next(predict_maps(net, [frame], size=SIZE, reuse=False))
    means_of_four = frame.astype(np.float32).reshape(SIZE[0], 2, SIZE[1], 2, 3).mean(axis=(1, 3))
    expected = torch.from_numpy((2 * means_of_four - 255) / 255).permute(2, 0, 1)
    torch.testing.assert_close(clips[0][0, :, 0], expected, rtol=0, atol=1e-6)


def test_the_clip_is_channels_last() -> None:
    layouts = []
    net = small_net()
    net.register_forward_pre_hook(
        lambda module, arguments: layouts.append(arguments[0].is_contiguous(memory_format=torch.channels_last_3d))
    )
    list(predict_maps(net, noise(3), size=SIZE, reuse=False))
    assert layouts == [True] * 3


def test_maps_have_the_network_s_precision() -> None:
    frames = noise(2)
    exact = torch.stack(list(predict_maps(small_net().double(), frames, size=SIZE)))
    single = torch.stack(list(predict_maps(small_net(), frames, size=SIZE)))
    half = torch.stack(list(predict_maps(small_net(), frames, size=SIZE, autocast=torch.bfloat16)))
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    assert (exact - single).abs().median() < 1e-5 < (exact - half).abs().median() < 0.05


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (small_net().train(), {}, "the network is in training mode"),
        (small_net(), {"chunk": 0}, "chunk must be at least 1, got 0"),
        (small_net(maps=2), {"step": 2}, "a network with maps=2 predicts neighbouring frames: it takes a step of 1"),
    ],
)
def test_windows_that_cannot_slide_are_refused(net: TASEDNet, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(predict_maps(net, noise(1), **options))


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
        predict_video(small_net(), "a.mp4", "b.mp4", **options)


@pytest.mark.parametrize(
    "frame", [np.zeros((40, 60), np.uint8), np.zeros((40, 60, 4), np.uint8), np.zeros((40, 60, 3), np.float32)]
)
def test_frames_that_are_not_rgb_bytes_are_refused(frame: Any) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 RGB \(H, W, 3\), got"):
        next(predict_maps(small_net(), [frame]))


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
    net = small_net(clip_length=4)
    assert predict_video(net, "80", tmp_path / "out.mp4", format=format, size=SIZE, reader="camera") == 80
    assert Camera.most_alive <= 2 * net.clip_length


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
    net = small_net()
    (tmp_path / "0012.png").write_bytes(b"of a longer video that stood here before")
    (tmp_path / "0012_notes.png").write_bytes(b"not ours")
    assert predict_video(net, "11", tmp_path, format="maps", size=SIZE, reader="camera") == 11
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *(f"{number:04d}.png" for number in range(1, 12)),
        "0012_notes.png",
    ]
    maps = predict_maps(net, (frame.image for frame in Camera("11")), size=SIZE)
    for number, saliency in enumerate(maps, 1):
        with Image.open(tmp_path / f"{number:04d}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), (postprocess(saliency) * 255).round())


def test_the_overlay_video_keeps_size_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "camera", Camera)
    predict_video(small_net(), "11", tmp_path / "a" / "out.mp4", size=SIZE, reader="camera")
    with PyAVReader(tmp_path / "a" / "out.mp4") as video:
        frames = list(video)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(11)]
    assert frames[0].image.shape == (40, 60, 3)
