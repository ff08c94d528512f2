"""Reading and writing videos: sizes, times, orientation, colours; damaged and foreign files."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tased_net.video import (
    READERS,
    RGB,
    PyAVReader,
    SkvideoReader,
    VideoError,
    VideoFrame,
    VideoWarning,
    video_writer,
    whole_file,
    write_image,
)

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="the ffmpeg program is not installed"
)


def quadrants(height: int = 48, width: int = 64) -> RGB:
    """A picture that shows which way is up: red, blue over green, black."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[: height // 2, width // 2 :] = (30, 30, 200)
    image[height // 2 :, : width // 2] = (30, 200, 30)
    return image


def numbered(number: int, height: int = 48, width: int = 64) -> RGB:
    """A grey picture whose brightness is its number, at most 50."""
    return np.full((height, width, 3), 30 + 4 * number, np.uint8)


def encode(path: Path, images: Sequence[RGB], codec: str = "libx264", pix_fmt: str = "yuv420p") -> Path:
    """Writes a video with PyAV alone, at 10 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> list[VideoFrame]:
    with PyAVReader(path) as video:
        return list(video)


def write(path: Path, frames: Sequence[VideoFrame], time_base: Fraction = Fraction(1, 1000)) -> Path:
    with video_writer(path, Fraction(25), time_base) as put:
        for frame in frames:
            put(frame)
    return path


# ---------------------------------------------------------------------------------------------------------------- reading


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp4", [numbered(i) for i in range(25)])
    with PyAVReader(file) as video:
        assert video.rate == 10
        assert video.expected_frames == 25
        frames = list(video)
    assert [frame.time for frame in frames] == [Fraction(i, 10) for i in range(25)]
    assert [round((frame.image.mean() - 30) / 4) for frame in frames] == list(range(25))
    assert all(frame.image.dtype == np.uint8 and frame.image.shape == (48, 64, 3) for frame in frames)


def mark_rotation(file: Path, matrix: Sequence[int]) -> None:
    """Sets the display matrix in an MP4 file's track header (ISO/IEC 14496-12, 8.3.2): (x, y) → (ax + cy, bx + dy)."""
    data = bytearray(file.read_bytes())
    start = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    for place, value in enumerate((a, b, 0, c, d, 0, 0, 0, 1 << 30)):
        data[start + 4 * place : start + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    file.write_bytes(data)


@pytest.mark.parametrize(("matrix", "clockwise"), [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)])
@pytest.mark.parametrize("reader", ["pyav", pytest.param("skvideo", marks=needs_ffmpeg)])
def test_frames_are_turned_as_the_file_says(tmp_path: Path, matrix: Sequence[int], clockwise: int, reader: str) -> None:
    file = encode(tmp_path / "phone.mp4", [quadrants()] * 3)
    mark_rotation(file, matrix)
    upright = np.rot90(quadrants(), -clockwise)
    with READERS[reader](file) as video:
        frames = list(video)
    assert len(frames) == 3
    assert frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 6


def test_pixel_aspect_turns_with_the_frame(tmp_path: Path) -> None:
    file = write(tmp_path / "wide.mp4", [VideoFrame(quadrants(), Fraction(0), Fraction(4, 3))])
    assert read(file)[0].pixel_aspect == Fraction(4, 3)
    mark_rotation(file, (0, 1, -1, 0))
    assert read(file)[0].pixel_aspect == Fraction(3, 4)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "mpeg4"), ("mkv", "libx264")])
def test_a_file_cut_short_gives_what_is_there_and_a_warning(tmp_path: Path, suffix: str, codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), np.uint8)
    file = encode(tmp_path / f"a.{suffix}", list(noise), codec)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.warns(VideoWarning, match=r"cut short, only the \d+ frames that can be decoded are used") as caught:
        frames = read(file)
    assert 10 < len(frames) < 40
    assert f"only the {len(frames)} frames" in str(caught[0].message)


def test_a_file_damaged_midway_gives_the_rest_and_a_warning(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), np.uint8)
    file = encode(tmp_path / "a.avi", list(noise), "mjpeg", "yuvj420p")
    data = bytearray(file.read_bytes())
    start = data.index(b"00dc", len(data) // 2)  # a frame's chunk: its name, size and data
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    data[start + 8 : start + 8 + size] = bytes(size)
    file.write_bytes(data)
    with pytest.warns(VideoWarning, match="only the 49 frames"):
        assert len(read(file)) == 49


def make_sound(file: Path) -> None:
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))


