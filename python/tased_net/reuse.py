"""Exact reuse between overlapping windows: what neighbouring windows have in common is computed once.

Maps in time are *slices*: one frame of one layer's map. Two windows have the same slice wherever no zero padding of either
window's ends has reached it; such a slice is *clean*, and all windows of a video take it from one line of slices. The
slices near a window's ends are its own. How far the ends reach follows from each layer's kernel, stride and padding in
time. A layer with stride 2 has a line for windows that begin at an even frame and one for odd ones.

Used for the layers before the second stride in time, S3D's base1 and base2, which are two thirds of the work; beyond, no
two windows less than four frames apart have a slice in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .s3d import BasicConv3d, Mixed, SepConv3d
from .sliding import Window
from .tased import TASEDNet


class Line:
    """Clean slices of one layer for windows of one phase, a run of them in time; old ones are forgotten."""

    def __init__(self) -> None:
        self.begin = 0  # place of the first one that is held
        self.slices: deque[Tensor] = deque()

    @property
    def end(self) -> int:
        """Place after the last one."""
        return self.begin + len(self.slices)

    def start_at(self, place: int) -> None:
        """Sets the place of the first slice, before there is one."""
        if not self.slices:
            self.begin = max(self.begin, place)

    def extend(self, maps: Tensor) -> None:
        """Adds slices, (1, C, t, H, W)."""
        self.slices.extend(maps.split(1, dim=2))

    def take(self, begin: int, end: int) -> list[Tensor]:
        """The slices from one place to before another."""
        return [self.slices[place - self.begin] for place in range(begin, end)]

    def forget(self, place: int) -> None:
        """Drops the slices before a place."""
        while self.slices and self.begin < place:
            self.slices.popleft()
            self.begin += 1


@dataclass
class Maps:
    """The maps of one layer for all windows of a chunk.

    Attributes
    ----------
    starts
        First frame of each window.
    length
        Slices of a window.
    lines
        The clean slices, a line for each phase of a window's start.
    left, right
        The slices near the windows' ends, (windows, C, t, H, W), if there are any.
    whole
        All slices of each window instead, (windows, C, length, H, W), where none is clean.
    """

    starts: Sequence[int]
    length: int
    lines: list[Line]
    left: Tensor | None = None
    right: Tensor | None = None
    whole: Tensor | None = None

    @property
    def stride(self) -> int:
        """Frames from one slice of a window to the next."""
        return len(self.lines)

    @property
    def before(self) -> int:
        """A window's first clean slice."""
        return 0 if self.left is None else self.left.shape[2]

    @property
    def after(self) -> int:
        """Slices after a window's last clean one."""
        return 0 if self.right is None else self.right.shape[2]

    def clean(self, window: int, begin: int, end: int) -> list[Tensor]:
        """Clean slices of a window, counted from its first slice."""
        start = self.starts[window]
        place = start // self.stride
        return self.lines[start % self.stride].take(place + begin, place + end)

    def part(self, begin: int, end: int) -> Tensor:
        """Slices `begin` to `end` of every window, (windows, C, t, H, W)."""
        if self.whole is not None:
            return self.whole[:, :, begin:end]
        windows = []
        for window in range(len(self.starts)):
            pieces = []
            if self.left is not None and begin < self.before:
                pieces.append(self.left[window : window + 1, :, begin : min(end, self.before)])
            pieces += self.clean(window, max(begin, self.before), min(end, self.length - self.after))
            first = self.length - self.after
            if self.right is not None and end > first:
                pieces.append(self.right[window : window + 1, :, max(begin - first, 0) : end - first])
            windows.append(torch.cat(pieces, dim=2))
        return torch.cat(windows)

    def all(self) -> Tensor:
        """Every window's slices."""
        return self.part(0, self.length)


def dense(maps: Tensor) -> Tensor:
    """Maps in channels-last memory, in which slices of one clip lie one after another; convolutions of few do not keep it."""
    return maps.contiguous(memory_format=torch.channels_last_3d)


def in_a_row(maps: Tensor) -> Tensor:
    """The slices of several windows, (windows, C, t, H, W), as those of one clip, (1, C, windows * t, H, W)."""
    return dense(maps).transpose(0, 1).flatten(1, 2)[None]  # a view


