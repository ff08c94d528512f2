"""Videos in: `open_video` finds the reader for a file, a URL, standard input, or a folder or pattern of images.

`PyAVReader` is the default for what FFmpeg decodes; `SkvideoReader` hands files to scikit-video and the ffmpeg program;
`ImagesReader` takes images. All give upright RGB frames, one by one, with their times.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from .color import to_rgb
from .frames import MAX_PIXELS, RGB, VideoError, VideoFrame, VideoInfo, VideoReader, VideoWarning
from .images import RATE, SUFFIXES, ImagesReader, image_files
from .sources import STDIN, TIMEOUT, is_pattern, is_url, shown_name, video_name
from .writing import video_writer, whole_file, write_image

__all__ = [
    "READERS",
    "RGB",
    "STDIN",
    "ImagesReader",
    "PyAVReader",
    "SkvideoReader",
    "VideoError",
    "VideoFrame",
    "VideoInfo",
    "VideoReader",
    "VideoWarning",
    "image_files",
    "is_url",
    "open_video",
    "video_name",
    "video_writer",
    "whole_file",
    "write_image",
]


def open_video(source: str | os.PathLike[str], reader: str = "pyav", *, image_rate: Fraction = RATE) -> VideoReader:
    """Opens a video, whatever it comes from.

    Parameters
    ----------
    source
        A video file; a folder of images or a glob pattern that names them, which are taken in natural order; a URL that FFmpeg
        opens (``http://``, ``https://``, ``rtsp://``, ``file://`` …); or ``-`` for a stream on standard input.
    reader
        What decodes a file: "pyav" or "skvideo". Images, URLs and streams have but one reader.
    image_rate
        Images a second.

    Raises
    ------
    VideoError
        If it cannot be opened, in one sentence.
    ValueError
        If the reader has another name.
    """
    if reader not in READERS:
        raise ValueError(f"reader must be one of {', '.join(map(repr, READERS))}, got {reader!r}")
    if os.fspath(source) == STDIN or is_url(source):
        if reader != "pyav":
            raise VideoError(f"{shown_name(source)}: the {reader} reader opens files only, use the pyav reader")
        return PyAVReader(source)
    path = Path(source)
    if path.is_dir() or is_pattern(path) or path.suffix.lower() in SUFFIXES:
        if not (path.exists() or is_pattern(path)):
            raise VideoError(f"{source}: no such file")
        return ImagesReader(source, image_rate)
    return READERS[reader](source)


class PyAVReader(VideoReader):
    """Decodes with PyAV what FFmpeg can open: a file, a URL, or ``-`` for standard input.

    Frames keep the times they have in the file, at whatever rate, and are turned as the file's rotation mark says; HDR,
    wide gamuts and more than 8 bits become 8-bit BT.709 (`color.to_rgb`). Interlaced frames stay as they are. A video that
    is damaged or cut short gives the frames that can be decoded, and a `VideoWarning` with their number at its end.

    Raises
    ------
    VideoError
        If it is missing, is no video, announces frames of an absurd size, or holds no frame that can be decoded (then
        while iterating).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.source = shown_name(path)
        self._container = _opened(path, self.source)
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{self.source}: holds no video stream")
        self._stream = self._container.streams.video[0]
        if self._stream.codec_context is None:  # as PyAV has it, whatever its types say
            self._container.close()
            raise VideoError(f"{self.source}: is encoded in a way that FFmpeg does not know")
        if not (self._stream.width and self._stream.height):
            self._container.close()
            raise VideoError(f"{self.source}: announces no size of its frames, or an absurd one")
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # the size may change midway
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)
        self._damaged = False
        self.expected_frames = self._stream.frames or self._frames_by_duration()
        # What has no end in sight may not begin at the same place when it is opened once more.
        once = os.fspath(path) == STDIN or (not is_url(path) and Path(path).is_fifo())
        if self._container.streams.audio and not once and (self._container.duration or 0) > 0:
            self.sound = os.fspath(path) if is_url(path) else os.path.abspath(path)

    def __iter__(self) -> Iterator[VideoFrame]:
        return self.frames()

    def frames(self, start: int = 0) -> Iterator[VideoFrame]:
        count, time = 0, Fraction(0)
        stored_aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        width = height = None
        for frame in self._decoded():
            if frame.pts is not None and frame.time_base is not None:
                time = frame.pts * Fraction(frame.time_base)
            width, height = width or frame.width, height or frame.height  # a stream may change its size midway
            if count >= start:
                quarter_turns = round(frame.rotation / 90) % 4
                upright: RGB = np.ascontiguousarray(np.rot90(self._rgb(frame, width, height), quarter_turns))
                yield VideoFrame(upright, time, 1 / stored_aspect if quarter_turns % 2 else stored_aspect)
            time += 1 / self.rate
            count += 1
        if not count:
            raise VideoError(f"{self.source}: no frame of it can be decoded")
        if self._damaged:
            message = f"{self.source}: damaged or cut short, only the {count} frames that can be decoded are used"
            warnings.warn(message, VideoWarning, stacklevel=2)

    def _rgb(self, frame: av.VideoFrame, width: int, height: int) -> RGB:
        try:
            return to_rgb(frame, width, height)
        except av.error.FFmpegError as error:
            raise VideoError(f"{self.source}: frames of format {frame.format.name} cannot be brought to RGB") from error

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """All frames that come out; `_damaged` tells whether something was wrong on the way."""
        for packet in self._packets():
            try:
                yield from self._stream.decode(packet)
            except (av.error.FFmpegError, EOFError):
                self._damaged = True

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, and at the end None or an empty one, which makes the decoder hand out what it still holds."""
        packets, end = 0, Fraction(0)
        try:
            for packet in self._container.demux():  # of all streams, to see how far the file goes
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base))
                if packet.stream.index == self._stream.index:  # an empty packet's own index is always 0
                    packets += packet.size > 0
                    yield packet
        except (av.error.FFmpegError, EOFError, IndexError):  # IndexError: PyAV, where damage looks like new streams
            self._damaged = True
            yield None
        start, duration = self._container.start_time or 0, self._container.duration or 0
        missing = Fraction(start + duration, av.time_base) - end
        # Headers round, and AVI counts frames that it leaves out.
        grace = 2 / self.rate if packets < self._stream.frames else 1
        self._damaged |= missing > grace

    def close(self) -> None:
        self._container.close()

    def _frames_by_duration(self) -> int | None:
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self.rate)
        if self._container.duration:
            return round(Fraction(self._container.duration, av.time_base) * self.rate)
        return None


def _opened(source: str | os.PathLike[str], shown: str) -> av.container.InputContainer:
    """The container, or a sentence that says why there is none."""
    location = os.fspath(source)
    remote = is_url(source)
    if os.fspath(source) == STDIN:
        if sys.stdin is not None and sys.stdin.isatty():
            raise VideoError("- reads a video from standard input, but nothing is piped into it")
        location = "fd:"
    elif not remote:
        location = os.path.abspath(source)  # so that no name is taken for one of FFmpeg's protocols
        if os.path.isdir(location):
            raise VideoError(f"{shown}: is a folder, not a video")
        if not os.path.exists(location):
            raise VideoError(f"{shown}: no such file")
    try:
        limit = {"max_pixels": str(MAX_PIXELS)}  # FFmpeg leaves out a larger size
        return av.open(location, options=limit, timeout=TIMEOUT if remote else None, metadata_errors="replace")
    except PermissionError:
        raise VideoError(f"{shown}: no permission to read it") from None
    except (av.error.FFmpegError, EOFError) as error:
        if remote and not isinstance(error, (av.error.InvalidDataError, EOFError)):
            reason = "no answer in time" if isinstance(error, av.error.ExitError) else error.strerror
            raise VideoError(f"{shown}: cannot be opened ({reason})") from error
        if os.fspath(source) == STDIN:
            message = "no video, or one that cannot be read as a stream (an MP4 file with its index at the end): name the file"
            raise VideoError(f"{shown}: {message}") from error
        raise VideoError(f"{shown}: not a video, or damaged at its beginning") from error


class SkvideoReader(VideoReader):
    """Decodes a file with scikit-video, that is with the ffmpeg program.

    Frames come at the file's average rate, repeated or left out where the file's own times differ from it, and in the
    colours that ffmpeg gives them, without tone mapping; damage to the file shows in nothing but the number of frames.

    Raises
    ------
    VideoError
        As `PyAVReader`, and if scikit-video, ffmpeg or ffprobe is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        skvideo_io = _import_skvideo_io()
        with PyAVReader(path) as header:
            first = next(iter(header))
            self.source, self.sound = header.source, header.sound
            self.rate, self.expected_frames = header.rate, header.expected_frames
        self.time_base, self._aspect = 1 / self.rate, first.pixel_aspect
        height, width, _ = first.image.shape
        # ffmpeg turns the frames upright but scikit-video misses their new size: state it.
        self._reader = skvideo_io.FFmpegReader(os.path.abspath(path), outputdict={"-s": f"{width}x{height}"})

    def __iter__(self) -> Iterator[VideoFrame]:
        count = 0
        for image in self._reader.nextFrame():
            yield VideoFrame(image.copy(), count / self.rate, self._aspect)  # a copy, as its frames are read-only
            count += 1
        if not count:
            raise VideoError(f"{self.source}: no frame of it can be decoded")

    def close(self) -> None:
        self._reader.close()


READERS: dict[str, type[VideoReader]] = {"pyav": PyAVReader, "skvideo": SkvideoReader}


class _NumpyWithOldNames:
    """numpy as scikit-video 1.1.11 knows it: with `float` and `int`, which numpy 1.24 dropped."""

    float, int = float, int

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _import_skvideo_io() -> Any:
    """scikit-video's `io`, its modules shown the numpy that they expect; numpy itself stays as it is."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise VideoError(f"the skvideo reader needs {program} on the PATH: install FFmpeg, or use the pyav reader")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy.misc
            import skvideo.io
    except ImportError as error:
        raise VideoError("the skvideo reader needs scikit-video: pip install scikit-video") from error
    for module in (skvideo.io.abstract, skvideo.io.ffmpeg):
        module.np = _NumpyWithOldNames()
    return skvideo.io
