"""Synthetic clips on disk, in the layout of DHF1K: `video/001.AVI`, `annotation/0001/maps/0001.png`, `…/fixation/0001.png`.

A video is there as a whole or not at all: its annotation is written to a hidden folder and its frames to a hidden file, which
take their names at the end, the file last. So work that was stopped goes on with the first video that is missing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ..frames import RGB
from ..locks import NAME, HeldError, Lock
from ..sharing import executor_of, prepare_worker
from ..writing import whole_file
from . import FRAMES, SIZE, Clip, check

MAPS = ("fixations", "rules")
SETTINGS = "synthetic.json"
VERSION = 1  # of what a seed gives: to be raised whenever it gives something else
QUALITY = {"qmin": "2", "qmax": "2", "b": "50000000", "flags": "+bitexact"}  # of MPEG-4, which knows 1 (best) to 31
COMPRESSION = 3  # of PNG: half the time of zlib's default for a quarter more bytes


class SynthError(RuntimeError):
    """Clips that cannot be written."""


class SettingsError(SynthError):
    """A folder that holds other clips than those asked for."""


class _Stopped(Exception):
    """The work is stopped from outside."""


class _Flag(Protocol):
    """What tells that work is to stop."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Settings:
    """What the clips of a folder have in common.

    Attributes
    ----------
    seed
        What they all follow from.
    size
        Height and width in pixels.
    frames
        Least and greatest number of frames of a video.
    maps
        What densities are: "fixations", blurred, as in recorded data, or what the "rules" say.
    """

    seed: int = 0
    size: tuple[int, int] = SIZE
    frames: tuple[int, int] = FRAMES
    maps: str = MAPS[0]


