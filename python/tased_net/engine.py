"""The network on one device: maps of windows, chunk by chunk, with what neighbouring windows share computed once.

Where memory does not suffice for a chunk, the engine goes on at its first window with chunks of half the size, as if the segment
began there.
"""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .chunks import Chunks
from .errors import MemoryWarning, first_line, is_out_of_memory
from .memory import peak_bytes
from .reuse import SharingRun, clips_of, padded
from .sliding import Window
from .tased import TASEDNet

RawMap = NDArray[np.floating[Any]]  # (h, w), from 0 to 1


class Segment(NamedTuple):
    """Windows that are computed together, in an order in which each follows the one before it.

    Attributes
    ----------
    place
        How many windows of the video are computed before the first one.
    windows
        They.
    turned
        Whether that is the other order than the video's.
    """

    place: int
    windows: Iterator[Window[Tensor]]
    turned: bool = False


class Group(NamedTuple):
    """The maps of a window, with the place of its chunk's first window and the chunk's size."""

    place: int
    chunk: int
    maps: list[RawMap]


class Engine:
    """The network on one device.

    Parameters
    ----------
    net
        Of which a copy is used, in evaluation mode, its batch norms folded.
    device, dtype
        Where and in what type it computes.
    size
        Height and width of the frames.
    reuse
        Whether neighbouring windows share what they have in common.

    Attributes
    ----------
    net
        The copy.
    """

    def __init__(
        self, net: TASEDNet, device: torch.device, dtype: torch.dtype, size: tuple[int, int], reuse: bool
    ) -> None:
        self.device, self.dtype, self.size, self.reuse = device, dtype, size, reuse
        self.net = copy.deepcopy(net).eval()
        if not self.net.fused:
            self.net.fuse()
        self.net.to(device, dtype).to(memory_format=torch.channels_last_3d)
        self._compiled: dict[str, Callable[..., Tensor]] = {}
        self._uploads = torch.cuda.Stream(device) if device.type == "cuda" else None

    def run(self, neighbours: bool, batch: int, compiled: bool) -> Callable[[Sequence[Window[Tensor]]], Tensor]:
        """What computes the maps of windows, (windows, maps, h, w), a few at a time; `neighbours`: they follow each other.

        Compiled is what runs on whole windows; the rest has shapes that change.
        """
        kind, whole = (SharingRun, "decode") if self.reuse and neighbours else (PlainRun, "forward")
        run = kind(self.net, self._upload, self._compile(whole) if compiled else None, batch if compiled else 0)

        def maps(windows: Sequence[Window[Tensor]]) -> Tensor:
            with torch.no_grad() if compiled else torch.inference_mode():  # freezing knows no_grad only
                return run(windows)

        return maps

    def _compile(self, name: str) -> Callable[..., Tensor]:
        if name not in self._compiled:
            options: dict[str, Any] = {"freezing": True} if self.device.type == "cpu" else {}  # weights are constants
            method = getattr(self.net, name)
            self._compiled[name] = torch.compile(method, fullgraph=True, dynamic=False, options=options)
        return self._compiled[name]

    def groups(
        self, segment: Segment, chunks: Chunks, neighbours: bool, compiled: bool, tick: Callable[[int], object]
    ) -> Iterator[Group]:
        """The maps of each window of a segment, in the order in which they are computed.

        Raises
        ------
        MemoryError
            If memory does not suffice for a single window.
        """
        windows, place, chunk = segment.windows, segment.place, 0
        ahead: deque[tuple[Group, list[range], Callable[[], Tensor]]] = deque()
        while True:
            if chunk != (size := chunks.at(place)):
                chunk, run = size, self.run(neighbours, size, compiled)
            part = list(islice(windows, chunk))
            if part:
                download = self._computed(run, part, chunk)
                if download is None:
                    chunks.lower(chunk // 2)
                    windows = chain(part, windows)
                    continue
                ahead.append((Group(place, chunk, []), [window.maps for window in part], download))
                place += len(part)
            wait = 1 if self._uploads is not None and part else 0  # a GPU has the next chunk to do meanwhile
            while len(ahead) > wait:
                group, taken, download = ahead.popleft()
                for numbers, maps in zip(taken, download(), strict=True):
                    tick(len(numbers))
                    yield group._replace(maps=[array(maps[number]) for number in numbers])
            if not part:
                return

    def _computed(
        self, run: Callable[[Sequence[Window[Tensor]]], Tensor], part: Sequence[Window[Tensor]], chunk: int
    ) -> Callable[[], Tensor] | None:
        """Computes the maps of a chunk: what to call for them when they are needed. None if memory suffices for fewer only."""
        try:
            return self._download(run(part))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if chunk == 1:
                raise MemoryError(
                    f"out of memory on {self.device} with one window of {self.net.clip_length} frames at "
                    f"{self.size[0]}x{self.size[1]}: make room, or choose a smaller size ({first_line(error)})"
                ) from error
        # The error is gone by now, and with its traceback what the chunk had taken.
        message = f"out of memory on {self.device} with {chunk} windows at a time: goes on with {chunk // 2}"
        warnings.warn(message, MemoryWarning, stacklevel=2)
        return None

    def bytes_needed(self, chunk: int) -> int:
        """Bytes of the tensors that are alive at one time, at most, when windows are computed in chunks of this size."""
        with torch.device("meta"):
            twin = TASEDNet(**self.net.options).eval().fuse().to(self.dtype)
            frames = [torch.empty(*self.size, 3, dtype=self.dtype) for _ in range(twin.clip_length + 2 * chunk - 1)]
        length, taken = twin.clip_length, range(1)
        windows = [Window(frames[start : start + length], taken) for start in range(2 * chunk)]
        run: Any = (SharingRun if self.reuse else PlainRun)(twin)

        def predict() -> None:
            with torch.inference_mode():
                for start in (0, chunk):
                    run(windows[start : start + chunk])

        return peak_bytes(predict)

    def _upload(self, frames: list[Tensor]) -> Tensor:
        """Frames on the device and in the network's type, (t, h, w, 3)."""
        stacked = torch.stack(frames)
        if self._uploads is None:
            return stacked.to(self.device, self.dtype)
        with torch.cuda.stream(self._uploads):
            uploaded = stacked.pin_memory().to(self.device, non_blocking=True)
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self._uploads)
        uploaded.record_stream(now)
        return uploaded.to(self.dtype)

    def _download(self, maps: Tensor) -> Callable[[], Tensor]:
        """Brings maps to the CPU: what to call for them when they are needed."""
        if self._uploads is None:
            return maps.cpu
        fetched = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
        fetched.copy_(maps, non_blocking=True)
        there = torch.cuda.Event()
        there.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            there.synchronize()
            return fetched

        return wait


class PlainRun:
    """The network on windows each of which is computed for itself; arguments as of `SharingRun`."""

    def __init__(
        self,
        net: TASEDNet,
        upload: Callable[[list[Tensor]], Tensor] = torch.stack,
        forward: Callable[[Tensor], Tensor] | None = None,
        batch: int = 0,
    ) -> None:
        self.maps, self.upload, self.forward, self.batch = net.maps, upload, forward or net.forward, batch

    def __call__(self, windows: Sequence[Window[Tensor]]) -> Tensor:
        """The network's maps of windows, (windows, maps, H, W)."""
        clips = torch.stack([self.upload(window.clip) for window in windows])
        maps = self.forward(padded(clips_of(clips), self.batch))[: len(windows)]
        return maps.reshape(len(windows), self.maps, *maps.shape[-2:])


def array(saliency: Tensor) -> RawMap:
    """A map on the CPU as numpy has it: float64 if it is, else float32."""
    values: RawMap = (saliency if saliency.dtype == torch.float64 else saliency.float()).numpy()
    return values
