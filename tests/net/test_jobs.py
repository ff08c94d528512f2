"""Jobs of many videos: what is a video, where results go, and that nothing which stops a run leaves a trace in them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from net.clips import SMALL, files_of, make_clip
from tased_net import TASEDNet, cli, predictor
from tased_net.commands.progress import Bars, Json, Lines, Progress, progress_for
from tased_net.jobs import VIDEOS, Job, JobError, Task, clear, sources_in, tasks_for

RUN = [sys.executable, "-m", "tased_net.cli", "predict", *SMALL]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def tased(*arguments: object) -> int:
    return cli.main(["predict", *SMALL, *map(str, arguments)])


# ---------------------------------------------------------------------------------------------------------------- sources


def test_folders_and_patterns_stand_for_their_videos_or_for_one_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.MP4", "clips/a.avi", "clips/notes.txt", "frames/1.png", "mixed/a.mkv", "mixed/poster.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert sources_in(["clips"]) == ["clips/a.avi", "clips/b.MP4"]
    assert sources_in(["clips/*.MP4", "mixed"]) == ["clips/b.MP4", "mixed/a.mkv"]
    assert sources_in(["frames", "frames/*.png"]) == ["frames", "frames/*.png"]
    assert sources_in(["-", "http://host/a*.mp4", "nowhere.mp4"]) == ["-", "http://host/a*.mp4", "nowhere.mp4"]
    assert len(VIDEOS) == len(set(VIDEOS)) > 10


def test_hidden_files_of_a_folder_are_no_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "._a.mp4", ".b.mkv"):
        (tmp_path / name).touch()
    assert sources_in([str(tmp_path)]) == [str(tmp_path / "a.mp4")]


def test_a_link_that_leads_to_itself_is_no_video_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clips" / "clip.mp4")
    loop = tmp_path / "clips" / "loop.mp4"
    loop.symlink_to("loop.mp4")
    assert sources_in([str(clip.parent)]) == [str(clip)]
    assert tased(loop, clip, "-o", tmp_path / "out") == 1
    assert f"{loop}: " in capsys.readouterr().err
    assert [name for name in files_of(tmp_path / "out") if not name.startswith(".")] == ["clip_saliency.mp4"]


def test_folders_and_patterns_without_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(JobError, match="holds neither videos nor images"):
        sources_in([str(tmp_path)])
    with pytest.raises(JobError, match="matches neither videos nor images"):
        sources_in([str(tmp_path / "*.mp4")])


def test_images_named_one_by_one_are_refused(tmp_path: Path) -> None:
    images = [str(tmp_path / name) for name in ("1.png", "2.png")]
    for image in images:
        Path(image).touch()
    with pytest.raises(JobError, match=r"1\.png and .*2\.png are images: name their folder, or a pattern in quotes"):
        sources_in(images)
    assert sources_in(images[:1]) == images[:1]


# ---------------------------------------------------------------------------------------------------------------- targets


def test_results_go_into_a_folder_by_the_video_s_name() -> None:
    (task,) = tasks_for(["x/street.mp4"], Path("out"), ["overlay", "maps", "npz", "report"])
    assert {format: str(target) for format, target in task.targets.items()} == {
        "overlay": "out/street_saliency.mp4",
        "maps": "out/street",
        "npz": "out/street_maps.npz",
        "report": "out/street_report.html",
    }


def test_results_do_not_go_among_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clips/a.avi", "frames/0001.png"):
        Path(name).parent.mkdir()
        Path(name).touch()
    for argument in ("clips", "clips/*.avi"):
        with pytest.raises(JobError, match=f"-o clips: results would be among the videos of {re.escape(argument)}"):
            sources_in([argument], Path("clips"))
    for source in ("frames", "frames/*.png"):
        with pytest.raises(JobError, match=r"-o \.: frames is a video to read"):
            tasks_for([source], Path(), ["maps"])


@pytest.mark.parametrize(
    ("format", "file"), [("overlay", "o.MP4"), ("gif", "o.gif"), ("npz", "o.npz"), ("contact-sheet", "o.png")]
)
def test_a_single_result_may_be_named(format: str, file: str) -> None:
    (task,) = tasks_for(["street.mp4"], Path(file), [format])
    assert task.targets == {format: Path(file)}


@pytest.mark.parametrize(
    ("sources", "output", "formats", "message"),
    [
        (["a.mp4"], "o.mp4", ["overlay", "gif"], "-o o.mp4: overlay and gif are many files, name a folder"),
        (["a.mp4"], "o.mp4", ["gif"], "-o o.mp4: gif is a .gif file, name one that ends so, or a folder"),
        (["a.mp4"], "o.png", ["maps"], "-o o.png: maps are many files, name a folder"),
        (["x/a.mp4", "y/a.avi"], "out", ["npz"], "out/a_maps.npz would be the result of several videos"),
    ],
)
def test_results_in_each_other_s_place_are_refused(
    sources: list[str], output: str, formats: list[str], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        tasks_for(sources, Path(output), formats)


# ---------------------------------------------------------------------------------------------------------------- the log


def make_file(path: Path, content: str = "video") -> Path:
    path.write_text(content)
    return path


def test_a_video_begun_again_is_not_done(tmp_path: Path) -> None:
    task = Task(str(make_file(tmp_path / "a")), {})
    with Job(tmp_path / "log", {}, {}) as job:
        job.begin(task)
        job.finish(task)
        make_file(tmp_path / "a", "another")
        assert not job.has_begun(task)
        job.begin(task)
        assert not job.has_done(task)
    with Job(tmp_path / "log", {}, {}) as job:
        assert job.has_begun(task)
        assert not job.has_done(task)


def test_streams_are_never_gone_on_with_but_stay_done(tmp_path: Path) -> None:
    stream = Task("http://host/live", {})
    with Job(tmp_path / "log", {}, {}) as job:
        job.begin(stream)
        assert not job.has_begun(stream)
        job.finish(stream)
        assert job.has_done(stream)


def test_a_folder_with_other_images_is_another_video(tmp_path: Path) -> None:
    folder, pattern = Task(str(tmp_path), {}), Task(str(tmp_path / "*.png"), {})
    make_file(tmp_path / "1.png")
    before = folder.state(), pattern.state()
    assert before[0] is not None
    assert before == (folder.state(), pattern.state())
    make_file(tmp_path / "2.png")
    assert folder.state() != before[0]
    assert pattern.state() != before[1]


def test_a_job_of_which_nothing_has_begun_leaves_no_log(tmp_path: Path) -> None:
    Job(tmp_path / "log", {}, {}).__exit__()
    assert list(tmp_path.iterdir()) == []


def test_a_job_remembers_what_is_begun_done_and_decided(tmp_path: Path) -> None:
    path = tmp_path / "out" / "log"
    a, b, c = (Task(str(make_file(tmp_path / name)), {}) for name in "abc")
    with Job(path, {"size": [32, 48]}, {"chunk": 2}) as job:
        job.begin(a)
        job.finish(a)
        job.begin(b)
    with Job(path, {"size": [32, 48]}, {"chunk": 4}) as job:
        assert [job.has_begun(task) for task in (a, b, c)] == [True, True, False]
        assert [job.has_done(task) for task in (a, b, c)] == [True, False, False]
        assert job.decided == {"chunk": 2}
        job.remove()
    assert list(path.parent.iterdir()) == []


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Job(path, {}, {}) as job:
        job.begin(Task("a", {}))
        job.finish(Task("a", {}))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Job(path, {}, {}) as job:
            assert job.done <= job.begun.keys() <= {"a"}
            assert all(json.loads(line) for line in path.read_text().splitlines())
    path.write_bytes(b"\x00[1]\nnonsense")
    with Job(path, {}, {}) as job:
        assert job.begun == {}


def test_another_command_does_not_go_on_with_a_job(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Job(path, {"size": [32, 48], "fps": None}, {}) as job:
        job.begin(Task("a", {}))
    with pytest.raises(
        JobError, match=r"with other settings \(size \[32, 48\], now \[64, 48\]\): give the same command"
    ):
        Job(path, {"size": [64, 48], "fps": None}, {})
    with Job(path, {"size": [64, 48], "fps": None}, {}, anew=True) as job:
        assert job.begun == {}


# ------------------------------------------------------------------------------------------------------ stopped and gone on


def test_a_run_that_is_killed_and_gone_on_with_gives_the_same_files(tmp_path: Path) -> None:
    """Ten times at random moments, over two videos and two formats, some of them in the middle of a folder of maps."""
    for name, frames in (("one", 24), ("two", 40)):
        make_clip(tmp_path / f"{name}.mp4", frames)
    videos = [str(tmp_path / "one.mp4"), str(tmp_path / "two.mp4")]
    script = tmp_path / "run.py"  # segments of a length at which there is something to go on with
    script.write_text(
        "import sys\nfrom tased_net import cli, predictor\npredictor.SEGMENT = 8\nsys.exit(cli.main(sys.argv[1:]))\n"
    )
    for formats in (["maps"], ["overlay", "npz", "report"]):
        run = [sys.executable, str(script), "predict", *SMALL, *videos, "--format", *formats, "--quiet", "-o"]
        whole = tmp_path / f"whole-{formats[0]}"
        start = time.monotonic()
        subprocess.run([*run, str(whole)], check=True, env=ONE_THREAD, timeout=120, capture_output=True)
        seconds = time.monotonic() - start
        expected = files_of(whole)
        moments, stopped = random.Random(len(formats)), 0
        folder = tmp_path / f"killed-{formats[0]}"
        for _ in range(5):
            process = subprocess.Popen([*run, str(folder)], env=ONE_THREAD, stderr=subprocess.DEVNULL)
            try:
                process.wait(moments.uniform(0.3, 1) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(moments.choice([signal.SIGKILL, signal.SIGTERM]))
                process.wait(60)
                stopped += 1
            for file, data in files_of(folder).items():
                assert Path(file).name.startswith(".") or file.endswith(".overlay") or data == expected[file]
            if files_of(folder) and not any(folder.glob(".tased-predict*")):  # it was done before it was stopped
                break
        else:
            subprocess.run([*run, str(folder)], check=True, env=ONE_THREAD, timeout=120, capture_output=True)
        assert stopped
        assert files_of(folder) == expected


def test_a_video_that_was_replaced_meanwhile_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    clip, broken = make_clip(tmp_path / "clip.mp4", 30), tmp_path / "broken.mp4"
    broken.touch()
    arguments = (clip, broken, "-o", tmp_path / "out", "--format", "maps")
    assert tased(*arguments) == 1
    make_clip(clip, 24)
    make_clip(broken, 10)
    assert tased(*arguments) == 0
    assert tased(clip, broken, "-o", tmp_path / "new", "--format", "maps") == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "new")


def test_a_process_of_torchrun_without_a_video_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert tased(make_clip(tmp_path / "clip.mp4"), "-o", tmp_path / "o.mp4") == 0
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_maps_that_stood_there_before_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    clip = make_clip(tmp_path / "clip.mp4", 30)
    (tmp_path / "out" / "clip").mkdir(parents=True)
    for number in range(1, 41):
        (tmp_path / "out" / "clip" / f"{number:04d}.png").write_bytes(b"old")
    assert tased(clip, "-o", tmp_path / "out", "--format", "maps", "--overwrite") == 0
    assert tased(clip, "-o", tmp_path / "new", "--format", "maps") == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "new")


def test_what_a_killed_run_left_beside_a_result_goes_when_it_begins_again(tmp_path: Path) -> None:
    names = (".a.mp4.7.part", ".a.mp4.overlay.7.part", ".a.mp4.spool.7.part", "a.mp4.overlay")
    for name in (*names, ".b.mp4.7.part", "a.mp4"):
        (tmp_path / name).touch()
    clear(Task("a.mov", {"overlay": tmp_path / "a.mp4"}))
    assert {file.name for file in tmp_path.iterdir()} == {".b.mp4.7.part", "a.mp4"}


def test_other_settings_are_refused_while_a_job_is_not_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, broken = make_clip(tmp_path / "clip.mp4"), tmp_path / "broken.mp4"
    broken.touch()
    arguments = (clip, broken, "-o", tmp_path / "out")
    assert tased(*arguments) == 1
    capsys.readouterr()
    assert tased(*arguments, "--alpha", "0.5") == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / 'out'}: holds a job that was stopped, with other settings (style " in message
    broken.unlink()
    make_clip(broken)
    assert tased(*arguments) == 0
    assert sorted(files_of(tmp_path / "out")) == ["broken_saliency.mp4", "clip_saliency.mp4"]


def test_a_prediction_network_of_another_seed_does_not_go_on_with_a_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights of the encoder alone leave the rest of the network to the seed."""
    state = TASEDNet(clip_length=8, width=0.02).state_dict()
    torch.save({name: value for name, value in state.items() if name.startswith("base")}, tmp_path / "w.pt")
    (tmp_path / "broken.mp4").touch()
    clip = make_clip(tmp_path / "clip.mp4")
    arguments = (clip, tmp_path / "broken.mp4", "-o", tmp_path / "out", "--weights", tmp_path / "w.pt")
    assert tased(*arguments, "--seed", 1) == 1
    capsys.readouterr()
    assert tased(*arguments, "--seed", 2) == 2
    assert 'other settings (weights "seed 1, ' in capsys.readouterr().err
    assert tased(*arguments, "--seed", 1) == 1


