"""Images read as a video: order, modes, orientation, sizes, damage."""

from __future__ import annotations

import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from net.clips import SMALL
from tased_net import cli
from tased_net.images import SUFFIXES, image_files, read_image
from tased_net.video import RGB, VideoError, VideoFrame, VideoWarning, open_video, video_name


def grey(value: int, height: int = 24, width: int = 32) -> RGB:
    return np.full((height, width, 3), value, np.uint8)


def save(path: Path, image: Any, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def read(source: Path | str, **options: Any) -> list[VideoFrame]:
    with open_video(source, **options) as reader:
        return list(reader)


def test_images_come_in_natural_order_at_a_constant_rate(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        save(tmp_path / f"img{number}.png", grey(number))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".img3.png").write_text("hidden")
    with open_video(tmp_path) as reader:
        assert (reader.rate, reader.time_base, reader.expected_frames) == (25, Fraction(1, 25), 6)
        frames = list(reader)
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 2, 9, 10, 11, 100]
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(6)]
    assert [frame.time for frame in read(tmp_path, image_rate=Fraction(10))][:2] == [0, Fraction(1, 10)]


def test_a_pattern_names_the_images(tmp_path: Path) -> None:
    for name in ("clip/a1.png", "clip/a10.png", "clip/a2.png", "clip/b1.png"):
        (tmp_path / "clip").mkdir(exist_ok=True)
        save(tmp_path / name, grey(7))
    assert [file.name for file in image_files(tmp_path / "clip" / "a*.png")] == ["a1.png", "a2.png", "a10.png"]
    assert [file.name for file in image_files(f"{tmp_path}/**/*1.png")] == ["a1.png", "b1.png"]
    assert len(read(f"{tmp_path}/clip/a*")) == 3
    assert video_name(f"{tmp_path}/clip/a*.png") == video_name(tmp_path / "clip") == "clip"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((24, 32, 3), np.uint8)
    image[:, :16] = (200, 40, 90)
    (frame,) = read(save(tmp_path / f"a{suffix.upper()}", image))
    assert np.abs(frame.image[:, :12].astype(int) - (200, 40, 90)).max() <= 6


def palette_with_transparency() -> Image.Image:
    image = Image.new("P", (32, 24), 1)
    image.putpalette([0, 0, 0, 200, 100, 50, 255, 255, 255])
    image.paste(2, (16, 0, 32, 24))
    image.info["transparency"] = 2
    return image


@pytest.mark.parametrize(
    ("image", "left", "right"),
    [
        (Image.new("1", (32, 24), 1), (255, 255, 255), (255, 255, 255)),
        (Image.new("L", (32, 24), 77), (77, 77, 77), (77, 77, 77)),
        (Image.new("LA", (32, 24), (200, 128)), (100, 100, 100), (100, 100, 100)),
        (Image.new("RGBA", (32, 24), (200, 100, 50, 128)), (100, 50, 25), (100, 50, 25)),
        (palette_with_transparency(), (200, 100, 50), (0, 0, 0)),
        (np.full((24, 32), 77 * 257, np.uint16), (77, 77, 77), (77, 77, 77)),
    ],
    ids=["1 bit", "grey", "grey with alpha", "alpha", "palette", "16 bits"],
)
def test_every_mode_becomes_8_bit_rgb(
    tmp_path: Path, image: Any, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    result = read_image(save(tmp_path / "a.png", image))
    assert (result.dtype, result.shape) == (np.uint8, (24, 32, 3))
    assert np.abs(result[5, 5].astype(int) - left).max() <= 1
    assert np.abs(result[5, 25].astype(int) - right).max() <= 1


def test_cmyk_and_32_bit_integers_are_read_and_floats_refused(tmp_path: Path) -> None:
    cmyk = read_image(save(tmp_path / "a.tif", Image.new("CMYK", (32, 24), (0, 255, 255, 0))))
    assert tuple(cmyk[0, 0]) == (255, 0, 0)
    integers = read_image(save(tmp_path / "b.tif", np.full((24, 32), 77 * 257, np.int32)))
    assert tuple(integers[0, 0]) == (77, 77, 77)
    with pytest.raises(VideoError, match=r"c\.tif: holds floating-point values"):
        read(save(tmp_path / "c.tif", np.ones((24, 32), np.float32)))


def test_exif_orientation_turns_images_upright(tmp_path: Path) -> None:
    upright = grey(0, 48, 32)
    upright[:24] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    save(tmp_path / "1.jpg", np.rot90(upright), exif=exif)
    save(tmp_path / "2.jpg", upright)  # of the same size once both are upright
    for frame in read(tmp_path):
        assert np.abs(frame.image.astype(int) - upright).mean() < 3


def test_the_first_image_of_another_size_is_named(tmp_path: Path) -> None:
    for number, width in enumerate((32, 32, 40, 48), 1):
        save(tmp_path / f"{number}.png", grey(0, 24, width))
    with pytest.raises(VideoError) as caught:
        open_video(tmp_path)
    message = f"{tmp_path}/3.png: is 40x24 pixels, but 1.png is 32x24: a video's images have one size"
    assert str(caught.value) == message


def test_damaged_images_are_left_out_with_a_warning(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8))
    (tmp_path / "1.png").write_text("nothing")
    (tmp_path / "3.png").write_bytes((tmp_path / "4.png").read_bytes()[:900])
    message = rf"{tmp_path}: damaged, only the 3 images that can be read are used, without {tmp_path}/1.png and 1 more"
    with pytest.warns(VideoWarning, match=message):
        frames = read(tmp_path)
    assert [frame.time for frame in frames] == [0, Fraction(1, 25), Fraction(2, 25)]
    for number in (0, 2, 4):
        (tmp_path / f"{number}.png").write_text("nothing")
    with pytest.raises(VideoError, match="none of its images can be read"):
        read(tmp_path)


def test_an_image_is_read_without_touching_the_filters_of_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of the whole process: threads that each put back what they found leave those of another for good."""
    met: list[object] = []
    upright = ImageOps.exif_transpose
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: met.append(warnings.filters[:]) or upright(image))
    read_image(save(tmp_path / "1.png", grey(0)))
    assert met == [warnings.filters]


def test_commands_pass_over_pillow_s_warnings_and_libraries_show_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(tmp_path / "1.jpg", grey(0), exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        read_image(file)
    assert cli.main(["predict", *SMALL, str(file), "-o", str(tmp_path / "out"), "--format", "maps"]) == 0
    assert "EXIF" not in capsys.readouterr().err


def test_where_there_are_no_images_a_sentence_says_so(tmp_path: Path) -> None:
    for source, message in {
        tmp_path: r"the folder holds no images \(\.bmp, ",
        tmp_path / "*.png": r"names no images \(\.bmp, ",
        tmp_path / "a.png": "no such file",
    }.items():
        with pytest.raises(VideoError, match=message):
            open_video(source)


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (100_000, 100_000)])
def test_absurd_sizes_are_refused_by_the_header(tmp_path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    file = tmp_path / "bomb.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))))
    with pytest.raises(VideoError, match=r"bomb\.png: .*too many"):
        open_video(file)
