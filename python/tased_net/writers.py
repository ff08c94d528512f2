"""What can be made of a video's maps: a writer for each format, and all files whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from abc import abstractmethod
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from PIL import Image

from .frames import RGB, VideoFrame, VideoInfo
from .output import EvenSample, FileWriter, Writer
from .render import TILE_WIDTH, Map, contact_sheet, heat, overlay, reduced
from .report import ReportWriter
from .style import Style
from .writing import video_writer, whole_file, write_image

MAX_WIDTH = 4096  # of a video: beyond it many players and hardware decoders give up


# ----------------------------------------------------------------------------------------------------------------- videos


class VideoFileWriter(FileWriter):
    """An H.264 MP4 with the video's times and sound."""

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        super().__init__(target, video, style)
        file = video_writer(target, video.rate, video.time_base, sound=video.sound)
        self._put = self._open.enter_context(file)

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        self._put(replace(frame, image=self._picture(frame.image, shown)))

    @abstractmethod
    def _picture(self, image: RGB, shown: Map) -> RGB: ...

    def _overlay(self, image: RGB, shown: Map) -> RGB:
        return overlay(image, shown, self.style.alpha, self.style.colormap)

    def _heat(self, image: RGB, shown: Map) -> RGB:
        return heat(shown, image.shape[:2], self.style.colormap)


class OverlayWriter(VideoFileWriter):
    """The video with heat over it."""

    suffix = "_saliency.mp4"

    def _picture(self, image: RGB, shown: Map) -> RGB:
        return self._overlay(image, shown)


class HeatmapWriter(VideoFileWriter):
    """The maps in colours, at the video's size."""

    suffix = "_heatmap.mp4"

    def _picture(self, image: RGB, shown: Map) -> RGB:
        return self._heat(image, shown)


class SideBySideWriter(VideoFileWriter):
    """The video, its maps in colours, and the overlay where it fits, beside each other.

    Nothing gets wider than 4096 pixels: of two pictures that would, each is made narrower.
    """

    suffix = "_side-by-side.mp4"

    def _picture(self, image: RGB, shown: Map) -> RGB:
        if 2 * image.shape[1] > MAX_WIDTH:
            image = reduced(image, MAX_WIDTH // 2)
        pictures = [image, self._heat(image, shown)]
        if 3 * image.shape[1] <= MAX_WIDTH:
            pictures.append(self._overlay(image, shown))
        return np.concatenate(pictures, axis=1)


# ----------------------------------------------------------------------------------------------------------- maps as they are


class MapsWriter(Writer):
    """A folder of 8-bit grey PNG files of the network's size, ``0001.png`` and on, as the DHF1K benchmark takes them.

    Each file is final when it is there, so a run that was stopped goes on at the first that is missing: then `start` is
    their number. Files of a longer run that stood there before go at the end.
    """

    suffix = ""
    needs_images = False

    def __init__(self, target: Path, video: VideoInfo, style: Style, start: int = 0) -> None:
        super().__init__(target, video, style)
        self._count = start

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        write_image(self.target / f"{number + 1:04d}.png", (shown * 255).round().astype(np.uint8))
        self._count = number + 1

    def close(self) -> None:
        for file in self.target.glob("*.png"):
            if file.stem.isdecimal() and int(file.stem) > self._count:
                file.unlink()

    def abort(self) -> None:
        """Maps that are written stay."""


class NpzWriter(FileWriter):
    """All raw maps of a video in one file for numpy: `maps`, float16 (N, h, w), and `times`, float64 (N,), in seconds.

    Maps wait in a nameless file beside it, as an array's header comes first and states their number.

    Examples
    --------
    ::

        with np.load("street_maps.npz") as file:
            maps, times = file["maps"], file["times"]
    """

    suffix = "_maps.npz"
    needs_images = False

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        super().__init__(target, video, style)
        self._path = self._open.enter_context(whole_file(target))
        waiting = tempfile.TemporaryFile(dir=target.parent)  # noqa: SIM115 as `_open` closes it
        self._waiting: IO[bytes] = self._open.enter_context(waiting)
        self._times: list[float] = []
        self._size: tuple[int, ...] = (0, 0)

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        self._waiting.write(np.ascontiguousarray(raw, np.float16).tobytes())
        self._times.append(float(frame.time))
        self._size = raw.shape

    def _finish(self) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(self._times), *self._size)}
        self._waiting.seek(0)
        with zipfile.ZipFile(self._path, "w") as archive:
            with _member(archive, "maps.npy") as member:
                np.lib.format.write_array_header_1_0(member, header)
                shutil.copyfileobj(self._waiting, member, 2**20)
            with _member(archive, "times.npy") as member:
                np.lib.format.write_array(member, np.array(self._times, "<f8"))


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = zipfile.ZipInfo(name)  # without the time of day, so that the same maps give the same file
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


