"""Files that appear whole or not at all: H.264 videos, with or without sound, and images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .frames import VideoFrame

BT709, LIMITED_RANGE = 1, 1  # ISO/IEC 23091-2 code points


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden path beside `path` to write to, which takes its name at the end, or vanishes if anything stops it."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def video_writer(
    path: str | os.PathLike[str], rate: Fraction, time_base: Fraction
) -> Iterator[Callable[[VideoFrame], None]]:
    """Opens an H.264 MP4 file and gives a function that writes one frame to it.

    Parameters
    ----------
    path
        The file; it appears when all is written.
    rate
        Frames a second on average.
    time_base
        Seconds of which the frames' times are multiples, within rounding.

    Notes
    -----
    Players want even sizes, so an odd one grows by one row or column, a copy of the last.
    """
    with whole_file(path) as beside, av.open(os.fspath(beside), "w", "mp4", {"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        codec = stream.codec_context
        codec.time_base, codec.pix_fmt = time_base, "yuv420p"
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        last = None

        def write(frame: VideoFrame) -> None:
            nonlocal last
            height, width, _ = frame.image.shape
            image = np.pad(frame.image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if last is None:
                codec.width, codec.height = image.shape[1], image.shape[0]
                codec.sample_aspect_ratio = frame.pixel_aspect
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
            pts = round(frame.time / time_base)
            last = pts if last is None else max(pts, last + 1)  # an encoder wants times that grow
            picture.pts, picture.time_base = last, time_base
            container.mux(stream.encode(picture))

        yield write
        container.mux(stream.encode(None))


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Writes a grey (H, W) or RGB (H, W, 3) image as PNG."""
    with whole_file(path) as beside:
        Image.fromarray(image).save(beside, format="PNG")
