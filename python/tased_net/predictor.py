"""Prediction: maps of a video's frames by the sliding window, on one device or several.

A video is cut into *segments* of windows at places that depend on the network alone. Each is computed for itself, in chunks
that begin at its beginning. So a run that begins at a segment gives the same bits as one that has gone all the way, and so do
several devices that share the segments, if they compute alike. `engine.py` computes them.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, islice, takewhile
from typing import Any, Literal

import torch
from torch import Tensor

from .chunks import Chunks
from .engine import Engine, Group, RawMap, Segment, array
from .frames import RGB, network_input
from .info import stages
from .memory import used_bytes
from .sizes import MIN_SIDE
from .sliding import Window, look_back, sliding_windows
from .tased import TASEDNet
from .video import open_video

SIZE = (224, 384)  # height and width that the released weights have learned from
PRECISIONS = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SEGMENT = 256  # windows; what is computed anew at the beginning of one is 0.6 % of the work at 32x224x384
REPAID = 40e12  # multiply-adds from which on compiling saves more time than it takes: 500 windows of 32x224x384
CHUNKS = {"cpu": 2, "cuda": 16}  # windows at a time; more take more memory, and on a CPU no less time
# What a process takes beside the tensors that are alive: workspaces and freed memory that it keeps, and the libraries' code.
SPARE, BESIDE = 1.25, 350 * 2**20


class Predictor:
    """Predicts where people look in a video: a saliency map for every frame (paper section 3.1).

    Parameters
    ----------
    net
        The network. A copy of it is used, in evaluation mode and with its batch norms folded; the original stays as it is.
    size
        Height and width that frames are resized to, bilinearly between pixel centres and without smoothing (as OpenCV's
        INTER_LINEAR, which the released weights were trained with). None for what the weights' file states, or else 224x384.
    device
        Where to compute, the network's own device if None. Several devices of one kind share a video's segments.
    precision
        "float32"; "float64", in which all ways to compute agree to 1e-6; "bfloat16" or "float16", coarser, and faster where
        the hardware has these types.
    reuse
        Whether windows share what they have in common: the same maps up to rounding, for 88 of 157 GFLOP a frame at
        32x224x384. Without effect where frames are predicted in a step other than 1.
    compile
        Whether to compile the network with `torch.compile`, which takes up to minutes: True, False, or "auto" where the
        frames to come are known to repay it (`repays_compiling`).
    memory_limit
        Bytes that the process may take on each device, which decides `chunk`; None for no other limit than what is there.
    chunk
        Windows that are computed at a time, if it is not to be chosen.

    Attributes
    ----------
    net
        The copy on the first device.
    chunk
        Windows that are computed at a time; maps come in such chunks. Where memory does not suffice for so many after all, it is
        halved, with a `MemoryWarning`; the maps are the same up to rounding.

    Raises
    ------
    ValueError
        If an argument is out of range, or the memory does not suffice for one window.

    Examples
    --------
    >>> import numpy as np
    >>> from tased_net import Predictor, TASEDNet
    >>> predictor = Predictor(TASEDNet(clip_length=8, width=0.25), size=(32, 48))
    >>> video = np.zeros((20, 72, 128, 3), np.uint8)
    >>> maps = list(predictor(video))
    >>> len(maps), maps[0].shape, maps[0].dtype
    (20, (32, 48), dtype('float32'))
    """

    def __init__(
        self,
        net: TASEDNet,
        *,
        size: tuple[int, int] | None = None,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32",
        reuse: bool = True,
        compile: bool | Literal["auto"] = "auto",
        memory_limit: int | None = None,
        chunk: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}")
        if compile not in (True, False, "auto"):
            raise ValueError(f"compile must be True, False or 'auto', got {compile!r}")
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        height, width = size or net.origin.size or SIZE
        size = (height, width)
        if min(size) < MIN_SIDE:
            raise ValueError(f"size must be at least {MIN_SIDE} pixels high and wide, got {size}")
        if device is None:
            device = next(net.parameters()).device
        devices = [torch.device(one) for one in ([device] if isinstance(device, (str, torch.device)) else device)]
        if not devices or len({one.type for one in devices}) > 1:
            raise ValueError(f"device must be one device, or several of one kind, got {device!r}")
        self.size, self.precision, self.reuse, self.compile = size, precision, reuse, compile
        self.clip_length, self.maps = net.clip_length, net.maps
        self._engines = [Engine(net, one, PRECISIONS[precision], size, reuse) for one in devices]
        self.net = self._engines[0].net
        self.chunk = self._chunk(memory_limit) if chunk is None else chunk

    @property
    def devices(self) -> list[torch.device]:
        """Where it computes."""
        return [engine.device for engine in self._engines]

    def __call__(
        self,
        frames: Iterable[RGB | Tensor],
        *,
        live: bool = False,
        step: Fraction | int = 1,
        start: int = 0,
        expected: int | None = None,
        tick: Callable[[int], object] = lambda count: None,
        chunks: Chunks | None = None,
    ) -> Generator[Any]:
        """Predicts the map of every frame.

        Parameters
        ----------
        frames
            uint8 RGB (H, W, 3), or what `prepared` makes of one; any number of them, taken one by one.
        live
            For cameras: each frame's map comes as soon as the frame is there. The first T-1 frames, whose clips would need
            frames to come, have None in place of a map.
        step
            Frames of the video from one frame of a clip to the next: 2 shows a video of 60 frames a second to the network as
            one of 30, at which it has learned. There is a map for every frame all the same.
        start
            Number of the first map wanted, as `border` gives it, together with the number of the frame that `frames` then
            begin with.
        expected
            Number of frames to come, if known, to decide whether compiling is worth its time.
        tick
            Called with a number of frames whenever that many more have been computed. Those of the first T-1 frames are
            computed in the other order, so that they are counted before they come.
        chunks
            How many windows to compute at a time from where on, `chunk` everywhere if None; it takes note of where memory did not
            suffice. With the same sizes come the same bits.

        Yields
        ------
        numpy.ndarray
            The network's output for each frame in turn, (h, w) = `size`, from 0 to 1; float64 with that precision, else
            float32. See `postprocess` for what to do with it before it is shown.

        Raises
        ------
        ValueError
            If a frame is neither uint8 RGB nor prepared, the step is not positive or does not go with the network's maps, or
            `start` is no border.
        MemoryError
            If memory does not suffice for a single window; maps before it have come.
        """
        step = self._step(step)
        if start != self.border(start, step)[0]:
            raise ValueError(f"start must be a segment's border, such as {self.border(start, step)[0]}, got {start}")
        resized = map(self._resized, frames)
        compiled = self.repays_compiling(expected, step)
        if live:
            return self._live(resized, step, compiled, tick)
        windows = sliding_windows(resized, self.clip_length, self.maps, step, start // self.maps)
        groups = self._groups(
            _segments(windows, start // self.maps), chunks or Chunks({0: self.chunk}), step == 1, compiled, tick
        )
        return (one for group in groups for one in group.maps)

    def border(self, map: int, step: Fraction | int = 1) -> tuple[int, int]:
        """Where to begin in order to have a map: the last segment's border before it.

        Parameters
        ----------
        map
            Its number, from 0.
        step
            As for `__call__`.

        Returns
        -------
        tuple
            Number of the first map there, and of the first frame that is needed for it.
        """
        reach = look_back(self.clip_length, step)[0]
        early = reach // self.maps  # windows that look ahead
        segments = max(map // self.maps - early, 0) // SEGMENT
        if not segments:
            return 0, 0
        first = (early + segments * SEGMENT) * self.maps
        return first, first + self.maps - 1 - reach

    def repays_compiling(self, frames: int | None, step: Fraction | int = 1) -> bool:
        """Whether to compile for so many frames to come; None if that is not known. What `compile` says, unless it is "auto".

        Seen on two cores of an AMD EPYC with torch 2.14.1, at full size: where windows share their work nothing was gained;
        a plain window got 1.3 times as fast, after half a minute.
        """
        step = self._step(step)
        if self.compile != "auto":
            return self.compile
        if (self.reuse and step == 1) or not frames or self.devices[0].type != "cpu":
            return False
        macs = sum(stage.macs for stage in stages(self.net.options, self.size))
        return frames * macs / self.maps >= REPAID

    def prepared(self, frame: RGB) -> Tensor:
        """A frame as the network sees it, which may be given in its place: to resize it in a thread that decodes, say.

        Parameters
        ----------
        frame
            uint8 RGB (H, W, 3).

        Returns
        -------
        Tensor
            float32 (h, w, 3) from -1 to 1.
        """
        return network_input(frame, self.size).permute(1, 2, 0).contiguous()

    def _resized(self, frame: RGB | Tensor) -> Tensor:
        """A frame, prepared if it is not yet."""
        if not isinstance(frame, Tensor):
            return self.prepared(frame)
        if frame.dtype == torch.uint8:
            return self.prepared(frame.cpu().numpy())
        if frame.dtype != torch.float32 or tuple(frame.shape) != (*self.size, 3):
            raise ValueError(
                f"frames must be uint8 RGB (H, W, 3), or as `prepared` makes them, float32 {(*self.size, 3)}; got "
                f"{frame.dtype} {tuple(frame.shape)}"
            )
        return frame

    def most_frames(self, step: Fraction | int = 1) -> int:
        """How many frames it takes at most before their maps come."""
        windows = 1 + self.chunk if len(self._engines) == 1 else SEGMENT * (len(self._engines) + 1)
        return 2 * look_back(self.clip_length, step)[0] + windows * self.maps

    def _step(self, step: Fraction | int) -> Fraction | int:
        """1 where the step is so near it that clips have the same frames, as with 30 of 29.97 frames a second."""
        if step <= 0:
            raise ValueError(f"step must be positive, got {step}")
        return 1 if look_back(self.clip_length, step) == look_back(self.clip_length) else step

    def predict_video(
        self, source: str | os.PathLike[str], *, reader: str = "pyav", fps: float | None = None
    ) -> Iterator[tuple[Fraction, RawMap]]:
        """Predicts a video file, a folder of images or a stream.

        Parameters
        ----------
        source, reader
            As for `tased_net.video.open_video`.
        fps
            Frames a second that the network is to see, 30 or near it for the released weights: clips take every n-th frame
            of a faster video, and repeat frames of a slower one, at the video's average rate. None for the video's own.

        Yields
        ------
        tuple
            Each frame's time in seconds and its map.

        Raises
        ------
        VideoError
            If the video cannot be read.
        ValueError
            As `__call__`, or if `fps` is not positive.
        """
        times: deque[Fraction] = deque()

        def images() -> Iterator[RGB]:
            for frame in video:
                times.append(frame.time)
                yield frame.image

        with open_video(source, reader) as video:
            for saliency in self(images(), step=step_of(video.rate, fps), expected=video.expected_frames):
                yield times.popleft(), saliency

    def _live(
        self, frames: Iterable[Tensor], step: Fraction | int, compiled: bool, tick: Callable[[int], object]
    ) -> Generator[RawMap | None]:
        back = look_back(self.clip_length, step)
        held: deque[Tensor] = deque(maxlen=back[0] + 1)
        run = self._engines[0].run(step == 1, 1, compiled)
        last = range(self.maps - 1, self.maps)
        for frame in frames:
            held.append(frame)
            if len(held) <= back[0]:
                yield None
            else:
                saliency = run([Window([held[-1 - k] for k in back], last)])[0, -1]
                tick(1)
                yield array(saliency.cpu())

    def _groups(
        self,
        segments: Iterator[Segment],
        chunks: Chunks,
        neighbours: bool,
        compiled: bool,
        tick: Callable[[int], object],
    ) -> Iterator[Group]:
        """The maps of each window."""
        if len(self._engines) == 1:
            for segment in segments:
                groups = self._noted(self._engines[0].groups(segment, chunks, neighbours, compiled, tick), chunks)
                yield from reversed(list(groups)) if segment.turned else groups
            return
        # A segment is held as a whole here, its frames resized: those of T-1 + SEGMENT windows a device, and one more.
        stop, lock = threading.Event(), threading.Lock()

        def counted(count: int) -> None:
            with lock:
                tick(count)

        with ThreadPoolExecutor(len(self._engines)) as pool, ExitStack() as stack:
            stack.callback(stop.set)
            free = deque(self._engines)
            waiting: deque[tuple[Future[list[Group]], Engine, bool]] = deque()

            def first() -> Iterator[Group]:
                future, engine, turned = waiting.popleft()
                groups = list(self._noted(iter(future.result()), chunks))
                yield from reversed(groups) if turned else groups
                free.append(engine)

            for segment in segments:
                if not free:
                    yield from first()
                engine, held = free.popleft(), segment._replace(windows=iter(list(segment.windows)))

                def work(engine: Engine = engine, held: Segment = held) -> list[Group]:
                    groups = engine.groups(held, chunks, neighbours, compiled, counted)
                    return list(takewhile(lambda _: not stop.is_set(), groups))

                waiting.append((pool.submit(work), engine, segment.turned))
            while waiting:
                yield from first()

    def _noted(self, groups: Iterator[Group], chunks: Chunks) -> Iterator[Group]:
        """The same, once note is taken of the size of their chunks."""
        for group in groups:
            self.chunk = min(self.chunk, group.chunk)
            chunks.computed(group.place, group.chunk)
            yield group

    def _chunk(self, limit: int | None) -> int:
        engine = self._engines[0]
        most = CHUNKS.get(engine.device.type, 1)
        rooms = []
        for device in self.devices:
            used, free = used_bytes(device)
            rooms.append((free if limit is None else min(limit - used, free), used))
        room, used = min(rooms)
        for chunk in sorted({2**power for power in range(most.bit_length())} | {most}, reverse=True):
            needed = int(SPARE * engine.bytes_needed(chunk)) + BESIDE
            if needed <= room:
                return chunk
        raise ValueError(
            f"one window of {self.clip_length} frames at {self.size[0]}x{self.size[1]} needs {needed / 2**30:.1f} GiB more than "
            f"the {used / 2**30:.1f} GiB in use, but there are {max(room, 0) / 2**30:.1f} GiB: "
            + ("choose a smaller size" if limit is None else "raise memory_limit, or choose a smaller size")
        )


def step_of(rate: Fraction, fps: float | None) -> Fraction | int:
    """Frames of a video from one frame of a clip to the next, so that the network sees `fps` of its `rate` a second.

    Raises
    ------
    ValueError
        If `fps` is not positive.
    """
    if fps is None:
        return 1
    if not 0 < fps < math.inf:
        raise ValueError(f"fps must be a positive number, got {fps}")
    return Fraction(rate) / (Fraction(fps).limit_denominator(1001) or Fraction(fps))


def _segments(windows: Iterator[Window[Tensor]], place: int) -> Iterator[Segment]:
    """The segments of a video from a place on."""
    early: list[Window[Tensor]] = []
    for window in windows:
        if not window.reversed:
            windows = chain([window], windows)
            break
        early.append(window)
    else:
        windows = iter(())
    if early:  # they run back in time: in the other order they, too, follow each other
        yield Segment(place, reversed(early), turned=True)
    for number, window in enumerate(windows):
        yield Segment(place + len(early) + number * SEGMENT, chain([window], islice(windows, SEGMENT - 1)))
