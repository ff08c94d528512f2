"""Frames of a video file by their numbers, exactly, decoding no more than the way from the key frame before them.

A file is gone through once, without decoding, for its packets' order, presentation times and key frames; the result is kept in
the user's cache. Packets are numbered in the order of the file, and their numbers go through the decoder in place of the
presentation times, so that a frame says itself which one it is. Where the file's times do not tell the order of its frames
(H.264 with B-frames in AVI), it is decoded once for that.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from ..color import to_rgb
from ..frames import MAX_PIXELS, RGB
from .cache import cached, keep, log
from .errors import DataError

_DAMAGE = (av.error.FFmpegError, EOFError, IndexError)  # IndexError: PyAV, where damage looks like new streams
_TRIAL = 16  # frames that are decoded to see whether the file's times tell their order
_FORMAT = "videos-1"  # of the entries in the cache
_WORTH_SEEKING = 8  # frames in whose time a file is opened and sought in
_ATTEMPTS = 3  # key frames that are sought for before the file is read from its start


@dataclass(frozen=True)
class KeyFrame:
    """A place to start decoding from.

    `packet` is the number of its packet, `frame` that of its frame as they are shown; `position` is the packet's place in the
    file, and `time` what to seek for, in the stream's time base.
    """

    packet: int
    frame: int
    position: int
    time: int


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """What has to be known of a file to find its frames.

    Attributes
    ----------
    packets
        Number of the packet of each frame, in the order in which frames are shown.
    keys
        Where decoding can start, other than at the first packet.
    rate
        Frames a second on average.
    whole
        Whether the file has as many frames as its header says.
    """

    packets: NDArray[np.int64]
    keys: tuple[KeyFrame, ...]
    rate: Fraction
    whole: bool

    def __len__(self) -> int:
        return len(self.packets)

    def key_before(self, frame: int) -> KeyFrame | None:
        """The last key frame that is shown no later than a frame; None where that is the first one."""
        place = bisect_right(self.keys, frame, key=lambda key: key.frame)
        return self.keys[place - 1] if place else None


# --------------------------------------------------------------------------------------------------------------- decoding


@dataclass(frozen=True)
class VideoFile:
    """A video file whose frames can be had in any order. It is open only while it is read, and can be sent to workers."""

    path: str
    index: VideoIndex = field(repr=False)

    def images(self, indices: Iterable[int]) -> Iterator[RGB]:
        """Frames by their 0-based numbers, (H, W, 3); decoding goes on from one to the next where that is the shortest way.

        Raises
        ------
        DataError
            If a frame cannot be decoded.
        """
        at, current = -1, None
        image: RGB | None = None
        for wanted in indices:
            if image is None or wanted != at:
                key = self.index.key_before(wanted)
                if current is None or wanted <= at or (key is not None and key.frame - at > _WORTH_SEEKING):
                    current = _Pass(self.path, self.index, key)
                at, image = wanted, current.take(wanted)
                if image is None and key is not None:  # damaged, or not a key frame after all
                    current = _Pass(self.path, self.index, None)
                    image = current.take(wanted)
                if image is None:
                    raise DataError(f"{self.path}: frame {wanted + 1} cannot be decoded")
            yield image

    def size(self) -> tuple[int, int]:
        """(H, W) of the first frame."""
        height, width, _ = next(iter(self.images([0]))).shape
        return height, width

    def rate(self) -> Fraction:
        """Frames a second on average."""
        return self.index.rate

    def paths(self) -> list[str]:
        """All files of it: one."""
        return [self.path]


class _Pass:
    """Decodes a file onwards from a key frame, or from its start.

    It holds an open file, and so is no part of a reference cycle: what a garbage collector frees, a forked worker may free as
    well.
    """

    def __init__(self, path: str, index: VideoIndex, key: KeyFrame | None) -> None:
        self._frames = _decoded(path, index, key)
        self._next: tuple[int, Callable[[], RGB]] | None = None

    def take(self, wanted: int) -> RGB | None:
        """The frame of a number, which must grow from call to call; None if it does not come out."""
        while self._next is None or self._next[0] < wanted:
            self._next = next(self._frames, None)
            if self._next is None:
                return None
        number, picture = self._next
        return picture() if number == wanted else None


def _decoded(path: str, index: VideoIndex, key: KeyFrame | None) -> Iterator[tuple[int, Callable[[], RGB]]]:
    """Frames with their numbers; a call makes a picture of them."""
    number_of = {packet: frame for frame, packet in enumerate(index.packets.tolist())}
    with opened(path) as (container, stream):
        size = stream.width, stream.height  # a stream may change its size midway
        packets = _from_key(container, stream, index, key) if key is not None else None
        if packets is None:
            packets = enumerate(_packets(container, stream))
        waiting = key
        for packet, frame in _decode(stream, packets):
            if waiting is not None and packet == waiting.packet:
                if not frame.key_frame:
                    return
                waiting = None
            if waiting is None and packet in number_of:  # frames before the key frame lack what they refer to
                yield number_of[packet], partial(_picture, path, frame, size)


def _picture(path: str, frame: av.VideoFrame, size: tuple[int, int]) -> RGB:
    """The frame as `video.PyAVReader` gives it."""
    try:
        return np.ascontiguousarray(np.rot90(to_rgb(frame, *size), round(frame.rotation / 90) % 4))
    except av.error.FFmpegError as error:
        raise DataError(f"{path}: frames of format {frame.format.name} cannot be brought to RGB") from error


def _from_key(
    container: Any, stream: av.VideoStream, index: VideoIndex, key: KeyFrame
) -> Iterator[tuple[int, av.Packet[Any]]] | None:
    """Packets with their numbers from a key frame's on, or None if the file does not let itself be sought in."""
    known = {other.position: other.packet for other in index.keys}
    place = index.keys.index(key)
    for target in index.keys[max(0, place - _ATTEMPTS + 1) : place + 1][::-1]:
        try:
            container.seek(target.time, stream=stream, backward=True)
        except _DAMAGE:
            continue
        number, rest = None, _packets(container, stream)
        for packet in rest:
            number = known.get(_position(packet)) if number is None else number + 1
            if number is not None and number >= key.packet:
                break
        if number == key.packet:
            return enumerate(chain([packet], rest), number)
    return None