def write_dataset(
    root: str | os.PathLike[str],
    numbers: Sequence[int],
    settings: Settings,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> int:
    """Writes those of the videos that are not there yet.

    Parameters
    ----------
    root
        The folder.
    numbers
        Of the videos.
    settings
        What they have in common; a folder holds videos of one kind of settings.
    workers
        Processes; the files do not depend on their number. With 1 all is done in this one.
    overwrite
        Whether to write those anew that are there.
    progress
        Whether to show a bar.

    Returns
    -------
    int
        How many videos were written.

    Raises
    ------
    SettingsError
        If the folder holds videos of other settings, or of another source, or another run is writing to it.
    SynthError
        If a file cannot be written, as on a full disk. Whole videos stay.
    ValueError
        As `Clip`.
    """
    root = Path(root)
    check(settings.seed, min(numbers), settings.size, settings.frames)
    if root.exists() and not root.is_dir():
        raise SettingsError(f"{root}: is a file, name a folder")
    try:
        lock = Lock(root / NAME)
    except HeldError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise _unwritten(root, error, overwrite) from error
    with lock:
        return _write_missing(root, numbers, settings, workers, overwrite, progress)


def _write_missing(
    root: Path, numbers: Sequence[int], settings: Settings, workers: int, overwrite: bool, progress: bool
) -> int:
    other = _agree(root, settings, set(numbers) if overwrite else set())
    wanted = [number for number in numbers if overwrite or not _whole(root, number)]
    present = len(numbers) - len(wanted)
    try:
        if other:  # what the folder states is true at any moment, so also after a stop
            for number in numbers:
                _video(root, number).unlink(missing_ok=True)
        _state(root, settings)
        with (
            tqdm(total=len(numbers), initial=present, unit="video", disable=not progress) as bar,
            closing(_written(root, wanted, settings, min(workers, len(wanted)))) as videos,
        ):
            for _ in videos:
                bar.update()
    except OSError as error:
        raise _unwritten(root, error, overwrite) from error
    except BrokenProcessPool as error:
        raise SynthError("a worker has died, perhaps for lack of memory: give fewer --workers") from error
    finally:
        for number in wanted:
            _tidy(root, number)
    return len(wanted)


def _unwritten(root: Path, error: OSError, overwrite: bool) -> SynthError:
    reason = error.strerror or str(error)
    if overwrite:  # which would begin again at the first video
        return SynthError(
            f"{root}: {reason}: whole videos stay, and the same command without --overwrite writes those that are missing"
        )
    return SynthError(f"{root}: {reason}: whole videos stay, and the same command goes on with the rest")


def write_video(root: str | os.PathLike[str], number: int, settings: Settings, stop: _Flag | None = None) -> None:
    """Writes one video with its annotation, in place of any that is there.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    root = Path(root)
    video, annotation = _video(root, number), _annotation(root, number)
    hidden = _hidden(annotation)
    _tidy(root, number)
    for folder in (video.parent, hidden / "maps", hidden / "fixation"):
        folder.mkdir(parents=True, exist_ok=True)
    clip = Clip(settings.seed, number, settings.size, settings.frames)
    try:
        with whole_file(video) as beside:
            with _avi(beside, clip) as write:
                for index, image in enumerate(clip.images()):
                    if stop is not None and stop.is_set():
                        raise _Stopped
                    write(image)
                    density = clip.truth(index) if settings.maps == "rules" else clip.density(index)
                    name = f"{index + 1:04d}.png"
                    _write_grey(hidden / "maps" / name, np.round(density * 255).astype(np.uint8))
                    _write_grey(hidden / "fixation" / name, clip.fixations(index).astype(np.uint8) * 255)
            video.unlink(missing_ok=True)  # nothing may look whole while the annotation is exchanged
            shutil.rmtree(annotation, ignore_errors=True)
            hidden.rename(annotation)
    finally:
        _tidy(root, number)


# ------------------------------------------------------------------------------------------------------------------ files


def _video(root: Path, number: int) -> Path:
    return root / "video" / f"{number:03d}.AVI"


def _annotation(root: Path, number: int) -> Path:
    return root / "annotation" / f"{number:04d}"


def _hidden(annotation: Path) -> Path:
    return annotation.with_name(f".{annotation.name}.part")


def _whole(root: Path, number: int) -> bool:
    return _video(root, number).exists() and _annotation(root, number).exists()


def _tidy(root: Path, number: int) -> None:
    """Removes what work that was killed may have left of a video."""
    shutil.rmtree(_hidden(_annotation(root, number)), ignore_errors=True)
    video = _video(root, number)
    for part in video.parent.glob(f".{video.name}.*.part"):
        part.unlink(missing_ok=True)


def _agree(root: Path, settings: Settings, replaced: set[int]) -> bool:
    """Whether a folder holds videos of another kind; refuses it unless all of these are replaced."""
    there = {path.stem for path in (root / "video").glob("*.*") if not path.name.startswith(".")}
    if not there:
        return False
    try:
        stated = json.loads((root / SETTINGS).read_text())
    except (OSError, ValueError):
        stated = None
    if not isinstance(stated, dict):
        raise SettingsError(f"{root}: holds videos that are not `tased synth`'s: name another folder")
    wanted = _stated(settings)
    differing = [name for name, value in wanted.items() if stated.get(name) != value]
    if differing and there - {f"{number:03d}" for number in replaced}:
        name = differing[0]
        message = f"{root}: holds videos with {name} {_shown(stated.get(name))}, not {_shown(wanted[name])}: name another folder"
        raise SettingsError(message)
    return bool(differing)


def _state(root: Path, settings: Settings) -> None:
    """Writes down what the folder holds."""
    root.mkdir(parents=True, exist_ok=True)
    about = {"about": "synthetic clips, attention by rules: no recordings of human gaze", **_stated(settings)}
    with whole_file(root / SETTINGS) as beside:
        beside.write_text(json.dumps(about, indent=2) + "\n")


def _stated(settings: Settings) -> dict[str, object]:
    values: dict[str, object] = json.loads(json.dumps(asdict(settings)))
    return {"version": VERSION, **values}


def _shown(value: object) -> str:
    """A setting as the command line has it."""
    return str(value).strip("[]").replace(", ", " to ")


def _write_grey(path: Path, image: NDArray[np.uint8]) -> None:
    Image.fromarray(image).save(path, "PNG", compress_level=COMPRESSION)


@contextmanager
def _avi(path: Path, clip: Clip) -> Iterator[Callable[[RGB], None]]:
    """Opens an AVI file of MPEG-4 video, which all readers know, and gives a function that writes a frame."""
    try:
        with av.open(os.fspath(path), "w", "avi") as container:
            stream = container.add_stream("mpeg4", rate=clip.rate, options=QUALITY)
            codec = stream.codec_context
            codec.height, codec.width = clip.size
            codec.pix_fmt, codec.thread_count, codec.codec_tag = "yuv420p", 1, "XVID"

            def write(image: RGB) -> None:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))

            yield write
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:  # a plain one travels between processes
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


# ---------------------------------------------------------------------------------------------------------------- workers

_stop: _Flag | None = None  # in a worker


def _written(root: Path, numbers: Sequence[int], settings: Settings, workers: int) -> Generator[int, None, None]:
    """Writes the videos and gives the number of each when it is there."""
    stop = multiprocessing.get_context("spawn").Event()
    with executor_of(0 if workers == 1 else workers, _start_worker, (stop,)) as executor:
        if executor is None:
            for number in numbers:
                write_video(root, number, settings)
                yield number
            return
        tasks = [executor.submit(_work, root, number, settings) for number in numbers]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException:
            stop.set()
            raise


def _start_worker(stop: _Flag) -> None:
    global _stop
    _stop = stop
    prepare_worker()


def _work(root: Path, number: int, settings: Settings) -> int:
    write_video(root, number, settings, _stop)
    return number
