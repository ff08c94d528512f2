"""What is made of maps: every format, whole or not at all, in its size, its times, its sound and its colours."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from tased_net import postprocess
from tased_net.frames import NO_IMAGE
from tased_net.output import EvenSample, Writer
from tased_net.render import Map, contact_sheet, overlay
from tased_net.style import Spool, Style
from tased_net.video import VideoFrame, VideoInfo, VideoWarning, open_video
from tased_net.writers import WRITERS, MapsWriter, NpzWriter, PreviewWriter, SideBySideWriter

SIZE = (32, 48)
INFO = VideoInfo("street.mp4", Fraction(25), Fraction(1, 25), 12)
FILES = [name for name, writer in WRITERS.items() if writer.suffix]


def raw_map(number: int, size: tuple[int, int] = SIZE) -> Map:
    """A spot that moves from left to right and grows brighter."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    distance = (columns - (4 + 3 * number) % size[1]) ** 2 + (rows - size[0] / 2) ** 2
    return (np.exp(-distance / 50) * (0.2 + 0.05 * (number % 12))).astype(np.float32)


def scenes(count: int, height: int = 48, width: int = 64, rate: int = 25) -> list[tuple[VideoFrame, Map]]:
    return [
        (VideoFrame(np.full((height, width, 3), 40 + 8 * (i % 24), np.uint8), Fraction(i, rate)), raw_map(i))
        for i in range(count)
    ]


def feed(writer: Writer, content: Sequence[tuple[VideoFrame, Map]], style: Style) -> None:
    for number, (frame, raw) in enumerate(content):
        seen = frame if writer.needs_images else replace(frame, image=NO_IMAGE)
        writer.write(number, seen, raw, style.shown(raw))


def write(
    folder: Path,
    name: str,
    content: Sequence[tuple[VideoFrame, Map]] | None = None,
    info: VideoInfo = INFO,
    style: Style = Style(smooth=2.0),  # noqa: B008 as it is immutable
) -> Path:
    target = folder / f"street{WRITERS[name].suffix}"
    with WRITERS[name](target, info, style) as writer:
        feed(writer, scenes(12) if content is None else content, style)
    return target


def read(file: Path) -> list[VideoFrame]:
    with open_video(file) as reader:
        return list(reader)


# ------------------------------------------------------------------------------------------------------------------ style


def test_maps_are_shown_as_the_release_does_unless_told_otherwise() -> None:
    for size in (SIZE, (224, 384)):
        raw = raw_map(3, size)
        assert np.array_equal(Style().shown(raw), postprocess(torch.from_numpy(raw)))


def test_smoothing_and_normalisation_can_be_left_out() -> None:
    raw = raw_map(3)
    assert np.array_equal(Style(smooth=0, normalize="none").shown(raw), raw)
    assert Style(smooth=0).shown(raw).max() == 1
    assert np.array_equal(Style(smooth=0, normalize="video").shown(raw, 2 * raw.max()), raw / (2 * raw.max()))
    assert Style(normalize="none").shown(2 * np.ones(SIZE, np.float32)).max() == 1
    assert not Style().shown(np.zeros(SIZE, np.float32)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"smooth": -1}, "smooth must be a number of pixels, 0 or more, got -1"),
        ({"normalize": "max"}, "normalize must be one of 'frame', 'video', 'none', got 'max'"),
        ({"colormap": "virdis"}, "colormap must be one of matplotlib's, such as viridis, .*; got 'virdis'"),
        ({"colormap": "@"}, "colormap must be one of matplotlib's, such as inferno, magma, .*; got '@'"),
    ],
)
def test_styles_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Style(**options)


def test_a_video_s_peak_is_known_when_all_its_maps_are_spooled(tmp_path: Path) -> None:
    style = Style(smooth=1.0, normalize="video")
    with pytest.raises(ValueError, match="needs the peak of the whole video"):
        style.shown(raw_map(0))
    with Spool(tmp_path / "maps.part", SIZE, style) as spool:
        for number in range(12):
            spool.append(raw_map(number))
        replayed = list(spool.replay())
    assert not list(tmp_path.iterdir())
    assert all(np.array_equal(raw, raw_map(number)) for number, (raw, _) in enumerate(replayed))
    peaks = [shown.max() for _, shown in replayed]
    assert peaks[11] == 1
    assert peaks == sorted(peaks)
    assert peaks[0] == pytest.approx(style.smoothed(raw_map(0)).max() / style.smoothed(raw_map(11)).max())