def test_files_that_are_no_video_are_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video " * 999)
    make_sound(tmp_path / "sound.wav")
    for name, message in {
        "nowhere.mp4": "no such file",
        ".": "is a folder, not a video",
        "empty.mp4": "not a video, or damaged at its beginning",
        "text.mp4": "not a video, or damaged at its beginning",
        "sound.wav": "holds no video stream",
    }.items():
        with pytest.raises(VideoError) as caught:
            PyAVReader(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}"


def test_a_video_of_which_nothing_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp4", [quadrants()] * 5)
    data = bytearray(file.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    file.write_bytes(data)
    with pytest.raises(VideoError, match="no frame of it can be decoded"):
        read(file)


# ---------------------------------------------------------------------------------------------------------------- writing


def test_size_times_and_colours_survive_writing(tmp_path: Path) -> None:
    times = [Fraction(ms, 1000) for ms in (0, 33, 40, 100, 250, 251, 900)]  # variable frame rate
    frames = read(write(tmp_path / "a.mp4", [VideoFrame(quadrants(48, 66), time) for time in times]))
    assert [frame.time for frame in frames] == times
    assert frames[0].image.shape == (48, 66, 3)
    for row, column in ((10, 10), (10, 55), (40, 10), (40, 55)):
        assert np.abs(frames[3].image[row, column].astype(int) - quadrants(48, 66)[row, column]).max() <= 6


def test_odd_sizes_grow_by_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    image = quadrants(45, 67)
    (frame,) = read(write(tmp_path / "a.mp4", [VideoFrame(image, Fraction(0))]))
    assert frame.image.shape == (46, 68, 3)
    assert np.abs(frame.image[:45, :67].astype(int) - image).mean() < 6
    assert np.abs(frame.image[45].astype(int) - frame.image[44]).mean() < 6


def test_the_file_is_h264_that_players_open(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", [VideoFrame(quadrants(), Fraction(i, 25)) for i in range(3)])
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a player can start before it has the whole file


def test_times_that_stand_still_are_moved_on(tmp_path: Path) -> None:
    frames = [VideoFrame(numbered(i), Fraction(min(i, 2), 10)) for i in range(5)]
    times = [frame.time for frame in read(write(tmp_path / "a.mp4", frames))]
    assert times == [Fraction(ms, 1000) for ms in (0, 100, 200, 201, 202)]


def stop_midway(path: Path, stop: type[BaseException]) -> None:
    with video_writer(path, Fraction(25), Fraction(1, 25)) as put:
        for number in range(100):  # more than the encoder holds back
            put(VideoFrame(quadrants(), Fraction(number, 25)))
        assert list(path.parent.glob(".*.part"))
        raise stop


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_file_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, stop: type[BaseException]) -> None:
    (tmp_path / "old.mp4").write_text("old")
    for name in ("new.mp4", "old.mp4"):
        with pytest.raises(stop):
            stop_midway(tmp_path / name, stop)
    assert [file.name for file in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_text() == "old"


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as beside:
        beside.write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_images_are_written_without_loss(tmp_path: Path) -> None:
    from PIL import Image

    for image in (quadrants(), quadrants()[..., 0]):
        write_image(tmp_path / "a.png", image)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


# ------------------------------------------------------------------------------------------------------------ scikit-video


@needs_ffmpeg
def test_skvideo_reads_the_same_frames(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp4", [numbered(i) for i in range(25)])
    with SkvideoReader(file) as video:
        assert video.rate == 10
        frames = list(video)
    for frame, expected in zip(frames, read(file), strict=True):
        assert frame.time == expected.time
        assert np.abs(frame.image.astype(int) - expected.image).max() <= 2
        assert frame.image.flags.writeable


@needs_ffmpeg
def test_skvideo_leaves_numpy_alone(tmp_path: Path) -> None:
    SkvideoReader(encode(tmp_path / "a.mp4", [quadrants()])).close()
    assert not hasattr(np, "float")
    assert not hasattr(np, "int")


@pytest.mark.parametrize("missing", ["ffmpeg", "ffprobe"])
def test_skvideo_says_which_program_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    other = tmp_path / {"ffmpeg": "ffprobe", "ffprobe": "ffmpeg"}[missing]
    other.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VideoError, match=f"the skvideo reader needs {missing} on the PATH"):
        SkvideoReader("a.mp4")
