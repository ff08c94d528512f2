"""What befalls a run from outside: each fault as the real thing, as far as a test may go. Nothing is lost, nothing is half-written, one
sentence tells, and the exit status is not 0.

Faults that only training knows are in test_train.py, and those of one writer or reader in test_writers.py and test_video.py.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from net.clips import SMALL, files_of, make_clip
from tased_net import TASEDNet, cli, predictor
from tased_net.commands.progress import Lines
from tased_net.jobs import Job
from tased_net.locks import NAME, HeldError, Lock
from tased_net.reuse import SharingRun

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def hidden(file: str) -> bool:
    """Whether a file, or a folder that it is in, has a name with a leading dot."""
    return any(part.startswith(".") for part in Path(file).parts)


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
    clip = make_clip(tmp_path / "clip.mp4", 12)
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
forked, tell = os.pipe()
if os.fork() == 0:  # it lives on when the other one is killed, and holds nothing
    os.write(tell, b"1")
    time.sleep(300)
    os._exit(0)
os.read(forked, 1)
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


def test_a_shared_lock_is_held_until_the_last_lets_go(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with Lock(path), pytest.raises(HeldError):
        Lock(path, shared=True)
    first, second = (Lock(path, shared=True) for _ in range(2))
    for lock in (first, second):
        with pytest.raises(HeldError, match=rf"process {os.getpid()} on \S+ is writing here"):
            Lock(path)
        lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_shared_lock_does_not_remove_another_s_file(tmp_path: Path) -> None:
    """Between its two steps of letting go another process had the lock, released it, and a third made it anew."""
    path = tmp_path / NAME
    lock = Lock(path, shared=True)
    path.unlink()
    with Lock(path):
        lock.release()
        with pytest.raises(HeldError):
            Lock(path)


def test_two_jobs_are_not_done_in_one_place(tmp_path: Path) -> None:
    with (
        Job(tmp_path / "log", {}, {}),
        pytest.raises(HeldError, match=rf"process {os.getpid()} on \S+ is writing here"),
    ):
        Job(tmp_path / "log", {}, {})
    Job(tmp_path / "log", {}, {}).__exit__()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two synthetic videos in `synth`, maps to be scored in `pred`, weights `w.pt` and a video `clip.mp4`."""
    root = tmp_path_factory.mktemp("data")
    options = ["--videos", "2", "--size", "36x64", "--frames", "20-20", "--workers", "1", "--quiet"]
    assert cli.main(["synth", "-o", str(root / "synth"), *options]) == 0
    for folder in (root / "synth" / "annotation").iterdir():
        shutil.copytree(folder / "maps", root / "pred" / folder.name)
    torch.manual_seed(0)
    torch.save(TASEDNet(clip_length=8, width=0.02).state_dict(), root / "w.pt")
    make_clip(root / "clip.mp4", 24)
    return root


def commands(data: Path) -> dict[str, list[str]]:
    """Command lines that write, without where to."""
    synthetic = ["--data", str(data / "synth"), "--dataset", "dhf1k"]
    training = ["--clip-length", "8", "--width", "0.02", "--size", "32x48", "--batch", "2", "--accumulate", "1"]
    training += ["--steps", "2", "--save-every", "1", "--validation-split", "train", "--validation-clips", "2"]
    return {
        "maps": ["predict", *SMALL, str(data / "clip.mp4"), "--format", "maps"],
        "overlay": ["predict", *SMALL, str(data / "clip.mp4"), "--format", "overlay", "npz", "contact-sheet"],
        "synth": ["synth", "--videos", "2", "--size", "36x64", "--frames", "20-20", "--workers", "1"],
        "evaluate": ["evaluate", str(data / "pred"), *synthetic, "--split", "train", "--workers", "0"],
        "train": ["train", *synthetic, *training, "--workers", "0", "--bn-momentum", "0.1", "--resume"],
    }


