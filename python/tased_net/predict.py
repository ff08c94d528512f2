"""From a video to files that show its saliency: decoding, the network, drawing and encoding, all at the same time.

Decoding and encoding have a thread each, with queues of a few frames between them and the network. Everything streams:
memory does not grow with the video.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .chunks import Chunks
from .engine import RawMap
from .frames import NO_IMAGE, VideoError, VideoFrame, VideoInfo, VideoReader
from .output import Writer
from .predictor import Predictor, step_of
from .render import Map
from .sources import STDIN, is_url
from .style import Spool, Style
from .video import open_video
from .writers import WRITERS

QUEUE = 4  # frames that wait between two threads
HELD_BYTES = 2**29  # frames that may wait for their maps in memory; larger ones are decoded a second time

Item = TypeVar("Item")


def postprocess(saliency: NDArray[Any] | Tensor) -> Map:
    """Smooths a map and divides it by its maximum, as the release does before it writes one.

    Parameters
    ----------
    saliency
        (h, w). The Gaussian's sigma is 7 pixels at 224x384 and goes with the size; `Style` knows other ways.

    Returns
    -------
    numpy.ndarray
        float32 (h, w), its maximum 1 (a map of zeros stays one).
    """
    if isinstance(saliency, Tensor):
        saliency = saliency.detach().float().cpu().numpy()
    return Style().shown(np.asarray(saliency))


def render_video(
    predictor: Predictor,
    source: str | os.PathLike[str],
    targets: Mapping[str, str | os.PathLike[str]],
    *,
    style: Style | None = None,
    reader: str = "pyav",
    fps: float | None = None,
    facts: Mapping[str, str] | None = None,
    resume: bool = False,
    tick: Callable[[int], object] = lambda count: None,
    chunks: Chunks | None = None,
) -> int:
    """Predicts a video once and writes its saliency in one or several formats.

    Parameters
    ----------
    predictor
        The network to predict with.
    source, reader
        As for `tased_net.video.open_video`.
    targets
        Where to write each format: "overlay", "heatmap" and "side-by-side" are MP4 files of the video's size, times and
        sound; "maps" a folder of 8-bit PNG files, ``0001.png`` and on, of the network's size; "npz" the raw maps for numpy;
        "gif" and "webp" short previews; "contact-sheet" one PNG; "report" a web page. What was there before is replaced.
    style
        Smoothing, normalisation and colours of what is shown.
    fps
        As for `Predictor.predict_video`.
    facts
        What a report says of the run, by name.
    resume
        Whether to go on after the maps that are there already, where only maps are written, each as it is predicted. The
        result is that of a run which was never stopped, byte for byte.
    tick
        Called with a number of frames whenever that many more have been predicted.
    chunks
        As for `Predictor`: where a run is gone on with, those of the stopped one.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    VideoError
        If the video cannot be read.
    ValueError
        If a format has another name, or as `Predictor`, `Style` and `open_video`.
    MemoryError
        As `Predictor`.
    OSError
        If a result cannot be written. Files appear whole or not at all; maps written before stay.
    """
    style = style or Style()
    unknown = [format for format in targets if format not in WRITERS]
    if unknown or not targets:
        raise ValueError(
            f"formats must be some of {', '.join(map(repr, WRITERS))}, got {', '.join(map(repr, targets))}"
        )
    with open_video(source, reader) as video, ExitStack() as stack:
        step = step_of(video.rate, fps)
        resumed = resume and list(targets) == ["maps"] and style.normalize != "video"
        start, first = predictor.border(maps_in(targets["maps"]) if resumed else 0, step)
        writers = [stack.enter_context(writer) for writer in _writers(targets, video.info, style, facts or {}, start)]
        images = any(writer.needs_images for writer in writers)
        reopen = (lambda: open_video(source, reader)) if _opens_again(source, video) else None
        if style.normalize == "video" and images and reopen is None:
            message = "normalize='video' reads a video twice, which a stream cannot be: save it to a file"
            raise VideoError(f"{video.source}: {message}")
        most = math.inf if style.normalize == "video" else predictor.most_frames(step) + 2 * QUEUE
        later = stack.enter_context(closing(_Later(reopen, images, most, start, first)))

        def prepared(frame: VideoFrame) -> Tensor:
            later.hold(frame)
            return predictor.prepared(frame.image)

        decoded = stack.enter_context(closing(ahead(map(prepared, video.frames(first)))))
        tick(start)
        raw = predictor(decoded, step=step, start=start, expected=video.expected_frames, tick=tick, chunks=chunks)
        stack.enter_context(closing(raw))
        if style.normalize != "video":
            return _encode(writers, ((one, style.shown(one)) for one in raw), later, start)
        spool = stack.enter_context(Spool(_beside(targets), predictor.size, style))
        for one in raw:
            spool.append(one)
        return _encode(writers, spool.replay(), later, start)


def _opens_again(source: str | os.PathLike[str], video: VideoReader) -> bool:
    """Whether a video begins with the same frame when it is opened a second time, as no stream does."""
    if os.fspath(source) == STDIN or (is_url(source) and video.expected_frames is None):
        return False
    return is_url(source) or not Path(source).is_fifo()


def maps_in(folder: str | os.PathLike[str]) -> int:
    """How many maps a folder holds, counted from the first without a gap; empty files, as a power cut leaves, are none."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)} if os.path.isdir(folder) else {}
    count = 0
    while sizes.get(f"{count + 1:04d}.png"):
        count += 1
    return count


