"""Submissions to the DHF1K benchmark: predicted maps checked against its test split, and packed.

The benchmark wants METHOD/VIDEO/FRAME.png, grey maps of 640x360, for every frame of the videos 701 to 1000. The archive has
the same bytes whenever and wherever it is made of the same maps.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from .data import DataError, Split, Video
from .frames import VideoError
from .images import DAMAGED, opened
from .metrics import imresize
from .predictions import Faults, MapFolder, read_map
from .texts import printable
from .writing import whole_file

SIZE = (360, 640)  # height and width
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip archive knows


def check(split: Split, maps: MapFolder, *, resize: bool, progress: bool = False) -> Faults:
    """Finds what is wrong with maps that are to be submitted.

    Parameters
    ----------
    split
        DHF1K's test split (or, to try it out, val).
    maps
        Its predictions.
    resize
        Whether maps of another size than 640x360 will do.
    progress
        Whether to show a bar.

    Returns
    -------
    Faults
        Missing, extra and unreadable frames, and in `unreadable` also those of a wrong size or colour.
    """
    faults = deepcopy(maps.faults)
    paths = [path for video in split.videos for _, path in maps.maps(video)]
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda path: map_fault(path, resize=resize), paths)
        shown = tqdm(found, "maps checked", len(paths), unit="frame", leave=False, disable=not progress)
        faults.unreadable += [line for line in shown if line]
    return faults


def map_fault(path: str, *, resize: bool) -> str | None:
    """What keeps a map from being submitted, or None: damage, and without `resize` another size or kind than is wanted."""
    try:
        with opened(Path(path)) as image:
            height, width, mode = image.height, image.width, image.mode
            image.verify()
    except VideoError as error:
        return str(error)
    except DAMAGED:
        return f"{path}: damaged, or no image"
    if not resize and (height, width) != SIZE:
        return f"{path}: is {width}x{height}, the benchmark wants {SIZE[1]}x{SIZE[0]} (--resize)"
    if not resize and (mode != "L" or not path.lower().endswith(".png")):
        return f"{path}: is no grey PNG of 8 bits (--resize writes one)"
    return None


def pack(
    target: str | os.PathLike[str],
    split: Split,
    maps: MapFolder,
    method: str,
    *,
    resize: bool = False,
    progress: bool = False,
) -> int:
    """Packs maps that `check` has found nothing wrong with.

    Parameters
    ----------
    target
        The .zip file; it appears when all is written.
    split, maps, resize
        As for `check`.
    method
        The name of the folder in the archive.
    progress
        Whether to show a bar.

    Returns
    -------
    int
        Number of maps.

    Raises
    ------
    DataError
        If a map cannot be read after all.
    OSError
        If the archive cannot be written.
    """
    count = 0
    total = sum(video.length for video in split.videos)
    with (
        whole_file(target) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive,  # PNG is compressed already
        tqdm(total=total, unit="frame", desc=printable(os.path.basename(target)), disable=not progress) as bar,
    ):
        for video in split.videos:
            for index, content in _contents(video, maps, resize):
                entry = zipfile.ZipInfo(f"{method}/{video.name}/{index + 1:04d}.png", _EPOCH)
                entry.create_system, entry.external_attr = 3, 0o644 << 16  # as Unix makes it, on any system
                archive.writestr(entry, content)
                count += 1
                bar.update()
    return count


def _contents(video: Video, maps: MapFolder, resize: bool) -> Iterator[tuple[int, bytes]]:
    for index, path in maps.maps(video):
        if not resize or map_fault(path, resize=False) is None:
            try:
                with open(path, "rb") as file:
                    yield index, file.read()
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}") from error
            continue
        stream = io.BytesIO()
        Image.fromarray(imresize(read_map(path), SIZE)).save(stream, format="PNG")
        yield index, stream.getvalue()