def results_of(folder: Path) -> dict[str, bytes]:
    """What a run has written, less what tells the time, the process or the name of the folder."""
    told = ("log.csv", "loss.png", "scores.json", "state.pt")
    found = {name: b"" if Path(name).name in told else content for name, content in files_of(folder).items()}
    return {name: content for name, content in found.items() if not name.startswith("tensorboard/")}


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What each command writes where nothing disturbs it."""
    found: dict[str, dict[str, bytes]] = {}

    def results(name: str) -> dict[str, bytes]:
        if name not in found:
            folder = tmp_path_factory.mktemp(name) / "out"
            assert cli.main([*commands(data)[name], "-o", str(folder)]) == 0
            found[name] = results_of(folder)
        return found[name]

    return results


# ------------------------------------------------------------------------------------------------------- disks and folders

CAN_MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]

ON_DISK = """
import contextlib, io, json, os, resource, shutil, subprocess, sys
from pathlib import Path
import torch
from tased_net import cli
torch.set_num_threads(1)
fault, commands, out, kept, mounts = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5] == "True"

def mount(folder, *options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], check=True)

def begin(folder):
    folder.mkdir()
    if mounts:
        mount(folder, *(["size=40k"] if fault == "full" else ["ro"]))
    elif fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    else:
        folder.chmod(0o555)

def end(folder):
    if mounts:
        mount(folder, "remount", "size=64m", "rw")
    elif fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    else:
        folder.chmod(0o755)

found = {}
for name, command in commands.items():
    folder = out / name
    begin(folder)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = cli.main([*command, "-o", str(folder)])
    left = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    end(folder)
    with contextlib.redirect_stderr(io.StringIO()):
        again = cli.main([*command, "-o", str(folder)])
    shutil.copytree(folder, kept / name)
    found[name] = [status, said.getvalue(), left, again]
print(json.dumps(found))
"""

SENTENCES = {
    "full": ("no space left on device", "file too large", "is the disk full?"),
    "read-only": ("read-only file system", "permission"),
}


@pytest.mark.parametrize("fault", SENTENCES)
def test_a_disk_that_is_full_or_read_only_is_one_sentence_and_the_same_command_goes_on(
    fault: str, data: Path, whole: Callable[[str], dict[str, bytes]], tmp_path: Path
) -> None:
    """A small tmpfs where one may be mounted, else a limit of files' sizes and a folder without write permission."""
    mounts = subprocess.run([*CAN_MOUNT, "true"], capture_output=True, check=False).returncode == 0
    if fault == "read-only" and not mounts and os.geteuid() == 0:
        pytest.skip("nothing is read-only to root but what it may not mount here")
    names = commands(data)
    for folder in ("out", "kept"):
        (tmp_path / folder).mkdir()
    given = [fault, json.dumps(names), str(tmp_path / "out"), str(tmp_path / "kept"), str(mounts)]
    command = [*(CAN_MOUNT if mounts else []), sys.executable, "-c", ON_DISK, *given]
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    for name, (status, said, left, again) in json.loads(result.stdout.splitlines()[-1]).items():
        last = [line for line in said.splitlines() if line.startswith("tased: error: ")]
        assert status in (1, 2), name
        assert len(last) == 1, said
        assert any(sentence in last[0].lower() for sentence in SENTENCES[fault]), said
        assert "Traceback" not in said
        assert not [file for file in left if file.endswith((".part", ".lock"))], name
        shown = {file for file in left if not hidden(file) and not file.startswith("tensorboard/")}
        assert shown <= whole(name).keys(), name
        assert again == 0, name
        assert results_of(tmp_path / "kept" / name) == whole(name), name


