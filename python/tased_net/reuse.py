"""Exact reuse between overlapping windows: what neighbouring windows have in common is computed once.

Maps in time are *slices*: one frame of one layer's map, (H, W, C) in memory. Two windows have the same slice wherever no zero
padding of either window's ends has reached it; such a slice is *clean*, and all windows of a video take it from one line of
slices. The slices near a window's ends are its own. How far the ends reach follows from each layer's kernel, stride and
padding in time. A layer with stride 2 has a line for windows that begin at an even frame and one for odd ones.

Used for the layers before the second stride in time, S3D's base1 and base2, which are two thirds of the work; beyond, no
two windows less than four frames apart have a slice in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .s3d import BasicConv3d, Mixed, SepConv3d
from .sliding import Window
from .tased import TASEDNet


def clips_of(slices: Tensor) -> Tensor:
    """Slices of clips, (N, t, H, W, C), as layers take them: (N, C, t, H, W) in channels-last memory, a view."""
    return slices.permute(0, 4, 1, 2, 3)


def slices_of(clips: Tensor) -> Tensor:
    """The other way, a view; it is dense unless a layer has left channels-last memory, as some convolutions do."""
    return clips.permute(0, 2, 3, 4, 1)


class Line:
    """Clean slices of one layer for windows of one phase: a run of them in time, in a ring of memory.

    Attributes
    ----------
    begin, end
        Place of the first slice that is held, and the place after the last one.
    """

    def __init__(self) -> None:
        self.begin = self.end = 0
        self._ring: Tensor | None = None  # (capacity, H, W, C); a place's slice is at its remainder

    def start_at(self, place: int) -> None:
        """Sets the place of the first slice, before there is one."""
        if self.begin == self.end:
            self.begin = self.end = max(self.begin, place)

    def room(self, count: int, size: Sequence[int], like: Tensor) -> list[Tensor]:
        """Adds slices of size (H, W, C), to be written by the caller: one view of them, or two that follow each other."""
        held = self.end - self.begin
        if self._ring is None or held + count > len(self._ring):
            kept = self.take(self.begin, self.end).clone() if held else None
            self._ring = like.new_empty((held + count, *size))
            if kept is not None:
                write(self.pieces(self.begin, self.end), kept)
        self.end += count
        return self.pieces(self.end - count, self.end)

    def extend(self, slices: Tensor) -> None:
        """Adds slices, (t, H, W, C)."""
        write(self.room(len(slices), slices.shape[1:], slices), slices)

    def pieces(self, begin: int, end: int) -> list[Tensor]:
        """The slices from one place to before another, as one view or two."""
        if begin == end:
            return []
        assert self._ring is not None
        first = begin % len(self._ring)
        whole = self._ring[first : first + end - begin]
        return [whole] if len(whole) == end - begin else [whole, self._ring[: end - begin - len(whole)]]

    def take(self, begin: int, end: int) -> Tensor:
        """The same as one tensor, (t, H, W, C); a view, unless they lie across the ring's end."""
        pieces = self.pieces(begin, end)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def forget(self, place: int) -> None:
        """Drops the slices before a place."""
        self.begin = min(max(self.begin, place), self.end)


