"""From a video to its saliency: decode, resize, slide the window, smooth, normalise, write.

Everything streams: a frame is decoded when its window needs it, and a map is written when it is there. At most 2T-2 frames
are held, so memory does not grow with the video.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor
from tqdm import tqdm

from .predictor import SIZE, Predictor, RawMap, step_of
from .render import ALPHA, Map, overlay
from .video import READERS, RGB, VideoFrame, video_writer, write_image

SMOOTHING = 7.0  # sigma of the release's Gaussian, in pixels at that size

FORMATS = ("overlay", "maps")


def postprocess(saliency: RawMap | Tensor) -> Map:
    """Smooths a map and divides it by its maximum, as the release does before it writes one.

    Parameters
    ----------
    saliency
        (h, w). The Gaussian's sigma is 7 pixels at 224x384 and goes with the size.

    Returns
    -------
    numpy.ndarray
        float32 (h, w), its maximum 1 (a map of zeros stays one).
    """
    height, width = saliency.shape
    sigma = (SMOOTHING * height / SIZE[0], SMOOTHING * width / SIZE[1])
    smooth: Map = gaussian_filter(np.asarray(saliency, np.float32), sigma)
    smooth /= max(smooth.max(), np.finfo(np.float32).tiny)
    return smooth


def predict_video(
    predictor: Predictor,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str = "overlay",
    reader: str = "pyav",
    alpha: float = ALPHA,
    fps: float | None = None,
    progress: bool = False,
) -> int:
    """Writes the saliency of a video.

    Parameters
    ----------
    predictor
        The network to predict with.
    source
        The video.
    target
        "overlay": an MP4 file, of the video's size, orientation and frame times. "maps": a folder of 8-bit PNG files,
        ``0001.png`` and on, of the network's size. What was there before is replaced.
    format
        "overlay" or "maps".
    reader
        "pyav" or "skvideo".
    alpha
        Opacity of the overlay where saliency is highest.
    fps
        Frames a second that the network is to see, 30 or near it for the released weights: clips take every n-th frame of
        a faster video, and repeat frames of a slower one, which is counted in frames at the video's average rate. None
        for the video's own.
    progress
        Whether to show a bar with rate and time left on stderr.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    VideoError
        If the video cannot be read.
    ValueError
        If the format or the reader has another name, `fps` is not positive, or as `Predictor`.
    OSError
        If the result cannot be written. An MP4 file then does not appear; maps written before stay.
    """
    for name, value, known in (("format", format, FORMATS), ("reader", reader, tuple(READERS))):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    step_of(Fraction(25), fps)
    waiting: deque[VideoFrame] = deque()  # frames that the overlay needs again when their map is there

    def images() -> Iterator[RGB]:
        for frame in video:
            if format == "overlay":
                waiting.append(frame)
            yield frame.image

    with (
        READERS[reader](source) as video,
        tqdm(desc=os.path.basename(source), total=video.expected_frames, unit="frame", disable=not progress) as bar,
    ):
        step = step_of(video.rate, fps)
        maps = map(postprocess, predictor(images(), step=step, expected=video.expected_frames, tick=bar.update))
        if format == "maps":
            return _write_maps(Path(target), maps)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        with video_writer(target, video.rate, video.time_base) as write:
            count = 0
            for saliency in maps:
                frame = waiting.popleft()
                write(replace(frame, image=overlay(frame.image, saliency, alpha)))
                count += 1
        return count


def _write_maps(folder: Path, maps: Iterable[Map]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for saliency in maps:
        count += 1
        write_image(folder / f"{count:04d}.png", (saliency * 255).round().astype(np.uint8))
    for file in folder.glob("*.png"):
        if file.stem.isdecimal() and int(file.stem) > count:
            file.unlink()
    return count
