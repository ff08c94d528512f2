"""Jobs of many videos that can be stopped at any moment and gone on with: what is to be done, and a log of what is.

The log is a hidden file beside the results: a line of JSON with the job's settings, then one for each video that is begun and
one when it is done. It vanishes with the job's end. A lock beside it lets one process at a time work on the job.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .images import SUFFIXES as IMAGES
from .images import image_files
from .locks import Lock
from .sources import STDIN, VIDEOS, holds, is_pattern, is_url, shown_name, video_name
from .writers import WRITERS

if TYPE_CHECKING:
    from typing_extensions import Self


class JobError(Exception):
    """A job that cannot be begun or gone on with as it is described."""


@dataclass(frozen=True)
class Task:
    """A video and where its results go, by format."""

    source: str
    targets: Mapping[str, Path]

    @property
    def name(self) -> str:
        """What the video is called in messages and in the log, neither of which is a place for a URL's password."""
        return shown_name(self.source)

    def state(self) -> str | None:
        """What tells a video from another that takes its place: sizes of its files, and when they were written.

        None for streams and URLs, of which nobody knows.
        """
        if self.source == STDIN or is_url(self.source):
            return None
        path = Path(self.source)
        files = image_files(path) if path.is_dir() or is_pattern(path) else [path] if path.is_file() else []
        found = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else None

    def taken(self) -> list[Path]:
        """Results that are there already."""
        return [
            target
            for target in self.targets.values()
            if (any(target.glob("*.png")) if target.is_dir() else target.exists())
        ]


def sources_in(arguments: Iterable[str], output: Path | None = None) -> list[str]:
    """The videos that arguments name: a folder or pattern of videos stands for each of them, one of images for a video.

    `output` is where results go: not into a folder that is looked through, or the next run would take them for videos.

    Raises
    ------
    JobError
        If a folder or pattern holds neither, images are named one by one, or `output` is a folder of videos.
    """
    arguments = list(arguments)
    images = [
        argument for argument in arguments if Path(argument).suffix.lower() in IMAGES and os.path.isfile(argument)
    ]
    if len(images) > 1:
        raise JobError(
            f"{images[0]} and {images[1]} are images: name their folder, or a pattern in quotes, as one video"
        )
    sources = {argument: list(_sources(argument)) for argument in arguments}
    for argument, found in sources.items():
        if (
            output is not None
            and found != [argument]
            and any(Path(file).parent.samefile(output) for file in found if output.exists())
        ):
            raise JobError(f"-o {output}: results would be among the videos of {argument}, name another folder")
    return [source for argument in arguments for source in sources[argument]]


def _sources(argument: str) -> Iterator[str]:
    if argument == STDIN or is_url(argument):
        yield argument
        return
    if os.path.isdir(argument):
        found = (entry for entry in os.scandir(argument) if not entry.name.startswith("."))
        files = sorted(entry.path for entry in found if holds(entry.is_file))
    elif glob.has_magic(argument) and not os.path.exists(argument):
        files = sorted(glob.glob(argument, recursive=True))
    else:
        yield argument
        return
    videos = [file for file in files if Path(file).suffix.lower() in VIDEOS]
    if videos:
        yield from videos
    elif any(Path(file).suffix.lower() in IMAGES for file in files):
        yield argument
    else:
        raise JobError(f"{argument}: {'holds' if os.path.isdir(argument) else 'matches'} neither videos nor images")


def tasks_for(sources: Sequence[str], output: Path, formats: Sequence[str]) -> list[Task]:
    """Where each video's results go: into the folder `output`, unless it is the file for the one result that there is.

    Raises
    ------
    JobError
        If two results would be the same file, or one a file that is to be read.
    """
    if output.suffix and not output.is_dir():
        (format,) = formats[:1]
        wanted = Path(WRITERS[format].suffix).suffix
        if len(formats) > 1 or not wanted:
            raise JobError(f"-o {output}: {' and '.join(formats)} are many files, name a folder")
        if len(sources) > 1:
            raise JobError(f"-o {output}: {len(sources)} videos do not go into one file, name a folder")
        if output.suffix.lower() != wanted:
            raise JobError(f"-o {output}: {format} is a {wanted} file, name one that ends so, or a folder")
        tasks = [Task(sources[0], {format: output})]
    else:
        names = {source: video_name(source) for source in sources}
        tasks = [
            Task(source, {format: output / f"{names[source]}{WRITERS[format].suffix}" for format in formats})
            for source in sources
        ]
    seen: set[Path] = set()
    read = {os.path.realpath(path) for source in sources for path in _read(source)}
    for target in (target for task in tasks for target in task.targets.values()):
        if target in seen:
            raise JobError(f"{target} would be the result of several videos: give them different names")
        if os.path.realpath(target) in read:
            raise JobError(f"-o {output}: {target} is a video to read")
        seen.add(target)
    return tasks


def _read(source: str) -> Iterator[Path]:
    """The files that a source names, and the folders of images, in which nothing may be written."""
    if source == STDIN or is_url(source):
        return
    path = Path(source)
    yield path
    if is_pattern(path) or path.suffix.lower() in IMAGES:
        yield from {file.parent for file in ([path] if path.exists() else image_files(path))}


