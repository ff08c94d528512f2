"""What befalls a run from outside: each fault as the real thing, as far as a test may go. Nothing is lost, nothing is half-written, one
sentence tells, and the exit status is not 0.

Faults that only training knows are in test_train.py, and those of one writer or reader in test_writers.py and test_video.py.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tased_net import TASEDNet, cli, predictor
from tased_net.jobs import Job
from tased_net.locks import NAME, HeldError, Lock
from tased_net.reuse import SharingRun
from tased_net.video import VideoFrame, video_writer

SMALL = ["--weights", "none", "--clip-length", "8", "--width", "0.02", "--size", "32x48"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def make_clip(path: Path, frames: int = 12) -> Path:
    rng = np.random.default_rng(frames)
    with video_writer(path, Fraction(25), Fraction(1, 25)) as write:
        for number in range(frames):
            write(VideoFrame(rng.integers(0, 256, (48, 72, 3), np.uint8), Fraction(number, 25)))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def predict(*arguments: object) -> int:
    return cli.main(["predict", *SMALL, *map(str, arguments)])


def in_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=300, **options)


# ----------------------------------------------------------------------------------------------------------------- memory

REFUSING = """
import resource, sys, warnings
import numpy as np, torch
from tased_net import Predictor, TASEDNet
from tased_net.errors import MemoryWarning
torch.set_num_threads(1)
torch.manual_seed(0)
net = TASEDNet(clip_length=8, width=0.25)
frames = list(np.random.default_rng(0).integers(0, 256, (50, 96, 160, 3), np.uint8))
predict = Predictor(net, size=(96, 160), precision="float64", chunk=1, compile=False)
expected = np.stack(list(predict(frames)))
predict.chunk = 32
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 150 * 2**20, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    found = np.stack(list(predict(frames)))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert 1 <= predict.chunk < 32, predict.chunk
sizes = [32 >> fall for fall in range(len(told) + 1)]
sentences = [f"out of memory on cpu with {a} windows at a time: goes on with {b}" for a, b in zip(sizes, sizes[1:])]
assert [str(one.message) for one in told] == sentences, told
assert found.shape == expected.shape
assert np.abs(found - expected).max() < 1e-9
"""


def test_memory_that_the_system_refuses_makes_chunks_smaller_and_changes_no_map() -> None:
    """In float64, whose convolutions are PyTorch's own: oneDNN's may crash where memory is refused (seen with torch 2.14.1)."""
    result = in_python(REFUSING)
    assert (result.stderr, result.returncode) == ("", 0)


def test_an_operation_says_that_there_is_no_memory_for_its_result() -> None:
    code = """
import resource, torch, tased_ext
z = torch.rand(8, 64, 8, 56, 96)
resource.setrlimit(resource.RLIMIT_AS, (int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize(),) * 2)
tased_ext.max_pool3d(z, 3, 1, 1)
"""
    assert "RuntimeError: out of memory: there is no room for a map of 22020096 elements\n" in in_python(code).stderr


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Has the network run out of memory from its n-th call on with more than so many windows; the first call is number 0."""
    compute = SharingRun.__call__

    def begin(since: int, most: int) -> None:
        numbers = itertools.count()

        def run(self: SharingRun, windows: Any) -> torch.Tensor:
            if len(windows) > most and next(numbers) >= since:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return compute(self, windows)

        monkeypatch.setattr(SharingRun, "__call__", run)

    return begin


@pytest.mark.parametrize("formats", [["maps"], ["overlay", "npz"]])
def test_a_run_that_ran_out_of_memory_goes_on_to_the_same_files(
    formats: list[str],
    tmp_path: Path,
    refuse: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It falls back in the midst of the first video; the one that is stopped is killed in it or in the second."""
    monkeypatch.setattr(predictor, "SEGMENT", 16)
    monkeypatch.setitem(predictor.CHUNKS, "cpu", 4)
    videos = [make_clip(tmp_path / f"{name}.mp4", frames) for name, frames in (("one", 50), ("two", 30))]
    arguments = [*videos, "--format", *formats, "-o"]
    measured = 2  # calls that see how much memory a chunk takes
    refuse(measured + 5, 2)
    assert predict(*arguments, tmp_path / "whole") == 0
    said = capsys.readouterr().err
    assert said.count("tased: warning: out of memory on cpu with 4 windows at a time: goes on with 2\n") == 1
    expected = files_of(tmp_path / "whole")
    decode = TASEDNet.decode
    for stop in (12, 20, 30):
        out = tmp_path / f"stopped-{stop}"
        calls = itertools.count()

        def killed(net: TASEDNet, *given: Any, calls: Any = calls, stop: int = stop) -> torch.Tensor:
            if next(calls) == stop:
                raise KeyboardInterrupt
            return decode(net, *given)

        refuse(measured + 5, 2)
        with monkeypatch.context() as patch:
            patch.setattr(TASEDNet, "decode", killed)
            assert predict(*arguments, out) == 130
        refuse(10**6, 0)  # never
        assert predict(*arguments, out) == 0
        assert files_of(out) == expected
    assert "Traceback" not in capsys.readouterr().err


def test_memory_for_no_window_at_all_fails_the_video_with_a_sentence(
    tmp_path: Path, refuse: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    refuse(2, 0)
    assert predict(clip, "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert (
        f"tased: error: {clip}: out of memory on cpu with one window of 8 frames at 32x48: make room, or choose" in said
    )
    assert files_of(tmp_path / "out") == {}


def test_lack_of_memory_anywhere_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(TASEDNet, "__init__", refused)
    assert cli.main(["info"]) == 1
    assert capsys.readouterr().err.startswith("tased: error: out of memory ([enforce fail at alloc_cpu.cpp:127] ")


# ------------------------------------------------------------------------------------------------- two runs in one folder


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "out" / NAME
    code = """
import os, sys, time, pathlib
from tased_net.locks import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
if os.fork() == 0:  # it lives on when the other one is killed, and holds nothing
    time.sleep(300)
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(300)
"""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True, start_new_session=True) as other:
        try:
            assert other.stdout is not None
            holder = int(other.stdout.readline())
            with pytest.raises(HeldError, match=rf"^{tmp_path}/out: process {holder} on \S+ is writing here: wait"):
                Lock(path)
            os.kill(holder, signal.SIGKILL)
            os.waitid(os.P_PID, holder, os.WEXITED | os.WNOWAIT)
            assert path.exists()  # stale
            with Lock(path):
                assert path.read_text().startswith(f"process {os.getpid()} on ")
            assert not path.exists()
        finally:
            os.killpg(other.pid, signal.SIGKILL)


def test_a_lock_that_was_released_meanwhile_is_not_taken_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process opens the file, another releases and removes it, a third makes it anew: only one of them may hold it."""
    path, opened = tmp_path / NAME, os.open
    first = Lock(path)
    others: list[Lock] = []

    def late(*arguments: Any, **options: Any) -> int:
        file = opened(*arguments, **options)
        if first._file >= 0:
            first.release()
            others.append(Lock(path))
        return file

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(HeldError):
        Lock(path)
    others[0].release()
    assert list(tmp_path.iterdir()) == []


def test_two_jobs_are_not_done_in_one_place(tmp_path: Path) -> None:
    with (
        Job(tmp_path / "log", {}, {}),
        pytest.raises(HeldError, match=rf"process {os.getpid()} on \S+ is writing here"),
    ):
        Job(tmp_path / "log", {}, {})
    Job(tmp_path / "log", {}, {}).__exit__()
    assert list(tmp_path.iterdir()) == []
