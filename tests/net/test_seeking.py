"""Frames of video files by number are the very frames that decoding from the start gives, whatever the file is like."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import random
import warnings
import wave
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from net.layouts import encode, picture
from tased_net.data import DataError, cache, seeking
from tased_net.data.seeking import VideoFile, open_file
from tased_net.video import RGB, PyAVReader

FRAMES = 48
OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-pyramid=normal:scenecut=0"}


def x264(**options: str) -> Callable[[Path], Path]:
    def make(file: Path) -> Path:
        return encode(file, pictures(), "libx264", b_frames=3, options=OPEN_GOP, **options)  # type: ignore[arg-type]

    return make


def pictures(count: int = FRAMES) -> list[RGB]:
    return [picture(1, index, (48, 64)) for index in range(count)]


def cut(file: Path) -> Path:
    """A copy of packets that begins midway: an edit list hides the frames before the cut."""
    whole = encode(file.with_name("whole.mp4"), pictures(), "libx264", b_frames=3, options=OPEN_GOP)
    with av.open(str(whole)) as source, av.open(str(file), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - 17 * 512, packet.dts - 17 * 512, stream
                if packet.dts >= -7 * 512:
                    target.mux(packet)
    return file


def packed(file: Path) -> Path:
    """B-frames in the packets of the frames that they come before, and next to nothing in their own, as DivX had it."""
    plain = encode(file.with_name("unpacked.avi"), pictures(), b_frames=1)
    start, kind = b"\0\0\1\xb6", lambda data: data[data.index(start) + 4] >> 6  # of a picture: 0 I, 1 P, 2 B
    with av.open(str(plain)) as source, av.open(str(file), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [bytes(packet) for packet in source.demux(source.streams.video[0]) if packet.size]
        for number, data in enumerate(packets[:-1]):
            if kind(packets[number + 1]) == 2:
                packets[number : number + 2] = [data + packets[number + 1], start + b"\x4f\xff\0"]
        packets[0] = packets[0].replace(start, b"\0\0\1\xb2DivX503b1393p" + start, 1)
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 30), stream, kind(data) == 0
            target.mux(packet)
    return file


def turned(file: Path) -> Path:
    """A film that is marked to be turned by a quarter."""
    encode(file, pictures())
    data = bytearray(file.read_bytes())
    start = data.index(b"tkhd") + 44
    for place, value in enumerate((0, 1, 0, -1, 0, 0, 0, 0)):
        data[start + 4 * place : start + 4 * place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    file.write_bytes(data)
    return file


MAKERS: dict[str, Callable[[Path], Path]] = {
    "plain.avi": lambda file: encode(file, pictures()),
    "b_frames.avi": lambda file: encode(file, pictures(), b_frames=2),
    "packed_b_frames.avi": packed,
    "h264_b_frames.avi": x264(),  # whose times are out of order
    "gaps_in_time.avi": lambda file: encode(file, pictures(), time=lambda index: 2 * index + (index % 3 == 0)),
    "mjpeg.AVI": lambda file: encode(file, pictures(), "mjpeg", pixels="yuvj420p", format="avi"),
    "open_gop.mp4": x264(),
    "open_gop.mkv": x264(),
    "open_gop.ts": x264(format="mpegts"),
    "variable_rate.mkv": lambda file: encode(file, pictures(), "libx264", b_frames=2, time=lambda index: index**2 + 3),
    "variable_rate.mp4": lambda file: encode(file, pictures(), "libx264", b_frames=2, time=lambda index: 7 + index**2),
    "starts_before_zero.mov": lambda file: encode(file, pictures(), b_frames=2, time=lambda index: index - 20),
    "cut.mp4": cut,
    "refreshed_bit_by_bit.mp4": lambda file: encode(
        file, pictures(), "libx264", options={"x264-params": "intra-refresh=1:keyint=12:bframes=0"}
    ),
    "hidden_frames.webm": lambda file: encode(
        file, pictures(), "libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12", "b": "300k"}
    ),
    "program_stream.mpg": lambda file: encode(file, pictures(), "mpeg2video", b_frames=2),
    "turned.mp4": turned,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[RGB]]]:
    """A file by its name in `MAKERS`, and its frames as decoding it from the start gives them."""
    folder = tmp_path_factory.mktemp("videos")
    done: dict[str, tuple[Path, list[RGB]]] = {}

    def make(name: str) -> tuple[Path, list[RGB]]:
        if name not in done:
            file = MAKERS[name](folder / name)
            done[name] = file, in_turn(file)
        return done[name]

    return make


def in_turn(file: Path) -> list[RGB]:
    with warnings.catch_warnings(), PyAVReader(file) as video:
        warnings.simplefilter("ignore")  # of AVI files that leave out frames
        return [frame.image for frame in video]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the frames from which decoding starts, -1 for the beginning of the file."""
    found: list[int] = []
    decoded = seeking._decoded

    def noted(path: str, index: Any, key: Any) -> Any:
        found.append(-1 if key is None else key.frame)
        return decoded(path, index, key)

    monkeypatch.setattr(seeking, "_decoded", noted)
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_any_frame_is_the_one_that_decoding_in_turn_gives(name: str, made: Any) -> None:
    file, frames = made(name)
    video = open_file(str(file))
    assert len(video.index) == len(frames) > 20
    wanted = [*range(len(frames)), *random.Random(name).choices(range(len(frames)), k=40)]
    for number in wanted[len(frames) :]:
        assert np.array_equal(next(iter(video.images([number]))), frames[number]), number
    for number, image in zip(wanted, video.images(wanted), strict=True):
        assert np.array_equal(image, frames[number]), number


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"program_stream.mpg", "refreshed_bit_by_bit.mp4"}))
def test_decoding_starts_at_the_key_frame_before(name: str, made: Any, starts: list[int]) -> None:
    file, frames = made(name)
    video = open_file(str(file))
    starts.clear()
    list(video.images([len(frames) - 1]))
    assert len(starts) == 1
    assert starts[0] > len(frames) - 20