class Job:
    """The log of a job; a context manager that lets go of it at the end, and removes it if all is done.

    Parameters
    ----------
    path
        The log.
    settings
        All that the results depend on.
    decided
        What was settled for the whole job when it began, such as the size of chunks; kept when it is gone on with.
    anew
        Whether to begin again if the log is of a job with other settings.
    whole
        For a part of a job that several processes share: the log that one process alone would have, which none may have meanwhile.

    Attributes
    ----------
    decided
        As at the job's beginning, but for the size of chunks where memory has not sufficed for it.
    chunks
        Of each video that was begun: windows at a time by the place from which on they hold (`chunks.Chunks`).
    begun
        Videos whose results were begun by this job, now or before it was stopped, as they were then (`Task.state`).
    done
        Those whose results are there.

    Raises
    ------
    HeldError
        If another process works on the job.
    JobError
        If the log is of a job with other settings.
    OSError
        If the log cannot be written.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        decided: Mapping[str, Any],
        *,
        anew: bool = False,
        whole: Path | None = None,
    ) -> None:
        self.path = path
        with ExitStack() as locks:
            if whole is not None:
                locks.enter_context(Lock(whole.with_suffix(".lock"), shared=True))
            locks.enter_context(Lock(path.with_suffix(".lock")))
            self._open(settings, decided, anew)
            self._locks = locks.pop_all()

    def _open(self, settings: Mapping[str, Any], decided: Mapping[str, Any], anew: bool) -> None:
        """Reads what there is of the job, or begins it."""
        self._file = self.path.open("a+b", buffering=0)
        try:
            entries, whole = _entries(self._file)
            # Through JSON, so that what is compared has been there and back.
            begin = json.loads(json.dumps({"settings": settings, "decided": decided}))
            before = entries[0] if entries and entries[0].keys() == begin.keys() else None
            if before is not None and before["settings"] != begin["settings"] and not anew:
                raise JobError(_differences(self.path, before["settings"], begin["settings"]))
            going_on = before is not None and before["settings"] == begin["settings"]
            self._file.truncate(whole if going_on else 0)  # a line cut short by a power cut goes, and no other
            self.decided: dict[str, Any] = dict((entries[0] if going_on else begin)["decided"])
            self.chunks: dict[str, dict[int, int]] = {}
            self.begun: dict[str, str | None] = {}
            self.done: set[str] = set()
            if going_on:
                for entry in entries:
                    self._note(entry)
            else:
                self._write(begin)
        except BaseException:
            if not os.fstat(self._file.fileno()).st_size:
                self.remove()
            self._file.close()
            raise

    def has_begun(self, task: Task) -> bool:
        """Whether what is there of a video's results is this job's, and the video known to be the same."""
        state = task.state()
        return state is not None and self.begun.get(task.name) == state

    def has_done(self, task: Task) -> bool:
        """Whether a video's results are there, and the video is not known to be another one."""
        return task.name in self.done and self.begun[task.name] == task.state()

    def begin(self, task: Task) -> None:
        """A video's results are begun: what is there of them from now on is this job's."""
        self._write({"begun": task.name, "state": task.state()})

    def change_chunk(self, task: Task, place: int, size: int) -> None:
        """A video's windows are computed `size` at a time from a place on, and those of videos to come are as well."""
        self._write({"chunk": size, "from": place, "of": task.name})

    def finish(self, task: Task) -> None:
        """A video is done, its results are there, and they would outlive a power cut."""
        for target in task.targets.values():
            for file in [*target.iterdir(), target] if target.is_dir() else [target, target.parent]:
                _to_disk(file)
        self._write({"done": task.name})

    def remove(self) -> None:
        """The job is done: nothing is left of the log."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.begun:
            self.remove()
        self._file.close()
        self._locks.close()

    def _note(self, entry: Mapping[str, Any]) -> None:
        if "begun" in entry:
            self.begun[entry["begun"]] = entry["state"]
            self.done.discard(entry["begun"])
            self.chunks[entry["begun"]] = {0: self.decided["chunk"]} if "chunk" in self.decided else {}
        elif "done" in entry:
            self.done.add(entry["done"])
        elif "chunk" in entry:
            self.chunks[entry["of"]][entry["from"]] = entry["chunk"]
            self.decided["chunk"] = min(entry["chunk"], self.decided["chunk"])

    def _write(self, entry: Mapping[str, Any]) -> None:
        """Adds a line, or leaves the log as it was."""
        whole = os.fstat(self._file.fileno()).st_size
        rest = memoryview(f"{json.dumps(entry)}\n".encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(whole)
            raise
        self._note(entry)


def _entries(log: FileIO) -> tuple[list[dict[str, Any]], int]:
    """The log's entries up to the first line that is damaged, and the bytes that they take."""
    log.seek(0)
    entries, whole = [], 0
    for line in log.readall().splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or not line.endswith(b"\n"):
            break
        entries.append(entry)
        whole += len(line)
    return entries, whole


def _differences(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    changes = ", ".join(f"{name} {_brief(before.get(name))}, now {_brief(now[name])}" for name in names)
    return (
        f"{path.parent}: holds a job that was stopped, with other settings ({changes}): give the same command to go on, "
        "--overwrite to begin anew, or another folder"
    )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _to_disk(file: Path) -> None:
    """Has the system write what it holds of a file, or of a folder's names, to the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(task: Task, maps: bool = True) -> None:
    """Removes files that a killed run has left beside a task's results, and `maps` that stand in its folder."""
    for target in task.targets.values():
        remains = re.compile(
            rf"\.{re.escape(target.name)}(\.overlay|\.spool)?\.\d+\.part|{re.escape(target.name)}\.overlay"
        )
        for file in target.parent.iterdir() if target.parent.is_dir() else ():
            if remains.fullmatch(file.name):
                file.unlink(missing_ok=True)
        if target.is_dir():
            old = (file for file in target.glob("*.png") if maps and file.stem.isdecimal())
            for file in [*target.glob(".*.part"), *old]:
                file.unlink(missing_ok=True)