# --------------------------------------------------------------------------------------------------------------- the rest


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server that gives out the files of a folder."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["lines", "json"])
def test_a_url_s_password_stands_nowhere_and_its_video_stays_done(
    tmp_path: Path, address: str, how: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(tmp_path / "served" / "clip.mp4")
    urls = [f"http://user:p@ss@{address}/{name}.mp4" for name in ("clip", "gone", "lost")]
    arguments = (*urls, "-o", tmp_path / "out", "--report", *how)

    def told() -> str:
        return "".join(line for line in "".join(capsys.readouterr()).splitlines(True) if " - - [" not in line)

    assert tased(*arguments) == 1
    said = told()
    files = {name: content.decode(errors="replace") for name, content in files_of(tmp_path / "out").items()}
    assert f'{{"done": "http://{address}/clip.mp4"}}' in files[".tased-predict.jsonl"]
    assert f"http://{address}/gone.mp4: cannot be opened" in said
    for text in (said, *files.values()):
        assert "user:" not in text
        assert "ss@" not in text
    assert tased(*arguments) == 1
    assert "going on: 1 of 3 videos are done" in told()


def test_a_terminal_shows_a_bar_a_video_and_one_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars(3, 30)
    bars.begin("a.mp4", 10)
    bars.tick(10)
    bars.finish("a.mp4", [Path("a_saliency.mp4")], 10)
    assert bars.total.n == 10
    bars.finish("b.mp4", [Path("b_saliency.mp4")], 15)  # on a cluster, where it has not begun here
    assert bars.total.n == 25
    bars.fail("c.mp4", "c.mp4: broken")
    bars.end({"c.mp4": "c.mp4: broken"})
    message = capsys.readouterr().err
    assert "tased: a_saliency.mp4: 10 frames\n" in message
    assert "tased: 1 of 3 videos failed:\ntased:   c.mp4  broken\n" in message
    assert (progress_for(False, False), progress_for(True, False), progress_for(True, True)) == (Lines, Progress, Json)


@pytest.mark.parametrize("kind", [Bars, Lines])
def test_one_frame_is_no_plural(kind: type[Progress], capsys: pytest.CaptureFixture[str]) -> None:
    progress = kind(1, 1)
    progress.finish("a.mp4", [Path("a_saliency.mp4")], 1)
    assert capsys.readouterr().err == "tased: a_saliency.mp4: 1 frame\n"


def test_json_tells_what_happens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    assert tased(clip, tmp_path / "nowhere.mp4", "-o", tmp_path / "out", "--json", "--report") == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    results = [str(tmp_path / "out" / name) for name in ("clip_saliency.mp4", "clip_report.html")]
    assert events[0] == {"event": "begin", "video": str(clip), "expected_frames": 10}
    assert {"event": "done", "video": str(clip), "frames": 10, "results": results} in events
    failed = {
        "event": "failed",
        "video": str(tmp_path / "nowhere.mp4"),
        "error": f"{tmp_path / 'nowhere.mp4'}: no such file",
    }
    assert failed in events
    assert events[-1] == {"event": "end", "videos": 2, "failed": 1}


def test_the_report_names_weights_and_variant(tmp_path: Path) -> None:
    assert tased(make_clip(tmp_path / "clip.mp4"), "-o", tmp_path / "r.html", "--format", "report") == 0
    page = (tmp_path / "r.html").read_text()
    assert "untrained, seed 0" in page
    assert "TASEDNet(clip_length=8, width=0.02)" in page


def test_a_stream_on_standard_input_is_a_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        for value in range(10):
            image = np.full((48, 72, 3), 20 * value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    with (tmp_path / "a.mkv").open("rb") as stream:
        run = [*RUN, "-", "-o", str(tmp_path / "out"), "--format", "maps"]
        subprocess.run(run, stdin=stream, check=True, env=ONE_THREAD, timeout=120, capture_output=True)
    assert len(list((tmp_path / "out" / "stdin").iterdir())) == 10


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(12):
        Image.new("RGB", (72, 48), (20 * number, 0, 0)).save(tmp_path / "frames" / f"img{number}.png")
    assert tased(tmp_path / "frames", "-o", tmp_path / "out", "--format", "maps", "contact-sheet") == 0
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 12
    assert (tmp_path / "out" / "frames_contact-sheet.png").exists()


def test_processes_of_torchrun_share_the_list(tmp_path: Path) -> None:
    videos = [str(make_clip(tmp_path / f"{number}.mp4", 10 + number)) for number in range(3)]
    for rank in range(2):
        environment = {**ONE_THREAD, "RANK": str(rank), "WORLD_SIZE": "2"}
        run = [*RUN, *videos, "-o", str(tmp_path / "out"), "--format", "npz"]
        subprocess.run(run, check=True, env=environment, timeout=120, capture_output=True)
        expected = [["0_maps.npz", "2_maps.npz"], ["0_maps.npz", "1_maps.npz", "2_maps.npz"]][rank]
        assert sorted(files_of(tmp_path / "out")) == expected
    assert tased(*videos, "-o", tmp_path / "one", "--format", "npz") == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "one")


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert tased(make_clip(tmp_path / "clip.mp4"), "-o", tmp_path / "file" / "out") == 2
    assert "out: cannot be written to (Not a directory)" in capsys.readouterr().err


def test_no_output_is_made_for_videos_that_cannot_be_read(tmp_path: Path) -> None:
    assert tased(tmp_path / "nowhere.mp4", "-o", tmp_path / "out") == 1
    assert files_of(tmp_path / "out") == {}


def test_a_ray_cluster_loses_nothing_when_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    videos = [str(make_clip(tmp_path / f"{number}.mp4", 30 + number)) for number in range(4)]
    arguments = [*videos, "--format", "maps"]
    assert tased(*arguments, "-o", tmp_path / "one", "--quiet") == 0
    out = tmp_path / "out"
    run = [*RUN, *arguments, "-o", str(out), "--cluster", "ray"]
    environment = {**ONE_THREAD, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)
    killed = False
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if not killed and any(out.glob("*/0003.png")):
            killed = _kill_a_worker(process.pid)
        time.sleep(0.02)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 0, message
    assert killed
    assert all(f"{out / str(number)}: {30 + number} frames\n" in message for number in range(4))
    assert files_of(out) == files_of(tmp_path / "one")


def _kill_a_worker(command: int) -> bool:
    """Kills an actor at work that the process `command` has brought about; others may be at work here as well."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    processes = [
        (int(pid), int(parent), name) for pid, parent, name in (line.split(None, 2) for line in listing.splitlines())
    ]
    ours = {command}
    while more := {pid for pid, parent, _ in processes if parent in ours} - ours:
        ours |= more
    actors = [pid for pid, _, name in processes if pid in ours and name.startswith("ray::_Actor.work")]
    if actors:
        os.kill(actors[0], signal.SIGKILL)
    return bool(actors)