def test_a_dense_clip_is_decoded_once(made: Any, starts: list[int]) -> None:
    file, frames = made("open_gop.mp4")
    video = open_file(str(file))
    for image, frame in zip(
        video.images([*range(10, 42), 41, 41]), [*frames[10:42], frames[41], frames[41]], strict=True
    ):
        assert np.array_equal(image, frame)
    assert len(starts) == 1


def test_far_frames_are_sought_and_near_ones_decoded_on_to(made: Any, starts: list[int]) -> None:
    file, _ = made("open_gop.mp4")
    list(open_file(str(file)).images([2, 5, 40, 42, 3]))
    assert starts == [-1, 36, -1]


def test_the_rate_and_the_size_are_those_of_the_file(made: Any) -> None:
    assert open_file(str(made("plain.avi")[0])).rate() == Fraction(30)
    assert open_file(str(made("turned.mp4")[0])).size() == (64, 48)


def chunk(data: bytearray, number: int) -> int:
    """Where a frame's chunk of an AVI file begins: its name, size and data."""
    start = data.index(b"movi")
    for _ in range(number + 1):
        start = data.index(b"00dc", start + 1)
    return start


def test_a_damaged_frame_is_an_error_for_itself_alone(made: Any, tmp_path: Path) -> None:
    file, frames = made("mjpeg.AVI")
    data = bytearray(file.read_bytes())
    start = chunk(data, 20)
    size = int.from_bytes(data[start + 4 : start + 8], "little")
    data[start + 8 : start + 8 + size] = bytes(size)
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    video = open_file(str(damaged))
    images = video.images(range(18, 24))
    for number in (18, 19):
        assert np.array_equal(next(images), frames[number])
    with pytest.raises(DataError, match=r"damaged\.avi: frame 21 cannot be decoded"):
        next(images)
    assert np.array_equal(next(iter(video.images([21]))), frames[21])


def test_a_file_of_which_nothing_can_be_decoded_is_refused(made: Any, tmp_path: Path) -> None:
    data = bytearray(made("mjpeg.AVI")[0].read_bytes())
    start = chunk(data, 0)
    data[start + 8 : data.rindex(b"idx1")] = bytes(data.rindex(b"idx1") - start - 8)
    (tmp_path / "empty.avi").write_bytes(data)
    with pytest.raises(DataError, match=r"empty\.avi: no frame of it can be decoded"):
        open_file(str(tmp_path / "empty.avi"))


def test_damage_before_a_key_frame_does_not_reach_beyond_it(made: Any, tmp_path: Path) -> None:
    file, frames = made("plain.avi")
    data = bytearray(file.read_bytes())
    for number in range(14, 20):
        start = chunk(data, number)
        data[start + 12 : start + 40] = bytes(28)
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    video = open_file(str(damaged))
    assert len(video.index) == len(frames)
    assert np.array_equal(next(iter(video.images([40]))), frames[40])


