"""Runs cases in processes that may crash, hang or take too much memory, and sees it when they do.

A process is forked for a target and does its cases one after the other, each in a folder of its own: ``in`` holds what is
read, ``here`` is the working directory, ``home`` the user's. After each it is compared with before: open files, threads,
child processes, files where none may be; and over many cases its memory. Crashes, hangs and excesses of memory are seen from
outside, by the process that forked it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .cases import Finding, Outcome, Target

SECONDS = 60.0  # that a case may take: other work may share the machine
PEAK = 1536  # megabytes that a case may take: some frames of the most pixels that are allowed
PEAK_ABSURD = 256  # … that one may take which is to be refused by its header
GROWTH = 96  # megabytes that a process may have grown by after many cases
SETTLING = 50  # cases in which caches fill
LIFE = 1000  # cases that a process does
ADDRESSES = 8 << 30  # bytes of addresses beyond what a process has at its start
LONGEST = 2000  # characters of a sentence

_POLL = 0.05


@dataclass
class Run:
    """A process at work: its target, the numbers that are left to it, and the case at hand."""

    target: Target
    numbers: list[int]
    folder: Path
    process: Any
    connection: Connection
    number: int = -1
    spent: float = 0.0
    base: float = 0.0


def run_cases(
    plan: Iterable[tuple[Target, list[int]]], seed: int, folder: Path, jobs: int, seconds: float = SECONDS
) -> Iterator[tuple[Target, int, Outcome]]:
    """Does the cases of each target, and gives what becomes of each as it is done.

    The number -1 stands for a finding of many cases together.
    """
    waiting = [(target, numbers[at : at + LIFE]) for target, numbers in plan for at in range(0, len(numbers), LIFE)]
    waiting.reverse()
    running: list[Run] = []
    try:
        names = iter(range(10**9))
        while waiting or running:
            while waiting and len(running) < jobs:
                target, numbers = waiting.pop()
                running.append(_started(target, numbers, seed, folder / f"{next(names):04d}"))
            before = time.monotonic()
            ready = wait([run.connection for run in running], _POLL)
            # What passes while this process was not there to look is not theirs.
            passed = min(time.monotonic() - before, 4 * _POLL)
            for run in list(running):
                run.spent += passed
                outcome = _received(run) if run.connection in ready else _overdue(run, seconds)
                if outcome is None:
                    continue
                yield run.target, run.number, outcome
                if outcome.kind in ("crash", "hang", "memory") and run.number >= 0:
                    _ended(run)
                    running.remove(run)
                    if run.numbers:
                        waiting.append((run.target, run.numbers))
                elif not _next(run):
                    running.remove(run)
                    if run.number >= 0:
                        outcome = _last_word(run)
                        if outcome is not None:
                            yield run.target, -1, outcome
                    _ended(run)
    finally:
        for run in running:
            _ended(run)


def _started(target: Target, numbers: list[int], seed: int, folder: Path) -> Run:
    folder.mkdir(parents=True)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(theirs, target, seed, folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
        process.start()
    theirs.close()
    run = Run(target, list(numbers), folder, process, ours)
    run.base = _megabytes(process.pid)
    _next(run)
    return run


def _next(run: Run) -> bool:
    if not run.numbers:
        return False
    run.number, run.spent = run.numbers.pop(0), 0.0
    with contextlib.suppress(OSError):  # it has died: the next look at it says so
        run.connection.send(run.number)
    return True


def _received(run: Run) -> Outcome | None:
    try:
        word = run.connection.recv()
    except (EOFError, OSError):
        run.process.join()
        code = run.process.exitcode
        what = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Outcome("crash", f"{what}\n{_written(run)}")
    return word


def _overdue(run: Run, seconds: float) -> Outcome | None:
    """What is seen from outside of a process that is at work."""
    taken = _megabytes(run.process.pid) - run.base
    if taken > PEAK + GROWTH:
        return Outcome("memory", f"more than {PEAK} megabytes, and stopped there\n{_told(run)}", taken)
    return Outcome("hang", f"more than {seconds:g} seconds\n{_told(run)}") if run.spent > seconds else None


def _told(run: Run) -> str:
    """Has a process tell where it is."""
    with contextlib.suppress(OSError):
        os.kill(run.process.pid, signal.SIGUSR1)
    time.sleep(0.5)
    return _written(run)


def _written(run: Run) -> str:
    with contextlib.suppress(OSError):
        return (run.folder / "case" / "output.txt").read_text(errors="replace")[-8000:]
    return ""


def _last_word(run: Run) -> Outcome | None:
    """Whether the process has grown; asked at its end."""
    try:
        run.connection.send(None)
        return run.connection.recv() if run.connection.poll(SECONDS) else Outcome("hang", "at its end")
    except (EOFError, OSError):
        return Outcome("crash", "at its end")


def _ended(run: Run) -> None:
    run.process.kill()
    run.process.join()
    run.connection.close()
    shutil.rmtree(run.folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------- in the process


def _work(connection: Connection, target: Target, seed: int, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = _status("VmSize") << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES, size + ADDRESSES))
    resource_tracker.ensure_running()  # Python's own, which stays once anything has asked for it
    gc.collect()
    gc.freeze()
    settled, done = 0.0, 0
    os.chdir(folder)
    while (number := connection.recv()) is not None:
        outcome = _tried(target, number, seed, folder / "case")
        done += 1
        if done == SETTLING:
            settled = _trimmed()
        connection.send(outcome)
    grown = _trimmed() - settled if done > 2 * SETTLING else 0.0
    connection.send(
        Outcome("leak", f"{grown:.0f} megabytes in {done - SETTLING} cases", grown) if grown > GROWTH else None
    )


def _tried(target: Target, number: int, seed: int, folder: Path) -> Outcome:
    os.chdir(folder.parent)
    for place in folder.parent.iterdir():
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink()
    for name in ("in", "here", "home"):
        (folder / name).mkdir(parents=True)
    os.environ.update(HOME=str(folder / "home"), XDG_CACHE_HOME=str(folder / "home"), TMPDIR=str(folder / "home"))
    subject = target.case(number, seed, folder / "in")
    with _captured(folder / "output.txt"):
        os.chdir(folder / "here")
        before = _state(folder)
        resting = _peak(anew=True)
        try:
            outcome = _outcome(target, subject)
        finally:
            os.chdir(folder.parent)
        taken = _peak() - resting
        del subject
        outcome = outcome if outcome.is_finding else _left_behind(before, folder) or outcome
        os.chdir(folder.parent)
    limit = PEAK_ABSURD if number < len(target.absurd) else PEAK
    if taken > limit and not outcome.is_finding:
        outcome = Outcome("memory", f"{taken:.0f} megabytes: {outcome.detail}")
    return Outcome(outcome.kind, outcome.detail, taken)


def _outcome(target: Target, subject: Any) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(subject)
        return Outcome("accepted")
    except Finding as finding:
        return Outcome(finding.kind, finding.detail)
    except target.refusals as refusal:
        return _sentence(refusal)
    except BaseException:  # noqa: BLE001 as that is what is looked for
        return Outcome("traceback", traceback.format_exc())


def _sentence(refusal: BaseException) -> Outcome:
    """Whether a refusal is one sentence that fits on a terminal."""
    text = str(refusal)
    if not text or not text.isprintable() or len(text) > LONGEST:
        detail = text if len(text) <= LONGEST else f"{text[:LONGEST]}… of {len(text)} characters"
        return Outcome(
            "no sentence",
            f"{type(refusal).__name__}: {detail!r}\n{''.join(traceback.format_exception(refusal))[:8000]}",
        )
    return Outcome("refused", text)


@contextlib.contextmanager
def _captured(path: Path) -> Iterator[None]:
    """All that is written to stdout and stderr, by whatever library, goes to a file, and so does a crash's traceback."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR1, file, all_threads=True)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in enumerate(kept, 1):
                os.dup2(old, number)
                os.close(old)
            faulthandler.disable()
            faulthandler.unregister(signal.SIGUSR1)