def write(pieces: Sequence[Tensor], slices: Tensor) -> None:
    """Copies slices to views that follow each other."""
    for piece, part in zip(pieces, slices.split([len(piece) for piece in pieces]), strict=True):
        piece.copy_(part)


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
    before, after
        Slices at a window's beginning and at its end that are its own.
    ends
        These, (windows, before + after, H, W, C), if there are any.
    whole
        All slices of each window instead, (windows, length, H, W, C), where none is clean.
    """

    starts: Sequence[int]
    length: int
    lines: list[Line]
    before: int = 0
    after: int = 0
    ends: Tensor | None = None
    whole: Tensor | None = None

    @property
    def like(self) -> Tensor:
        """Slices of the layer, to tell their size and type."""
        for slices in (self.whole, self.ends):
            if slices is not None:
                return slices[0]
        return next(line.take(line.end - 1, line.end) for line in self.lines if line.begin < line.end)

    def fill(self, out: Tensor, begin: int, end: int) -> None:
        """Writes slices `begin` to `end` of every window to `out`, (windows, end - begin, H, W, C)."""
        if self.whole is not None:
            out.copy_(self.whole[:, begin:end])
            return
        last = self.length - self.after  # the first slice after the clean ones
        if self.ends is not None:
            if begin < self.before:
                out[:, : self.before - begin].copy_(self.ends[:, begin : min(end, self.before)])
            if end > last:
                own = max(begin, last)
                out[:, own - begin :].copy_(self.ends[:, self.before + own - last : self.before + end - last])
        first, last = max(begin, self.before), min(end, last)
        if first < last:
            for window, start in zip(out, self.starts, strict=True):
                place = start // len(self.lines)
                pieces = self.lines[start % len(self.lines)].pieces(place + first, place + last)
                row = first - begin
                for piece in pieces:
                    window[row : row + len(piece)].copy_(piece)
                    row += len(piece)

    def part(self, begin: int, end: int, before: int = 0, after: int = 0, value: float = 0.0) -> Tensor:
        """Slices `begin` to `end` of every window, (windows, t, H, W, C), with slices of `value` around them."""
        like = self.like
        out = like.new_empty((len(self.starts), before + end - begin + after, *like.shape[1:]))
        out[:, :before].fill_(value)
        out[:, out.shape[1] - after :].fill_(value)
        self.fill(out[:, before : before + end - begin], begin, end)
        return out

    def all(self) -> Tensor:
        """Every window's maps, (windows, C, length, H, W)."""
        return clips_of(self.part(0, self.length) if self.whole is None else self.whole)


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
        if x.whole is None:
            self._extend_lines(x)
        ends = None if x.ends is None else self._each(x.ends.flatten(0, 1)).unflatten(0, x.ends.shape[:2])
        whole = None if x.whole is None else self._each(x.whole.flatten(0, 1)).unflatten(0, x.whole.shape[:2])
        return Maps(x.starts, x.length, self.lines, x.before, x.after, ends, whole)

    def _extend_lines(self, x: Maps) -> None:
        for line, source in zip(self.lines, x.lines, strict=True):
            line.start_at(source.begin)
        new = [source.pieces(line.end, source.end) for line, source in zip(self.lines, x.lines, strict=True)]
        counts = [sum(map(len, pieces)) for pieces in new]
        slices = [piece for pieces in new for piece in pieces if len(piece)]
        if slices:
            y = self._each(slices[0] if len(slices) == 1 else torch.cat(slices))  # of all phases: a larger product
            for line, part in zip(self.lines, y.split(counts), strict=True):
                if len(part):
                    line.extend(part)

    def _each(self, slices: Tensor) -> Tensor:
        """The layers' slices, (t, H, W, C), from those before them; each is a clip of one frame."""
        return slices_of(self.layers(clips_of(slices[:, None])))[:, 0].contiguous()


