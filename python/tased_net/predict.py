"""From a video to its saliency: decode, resize, slide the window, smooth, normalise, write.

Everything streams: a frame is decoded when its window needs it, and a map is written when it is there. At most 2T-2 frames
are held, so memory does not grow with the video.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor
from tqdm import tqdm

from .render import ALPHA, Map, overlay
from .reuse import predictions
from .sliding import Window, sliding_windows
from .tased import TASEDNet
from .video import READERS, RGB, VideoFrame, video_writer, write_image

SIZE = (224, 384)  # height and width that the network is trained at
SMOOTHING = 7.0  # sigma of the release's Gaussian, in pixels at that size

FORMATS = ("overlay", "maps")
CHUNK = 2  # windows at a time: more take more memory, and no less time on a CPU


def predict_maps(
    net: TASEDNet,
    frames: Iterable[RGB],
    *,
    size: tuple[int, int] = SIZE,
    autocast: torch.dtype | None = None,
    step: Fraction | int = 1,
    reuse: bool = True,
    chunk: int = CHUNK,
) -> Iterator[Tensor]:
    """Predicts the saliency map of every frame of a video by the sliding window (paper section 3.1).

    Parameters
    ----------
    net
        In evaluation mode. It is used where it is and as it is: its device and dtype are those of the computation. With
        `maps` = k the window moves on by k frames.
    frames
        uint8 RGB (H, W, 3), any number of them; they are taken one by one.
    size
        Height and width that frames are resized to, bilinearly between pixel centres and without smoothing (as OpenCV's
        INTER_LINEAR, which the weights were trained with).
    autocast
        bfloat16 or float16 to run the convolutions in that type; None for the network's own.
    step
        Frames of the video from one frame of a clip to the next: 2 shows a video of 60 frames a second to the network as
        one of 30, at which it has learned. There is a map for every frame all the same.
    reuse
        Whether windows share what they have in common: the same maps up to rounding, for about half of the work. Without
        effect where `step` is not 1.
    chunk
        With `reuse`, windows that are computed at a time; maps come in such chunks.

    Yields
    ------
    Tensor
        The network's output for each frame in turn, (h, w) = `size`, from 0 to 1; see `postprocess`.

    Raises
    ------
    ValueError
        If the network is in training mode, a frame is not uint8 RGB, the step does not go with the network's maps, or
        `chunk` is below 1.
    """
    if net.training:
        raise ValueError("the network is in training mode: call net.eval() first")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    resized = (_resized(frame, size, net) for frame in frames)
    windows = sliding_windows(resized, net.clip_length, net.maps, step)
    if not reuse or step != 1:
        for clip, taken in windows:
            maps = _predict(net, torch.stack(clip), autocast)
            yield from (maps[number] for number in taken)
        return
    yield from _reusing(net, windows, chunk, autocast)


def _reusing(
    net: TASEDNet, windows: Iterator[Window[Tensor]], chunk: int, autocast: torch.dtype | None
) -> Iterator[Tensor]:
    taken: deque[range] = deque()

    def noted(part: Iterable[Window[Tensor]]) -> Iterator[Window[Tensor]]:
        for window in part:
            taken.append(window.maps)
            yield window

    # The windows of the first frames run back in time: in the other order they, too, follow each other.
    early: list[Window[Tensor]] = []
    for window in windows:
        if not window.reversed:
            windows = chain([window], windows)
            break
        early.append(window)
    groups = [
        [maps[number] for number in taken.popleft()]
        for maps in predictions(net, noted(reversed(early)), chunk, autocast)
    ]
    early.clear()
    for group in reversed(groups):
        yield from group
    for maps in predictions(net, noted(windows), chunk, autocast):
        yield from (maps[number] for number in taken.popleft())


@torch.inference_mode()
def _resized(frame: RGB, size: tuple[int, int], net: TASEDNet) -> Tensor:
    """The frame as the network wants it, (h, w, 3) from -1 to 1."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frames must be uint8 RGB (H, W, 3), got {frame.dtype} {frame.shape}")
    weight = next(net.parameters())
    image = torch.from_numpy(frame).to(weight.device).permute(2, 0, 1)[None].to(weight.dtype)
    image = F.interpolate(image, size, mode="bilinear", align_corners=False)
    return ((2 * image - 255) / 255)[0].permute(1, 2, 0).contiguous()


@torch.inference_mode()
def _predict(net: TASEDNet, clip: Tensor, autocast: torch.dtype | None) -> Tensor:
    with torch.autocast(clip.device.type, dtype=autocast, enabled=autocast is not None):
        maps: Tensor = net(clip.permute(3, 0, 1, 2)[None])  # (T, h, w, 3) seen as (3, T, h, w) is channels last
    return maps.reshape(net.maps, *maps.shape[-2:])


def postprocess(saliency: Tensor) -> Map:
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
    smooth: Map = gaussian_filter(saliency.float().cpu().numpy(), sigma)
    smooth /= max(smooth.max(), np.finfo(np.float32).tiny)
    return smooth


def predict_video(
    net: TASEDNet,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str = "overlay",
    size: tuple[int, int] = SIZE,
    autocast: torch.dtype | None = None,
    reader: str = "pyav",
    alpha: float = ALPHA,
    fps: float | None = None,
    progress: bool = False,
) -> int:
    """Writes the saliency of a video.

    Parameters
    ----------
    net, size, autocast
        As for `predict_maps`.
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
        If the format or the reader has another name, `fps` is not positive, or as `predict_maps`.
    OSError
        If the result cannot be written. An MP4 file then does not appear; maps written before stay.
    """
    for name, value, known in (("format", format, FORMATS), ("reader", reader, tuple(READERS))):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps must be a positive number, got {fps}")
    waiting: deque[VideoFrame] = deque()  # frames that the overlay needs again when their map is there

    def images() -> Iterator[RGB]:
        for frame in video:
            if format == "overlay":
                waiting.append(frame)
            yield frame.image

    with READERS[reader](source) as video:
        step = 1 if fps is None else Fraction(video.rate) / Fraction(fps).limit_denominator(1001)
        raw = predict_maps(net, images(), size=size, autocast=autocast, step=step)
        maps = tqdm(
            map(postprocess, raw),
            desc=os.path.basename(source),
            total=video.expected_frames,
            unit="frame",
            disable=not progress,
        )
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