class Node(ABC):
    """A layer, or several, that keeps the clean slices which windows to come will need."""

    lines: list[Line]

    @abstractmethod
    def __call__(self, x: Maps) -> Maps:
        """The layer's maps from those of the layer before it."""

    def forget(self, start: int) -> None:
        """Drops what windows that begin at frame `start` or later do not need."""
        for phase, line in enumerate(self.lines):
            line.forget((start - phase) // len(self.lines))


class Slicewise(Node):
    """Layers that see each slice for itself."""

    def __init__(self, layers: nn.Module, stride: int) -> None:
        self.layers = layers
        self.lines = [Line() for _ in range(stride)]

    def __call__(self, x: Maps) -> Maps:
        if x.whole is not None:
            return Maps(x.starts, x.length, self.lines, whole=self.layers(x.whole))
        # All slices are one clip here, so that the products are large.
        new = []
        for line, source in zip(self.lines, x.lines, strict=True):
            line.start_at(source.begin)
            new.append(source.take(line.end, source.end))
        ends = [end for end in (x.left, x.right) if end is not None]
        runs = [one for slices in new for one in slices] + [in_a_row(end) for end in ends]
        if not runs:
            return Maps(x.starts, x.length, self.lines)
        y = dense(self.layers(torch.cat(runs, dim=2)))
        *pieces, y_ends = y.split([*map(len, new), sum(end.shape[0] * end.shape[2] for end in ends)], dim=2)
        for line, piece in zip(self.lines, pieces, strict=True):
            if piece.shape[2]:
                line.extend(piece)
        sides: list[Tensor | None] = []
        for end in (x.left, x.right):
            if end is None:
                sides.append(None)
                continue
            windows, count = end.shape[0], end.shape[2]
            side, y_ends = y_ends[:, :, : windows * count], y_ends[:, :, windows * count :]
            sides.append(side.unflatten(2, (windows, count))[0].transpose(0, 1))
        return Maps(x.starts, x.length, self.lines, *sides)


class Temporal(Node):
    """A layer with a window in time.

    `layer` takes slices that are padded in time already; `fill` is what it pads with.
    """

    def __init__(
        self, layer: Callable[[Tensor], Tensor], kernel: int, step: int, padding: int, fill: float, stride: int
    ) -> None:
        self.layer, self.kernel, self.step, self.padding, self.fill = layer, kernel, step, padding, fill
        self.lines = [Line() for _ in range(stride * step)]

    def __call__(self, x: Maps) -> Maps:
        k, s, p = self.kernel, self.step, self.padding
        length = (x.length + 2 * p - k) // s + 1
        before = -(-(x.before + p) // s)  # the first output that sees only clean slices
        after = length - 1 - (x.length - x.after - k + p) // s
        if x.whole is not None or before + after >= length:
            whole = self.layer(self._padded(x.all(), p, p))
            return Maps(x.starts, length, self.lines, whole=whole)
        self._extend_lines(x)
        left = self._padded(x.part(0, (before - 1) * s - p + k), p, 0) if before else None
        right = self._padded(x.part((length - after) * s - p, x.length), 0, p) if after else None
        left = None if left is None else dense(self.layer(left))
        right = None if right is None else dense(self.layer(right)[:, :, :after])
        return Maps(x.starts, length, self.lines, left, right)

    def _extend_lines(self, x: Maps) -> None:
        for phase, line in enumerate(self.lines):
            source = x.lines[phase % x.stride]
            # Output m lies at frame phase + len(lines) * m, its input i at that plus x.stride * (i - padding).
            first = phase // x.stride - self.padding  # place of output 0's first input
            line.start_at(-(-(source.begin - first) // self.step))
            count = (source.end - first - self.kernel) // self.step + 1 - line.end
            if count > 0:
                begin = first + self.step * line.end
                taken = source.take(begin, begin + self.step * (count - 1) + self.kernel)
                line.extend(dense(self.layer(torch.cat(taken, dim=2))))

    def _padded(self, slices: Tensor, before: int, after: int) -> Tensor:
        return F.pad(slices, (0, 0, 0, 0, before, after), value=self.fill) if before or after else slices


class Join(Node):
    """Branches side by side, concatenated."""

    def __init__(self, branches: Sequence[Sequence[Node]], stride: int) -> None:
        self.branches = branches
        self.lines = [Line() for _ in range(stride)]

    def __call__(self, x: Maps) -> Maps:
        ys = [walk(branch, x) for branch in self.branches]
        length = ys[0].length
        if any(y.whole is not None for y in ys):
            whole = torch.cat([y.all() for y in ys], dim=1)
            return Maps(x.starts, length, self.lines, whole=whole)
        for phase, line in enumerate(self.lines):
            sources = [y.lines[phase] for y in ys]
            line.start_at(max(source.begin for source in sources))
            end = min(source.end for source in sources)
            if end > line.end:
                line.extend(torch.cat([torch.cat(source.take(line.end, end), dim=2) for source in sources], dim=1))
        before, after = max(y.before for y in ys), max(y.after for y in ys)
        left = torch.cat([y.part(0, before) for y in ys], dim=1) if before else None
        right = torch.cat([y.part(length - after, length) for y in ys], dim=1) if after else None
        return Maps(x.starts, length, self.lines, left, right)

    def forget(self, start: int) -> None:
        super().forget(start)
        for branch in self.branches:
            for node in branch:
                node.forget(start)


def walk(nodes: Iterable[Node], x: Maps) -> Maps:
    """The maps after several nodes."""
    for node in nodes:
        x = node(x)
    return x


def nodes_of(module: nn.Module, stride: int) -> list[Node]:
    """A part of the encoder as nodes; `stride` is that of the slices which it takes, in frames."""
    if isinstance(module, nn.Sequential):
        nodes: list[Node] = []
        for child in module:
            added = nodes_of(child, stride)
            stride = len(added[-1].lines)
            nodes += added
        return nodes
    if isinstance(module, Mixed):
        branches = (module.branch0, module.branch1, module.branch2, module.branch3)
        return [Join([nodes_of(branch, stride) for branch in branches], stride)]
    if isinstance(module, SepConv3d):
        space = nn.Sequential(module.conv_s, module.bn_s, module.relu)
        return [Slicewise(space, stride), _temporal_convolution(module, stride)]
    if isinstance(module, BasicConv3d):
        return [Slicewise(module, stride)]
    kernel, step, padding = (_in_time(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    if kernel == step == 1:
        return [Slicewise(module, stride)]
    return [Temporal(_unpadded_pool(module), kernel, step, padding, -torch.inf, stride)]


def _temporal_convolution(module: SepConv3d, stride: int) -> Temporal:
    conv = module.conv_t

    def layer(x: Tensor) -> Tensor:
        y = F.conv3d(x, conv.weight, conv.bias, conv.stride)
        return module.relu(module.bn_t(y))

    return Temporal(layer, conv.kernel_size[0], conv.stride[0], int(conv.padding[0]), 0.0, stride)


def _unpadded_pool(pool: Any) -> Callable[[Tensor], Tensor]:
    sizes = (pool.kernel_size, pool.stride, pool.padding)
    kernel, step, padding = ((size,) * 3 if isinstance(size, int) else tuple(size) for size in sizes)
    unpadded: Callable[[Tensor], Tensor] = type(pool)(kernel, step, (0, *padding[1:]))
    return unpadded


def _in_time(size: int | Sequence[int]) -> int:
    return size if isinstance(size, int) else size[0]


class ReusingEncoder:
    """The network's encoder up to base2 on the windows of one video, a chunk of them at a time.

    Parameters
    ----------
    net
        In evaluation mode.
    """

    def __init__(self, net: TASEDNet) -> None:
        self.clip_length = net.clip_length
        self.frames = Line()
        self.base1 = nodes_of(net.base1, 1)
        stride = len(self.base1[-1].lines)
        self.base2 = nodes_of(nn.Sequential(net.pool1, *net.base2), stride)

    def __call__(self, frames: Tensor, starts: Sequence[int]) -> tuple[Maps, Maps]:
        """The maps after base1 and after base2 of the windows that begin at these frames.

        Parameters
        ----------
        frames
            The frames that have not been given yet up to the last window's end, (1, 3, t, H, W); t may be 0.
        starts
            In ascending order, and no earlier than those of calls before.
        """
        for node in (*self.base1, *self.base2):
            node.forget(starts[0])
        self.frames.forget(starts[0])
        if frames.shape[2]:
            self.frames.extend(frames)
        x = Maps(starts, self.clip_length, [self.frames])
        z2 = walk(self.base1, x)
        return z2, walk(self.base2, z2)


def predictions(
    net: TASEDNet, windows: Iterable[Window[Tensor]], chunk: int, autocast: torch.dtype | None = None
) -> Iterator[Tensor]:
    """The network's maps of windows that follow each other.

    Parameters
    ----------
    net
        In evaluation mode.
    windows
        Clips of frames (H, W, 3), each a step later in one sequence than the one before it: by as many frames as maps are
        taken from it.
    chunk
        Windows to compute at a time: the more, the larger are the products, and the more memory they take.
    autocast
        Type to run the convolutions in; None for the network's own.

    Yields
    ------
    Tensor
        (maps, H, W) for each window.
    """
    encoder = ReusingEncoder(net)
    new: list[Tensor] = []
    starts: list[int] = []
    start: int | None = None

    @torch.inference_mode()
    def maps_of_chunk() -> Tensor:
        frames = torch.stack(new)[None].permute(0, 4, 1, 2, 3)  # seen as (1, 3, t, H, W) it is channels last
        with nullcontext() if autocast is None else torch.autocast(frames.device.type, dtype=autocast):
            z2, z1 = encoder(frames, starts)
            maps = net.decode(z2.all(), z1.all(), (frames.shape[-2], frames.shape[-1]))
        maps = maps.reshape(len(starts), net.maps, *maps.shape[-2:])
        new.clear()
        starts.clear()
        return maps

    for clip, taken in windows:
        if start is None:
            start = 0
            new += clip
        else:
            start += len(taken)
            new += clip[len(clip) - len(taken) :]
        starts.append(start)
        if len(starts) == chunk:
            yield from maps_of_chunk()
    if starts:
        yield from maps_of_chunk()