@pytest.fixture
def midway(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something once, when some frames have been predicted."""

    def plan(act: Callable[[], object]) -> None:
        acts, tick = [act], Lines.tick

        def ticked(self: Lines, count: int) -> None:
            tick(self, count)
            if self.count >= 8 and acts:
                acts.pop()()

        monkeypatch.setattr(Lines, "tick", ticked)

    return plan


def test_a_video_that_vanishes_while_it_is_read_does_no_harm(
    tmp_path: Path, midway: Callable[[Callable[[], object]], None]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 40)
    assert predict(clip, "-o", tmp_path / "whole") == 0
    midway(clip.unlink)
    assert predict(clip, "-o", tmp_path / "out") == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_images_that_vanish_are_left_out_and_counted(
    tmp_path: Path, midway: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(60):
        Image.new("RGB", (72, 48), (4 * number, 0, 0)).save(folder / f"{number}.png")
    midway(lambda: [(folder / f"{number}.png").unlink() for number in range(50, 60)])
    assert predict(folder, "-o", tmp_path / "out", "--format", "maps") == 0
    said = capsys.readouterr().err
    assert f"tased: warning: {folder}: " in said
    assert "and 9 more" in said
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 50


def test_an_output_folder_that_vanishes_is_told(
    tmp_path: Path, midway: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 24)
    midway(lambda: shutil.rmtree(tmp_path / "out"))
    assert predict(clip, "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "No such file or directory" in said
    assert "Traceback" not in said
    assert predict(clip, "-o", tmp_path / "out") == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_decoder_error_at_any_frame_costs_that_frame_and_gives_a_warning(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each frame is a key frame, so that the others can be decoded."""
    rng = np.random.default_rng(seed)
    clip, bad = tmp_path / "clip.avi", int(rng.integers(1, 20))
    places = []
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "rgb24"
        for image in rng.integers(0, 256, (20, 48, 72, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
    content = bytearray(clip.read_bytes())
    while (place := content.find(b"IDAT", places[-1] + 1 if places else 0)) >= 0:
        places.append(place)
    place = places[bad * len(places) // 20]
    content[place : place + 400] = bytes(400)
    clip.write_bytes(content)
    assert predict(clip, "-o", tmp_path / "out", "--format", "maps") == 0
    said = capsys.readouterr().err
    assert f"tased: warning: {clip}: damaged or cut short, only the 19 frames that can be decoded are used\n" in said
    assert len(list((tmp_path / "out" / "clip").iterdir())) == 19


# ---------------------------------------------------------------------------------------------------------- being stopped

AT_A_CALL = """
import contextlib, io, json, os, random, signal, sys
from pathlib import Path
import torch
from tased_net import cli
from tased_net.commands import main  # what is stopped while it loads ends at once, and here the rest with it
torch.set_num_threads(1)
command, out, seed = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def run(folder, stop=None, number=signal.SIGINT):
    calls = 0
    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"
        if event == "call" and calls == stop:
            os.kill(os.getpid(), number)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        sys.setprofile(count)
        try:
            status = cli.main([*command, "-o", str(folder)])
        finally:
            sys.setprofile(None)
    return status, said.getvalue(), calls

_, _, calls = run(out / "whole")
moments, found = random.Random(seed), []
for moment in range(6):
    stop, number = moments.randrange(1, calls), moments.choice([signal.SIGINT, signal.SIGTERM])
    status, said, made = run(out / "stopped", stop, number)
    if made < stop:  # as less was left to do, it was done before
        break
    left = [str(file.relative_to(out / "stopped")) for file in (out / "stopped").rglob("*") if file.is_file()]
    found.append([stop / calls, number, status, said, left])
found.append(run(out / "stopped")[:2] if status else [0, ""])
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", ["maps", "overlay", "synth", "evaluate"])
def test_ctrl_c_and_sigterm_at_random_moments_leave_whole_files_and_the_same_command_goes_on(
    name: str, data: Path, whole: Callable[[str], dict[str, bytes]], tmp_path: Path
) -> None:
    """At calls of functions, drawn from all of a run's. (test_train.py has those of training.)"""
    result = in_python(AT_A_CALL, json.dumps(commands(data)[name]), tmp_path, len(name))
    assert result.returncode == 0, result.stderr
    *stops, (status, said) = json.loads(result.stdout.splitlines()[-1])
    assert stops
    for moment, number, stopped, words, left in stops:
        assert stopped == 130, (moment, number, words)
        assert "tased: stopped" in words.splitlines()[-1]
        assert "Traceback" not in words
        assert not [file for file in left if file.endswith((".part", ".lock"))], (moment, number)
        for file in left:
            assert hidden(file) or file in whole(name), moment
    assert status == 0, said
    assert results_of(tmp_path / "stopped") == whole(name)


# ------------------------------------------------------------------------------------------------------- killed, and locked


@pytest.mark.parametrize("name", ["synth", "evaluate"])
def test_a_worker_that_is_killed_is_one_sentence_and_the_same_command_goes_on(
    name: str,
    data: Path,
    whole: Callable[[str], dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [*commands(data)[name], "--quiet", "-o", str(tmp_path)]
    command[command.index("--workers") + 1] = "2"
    before, killed = set(multiprocessing.active_children()), threading.Event()

    def kill() -> None:
        while not killed.is_set():
            for worker in set(multiprocessing.active_children()) - before:
                os.kill(worker.pid or 0, signal.SIGKILL)
                killed.set()
                return
            killed.wait(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    status = cli.main(command)
    killed.set()
    killer.join()
    said = capsys.readouterr().err
    assert status == 1, said
    assert "worker" in said
    assert "died" in said
    assert "fewer --workers" in said
    assert said.count("tased: error: ") == 1
    command[command.index("--workers") + 1] = "0" if name == "evaluate" else "1"
    assert cli.main(command) == 0
    assert results_of(tmp_path) == whole(name)


KILLED_BESIDE_A_START = """
import os, signal, time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnProcess
from tased_net.sharing import executor_of, ordered

start, started = SpawnProcess.start, []

def start_and_tell_late(process):
    start(process)
    for other in started:
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        time.sleep(1)  # in which the executor ends the workers that it knows
    started.append(process)

SpawnProcess.start = start_and_tell_late
try:
    with executor_of(2) as executor:
        list(ordered(abs, [-1, -2], executor, 2))
except BrokenProcessPool:
    print("broken", [process.is_alive() for process in started])
"""


def test_a_worker_that_is_started_while_another_dies_is_not_waited_for(tmp_path: Path) -> None:
    result = in_python(KILLED_BESIDE_A_START, cwd=tmp_path)
    assert result.stdout.strip() == "broken [False, False]", result.stderr


@pytest.mark.parametrize("name", ["maps", "synth", "evaluate", "train"])
def test_a_second_run_in_a_folder_is_told_who_writes_there(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lock(tmp_path / (".tased-predict.lock" if name == "maps" else NAME)):
        assert cli.main([*commands(data)[name], "-o", str(tmp_path)]) in (1, 2)
        assert len(list(tmp_path.iterdir())) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tased: error: ")]
    assert said == (
        f"tased: error: {tmp_path}: process {os.getpid()} on {socket.gethostname()} is writing here: wait for it, or name "
        "another folder"
    )


def test_torchrun_and_a_run_on_its_own_do_not_write_in_one_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The processes of torchrun do so beside each other."""
    run = [*commands(data)["maps"], "-o", str(tmp_path)]
    told = f"process {os.getpid()} on {socket.gethostname()} is writing here: wait"
    alone, part = tmp_path / ".tased-predict.jsonl", tmp_path / ".tased-predict-1.jsonl"
    with Job(part, {}, {}, whole=alone):
        assert cli.main(run) == 2
    assert told in capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Job(alone, {}, {}):
        assert cli.main(run) == 2
    assert told in capsys.readouterr().err
    with Job(part, {}, {}, whole=alone):
        assert cli.main(run) == 0
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".lock"]


# ------------------------------------------------------------------------------------------------------ the cache, the clock


def test_a_cache_that_cannot_be_written_changes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[[str], dict[str, bytes]]
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "cache"))
    assert cli.main([*commands(data)["evaluate"], "-o", str(tmp_path / "out")]) == 0
    assert results_of(tmp_path / "out") == whole("evaluate")


JUMPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
/* The time of day jumps by up to two months with every look at it, forwards and backwards. */
int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int status = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += rand() % 10000000 - 5000000;
  return status;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_clock_that_jumps_changes_nothing(
    data: Path, tmp_path: Path, whole: Callable[[str], dict[str, bytes]]
) -> None:
    (tmp_path / "jump.c").write_text(JUMPING)
    shim = tmp_path / "jump.so"
    compile_ = ["cc", "-shared", "-fPIC", "-o", str(shim), str(tmp_path / "jump.c"), "-ldl"]
    subprocess.run(compile_, check=True, capture_output=True)
    code = """
import json, sys, time, torch
from tased_net import cli
torch.set_num_threads(1)
looks = [time.time() for look in range(100)]
assert min(later - sooner for sooner, later in zip(looks, looks[1:])) < -1e5
for name, command in json.loads(sys.argv[1]).items():
    assert cli.main([*command, "-o", f"{sys.argv[2]}/{name}"]) == 0
"""
    names = {name: command for name, command in commands(data).items() if name != "overlay"}
    command = [sys.executable, "-c", code, json.dumps(names), str(tmp_path)]
    environment = {**ENVIRONMENT, "LD_PRELOAD": str(shim)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    for name in names:
        assert results_of(tmp_path / name) == whole(name)
