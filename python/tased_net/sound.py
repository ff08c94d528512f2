"""The sound of a video carried over into an MP4 file, packet by packet beside the frames."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.error

from .frames import VideoWarning
from .sources import TIMEOUT, shown_name

# What players expect in an MP4 file, as FFmpeg names it; anything else becomes AAC.
COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
AAC_FRAME = 1024  # samples


class Sound:
    """Adds a stream to `output` and fills it as far as the frames have come.

    Packets are copied as they are where MP4 carries their codec, and encoded to AAC otherwise; they are cut to the span of
    the video, at the borders of packets (some 20 ms). A file without sound adds nothing; sound that is damaged is
    carried over as far as it goes, with a `VideoWarning` at its end.

    Parameters
    ----------
    source
        What FFmpeg opens: a path or a URL.
    output
        The MP4 file, to which nothing has been written yet.
    start
        Seconds in the source at which the output begins.
    """

    def __init__(self, source: str, output: av.container.OutputContainer, start: Fraction) -> None:
        self._source, self._output, self._start = source, output, start
        self._packets: Iterator[tuple[Fraction, av.Packet[Any]]] = iter(())
        self._next: tuple[Fraction, av.Packet[Any]] | None = None
        self._damaged = False
        self._input = av.open(source, timeout=TIMEOUT, metadata_errors="replace")
        stream = self._input.streams.best("audio")
        if isinstance(stream, av.AudioStream):
            copied = stream.codec_context.codec.canonical_name in COPIED
            self._packets = self._copied(stream) if copied else self._encoded(stream)
            self._advance()

    def write_until(self, time: Fraction) -> None:
        """Writes what is heard before `time`, in seconds of the source."""
        while self._next is not None and self._next[0] < time:
            self._output.mux(self._next[1])
            self._advance()

    def close(self) -> None:
        self._input.close()
        if self._damaged:
            message = f"{shown_name(self._source)}: its sound is damaged, and only a part of it is carried over"
            warnings.warn(message, VideoWarning, stacklevel=2)

    def _advance(self) -> None:
        try:
            self._next = next(self._packets, None)
        except (av.error.FFmpegError, EOFError, ValueError):  # the last where frames' layout or rate changes
            self._next, self._damaged = None, True

    def _copied(self, stream: av.AudioStream) -> Iterator[tuple[Fraction, av.Packet[Any]]]:
        target = self._output.add_stream_from_template(stream)
        last: int | None = None
        for packet in self._input.demux(stream):
            if packet.pts is None or packet.time_base is None:
                continue
            base = Fraction(packet.time_base)
            time, shift = packet.pts * base, round(self._start / base)
            if time + max(packet.duration or 0, 1) * base <= self._start:
                continue
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if last is not None and packet.dts <= last:  # times that jump back, as where recordings are strung together
                self._damaged = True
                continue
            last = packet.dts
            packet.stream = target
            yield time, packet

    def _encoded(self, stream: av.AudioStream) -> Iterator[tuple[Fraction, av.Packet[Any]]]:
        rate = stream.rate if stream.rate in AAC_RATES else 48000
        layout = "mono" if stream.channels == 1 else "stereo"
        target = self._output.add_stream("aac", rate=rate, layout=layout)
        last = -math.inf
        for frame in self._resampled(stream, layout, rate):
            if frame is not None and frame.pts is not None:
                if frame.pts <= last:
                    self._damaged = True
                    continue
                last = frame.pts
            for packet in target.encode(frame):
                assert packet.pts is not None
                assert packet.time_base is not None
                yield packet.pts * Fraction(packet.time_base) + self._start, packet

    def _resampled(self, stream: av.AudioStream, layout: str, rate: int) -> Iterator[av.AudioFrame | None]:
        """What is heard from the start on, in frames of AAC's length, and None to end the encoder's wait for more."""
        resampler = av.AudioResampler("fltp", layout, rate, AAC_FRAME)
        for frame in chain(self._decoded(stream), [None]):
            for part in resampler.resample(frame):
                base = Fraction(part.time_base or 1)
                part.pts = (part.pts or 0) - round(self._start / base)
                if part.pts * base > -Fraction(part.samples, rate):
                    yield part
        yield None

    def _decoded(self, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        for packet in self._input.demux(stream):
            try:
                frames = stream.decode(packet)
            except (av.error.FFmpegError, EOFError):
                self._damaged = True
            else:
                yield from frames