class Temporal(Node):
    """A layer with a window in time.

    `layer` takes clips that are padded in time already; `fill` is what it pads with.
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
            whole = self._over(x.part(0, x.length, p, p, self.fill))
            return Maps(x.starts, length, self.lines, whole=whole)
        self._extend_lines(x)
        ends = []
        if before:
            ends.append(self._over(x.part(0, (before - 1) * s - p + k, before=p, value=self.fill)))
        if after:
            ends.append(self._over(x.part((length - after) * s - p, x.length, after=p, value=self.fill))[:, :after])
        return Maps(x.starts, length, self.lines, before, after, torch.cat(ends, dim=1) if ends else None)

    def _extend_lines(self, x: Maps) -> None:
        stride = len(x.lines)
        for phase, line in enumerate(self.lines):
            source = x.lines[phase % stride]
            # Output m lies at frame phase + len(lines) * m, its input i at that plus stride * (i - padding).
            first = phase // stride - self.padding  # place of output 0's first input
            line.start_at(-(-(source.begin - first) // self.step))
            count = (source.end - first - self.kernel) // self.step + 1 - line.end
            if count > 0:
                begin = first + self.step * line.end
                line.extend(self._over(source.take(begin, begin + self.step * (count - 1) + self.kernel)[None])[0])

    def _over(self, slices: Tensor) -> Tensor:
        return slices_of(self.layer(clips_of(slices)))


class Join(Node):
    """Branches side by side, concatenated."""

    def __init__(self, branches: Sequence[Sequence[Node]], stride: int) -> None:
        self.branches = branches
        self.lines = [Line() for _ in range(stride)]

    def __call__(self, x: Maps) -> Maps:
        ys = [walk(branch, x) for branch in self.branches]
        length = ys[0].length
        likes = [y.like for y in ys]
        channels = [like.shape[-1] for like in likes]
        size = (*likes[0].shape[1:3], sum(channels))

        def joined(begin: int, end: int) -> Tensor:
            out = likes[0].new_empty((len(x.starts), end - begin, *size))
            for y, part in zip(ys, out.split(channels, dim=-1), strict=True):
                y.fill(part, begin, end)
            return out

        if any(y.whole is not None for y in ys):
            return Maps(x.starts, length, self.lines, whole=joined(0, length))
        for phase, line in enumerate(self.lines):
            sources = [y.lines[phase] for y in ys]
            line.start_at(max(source.begin for source in sources))
            begin, end = line.end, min(source.end for source in sources)
            if begin < end:
                pieces = line.room(end - begin, size, likes[0])
                for source, *parts in zip(sources, *(piece.split(channels, dim=-1) for piece in pieces), strict=True):
                    write(parts, source.take(begin, end))
        before, after = max(y.before for y in ys), max(y.after for y in ys)
        sides = [(0, before), (length - after, length)]
        ends = torch.cat([joined(*side) for side in sides], dim=1) if before + after else None
        return Maps(x.starts, length, self.lines, before, after, ends)

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
            for node in nodes_of(child, stride):
                stride = len(node.lines)
                last = nodes[-1] if nodes else None
                if isinstance(last, Slicewise) and isinstance(node, Slicewise):
                    nodes[-1] = Slicewise(nn.Sequential(last.layers, node.layers), stride)  # no lines between them
                else:
                    nodes.append(node)
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
            The frames that have not been given yet up to the last window's end, (t, H, W, 3); t may be 0.
        starts
            In ascending order, and no earlier than those of calls before.
        """
        for node in (*self.base1, *self.base2):
            node.forget(starts[0])
        self.frames.forget(starts[0])
        if len(frames):
            self.frames.extend(frames)
        x = Maps(starts, self.clip_length, [self.frames])
        z2 = walk(self.base1, x)
        return z2, walk(self.base2, z2)


class SharingRun:
    """The network on windows that follow each other, each a step later in one sequence than the one before it.

    Parameters
    ----------
    net
        In evaluation mode.
    upload
        Brings a list of frames, (H, W, 3) each, to the network's device and type as one tensor.
    decode
        Called as `TASEDNet.decode`; what it is given in place of the network's own, such as a compiled one.
    batch
        Windows that `decode` is always given, the missing ones made up; 0 for as many as there are.
    """

    def __init__(
        self,
        net: TASEDNet,
        upload: Callable[[list[Tensor]], Tensor] = torch.stack,
        decode: Callable[..., Tensor] | None = None,
        batch: int = 0,
    ) -> None:
        self.maps, self.upload, self.decode, self.batch = net.maps, upload, decode or net.decode, batch
        self.encoder = ReusingEncoder(net)
        self.start: int | None = None

    def __call__(self, windows: Sequence[Window[Tensor]]) -> Tensor:
        """The network's maps of the next windows, (windows, maps, H, W).

        Parameters
        ----------
        windows
            Clips of frames (H, W, 3); each is as many frames later than the one before it as maps are taken from it.
        """
        new: list[Tensor] = []
        starts: list[int] = []
        for window in windows:
            clip, taken = window.clip, window.maps
            self.start, moved = (0, len(clip)) if self.start is None else (self.start + len(taken), len(taken))
            new += clip[len(clip) - moved :]
            starts.append(self.start)
        frames = self.upload(new)
        z2, z1 = (padded(maps.all(), self.batch) for maps in self.encoder(frames, starts))
        maps = self.decode(z2, z1, (frames.shape[1], frames.shape[2]))[: len(starts)]
        return maps.reshape(len(starts), self.maps, *maps.shape[-2:])


def padded(maps: Tensor, batch: int) -> Tensor:
    """The maps of at least `batch` windows; those that are made up are zero."""
    missing = batch - len(maps)
    if missing <= 0:
        return maps
    slices = slices_of(maps)
    return clips_of(torch.cat([slices, slices.new_zeros((missing, *slices.shape[1:]))]))