def _state(folder: Path) -> dict[str, Any]:
    gc.collect()
    return {
        "open files": sorted(_links("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "files": _files(folder),
    }


def _left_behind(before: dict[str, Any], folder: Path) -> Outcome | None:
    """What a case has left that was not there before."""
    threads = before["threads"]
    for _ in range(100):  # threads that were told to end need a moment
        if len(os.listdir("/proc/self/task")) <= threads:
            break
        time.sleep(0.01)
    after = _state(folder)
    for what, then in before.items():
        if then != after[what]:
            more = threading.enumerate() if what == "threads" else Counter(after[what]) - Counter(then)
            return Outcome(f"{what} left", f"{more or f'before {then}, after {after[what]}'}")
    return None


def _files(folder: Path) -> list[str]:
    """All files but for results (``here/out…``), what is kept in the user's cache, and what the case writes to stderr."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = os.fsencode(path.relative_to(folder))
        if not name.startswith((b"here/out", b"home/tased-net")) and name != b"output.txt":
            found.append(repr(name))
    return found + [repr(os.fsencode(path)) for path in sorted(folder.parent.iterdir()) if path != folder]


def _links(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # the listing's own
            place = os.readlink(f"{folder}/{name}")
            if not place.endswith(".ttf"):  # fonts, which matplotlib keeps open
                yield place


def _status(field: str, pid: int | str = "self") -> int:
    """Kilobytes, from what the system says of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def _megabytes(pid: int | None) -> float:
    with contextlib.suppress(OSError):
        return _status("VmRSS", str(pid)) / 1024
    return 0.0


def _peak(*, anew: bool = False) -> float:
    """The most megabytes that this process has held, since it was last told to begin anew."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM") / 1024


def _trimmed() -> float:
    """Megabytes that this process holds when it has given back what it can."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS") / 1024
