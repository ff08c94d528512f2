"""Reading and writing videos: sizes, times, orientation, colours; damaged and foreign files."""

from __future__ import annotations

import functools
import http.server
import itertools
import os
import shutil
import subprocess
import threading
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pytest
from PIL import Image

from tased_net import video
from tased_net.color import to_rgb
from tased_net.video import (
    READERS,
    RGB,
    ImagesReader,
    PyAVReader,
    SkvideoReader,
    VideoError,
    VideoFrame,
    VideoWarning,
    open_video,
    video_name,
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


def read(source: str | Path) -> list[VideoFrame]:
    with open_video(source) as reader:
        return list(reader)


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


# ----------------------------------------------------------------------------------------------------- whatever it comes from


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.mp4", PyAVReader), ("frames", ImagesReader), ("frames/*.png", ImagesReader), ("frames/1.png", ImagesReader)],
)
def test_the_reader_is_chosen_by_what_the_source_is(tmp_path: Path, name: str, kind: type) -> None:
    encode(tmp_path / "a.mp4", [quadrants()])
    (tmp_path / "frames").mkdir()
    write_image(tmp_path / "frames" / "1.png", quadrants())
    with open_video(tmp_path / name) as reader:
        assert isinstance(reader, kind)
        assert reader.info.source == str(tmp_path / name)
        assert len(list(reader)) == 1


def test_a_file_whose_name_looks_like_a_pattern_or_an_option_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("take[1].mp4", "what?.mp4", "-v.mp4", "concat:a.mp4"):
        encode(tmp_path / name, [quadrants()])
        assert len(read(name)) == 1
        assert video_name(name) == name[:-4]


@pytest.mark.parametrize("source", ["-", "http://127.0.0.1/a.mp4"])
def test_skvideo_opens_files_only(source: str) -> None:
    with pytest.raises(VideoError, match="the skvideo reader opens files only, use the pyav reader"):
        open_video(source, "skvideo")


def test_unknown_readers_are_refused() -> None:
    with pytest.raises(ValueError, match="reader must be one of 'pyav', 'skvideo', got 'cv2'"):
        open_video("a.mp4", "cv2")


@contextmanager
def standard_input(file: IO[bytes]) -> Iterator[None]:
    """The file or pipe as this process's standard input."""
    before = os.dup(0)
    os.dup2(file.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_stream_comes_on_standard_input(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mkv", [numbered(i) for i in range(12)])
    with subprocess.Popen(["cat", str(file)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with standard_input(cat.stdout):
            assert [round((frame.image.mean() - 30) / 4) for frame in read("-")] == list(range(12))


def test_standard_input_may_be_a_file_whose_index_is_at_its_end(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp4", [numbered(i) for i in range(5)])
    with file.open("rb") as content, standard_input(content):
        assert len(read("-")) == 5


def test_standard_input_without_a_video_is_refused_with_a_sentence() -> None:
    message = "standard input: no video, or one that cannot be read as a stream .*: name the file"
    with open(os.devnull, "rb") as nothing, standard_input(nothing), pytest.raises(VideoError, match=message):
        read("-")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; "stall" never answers, "half/NAME" breaks off in the middle, and "gone" tells that it is gone."""

    def do_GET(self) -> None:
        if self.path == "/stall":
            time.sleep(3)
        elif self.path.startswith("/half/"):
            data = (Path(self.directory) / self.path[6:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path)) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_urls_are_read(tmp_path: Path, address: str) -> None:
    with video_writer(tmp_path / "a b.mp4", Fraction(10), Fraction(1, 10)) as put:
        for number in range(12):
            put(VideoFrame(numbered(number), Fraction(number, 10)))
    for url in (f"http://{address}/a%20b.mp4", f"file://{tmp_path}/a b.mp4"):
        assert [round((frame.image.mean() - 30) / 4) for frame in read(url)] == list(range(12))
        assert video_name(url) == "a b"


def test_a_connection_that_breaks_gives_what_has_come_and_a_warning(tmp_path: Path, address: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), np.uint8)
    encode(tmp_path / "a.avi", list(noise), "mpeg4")
    with pytest.warns(VideoWarning, match=r"only the \d+ frames that can be decoded are used"):
        assert 10 < len(read(f"http://{address}/half/a.avi")) < 40


def test_urls_that_cannot_be_opened_are_refused_with_a_sentence_without_the_password(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "TIMEOUT", 0.2)
    (tmp_path / "text.mp4").write_text("no video " * 999)
    for path, message in {
        "gone": r"cannot be opened \(.*404.*\)",
        "stall": r"cannot be opened \(no answer in time\)",
        "text.mp4": "not a video, or damaged at its beginning",
    }.items():
        with pytest.raises(VideoError, match=f"^http://{address}/{path}: {message}$"):
            read(f"http://user:secret@{address}/{path}")
    with pytest.raises(VideoError, match=r"^nothing://at/all: cannot be opened \(Protocol not found\)$"):
        read("nothing://at/all")


@pytest.mark.parametrize("folder", [True, False], ids=["images", "file"])
def test_frames_from_a_start_are_those_of_the_whole_and_the_rest_is_not_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    if folder:
        for number in range(20):
            write_image(tmp_path / f"{number}.png", numbered(number))
        source = tmp_path
    else:
        source = encode(tmp_path / "a.mp4", [numbered(i) for i in range(20)])  # with B-frames
    whole = read(source)
    conversions: list[int] = []
    convert = video.to_rgb
    monkeypatch.setattr(video, "to_rgb", lambda *arguments: conversions.append(1) or convert(*arguments))
    for start in (0, 13, 20):
        conversions.clear()
        with open_video(source) as reader:
            part = list(reader.frames(start))
        assert [frame.time for frame in part] == [frame.time for frame in whole[start:]]
        assert all(np.array_equal(one.image, other.image) for one, other in zip(part, whole[start:], strict=True))
        assert folder or len(conversions) == 20 - start


@needs_ffmpeg
def test_skvideo_starts_midway_too(tmp_path: Path) -> None:
    with SkvideoReader(encode(tmp_path / "a.mp4", [numbered(i) for i in range(6)])) as reader:
        assert [frame.time for frame in reader.frames(4)] == [Fraction(4, 10), Fraction(5, 10)]


def test_times_of_a_variable_rate_survive_frames_that_are_stored_out_of_order(tmp_path: Path) -> None:
    times = [0, 33, 40, 100, 250, 251, 900, 1000, 1010, 2000]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3", "b-adapt": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number), "rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mkv")) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stored != sorted(stored)
    frames = read(tmp_path / "a.mkv")
    assert [1000 * frame.time for frame in frames] == times
    assert [round((frame.image.mean() - 30) / 4) for frame in frames] == list(range(10))


def test_a_whole_file_with_sound_is_not_taken_for_damaged(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream, sound = container.add_stream("libx264", rate=10), container.add_stream("flac", rate=8000, layout="mono")
        assert isinstance(stream, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), "rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux([*sound.encode(silence), *sound.encode(None), *stream.encode(None)])
    assert len(read(tmp_path / "a.mkv")) == 5  # a warning would be an error


# ----------------------------------------------------------------------------------------------------------------- colours

BT601, BT709, BT2020 = 5, 1, 9  # matrices, and the last two primaries as well (ISO/IEC 23091-2)
UNSPECIFIED = 2
PQ, HLG = 16, 18  # transfer characteristics


def encode_tagged(
    path: Path,
    codes: Any,
    codec: str,
    pix_fmt: str,
    *,
    matrix: int,
    transfer: int = 2,
    primaries: int = 2,
    full: bool = False,
) -> Path:
    """Writes a frame of R'G'B' codes from 0 to 1, (H, W, 3), by a matrix and with tags."""
    picture = av.VideoFrame.from_ndarray((np.asarray(codes) * 65535).round().astype(np.uint16), "rgb48le")
    by = BT709 if matrix == UNSPECIFIED and picture.height > 576 else BT601 if matrix == UNSPECIFIED else matrix
    picture = picture.reformat(format=pix_fmt, dst_colorspace=by, dst_color_range=2 if full else 1)
    picture.colorspace, picture.color_trc, picture.color_primaries = matrix, transfer, primaries
    picture.pts, picture.time_base = 0, Fraction(1, 10)
    options = {"x265-params": "log-level=none:lossless=1:bframes=0"} if codec == "libx265" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = picture.height, picture.width, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries = matrix, transfer, primaries
        context.color_range = 2 if full else 1
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def squares(colours: Any, side: int = 16) -> Any:
    """Squares of the colours from left to right, (side, n side, 3)."""
    return np.repeat(np.repeat(np.asarray(colours, float)[None], side, axis=1), side, axis=0)


def centres(image: RGB, count: int) -> Any:
    side = image.shape[1] // count
    return image[image.shape[0] // 2, side // 2 :: side].astype(int)


def pq(nits: Any) -> Any:
    """PQ code of light in cd/m² (SMPTE ST 2084)."""
    y = (np.asarray(nits, float) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


SIX = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.5, 0.5, 0.5), (1, 1, 1)])


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("matrix", "side"), [(BT601, 16), (BT709, 16), (UNSPECIFIED, 16), (UNSPECIFIED, 578)])
def test_matrix_and_range_are_the_file_s_or_go_by_its_size(tmp_path: Path, matrix: int, side: int, full: bool) -> None:
    file = encode_tagged(tmp_path / "a.mkv", squares(SIX, side), "libx264", "yuv444p", matrix=matrix, full=full)
    assert np.abs(centres(read(file)[0].image, 6) - SIX * 255).max() <= 6


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx265", "yuv420p10le"), ("ffv1", "yuv444p12le"), ("ffv1", "gray16le")]
)
def test_more_than_8_bits_become_8(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    greys = np.linspace(0, 1, 9)[:, None].repeat(3, 1)
    file = encode_tagged(tmp_path / "a.mkv", squares(greys), codec, pix_fmt, matrix=BT709, full=pix_fmt == "gray16le")
    assert np.abs(centres(read(file)[0].image, 9) - greys * 255).max() <= 2


def test_pq_is_toned_down_to_sdr(tmp_path: Path) -> None:
    nits = np.array([0, 1, 10, 50, 203, 400, 1000, 4000])
    codes = squares(pq(nits)[:, None].repeat(3, 1))
    file = encode_tagged(
        tmp_path / "a.mp4", codes, "libx265", "yuv420p10le", matrix=BT2020, transfer=PQ, primaries=BT2020
    )
    (frame,) = read(file)
    grey = centres(frame.image, 8)
    assert np.ptp(grey, axis=1).max() <= 2
    shown = 203 * (grey[:, 0] / 255) ** 2.4
    assert shown[:4] == pytest.approx(nits[:4], rel=0.05, abs=0.1)  # as they are
    assert (np.diff(grey[:7, 0]) > 3).all()  # highlights still differ
    assert grey[4, 0] > 220
    assert list(grey[6:, 0]) == [255, 255]


def test_hlg_is_toned_down_to_sdr(tmp_path: Path) -> None:
    signal = np.array([0, 0.1, 0.5, 0.75, 0.9, 1])  # BT.2408: 0.75 is diffuse white, 203 cd/m² on a display of 1000
    file = encode_tagged(
        tmp_path / "a.mp4", squares(signal[:, None].repeat(3, 1)), "libx265", "yuv420p10le",
        matrix=BT2020, transfer=HLG, primaries=BT2020,
    )  # fmt: skip
    grey = centres(read(file)[0].image, 6)[:, 0]
    display = 1000 * (0.5**2 / 3) ** 1.2
    assert 203 * (grey[2] / 255) ** 2.4 == pytest.approx(display, rel=0.05)
    assert grey[0] == 0
    assert grey[3] > 220
    assert grey[5] == 255
    assert (np.diff(grey) > 1).all()


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 18, reason="the FFmpeg of PyAV 17 falls short here")
@pytest.mark.parametrize("transfer", [PQ, HLG, BT709])
def test_wide_colours_come_to_bt709(tmp_path: Path, transfer: int) -> None:
    """Of BT.2020's own red, green and blue BT.709 shows the nearest; and colours that it has keep their hue."""
    to_2020 = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)])  # BT.2087
    light = SIX[:4] @ to_2020.T
    codes = {PQ: lambda: pq(50 * light), HLG: lambda: np.sqrt(light / 12 * 3), BT709: lambda: light ** (1 / 2.4)}[
        transfer
    ]()
    file = encode_tagged(
        tmp_path / "a.mkv", squares(codes), "ffv1", "yuv444p10le", matrix=BT2020, transfer=transfer, primaries=BT2020
    )
    seen = centres(read(file)[0].image, 4)
    assert (seen[SIX[:4] == 0] <= 20).all()
    assert (seen[SIX[:4] == 1] >= 60).all()


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv420p10le", "nv12", "gray", "rgb24", "bgra", "gbrp10le", "yuva420p", "ya8"]
)
def test_no_tags_however_odd_keep_a_frame_from_becoming_rgb(pix_fmt: str) -> None:
    for matrix, transfer, primaries in itertools.product(
        (0, 1, 2, 3, 8, 9, 10, 14, 17), (1, 2, 3, 16, 18), (1, 2, 3, 9, 12)
    ):
        frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 120, np.uint8), "rgb24").reformat(format=pix_fmt)
        frame.colorspace, frame.color_trc, frame.color_primaries = matrix, transfer, primaries
        image = to_rgb(frame, 16, 16)
        assert (image.dtype, image.shape) == (np.uint8, (16, 16, 3))


def test_what_is_transparent_lies_over_black(tmp_path: Path) -> None:
    rgba = np.zeros((16, 48, 4), np.uint8)
    rgba[..., :3] = (200, 100, 50)
    for square, alpha in enumerate((0, 128, 255)):
        rgba[:, 16 * square : 16 * square + 16, 3] = alpha
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 16, 48, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, "rgba")))
        container.mux(stream.encode(None))
    assert centres(read(tmp_path / "a.mov")[0].image, 3).tolist() == [[0, 0, 0], [100, 50, 25], [200, 100, 50]]


# ------------------------------------------------------------------------------------------------------------ absurd sizes


@pytest.mark.parametrize("side", [9000, 100_000])
def test_a_header_that_announces_an_absurd_size_is_refused(tmp_path: Path, side: int) -> None:
    file = encode(tmp_path / "a.avi", [quadrants()], "rawvideo", "bgr24")
    data = bytearray(file.read_bytes())
    header = data.index(b"strf") + 8  # BITMAPINFOHEADER
    data[header + 4 : header + 12] = side.to_bytes(4, "little") * 2
    file.write_bytes(data)
    with pytest.raises(VideoError, match="announces no size of its frames, or an absurd one"):
        PyAVReader(file)


def test_a_stream_that_grows_absurdly_midway_is_cut_off(tmp_path: Path) -> None:
    """A JPEG's own header announces 65000x65000 in a video of 64x48."""
    file = encode(tmp_path / "a.avi", [quadrants()] * 5, "mjpeg", "yuvj420p")
    data = bytearray(file.read_bytes())
    place = data.rindex(b"\xff\xc0") + 5
    data[place : place + 4] = (65000).to_bytes(2, "big") * 2
    file.write_bytes(data)
    with pytest.warns(VideoWarning, match="only the 4 frames"):
        assert len(read(file)) == 4


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


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("fsync"), fsync(file))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names))[1])
    with whole_file(tmp_path / "a") as beside:
        beside.write_text("whole")
    assert done == ["fsync", "replace"]
    write_image(tmp_path / "a.png", quadrants())  # one of many: a job has them all written in its end
    assert done == ["fsync", "replace", "replace"]


def test_images_are_written_without_loss(tmp_path: Path) -> None:
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