def _decode(
    stream: av.VideoStream, packets: Iterable[tuple[int, av.Packet[Any]]]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames in the order in which they are shown, with the numbers of their packets."""

    def come_out(packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        try:
            return stream.codec_context.decode(packet)
        except _DAMAGE:
            return []

    for number, packet in packets:
        packet.pts = number
        yield from ((int(frame.pts), frame) for frame in come_out(packet) if frame.pts is not None)
    yield from ((int(frame.pts), frame) for frame in come_out(None) if frame.pts is not None)


def _packets(container: Any, stream: av.VideoStream) -> Iterator[av.Packet[Any]]:
    """The stream's packets that hold anything, as far as the file can be read."""
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except _DAMAGE:
        return


def _position(packet: av.Packet[Any]) -> int:
    """A packet's place in the file, -1 where the container does not tell."""
    return -1 if packet.pos is None else packet.pos


@contextmanager
def opened(path: str) -> Iterator[tuple[Any, av.VideoStream]]:
    """A file's container and its first video stream. One thread decodes: workers are many, and clips short."""
    limit = {"max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(path, options=limit, metadata_errors="replace")  # titles may be of any encoding
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except _DAMAGE as error:
        raise DataError(f"{path}: not a video, or damaged at its beginning") from error
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None or not (stream.width and stream.height):
            raise DataError(f"{path}: holds no video stream that can be decoded")
        stream.codec_context.options = limit  # the size may change midway
        stream.codec_context.thread_count = 1
        yield container, stream


# --------------------------------------------------------------------------------------------------------------- indexing


def open_file(path: str) -> VideoFile:
    """Finds out where the frames of a file are, or reads it from the cache.

    Raises
    ------
    DataError
        If the file cannot be read, or no frame of it can be decoded.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or 'cannot be opened').lower()}") from error
    path = os.path.abspath(path)
    version = [status.st_size, status.st_mtime_ns]
    index = _from_entry(cached(_FORMAT, path), version)
    if index is None:
        index = _indexed(path)
        keep(_FORMAT, path, _entry(index, version))
    return VideoFile(path, index)


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    position: int
    key: bool
    shown: bool


def _indexed(path: str) -> VideoIndex:
    with opened(path) as (container, stream):
        packets, end = [], Fraction(0)
        unit = Fraction(stream.time_base or 1)
        for packet in _packets(container, stream):
            shown = not packet.is_discard  # not shown is what an edit list cuts off
            packets.append(_Packet(packet.pts, packet.dts, _position(packet), packet.is_keyframe, shown))
            times = [time for time in (packet.pts, packet.dts) if time is not None]
            end = max([end, *((time + (packet.duration or 0)) * unit for time in times)])
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        announced = Fraction((container.start_time or 0) + (container.duration or 0), av.time_base)
        if container.format.name == "avi":  # whose duration is estimated from what is there
            announced = max(announced, stream.frames / rate)
        whole = len(packets) >= stream.frames > 0 or end > announced - 1  # a second's grace: headers round
        # VP8 has packets that show no frame, and AVI no times of frames that are not in order.
        avi_with_b_frames = container.format.name == "avi" and stream.codec_context.has_b_frames
        by_time = stream.codec_context.name != "vp8" and not avi_with_b_frames
    order = _order_by_time(path, packets) if by_time else None
    if order is None:
        order = _order_by_decoding(path)
    if not order:
        raise DataError(f"{path}: no frame of it can be decoded")
    return VideoIndex(np.array(order), _keys(packets, order), rate, whole)


def _order_by_time(path: str, packets: list[_Packet]) -> list[int] | None:
    """The packets in the order of their times, or None if that is not how their frames come out of the decoder."""
    times = {number: packet.pts for number, packet in enumerate(packets) if packet.shown}
    if None in times.values() or len(set(times.values())) < len(times):
        return None
    order = sorted(times, key=lambda number: times[number] or 0)
    place = {packet: frame for frame, packet in enumerate(order)}
    with opened(path) as (container, stream):
        first = [packet for packet, _ in islice(_decode(stream, enumerate(_packets(container, stream))), _TRIAL)]
    places = [place.get(packet, -1) for packet in first]
    return order if places and places == sorted(set(places)) and -1 not in places else None


def _order_by_decoding(path: str) -> list[int]:
    with opened(path) as (container, stream):
        order = [packet for packet, _ in _decode(stream, enumerate(_packets(container, stream)))]
    if len(set(order)) < len(order):
        raise DataError(f"{path}: its frames cannot be told apart: extract them as images")
    return order


def _keys(packets: list[_Packet], order: list[int]) -> tuple[KeyFrame, ...]:
    keys = []
    for frame, number in enumerate(order):
        packet = packets[number]
        time = packet.pts if packet.dts is None else packet.dts
        if packet.key and number and time is not None:
            keys.append(KeyFrame(number, frame, packet.position, time))
    count = Counter(packet.position for packet in packets)
    apart = all(key.position >= 0 and count[key.position] == 1 for key in keys)
    return tuple(keys) if apart else ()


def _entry(index: VideoIndex, version: list[int]) -> dict[str, object]:
    return {
        "version": version,
        "packets": index.packets.tolist(),
        "keys": [[key.packet, key.frame, key.position, key.time] for key in index.keys],
        "rate": [index.rate.numerator, index.rate.denominator],
        "whole": index.whole,
    }


def _from_entry(entry: Any, version: list[int]) -> VideoIndex | None:
    try:
        if entry is None or entry["version"] != version:
            return None
        keys = tuple(KeyFrame(*map(int, key)) for key in entry["keys"])
        packets = np.array(entry["packets"], np.int64)
        return VideoIndex(packets, keys, Fraction(*entry["rate"]), bool(entry["whole"]))
    except (TypeError, KeyError, ValueError, ArithmeticError) as error:
        log.debug("cache entry is not used: %s", error)
        return None
