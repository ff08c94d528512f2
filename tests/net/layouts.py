"""Small data in the layouts that the datasets really have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

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


def write_dhf1k(
    root: Path,
    videos: Mapping[int, int],
    *,
    size: tuple[int, int] = SIZE,
    frames: str = "video/{video:04d}/{frame:04d}.png",
    fixation: str = "annotation/{video:04d}/fixation/{frame:04d}.png",
    annotated: Iterable[int] | None = None,
) -> Path:
    """Writes DHF1K with extracted frames.

    Parameters
    ----------
    root
        Its folder.
    videos
        Number of frames by number of video.
    size
        Height and width.
    frames, fixation
        Where frames and fixations go, below `root`.
    annotated
        Videos that have ground truth; None for those up to 700, as in the dataset.
    """
    marked = {number for number in videos if number <= 700} if annotated is None else set(annotated)
    for video, length in videos.items():
        for index in range(length):
            places = {"video": video, "frame": index + 1}
            save(root / frames.format(**places), picture(video, index, size))
            if video in marked:
                save(
                    root / "annotation" / f"{video:04d}" / "maps" / f"{index + 1:04d}.png", density(video, index, size)
                )
                save(root / fixation.format(**places), fixations(video, index, size))
    return root


def write_clips(root: Path, clips: Mapping[str, tuple[int, tuple[int, int]]], name: str = "{frame:04d}") -> Path:
    """Writes a folder with images/, maps/ and fixation/ for each clip, of so many frames and such a size.

    `name` is that of a file without suffix, of `clip`, and of `frame` from 1.
    """
    for seed, (clip, (length, size)) in enumerate(clips.items()):
        for index in range(length):
            file = name.format(clip=clip, frame=index + 1) + ".png"
            save(root / clip / "images" / file, picture(seed, index, size))
            save(root / clip / "maps" / file, density(seed, index, size))
            save(root / clip / "fixation" / file, fixations(seed, index, size))
    return root