def test_packets_that_only_claim_to_be_key_frames_are_not_started_from(tmp_path: Path, starts: list[int]) -> None:
    file = encode(tmp_path / "claims.mp4", pictures())
    file.write_bytes(file.read_bytes().replace(b"stss", b"free"))  # without a table of key frames all are
    frames = in_turn(file)
    video = open_file(str(file))
    assert len(video.index.keys) == FRAMES - 1
    for number in (20, 47, 30):
        assert np.array_equal(next(iter(video.images([number]))), frames[number])
    assert -1 in starts


def test_an_open_file_is_closed_with_its_last_use(made: Any) -> None:
    """Not by the garbage collector, which in a forked worker would free what belongs to the process before it."""
    video = open_file(str(made("open_gop.mp4")[0]))
    gc.collect()
    gc.disable()
    try:
        images = video.images(range(20))
        next(images)
        passes = [one for one in gc.get_objects() if type(one) is seeking._Pass]
        assert len(passes) == 1
        held = weakref.ref(passes.pop())
        del images
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or directory"),
        (b"", "not a video"),
        (b"RIFF" + bytes(60), "not a video"),
        (b"text", "not a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "a.avi"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.avi: {message}"):
        open_file(str(file))


def test_titles_of_another_encoding_do_no_harm(made: Any, tmp_path: Path) -> None:
    file, frames = made("plain.avi")
    data = file.read_bytes()
    assert b"Lavf" in data  # the name of the program that wrote it
    (tmp_path / "a.avi").write_bytes(data.replace(b"Lavf", b"\xe9avf"))
    assert len(open_file(str(tmp_path / "a.avi")).index) == len(frames)


def test_a_codec_that_nobody_knows_is_refused(made: Any, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(made("plain.avi")[0].read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(DataError, match=r"a\.avi: holds no video stream that can be decoded"):
        open_file(str(tmp_path / "a.avi"))


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.avi"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    with pytest.raises(DataError, match="holds no video stream"):
        open_file(str(tmp_path / "a.avi"))


# -------------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the files that are gone through."""
    found: list[str] = []
    original = seeking._indexed
    monkeypatch.setattr(seeking, "_indexed", lambda path: (found.append(os.path.basename(path)), original(path))[1])
    return found


def same(one: VideoFile, other: VideoFile) -> bool:
    first, second = one.index, other.index
    return np.array_equal(first.packets, second.packets) and (first.keys, first.rate, first.whole) == (
        second.keys,
        second.rate,
        second.whole,
    )


def test_a_file_is_gone_through_once(tmp_path: Path, indexed: list[str]) -> None:
    file = encode(tmp_path / "a.avi", pictures(), b_frames=2)
    first = open_file(str(file))
    assert same(open_file(str(file)), first)
    assert same(pickle.loads(pickle.dumps(first)), first)
    assert indexed == ["a.avi"]


def test_a_file_that_changed_is_gone_through_again(tmp_path: Path, indexed: list[str]) -> None:
    file = encode(tmp_path / "a.avi", pictures(30))
    assert len(open_file(str(file)).index) == 30
    encode(file, pictures(20))
    assert len(open_file(str(file)).index) == 20
    os.utime(file, ns=(1, 1))
    open_file(str(file))
    assert indexed == ["a.avi"] * 3


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"value": 1}', '{"path": "PATH", "value": {"version": "VERSION"}}']
)
def test_a_damaged_cache_is_not_used(
    tmp_path: Path, own_cache: Path, indexed: list[str], caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = encode(tmp_path / "a.avi", pictures(20))
    first = open_file(str(file))
    (entry,) = (own_cache / "tased-net").rglob("*.json")
    version = f"[{file.stat().st_size},{file.stat().st_mtime_ns}]"
    entry.write_text(content.replace("PATH", str(file)).replace('"VERSION"', version))
    with caplog.at_level(logging.DEBUG, "tased_net.data"):
        assert same(open_file(str(file)), first)
    assert indexed == ["a.avi", "a.avi"]
    assert "is not used" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    assert same(open_file(str(file)), first)
    assert len(indexed) == 2  # written anew


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    file = encode(tmp_path / "a.avi", pictures(20))
    with caplog.at_level(logging.DEBUG, "tased_net.data"):
        assert len(open_file(str(file)).index) == 20
    assert "is not written" in caplog.text


def test_entries_of_two_paths_with_one_file_name_are_apart(own_cache: Path) -> None:
    cache.keep("kind", "/a/x", 1)
    cache.keep("kind", "/b/x", 2)
    assert (cache.cached("kind", "/a/x"), cache.cached("kind", "/b/x"), cache.cached("kind", "/c/x")) == (1, 2, None)
    assert not list(own_cache.rglob("*.part"))