def test_a_spool_on_a_full_disk_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "maps.part"
    file.symlink_to("/dev/full")
    spool = Spool(file, (8, 8), Style())
    spool.append(raw_map(0, (8, 8)))  # waits in the buffer
    with pytest.raises(OSError, match="No space left on device"):
        spool.close()
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------------- videos


def test_the_overlay_has_the_video_s_size_and_times(tmp_path: Path) -> None:
    times = [Fraction(ms, 1000) for ms in (0, 33, 40, 100, 250, 251, 900)]  # variable frame rate
    content = [(replace(frame, time=time), raw) for (frame, raw), time in zip(scenes(7), times, strict=True)]
    style = Style(smooth=2.0)
    frames = read(write(tmp_path, "overlay", content, replace(INFO, time_base=Fraction(1, 1000)), style))
    assert [frame.time for frame in frames] == times
    for frame, (original, raw) in zip(frames, content, strict=True):
        assert np.abs(frame.image.astype(int) - overlay(original.image, style.shown(raw))).mean() < 3


def test_the_heatmap_is_the_map_in_the_colour_map_s_colours(tmp_path: Path) -> None:
    style = Style(smooth=2.0, colormap="viridis")
    frames = read(write(tmp_path, "heatmap", style=style))
    for number in (2, 9):
        shown = style.shown(raw_map(number))
        row, column = np.unravel_index(shown.argmax(), SIZE)
        seen = frames[number].image[row * 48 // 32, column * 64 // 48].astype(int)
        assert np.abs(seen - matplotlib.colormaps["viridis"](1.0, bytes=True)[:3]).max() < 25
        assert np.abs(frames[number].image[0, 63].astype(int) - (68, 1, 84)).max() < 12


@pytest.mark.parametrize(
    ("width", "shape"), [(64, (48, 192, 3)), (1364, (4, 4092, 3)), (1600, (4, 3200, 3)), (4000, (4, 4096, 3))]
)
def test_side_by_side_shows_as_many_pictures_as_fit(tmp_path: Path, width: int, shape: tuple[int, ...]) -> None:
    height = {64: 48, 4000: 8}.get(width, 4)
    with SideBySideWriter(tmp_path / "a.mp4", INFO, Style()) as writer:
        feed(writer, scenes(2, height, width), Style())
    (frame, _) = read(tmp_path / "a.mp4")
    assert frame.image.shape == shape
    part = shape[1] // (3 if 3 * width <= 4096 else 2)
    assert np.abs(frame.image[:, : part - 2].astype(int) - 40).max() < 12  # the frame itself
    assert frame.image[0, part + 2 : 2 * part - 2].astype(int).min() < 20  # the map


def sounding_video(
    path: Path,
    codec: str,
    *,
    seconds: int = 2,
    sound_from: float = 0.0,
    video_from: float = 0.0,
    layout: str = "stereo",
) -> Path:
    """Flashes white for a tenth of a second at the end of every half, as a tone sounds."""
    rate = 48000
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=20, options={"crf": "10"})
        assert isinstance(picture, av.VideoStream)
        picture.height, picture.width, picture.pix_fmt = 48, 64, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 20)
        sound = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sound, av.AudioStream)
        for number in range(20 * seconds):
            image = np.full((48, 64, 3), 255 if number % 10 >= 8 else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = number + round(20 * video_from), Fraction(1, 20)
            container.mux(picture.encode(frame))
        time = np.arange(rate * (seconds + 1)) / rate + sound_from - video_from
        tone = np.where((time % 0.5 >= 0.4) & (time >= 0), 0.5 * np.sin(2 * np.pi * 1000 * time), 0).astype(np.float32)
        channels = len(sound.codec_context.layout.channels)
        samples = av.AudioFrame.from_ndarray(np.repeat(tone[None], channels, 0), "fltp", layout)
        samples.sample_rate, samples.pts, samples.time_base = rate, round(rate * sound_from), Fraction(1, rate)
        container.mux([*sound.encode(samples), *sound.encode(None), *picture.encode(None)])
    return path


def carried(source: Path, folder: Path, name: str = "overlay") -> Path:
    """The source's overlay, of a map that shows nothing."""
    with open_video(source) as reader:
        content = [(frame, np.zeros(SIZE, np.float32)) for frame in reader]
        return write(folder, name, content, reader.info)


def loud_and_bright(file: Path) -> tuple[list[float], list[float]]:
    """When the tone sets in, and when the picture turns white, in seconds."""
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        mono = av.AudioResampler("fltp", "mono", stream.rate)
        frames = [part for frame in container.decode(stream) for part in mono.resample(frame)]
        parts = [(frame.time, np.abs(frame.to_ndarray()[0])) for frame in frames]
        scale = max(part.max() for _, part in parts)
        loud = np.concatenate([time + np.flatnonzero(part > scale / 3) / stream.rate for time, part in parts])
    bright = [float(frame.time) for frame in read(file) if frame.image.mean() > 128]
    return [loud[0], *loud[1:][np.diff(loud) > 0.2]], [bright[0], *np.array(bright[1:])[np.diff(bright) > 0.2]]


@pytest.mark.parametrize(
    ("suffix", "codec", "kept"),
    [
        ("mp4", "aac", "aac"),
        ("ts", "aac", "aac"),
        ("mkv", "libmp3lame", "mp3"),
        ("mkv", "libopus", "opus"),
        ("mkv", "flac", "flac"),
        ("mkv", "ac3", "ac3"),
        ("mkv", "pcm_s16le", "aac"),
        ("mkv", "mp2", "aac"),
    ],
)
def test_sound_is_copied_where_mp4_carries_it_and_stays_with_the_picture(
    tmp_path: Path, suffix: str, codec: str, kept: str
) -> None:
    file = carried(sounding_video(tmp_path / f"a.{suffix}", codec), tmp_path)
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.codec.canonical_name == kept
        assert float(container.duration / av.time_base) == pytest.approx(
            2, abs=0.06
        )  # cut, as it had 3 seconds of sound
    loud, bright = loud_and_bright(file)
    assert bright == pytest.approx([0.4, 0.9, 1.4, 1.9], abs=1e-3)
    assert loud == pytest.approx(bright, abs=0.03)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize(("sound_from", "video_from"), [(0.0, 0.7), (0.3, 0.0)])
def test_sound_that_begins_earlier_or_later_stays_with_the_picture(
    tmp_path: Path, codec: str, sound_from: float, video_from: float
) -> None:
    source = sounding_video(tmp_path / "a.mkv", codec, sound_from=sound_from, video_from=video_from)
    loud, bright = loud_and_bright(carried(source, tmp_path))
    assert bright == pytest.approx([0.4, 0.9, 1.4, 1.9], abs=1e-3)
    assert loud == pytest.approx(bright, abs=0.03)


@pytest.mark.parametrize("name", ["heatmap", "side-by-side"])
def test_all_videos_carry_the_sound(tmp_path: Path, name: str) -> None:
    file = carried(sounding_video(tmp_path / "a.mkv", "aac", layout="mono"), tmp_path, name)
    with av.open(str(file)) as container:
        assert len(container.streams.audio) == 1


def test_sound_that_is_gone_is_left_out_with_a_warning(tmp_path: Path) -> None:
    info = replace(INFO, sound=str(tmp_path / "gone.mp4"))
    with pytest.warns(VideoWarning, match=r"gone\.mp4: its sound is left out"):
        assert len(read(write(tmp_path, "overlay", info=info))) == 12


def test_damaged_sound_is_carried_over_in_part_with_a_warning(tmp_path: Path) -> None:
    source = sounding_video(tmp_path / "a.mov", "adpcm_ima_qt")
    with av.open(str(source)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(source.read_bytes())
    for place, size in places[400:600]:  # of 64 samples each: from 0.53 s to 0.8 s
        assert place is not None
        data[place : place + size] = b"\xff" * size
    source.write_bytes(data)
    with pytest.warns(VideoWarning, match=r"a\.mov: its sound is damaged, and only a part of it is carried over"):
        file = carried(source, tmp_path)
    loud, bright = loud_and_bright(file)
    assert bright == pytest.approx([0.4, 0.9, 1.4, 1.9], abs=1e-3)
    assert loud[-3:] == pytest.approx(bright[-3:], abs=0.03)  # the rest stays with the picture


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_whose_times_jump_back_does_not_cost_the_video(tmp_path: Path, codec: str) -> None:
    """Two recordings strung together, as `cat` does with transport streams."""
    once = sounding_video(tmp_path / "once.ts", codec, seconds=1)
    twice = tmp_path / "twice.ts"
    twice.write_bytes(2 * once.read_bytes())
    with pytest.warns(VideoWarning, match=r"twice\.ts: its sound is damaged, and only a part of it is carried over"):
        file = write(tmp_path, "overlay", scenes(100), replace(INFO, sound=str(twice)))
    assert len(read(file)) == 100
    with av.open(str(file)) as container:
        times = [packet.dts for packet in container.demux(audio=0) if packet.dts is not None]
    assert len(times) > 50
    assert times == sorted(set(times))


def test_sound_that_changes_its_channels_midway_does_not_cost_the_video(tmp_path: Path) -> None:
    """A stereo and a mono recording strung together, as broadcasts are."""
    file = tmp_path / "twice.ts"
    parts = [
        sounding_video(tmp_path / f"{layout}.ts", "mp2", seconds=1, layout=layout) for layout in ("stereo", "mono")
    ]
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.warns(VideoWarning, match=r"twice\.ts: its sound is damaged, and only a part of it is carried over"):
        result = write(tmp_path, "overlay", scenes(100), replace(INFO, sound=str(file)))
    assert len(read(result)) == 100
    with av.open(str(result)) as container:
        assert len([packet for packet in container.demux(audio=0) if packet.dts is not None]) > 20


# ------------------------------------------------------------------------------------------------------- maps as they are


def test_maps_are_8_bit_png_files_and_those_of_a_longer_video_go(tmp_path: Path) -> None:
    folder = tmp_path / "street"
    folder.mkdir()
    (folder / "0013.png").write_bytes(b"of a longer video")
    (folder / "0013_notes.png").write_bytes(b"not ours")
    style = Style(smooth=2.0)
    with MapsWriter(folder, INFO, style) as writer:
        feed(writer, scenes(12), style)
    names = [*(f"{number:04d}.png" for number in range(1, 13)), "0013_notes.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    for number in range(12):
        with Image.open(folder / f"{number + 1:04d}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), (style.shown(raw_map(number)) * 255).round())


def test_maps_go_on_where_they_were_stopped_with_the_same_result(tmp_path: Path) -> None:
    content, style = scenes(12), Style()
    with MapsWriter(tmp_path / "whole", INFO, style) as writer:
        feed(writer, content, style)

    def stopped() -> None:
        with MapsWriter(tmp_path / "parts", INFO, style) as writer:
            feed(writer, content[:5], style)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert len(list((tmp_path / "parts").iterdir())) == 5
    with MapsWriter(tmp_path / "parts", INFO, style, start=5) as writer:
        for number, (frame, raw) in enumerate(content[5:], 5):
            writer.write(number, frame, raw, style.shown(raw))
    files = [sorted((tmp_path / name).iterdir()) for name in ("whole", "parts")]
    assert len(files[0]) == 12
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_the_npz_holds_all_raw_maps_and_times(tmp_path: Path) -> None:
    content = scenes(12)
    with NpzWriter(tmp_path / "a.npz", INFO, Style()) as writer:
        for number, (frame, raw) in enumerate(content):
            writer.write(number, replace(frame, time=frame.time + 3, image=NO_IMAGE), raw, raw)
    with np.load(tmp_path / "a.npz") as file:
        assert set(file) == {"maps", "times"}
        assert (file["maps"].dtype, file["maps"].shape) == (np.float16, (12, *SIZE))
        assert np.array_equal(file["maps"], np.stack([raw for _, raw in content]).astype(np.float16))
        assert file["times"] == pytest.approx([3 + i / 25 for i in range(12)])


def test_the_npz_s_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    raw = raw_map(0, (224, 384))
    tracemalloc.start()
    try:
        with NpzWriter(tmp_path / "a.npz", INFO, Style()) as writer:
            for number in range(200):
                writer.write(number, VideoFrame(NO_IMAGE, Fraction(number, 25)), raw, raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6  # the maps are 34 MB
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["maps"][199], raw.astype(np.float16))


# --------------------------------------------------------------------------------------------------------------- previews


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_a_preview_of_a_short_video_takes_as_long_as_it(tmp_path: Path, name: str) -> None:
    content = scenes(75, 270, 960)
    with Image.open(write(tmp_path, name, content, replace(INFO, expected_frames=75))) as image:
        assert image.size == (480, 135)
        assert image.n_frames == 38  # of 25 frames a second every second
        milliseconds = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            milliseconds.append(image.info["duration"])
            brightness = np.asarray(image.convert("RGB"))[:20].mean()
            assert brightness == pytest.approx(40 + 8 * (2 * number % 24), abs=8)
        assert sum(milliseconds) == pytest.approx(3000, rel=0.06)
        assert image.info["loop"] == 0


@pytest.mark.parametrize("expected", [400, None, 90, 4000])
def test_a_preview_of_a_long_video_is_an_even_time_lapse(tmp_path: Path, expected: int | None) -> None:
    style = Style()
    images = [np.full((8, 8, 3), (i % 256, i // 256, 97 * i % 256), np.uint8) for i in range(400)]
    content = [(VideoFrame(image, Fraction(i, 25)), raw_map(0)) for i, image in enumerate(images)]
    with WRITERS["webp"](tmp_path / "a.webp", replace(INFO, expected_frames=expected), Style(alpha=0)) as writer:
        assert isinstance(writer, PreviewWriter)
        feed(writer, content, style)
        steps = np.diff([int(picture[0, 0, 0]) + 256 * int(picture[0, 0, 1]) for picture in writer._sample.kept])
        assert np.ptp(steps) == 0
    with Image.open(tmp_path / "a.webp") as image:
        assert (10 if expected == 4000 else 48) <= image.n_frames <= 96
        image.seek(1)
        image.load()
        assert image.n_frames * image.info["duration"] == pytest.approx(8000, rel=0.05)


def test_an_even_sample_makes_only_what_it_keeps() -> None:
    made: list[int] = []
    sample: EvenSample[int] = EvenSample(8, None)
    for number in range(100):
        sample.offer(lambda number=number: made.append(number) or number)
    assert sample.kept == [0, 16, 32, 48, 64, 80, 96]
    assert len(made) < 30
    assert sample.pick(3) == [16, 48, 80]
    assert EvenSample[int](8, None).pick(3) == []


def test_the_contact_sheet_shows_eight_moments_and_its_name(tmp_path: Path) -> None:
    with Image.open(write(tmp_path, "contact-sheet", scenes(100), replace(INFO, expected_frames=100))) as image:
        assert image.format == "PNG"
        sheet = np.asarray(image)
    expected = contact_sheet([scenes(100)[0]] * 8, "Saliency of street.mp4")
    assert sheet.shape == expected.shape
    assert np.array_equal(sheet[:40], expected[:40])  # the title


def test_sheets_of_upright_and_of_anamorphic_videos_keep_their_shape() -> None:
    def tile(frame: VideoFrame) -> tuple[int, int]:
        sheet = contact_sheet([(frame, np.zeros(SIZE, np.float32))], "")
        white = (sheet[:, : sheet.shape[1] // 3 + 6] == 255).all(axis=2)
        white[:, :100] &= white[:, 100:101]  # without the time's letters
        return int(white.any(axis=1).sum()), int(white.any(axis=0).sum())

    def frame(height: int, width: int, aspect: Fraction) -> VideoFrame:
        return VideoFrame(np.full((height, width, 3), 255, np.uint8), Fraction(0), aspect)

    assert tile(frame(320, 180, Fraction(1)))[0] == 416
    height, width = tile(frame(100, 100, Fraction(2)))
    assert width == pytest.approx(2 * height, abs=2)


# ------------------------------------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("written", [0, 8])
def test_what_is_stopped_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, name: str, written: int) -> None:
    old = tmp_path / f"street{WRITERS[name].suffix}"
    old.write_text("old")

    def stopped() -> None:
        with WRITERS[name](old, INFO, Style()) as writer:
            feed(writer, scenes(written), Style())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [file.name for file in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "old"


@pytest.mark.parametrize("name", FILES)
def test_a_file_appears_when_it_is_whole_and_replaces_what_was_there(tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / f"street{WRITERS[name].suffix}"
    with WRITERS[name](target, INFO, Style()) as writer:
        feed(writer, scenes(12), Style())
        assert not target.exists()
    assert [file.name for file in target.parent.iterdir()] == [target.name]
    before = target.read_bytes()
    assert write(target.parent, name, style=Style()).read_bytes() == before  # and is the same each time


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """Every format meets the limit of a file's size at its beginning and close to its end."""
    code = """if True:
        import pathlib, resource, sys
        from net import test_writers as t
        from tased_net.writers import WRITERS
        folder = pathlib.Path(sys.argv[1])
        noise = t.np.random.default_rng(0).integers(0, 255, (30, 96, 128, 3), t.np.uint8)
        content = [(t.VideoFrame(image, t.Fraction(i, 25)), t.raw_map(i)) for i, image in enumerate(noise)]
        for name in t.FILES:
            whole = t.write(folder, name, content)
            size = whole.stat().st_size
            whole.unlink()
            for limit in (64, size - 64):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                try:
                    t.write(folder, name, content)
                    print(name, limit, size, "was written all the same")
                except OSError:
                    pass
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                for file in folder.iterdir():
                    print(name, limit, size, "left", file)
                    file.unlink()
        """
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