# --------------------------------------------------------------------------------------------------------------- previews


class PreviewWriter(FileWriter):
    """A short animated image of the overlay: at most 480 pixels wide, 8 seconds and 96 frames.

    A longer video is shown in time lapse, its frames spread evenly.
    """

    kind: ClassVar[str]  # as Pillow calls it
    width: ClassVar[int] = 480
    seconds: ClassVar[int] = 8
    rate: ClassVar[int] = 12  # frames a second

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        super().__init__(target, video, style)
        self._path = self._open.enter_context(whole_file(target))
        step = max(1, round(video.rate / self.rate))
        self._sample: EvenSample[RGB] = EvenSample(self.seconds * self.rate, video.expected_frames, step)
        self._first = self._last = Fraction(0)

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        self._first, self._last = (frame.time if number == 0 else self._first), frame.time
        self._sample.offer(lambda: self._picture(frame, shown))

    def _picture(self, frame: VideoFrame, shown: Map) -> RGB:
        small = reduced(frame.image, self.width, frame.pixel_aspect)
        return overlay(small, shown, self.style.alpha, self.style.colormap)

    def _finish(self) -> None:
        duration = min(float(self._last - self._first + 1 / self.video.rate), self.seconds)
        first, *rest = self._images(self._sample.kept)
        delay = 10 * max(2, round(100 * duration / (1 + len(rest))))  # in ms; GIF counts in hundredths of a second
        first.save(self._path, self.kind, save_all=True, append_images=rest, duration=delay, loop=0, quality=75)

    def _images(self, pictures: list[RGB]) -> list[Image.Image]:
        return [Image.fromarray(picture) for picture in pictures]


class GifWriter(PreviewWriter):
    """A preview as GIF, which opens everywhere.

    All frames share 256 colours and are not dithered: both together would only flicker and take more bytes.
    """

    suffix = "_saliency.gif"
    kind = "GIF"

    def _images(self, pictures: list[RGB]) -> list[Image.Image]:
        some = Image.fromarray(np.concatenate([picture[::4, ::4] for picture in pictures]))
        palette = some.quantize(256, Image.Quantize.FASTOCTREE)
        return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in super()._images(pictures)]


class WebpWriter(PreviewWriter):
    """A preview as animated WebP: smaller and in all colours."""

    suffix = "_saliency.webp"
    kind = "WEBP"


class ContactSheetWriter(FileWriter):
    """One PNG with frames, maps and overlays of eight moments, spread over the video."""

    suffix = "_contact-sheet.png"
    scenes: ClassVar[int] = 8

    def __init__(self, target: Path, video: VideoInfo, style: Style) -> None:
        super().__init__(target, video, style)
        self._sample: EvenSample[tuple[VideoFrame, Map]] = EvenSample(4 * self.scenes, video.expected_frames)

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        self._sample.offer(lambda: (replace(frame, image=reduced(frame.image, 2 * TILE_WIDTH)), shown))

    def _finish(self) -> None:
        scenes = self._sample.pick(self.scenes)
        title = f"Saliency of {Path(self.video.source).name}"
        write_image(self.target, contact_sheet(scenes, title, self.style.alpha, colormap=self.style.colormap))


WRITERS: dict[str, type[Writer]] = {
    "overlay": OverlayWriter,
    "heatmap": HeatmapWriter,
    "side-by-side": SideBySideWriter,
    "maps": MapsWriter,
    "npz": NpzWriter,
    "gif": GifWriter,
    "webp": WebpWriter,
    "contact-sheet": ContactSheetWriter,
    "report": ReportWriter,
}