def _writers(
    targets: Mapping[str, str | os.PathLike[str]], video: VideoInfo, style: Style, facts: Mapping[str, str], start: int
) -> Iterator[Writer]:
    for format, target in targets.items():
        own: dict[str, dict[str, Any]] = {"maps": {"start": start}, "report": {"facts": facts}}
        yield WRITERS[format](Path(target), video, style, **own.get(format, {}))


def _beside(targets: Mapping[str, str | os.PathLike[str]]) -> Path:
    """Where maps wait for a video's end: hidden, beside the first result, under another name than `whole_file` writes it by."""
    target = Path(next(iter(targets.values())))
    return target.with_name(f".{target.name}.spool.{os.getpid()}.part")


def _encode(writers: list[Writer], maps: Iterable[tuple[RawMap, Map]], later: _Later, start: int) -> int:
    """Hands frames and maps to the writers in a thread of its own; returns the number of the last one."""

    def write(number: int, raw: RawMap, shown: Map) -> None:
        frame = later.take()
        for writer in writers:
            writer.write(number, frame, raw, shown)

    number = start
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as encoder:
        try:
            for raw, shown in maps:
                pending.append(encoder.submit(write, number, raw, shown))
                number += 1
                if len(pending) > QUEUE:
                    pending.popleft().result()
            while pending:
                pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
    return number


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """Takes items in a thread of its own, a few ahead of those that are asked for."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[Any]] = deque(pool.submit(next, iterator, end) for _ in range(QUEUE))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, iterator, end))
                yield item
        finally:
            for future in pending:
                future.cancel()


class _Later:
    """A video's frames once more, for when their maps are there; from frame `start` on.

    They are held until then, or their times alone if no writer looks at their images. Where images would take too much memory,
    they are decoded a second time.

    Parameters
    ----------
    reopen
        Opens the video again; None where that cannot be.
    images
        Whether writers look at images.
    most
        How many frames wait at a time.
    start, first
        The frame that is wanted first, and the one that `hold` is given first.
    """

    def __init__(
        self, reopen: Callable[[], VideoReader] | None, images: bool, most: float, start: int, first: int
    ) -> None:
        self._reopen, self._images, self._most, self._start = reopen, images, most, start
        self._unwanted = start - first
        self._held: deque[VideoFrame] = deque()
        self._second: VideoReader | None = None
        self._frames: Iterator[VideoFrame] = iter(())

    def hold(self, frame: VideoFrame) -> None:
        """A frame that is decoded for the network."""
        if self._unwanted:
            self._unwanted -= 1
        elif not self._images:
            self._held.append(replace(frame, image=NO_IMAGE))
        elif self._second is not None:
            return
        elif self._reopen is not None and self._most * frame.image.nbytes > HELD_BYTES:
            self._second = self._reopen()
            self._frames = self._second.frames(self._start)
        else:
            self._held.append(frame)

    def take(self) -> VideoFrame:
        """The next frame whose map is there."""
        if self._second is None:
            return self._held.popleft()
        frame = next(self._frames, None)
        if frame is None:
            raise VideoError(f"{self._second.source}: has fewer frames than when it was read before; has it changed?")
        return frame

    def close(self) -> None:
        if self._second is not None:
            self._second.close()
