"""The soak, for seconds: a call leaves nothing behind, and each kind of leak is seen in what leaks."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cases import make
from net.clips import SMALL
from soak import LEAST, Held, growth, watch
from soak import __main__ as soak
from tased_net import TASEDNet

SUBJECTS = dict(soak.subjects())
CALLS = 12 * LEAST


def grown(subject: Any) -> list[str]:
    return [name for name, one in soak.call_often(subject, CALLS).items() if one.too_much]


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_calls_leave_nothing_behind(subject: Any) -> None:
    assert grown(subject) == []


def test_every_operation_is_called_in_every_way() -> None:
    assert len(SUBJECTS) == 2 * (5 + 4 + 5) + 1  # aux_pool has no gradient; and weights


def pages(size: int) -> mmap.mmap:
    """Memory of its own, which has been written to."""
    memory = mmap.mmap(-1, size)
    memory[:] = b"1" * size
    return memory


@pytest.mark.parametrize(
    ("leak", "measures"),
    [
        (lambda kept: kept.append(make((2**14,))), {"allocated"}),
        # Not of the heap, where what was freed before is resident.
        (lambda kept: kept.append(pages(2**21)), {"resident"}),
        (lambda kept: kept.append([{len(kept)} for _ in range(20)]), {"objects"}),
        (lambda kept: kept.append(os.open(os.devnull, os.O_RDONLY)), {"descriptors"}),
    ],
    ids=["a small tensor", "pages", "objects", "a file"],
)
def test_what_leaks_is_seen(leak: Any, measures: set[str]) -> None:
    kept: list[Any] = []
    try:
        assert measures <= set(grown(lambda: leak(kept)))
    finally:
        for one in kept:
            if isinstance(one, int):
                os.close(one)


def test_a_thread_that_goes_on_is_seen() -> None:
    stop, threads = threading.Event(), []

    def start() -> None:
        threads.append(threading.Thread(target=stop.wait))
        threads[-1].start()

    try:
        assert "threads" in grown(start)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_is_kept_once_is_no_growth() -> None:
    """A cache that fills up in the first quarter, as caches do."""
    samples = [Held(10**9 * min(number, 2), 0, 0, min(number, 1), 1) for number in range(LEAST)]
    assert not any(one.too_much for one in growth(samples, {}).values())
    samples = [Held(10**9, 0, 0, number // 4, 1) for number in range(LEAST)]
    assert growth(samples, {})["descriptors"].too_much
    with pytest.raises(ValueError, match="growth is told from 9 samples or more, not from 3"):
        growth(samples[:3], {})


def test_samples_come_after_every_so_many_rounds() -> None:
    assert len(watch(range(100), every=30)) == 3


def test_prediction_does_not_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole jobs of a short piece of the real video, and a video without an end."""
    video = tmp_path / "clip.mp4"
    soak.cut(soak.bikes(), video, 8)
    found = growth(watch(islice(soak.jobs(str(video), tmp_path / "out", SMALL), LEAST)), soak.OF_PREDICTION)
    assert not [name for name, one in found.items() if one.too_much], soak.row("jobs", found)
    net = TASEDNet(clip_length=8, width=0.02)
    found = growth(watch(islice(soak.endless(str(video), net, (32, 48)), 10 * LEAST), 10), soak.OF_PREDICTION)
    assert not [name for name, one in found.items() if one.too_much], soak.row("endless", found)


THREADS = """
import ctypes, threading
from tased_net import cli

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)

def take():
    together.wait()
    libc.malloc(1000)
    together.wait()

try:
    cli.main(["--version"])
except SystemExit:
    pass
for turn in range(2):
    print("now", flush=True)
    libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
    libc.fflush(None)
    threads = [threading.Thread(target=take) for _ in range(6 * (1 - turn))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has one heap for all threads")
def test_threads_share_one_heap() -> None:
    """Each of its own, as glibc has them, keeps what the hungriest thread of a video has asked for."""
    said = subprocess.run([sys.executable, "-c", THREADS], stdout=subprocess.PIPE, text=True, check=True).stdout
    before, after = (part.count("<heap nr=") for part in said.split("now")[1:])
    assert before == after > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calls", "5"], "--calls: 9 at least, or growth cannot be told"),
        (["--minutes", "-1"], "--minutes: a time is not negative"),
        (["--video", "nowhere.mp4"], "--video: nowhere.mp4 is not there"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        soak.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_fails_where_something_grew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []
    leaking = {"good": lambda: None, "leaking": lambda: kept.append(make((2**14,)))}
    monkeypatch.setattr(soak, "subjects", lambda: iter(leaking.items()))
    assert soak.main(["--calls", str(CALLS), "--minutes", "0"]) == 1
    out = capsys.readouterr().out
    assert "Grew too much: leaking: allocated" in out
    assert sum("GREW" in line for line in out.splitlines()) == 1
    monkeypatch.setattr(soak, "subjects", lambda: iter([("good", leaking["good"])]))
    assert soak.main(["--calls", str(CALLS), "--minutes", "0"]) == 0
    assert "Nothing grew, in 1 subjects." in capsys.readouterr().out
