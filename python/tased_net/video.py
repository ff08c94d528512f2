"""Videos in and out: frames one by one with their times, files that appear whole or not at all.

`PyAVReader` is the default reader; `SkvideoReader` hands decoding to scikit-video and the ffmpeg program. Both give upright
RGB frames. `video_writer` writes H.264, `write_image` an image.
"""

from __future__ import annotations

import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from typing_extensions import Self

RGB = NDArray[np.uint8]  # (H, W, 3)
BT709, LIMITED_RANGE = 1, 1  # ISO/IEC 23091-2 code points


class VideoError(RuntimeError):
    """A video that cannot be read."""


class VideoWarning(UserWarning):
    """A video of which only a part can be read."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame as it is meant to be seen, upright.

    `image` is uint8 RGB (H, W, 3), `time` in seconds; `pixel_aspect` is the width of a pixel over its height.
    """

    image: RGB
    time: Fraction
    pixel_aspect: Fraction = Fraction(1)


class VideoReader(ABC):
    """A video's frames, to be iterated over once; a context manager that closes the file.

    Attributes
    ----------
    rate
        Frames a second on average.
    time_base
        Seconds of which all frame times are multiples.
    expected_frames
        Their number as far as the header knows it, or None.
    """

    rate: Fraction
    time_base: Fraction
    expected_frames: int | None

    @abstractmethod
    def __init__(self, path: str | os.PathLike[str]) -> None: ...

    @abstractmethod
    def __iter__(self) -> Iterator[VideoFrame]: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class PyAVReader(VideoReader):
    """Decodes a file with PyAV.

    Frames keep the times they have in the file, at whatever rate, and are turned as the file's rotation mark says. A file
    that is damaged or cut short gives the frames that can be decoded, and a `VideoWarning` with their number at its end.

    Raises
    ------
    VideoError
        If the file is missing, is no video, or holds no frame that can be decoded (then while iterating).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise VideoError(f"{path}: is a folder, not a video")
        if not self.path.exists():
            raise VideoError(f"{path}: no such file")
        try:
            self._container = av.open(os.fspath(path))
        except PermissionError:
            raise VideoError(f"{path}: no permission to read it") from None
        except (av.error.FFmpegError, EOFError) as error:
            raise VideoError(f"{path}: not a video, or damaged at its beginning") from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{path}: holds no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)
        self._damaged = False
        self.expected_frames = self._stream.frames or self._frames_by_duration()

    def __iter__(self) -> Iterator[VideoFrame]:
        count, time = 0, Fraction(0)
        stored_aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        width = height = None
        for frame in self._decoded():
            if frame.pts is not None and frame.time_base is not None:
                time = frame.pts * Fraction(frame.time_base)
            width, height = width or frame.width, height or frame.height  # a stream may change its size midway
            quarter_turns = round(frame.rotation / 90) % 4
            image = frame.to_ndarray(format="rgb24", width=width, height=height)
            upright: RGB = np.ascontiguousarray(np.rot90(image, quarter_turns), np.uint8)
            yield VideoFrame(upright, time, 1 / stored_aspect if quarter_turns % 2 else stored_aspect)
            time += 1 / self.rate
            count += 1
        if not count:
            raise VideoError(f"{self.path}: no frame of it can be decoded")
        if self._damaged:
            message = f"{self.path}: damaged or cut short, only the {count} frames that can be decoded are used"
            warnings.warn(message, VideoWarning, stacklevel=2)

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
                if packet.stream_index == self._stream.index:
                    packets += packet.size > 0
                    yield packet
        except (av.error.FFmpegError, EOFError, IndexError):  # IndexError: PyAV, where damage looks like new streams
            self._damaged = True
            yield None
        start, duration = self._container.start_time or 0, self._container.duration or 0
        announced = Fraction(start + duration, av.time_base) - 1  # a second's grace: headers round
        self._damaged |= packets < self._stream.frames or end < announced

    def close(self) -> None:
        self._container.close()

    def _frames_by_duration(self) -> int | None:
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self.rate)
        if self._container.duration:
            return round(Fraction(self._container.duration, av.time_base) * self.rate)
        return None


class SkvideoReader(VideoReader):
    """Decodes a file with scikit-video, that is with the ffmpeg program.

    Frames come at the file's average rate, repeated or left out where the file's own times differ from it, and damage to
    the file shows in nothing but the number of frames.

    Raises
    ------
    VideoError
        As `PyAVReader`, and if scikit-video, ffmpeg or ffprobe is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        skvideo_io = _import_skvideo_io()
        with PyAVReader(path) as header:
            first = next(iter(header))
            self.rate, self.expected_frames = header.rate, header.expected_frames
        self.path, self.time_base, self._aspect = Path(path), 1 / self.rate, first.pixel_aspect
        height, width, _ = first.image.shape
        # ffmpeg turns the frames upright but scikit-video misses their new size: state it.
        self._reader = skvideo_io.FFmpegReader(os.path.abspath(path), outputdict={"-s": f"{width}x{height}"})

    def __iter__(self) -> Iterator[VideoFrame]:
        count = 0
        for image in self._reader.nextFrame():
            yield VideoFrame(image.copy(), count / self.rate, self._aspect)  # a copy, as its frames are read-only
            count += 1
        if not count:
            raise VideoError(f"{self.path}: no frame of it can be decoded")

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


# ---------------------------------------------------------------------------------------------------------------- writing


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a hidden path beside `path` to write to, which takes its name at the end, or vanishes if anything stops it."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def video_writer(
    path: str | os.PathLike[str], rate: Fraction, time_base: Fraction
) -> Iterator[Callable[[VideoFrame], None]]:
    """Opens an H.264 MP4 file and gives a function that writes one frame to it.

    Parameters
    ----------
    path
        The file; it appears when all is written.
    rate
        Frames a second on average.
    time_base
        Seconds of which the frames' times are multiples, within rounding.

    Notes
    -----
    Players want even sizes, so an odd one grows by one row or column, a copy of the last.
    """
    with whole_file(path) as beside, av.open(os.fspath(beside), "w", "mp4", {"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        codec = stream.codec_context
        codec.time_base, codec.pix_fmt = time_base, "yuv420p"
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        last = None

        def write(frame: VideoFrame) -> None:
            nonlocal last
            height, width, _ = frame.image.shape
            image = np.pad(frame.image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if last is None:
                codec.width, codec.height = image.shape[1], image.shape[0]
                codec.sample_aspect_ratio = frame.pixel_aspect
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
            pts = round(frame.time / time_base)
            last = pts if last is None else max(pts, last + 1)  # an encoder wants times that grow
            picture.pts, picture.time_base = last, time_base
            container.mux(stream.encode(picture))

        yield write
        container.mux(stream.encode(None))


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Writes a grey (H, W) or RGB (H, W, 3) image as PNG."""
    with whole_file(path) as beside:
        Image.fromarray(image).save(beside, format="PNG")
