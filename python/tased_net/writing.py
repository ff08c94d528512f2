"""Files that appear whole or not at all: H.264 videos, with or without sound, and images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from PIL import Image

from .frames import VideoFrame, VideoWarning
from .sound import Sound
from .sources import shown_name

BT709, LIMITED_RANGE = 1, 1  # ISO/IEC 23091-2 code points
LARGEST_TERM = 100_000  # of a rate or a time base: beyond it encoders and players lose their way
QUALITY = 18  # x264's constant rate factor: no loss that one sees


@contextmanager
def whole_file(path: str | os.PathLike[str], *, to_disk: bool = True) -> Iterator[Path]:
    """Gives a hidden path beside `path` to write to, which takes its name at the end, or vanishes if anything stops it.

    With `to_disk` it is on the disk before: a power cut leaves this file or the one before, and not an empty one.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        if to_disk:
            with open(beside, "rb") as file:
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def video_writer(
    path: str | os.PathLike[str],
    rate: Fraction,
    time_base: Fraction,
    *,
    sound: str | None = None,
    quality: int = QUALITY,
) -> Iterator[Callable[[VideoFrame], None]]:
    """Opens an H.264 MP4 file and gives a function that writes one frame to it.

    Parameters
    ----------
    path
        The file; it appears when all is written.
    rate
        Frames a second on average.
    time_base
        Seconds of which the frames' times are multiples, within rounding. The file begins with the first frame.
    sound
        A file or URL whose sound goes with the frames (`Sound`).
    quality
        x264's constant rate factor: 0 is without loss, 6 more halve the file.

    Notes
    -----
    Players want even sizes, so an odd one grows by one row or column, a copy of the last.
    """
    rate = rate.limit_denominator(LARGEST_TERM)
    if time_base.denominator > LARGEST_TERM:
        time_base = Fraction(1, 90_000)
    with whole_file(path) as beside, av.open(os.fspath(beside), "w", "mp4", {"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(quality), **_repeatable()})
        codec = stream.codec_context
        codec.time_base, codec.pix_fmt = time_base, "yuv420p"
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        start, last, heard = Fraction(0), -1, None

        def write(frame: VideoFrame) -> None:
            nonlocal start, last, heard
            height, width, _ = frame.image.shape
            image = np.pad(frame.image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if last < 0:
                start = frame.time
                codec.width, codec.height = image.shape[1], image.shape[0]
                codec.sample_aspect_ratio = frame.pixel_aspect
                heard = _opened(sound, container, start)
            elif heard is not None:
                heard.write_until(frame.time)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture = picture.reformat(
                codec.width,
                codec.height,
                "yuv420p",
                dst_colorspace=BT709,
                dst_color_range=LIMITED_RANGE,
                interpolation=Interpolation.BICUBIC,
            )
            last = max(round((frame.time - start) / time_base), last + 1)  # an encoder wants times that grow
            picture.pts, picture.time_base = last, time_base
            container.mux(stream.encode(picture))

        try:
            yield write
            container.mux(stream.encode(None))
            if heard is not None:
                heard.write_until(start + last * time_base + 1 / rate)
        finally:
            if heard is not None:
                heard.close()


def _repeatable() -> dict[str, str]:
    """Options with which the same frames give the same file, byte for byte.

    With AVX-512, x264's look-ahead varies from run to run at widths that are no multiple of 128 (seen in build 165).
    """
    return {"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}


def _opened(sound: str | None, container: av.container.OutputContainer, start: Fraction) -> Sound | None:
    if sound is None:
        return None
    try:
        return Sound(sound, container, start)
    except (av.error.FFmpegError, OSError) as error:
        warnings.warn(f"{shown_name(sound)}: its sound is left out ({error.strerror})", VideoWarning, stacklevel=2)
        return None


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Writes a grey (H, W) or RGB (H, W, 3) image as PNG; many are written at a time, so none waits for the disk."""
    with whole_file(path, to_disk=False) as beside:
        Image.fromarray(image).save(beside, format="PNG")
