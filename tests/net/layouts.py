"""Small data in the layouts that the datasets really have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

SIZE = (36, 64)


def picture(seed: int, index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A smooth frame that shows its number: no two of a video are equal."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    shift = 7 * index + 31 * seed
    red = (3 * columns + shift) % 256
    green = (4 * rows + 2 * shift) % 256
    blue = np.full(size, (5 * index + 13 * seed) % 256)
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def density(seed: int, index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A blob that wanders, its peak 255."""
    height, width = size
    row, column = _centre(seed, index, size)
    rows, columns = np.mgrid[:height, :width]
    blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * (height / 8) ** 2))
    return (255 * blob / blob.max()).round().astype(np.uint8)


def fixations(seed: int, index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Five points about the blob, 255 on 0."""
    height, width = size
    row, column = _centre(seed, index, size)
    points = np.zeros(size, np.uint8)
    for rows, columns in ((0, 0), (2, 3), (-2, 1), (1, -3), (-1, -1)):
        points[min(max(row + rows, 0), height - 1), min(max(column + columns, 0), width - 1)] = 255
    return points


def _centre(seed: int, index: int, size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    return (5 + 2 * index + 3 * seed) % height, (9 + 3 * index + 5 * seed) % width


def save(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes an image by its suffix, or a .mat file with the matrix I of zeros and ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mat":
        scipy.io.savemat(path, {"I": (image > 0).astype(np.uint8)}, do_compression=True)
    else:
        Image.fromarray(image).save(path)


def encode(
    path: Path,
    images: Sequence[NDArray[np.uint8]],
    codec: str = "mpeg4",
    *,
    format: str | None = None,
    pixels: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 0,
    options: Mapping[str, str] | None = None,
    time: Callable[[int], int] = lambda index: index,
) -> Path:
    """Writes a video file; `time` gives each frame's time in thirtieths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format) as container:
        stream = container.add_stream(codec, rate=30, options=dict(options or {}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = time(index), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_dhf1k(
    root: Path,
    videos: Mapping[int, int],
    *,
    size: tuple[int, int] = SIZE,
    frames: str = "video/{video:04d}/{frame:04d}.png",
    maps: str = "annotation/{video:04d}/maps/{frame:04d}.png",
    fixation: str = "annotation/{video:04d}/fixation/{frame:04d}.png",
    annotated: Iterable[int] | None = None,
) -> Path:
    """Writes DHF1K, by default with extracted frames.

    Parameters
    ----------
    root
        Its folder.
    videos
        Number of frames by number of video.
    size
        Height and width.
    frames, maps, fixation
        Where images and truth go, below `root`. Without ``{frame}``, frames make a video file: "video/{video:03d}.AVI".
    annotated
        Videos that have ground truth; None for those up to 700, as in the dataset.
    """
    marked = {number for number in videos if number <= 700} if annotated is None else set(annotated)
    for video, length in videos.items():
        images = [picture(video, index, size) for index in range(length)]
        if "{frame" not in frames:
            encode(root / frames.format(video=video), images)
        for index, image in enumerate(images):
            places = {"video": video, "frame": index + 1}
            if "{frame" in frames:
                save(root / frames.format(**places), image)
            if video in marked:
                save(root / maps.format(**places), density(video, index, size))
                save(root / fixation.format(**places), fixations(video, index, size))
    return root


def write_clips(
    root: Path, clips: Mapping[str, tuple[int, tuple[int, int]]], name: str = "{frame:04d}.png", first: int = 1
) -> Path:
    """Writes a folder with images/, maps/ and fixation/ for each clip, of so many frames and such a size.

    `name` is that of a file, from `clip` and `frame`, which counts from `first`. The seed of a clip's pictures is its place.
    """
    for seed, (clip, (length, size)) in enumerate(clips.items()):
        for index in range(length):
            file = name.format(clip=clip, frame=first + index)
            save(root / clip / "images" / file, picture(seed, index, size))
            save(root / clip / "maps" / file, density(seed, index, size))
            save(root / clip / "fixation" / file, fixations(seed, index, size))
    return root


def write_hollywood2(root: Path, shots: Mapping[str, tuple[int, tuple[int, int]]]) -> Path:
    """Writes shots such as "actioncliptrain00001_2"; their frames are numbered on from where the shot is in the film."""
    for place, (shot, what) in enumerate(shots.items()):
        film = shot.rpartition("_")[0]
        folder = "training" if "train" in film else "testing"
        write_clips(root / folder, {shot: what}, film + "_{frame:05d}.png", first=1 + 40 * place)
    return root


def write_ucfsports(
    root: Path, training: Mapping[str, tuple[int, tuple[int, int]]], testing: Mapping[str, tuple[int, tuple[int, int]]]
) -> Path:
    """Writes clips such as "Diving-Side-001", whose files are Diving-Side_001_001.png and on."""
    for folder, clips in (("training", training), ("testing", testing)):
        for clip, what in clips.items():
            write_clips(root / folder, {clip: what}, f"{clip[:-4]}_{clip[-3:]}_" + "{frame:03d}.png")
    return root
