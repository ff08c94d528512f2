"""The engine: which maps it gives, in what precision, from where on, on which devices, in how much memory."""

from __future__ import annotations

import itertools
import mmap
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tased_net import Predictor, TASEDNet, memory, predictor
from tased_net.chunks import Chunks
from tased_net.engine import PlainRun
from tased_net.errors import MemoryWarning, is_out_of_memory
from tased_net.reuse import SharingRun
from tased_net.sliding import sliding_windows
from tased_net.video import RGB, VideoFrame, video_writer

SIZE = (32, 48)
CPU = torch.device("cpu")


def small_net(**options: Any) -> TASEDNet:
    torch.manual_seed(0)
    return TASEDNet(**{"clip_length": 8, "width": 0.02, **options}).eval()


def noise(count: int, height: int = 40, width: int = 60) -> list[RGB]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def network_input(image: RGB) -> torch.Tensor:
    """A frame that has the network's size already, (3, h, w)."""
    return (2 * torch.from_numpy(image).permute(2, 0, 1).float() - 255) / 255


def maps_of(net: TASEDNet, frames: Any, call: dict[str, Any] | None = None, **options: Any) -> list[NDArray[Any]]:
    return list(Predictor(net, **{"size": SIZE, **options})(frames, **(call or {})))


def same(maps: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    """Whether they are equal, bit for bit."""
    return len(maps) == len(others) and all(np.array_equal(one, other) for one, other in zip(maps, others, strict=True))


# ------------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize(("k", "step"), [(1, 1), (3, 1), (1, Fraction(5, 2))])
def test_maps_are_the_network_s_on_the_window_s_clips(count: int, k: int, step: Fraction) -> None:
    net, frames = small_net(maps=k), noise(count, *SIZE)
    maps = maps_of(net, iter(frames), {"step": step}, reuse=False, chunk=1)
    expected = []
    net.fuse().to(memory_format=torch.channels_last_3d)
    for window in sliding_windows(map(network_input, frames), 8, k, step):
        clip, taken = window.clip, window.maps
        with torch.inference_mode():
            saliency = net(torch.stack(clip, dim=1)[None].contiguous(memory_format=torch.channels_last_3d))
        expected += [(saliency[0, number] if k > 1 else saliency[number]).numpy() for number in taken]
    assert same(maps, expected)
    assert len(maps) == count


def test_frames_are_resized_bilinearly_between_pixel_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = []
    forward = TASEDNet.forward
    monkeypatch.setattr(TASEDNet, "forward", lambda net, clip: clips.append(clip) or forward(net, clip))
    (frame,) = noise(1, 2 * SIZE[0], 2 * SIZE[1])
    maps_of(small_net(), [frame], reuse=False)
    means_of_four = frame.astype(np.float32).reshape(SIZE[0], 2, SIZE[1], 2, 3).mean(axis=(1, 3))
    expected = torch.from_numpy((2 * means_of_four - 255) / 255).permute(2, 0, 1)
    torch.testing.assert_close(clips[-1][0, :, 0], expected, rtol=0, atol=1e-6)
    assert clips[-1].is_contiguous(memory_format=torch.channels_last_3d)


def test_maps_have_the_precision_asked_for() -> None:
    net, frames = small_net(width=0.125), noise(9)
    exact, single, half = (
        np.stack(maps_of(net, frames, precision=precision)) for precision in ("float64", "float32", "bfloat16")
    )
    assert (exact.dtype, single.dtype, half.dtype) == (np.float64, np.float32, np.float32)
    assert np.median(np.abs(exact - single)) < 1e-6 < np.median(np.abs(exact - half)) < 0.05


def test_the_network_given_stays_as_it_is() -> None:
    net = small_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    maps_of(net, noise(3), precision="float64")
    assert net.training
    assert not net.fused
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_fused_network_will_do() -> None:
    assert same(maps_of(small_net().fuse(), noise(9)), maps_of(small_net(), noise(9)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"precision": "int8"}, "precision must be one of 'float32', 'float64', 'bfloat16', 'float16', got 'int8'"),
        ({"compile": "yes"}, "compile must be True, False or 'auto', got 'yes'"),
        ({"device": []}, r"device must be one device, or several of one kind, got \[\]"),
        ({"device": ["cpu", "meta"]}, "device must be one device, or several of one kind"),
        ({"size": (16, 384)}, r"size must be at least 17 pixels high and wide, got \(16, 384\)"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(small_net(), **options)


def test_a_step_goes_with_single_maps_only() -> None:
    with pytest.raises(ValueError, match="a network with maps=2 predicts neighbouring frames: it takes a step of 1"):
        maps_of(small_net(maps=2), noise(1), {"step": 2})


@pytest.mark.parametrize(
    "frame", [np.zeros((40, 60), np.uint8), np.zeros((40, 60, 4), np.uint8), np.zeros((40, 60, 3), np.float32)]
)
def test_frames_that_are_not_rgb_bytes_are_refused(frame: Any) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 RGB \(H, W, 3\), got"):
        maps_of(small_net(), [frame])


def test_frames_may_be_flipped_read_only_or_tensors() -> None:
    net, video = small_net(clip_length=8), np.stack(noise(9))
    expected = maps_of(net, list(video))
    read_only = video.copy()
    read_only.flags.writeable = False
    flipped = np.ascontiguousarray(video[:, ::-1, :, ::-1])[:, ::-1, :, ::-1]
    prepared = [Predictor(net, size=SIZE).prepared(frame) for frame in video]
    for given in (list(read_only), list(flipped), list(torch.from_numpy(video)), prepared):
        np.testing.assert_array_equal(maps_of(net, given), expected)


def test_tensors_that_are_no_frames_are_refused() -> None:
    for frame in (torch.zeros(3, 40, 60), torch.zeros(40, 60, 3, dtype=torch.float64), torch.zeros(3, 3, 3)):
        with pytest.raises(ValueError, match="frames must be uint8 RGB"):
            maps_of(small_net(), [frame])


@pytest.mark.parametrize("live", [False, True])
def test_a_step_is_positive(live: bool) -> None:
    with pytest.raises(ValueError, match="step must be positive, got 0"):
        Predictor(small_net(), size=SIZE)(noise(1), step=0, live=live)


def test_live_maps_are_counted_as_they_come() -> None:
    taken: list[int] = []
    list(Predictor(small_net(clip_length=8), size=SIZE)(noise(10), live=True, tick=taken.append))
    assert taken == [1, 1, 1]


def test_maps_come_chunk_by_chunk_and_are_counted_as_they_are_computed() -> None:
    taken: list[int] = []
    counted: list[int] = []

    def camera() -> Iterator[RGB]:
        for number, frame in enumerate(noise(40)):
            taken.append(number)
            yield frame

    maps = Predictor(small_net(), size=SIZE, chunk=3)(camera(), tick=counted.append)
    for number, _ in enumerate(maps):
        assert sum(counted) >= number + 1
        assert taken[-1] <= max(number + 3, 13)
    assert sum(counted) == 40


@pytest.mark.parametrize("reuse", [True, False])
def test_frames_held_do_not_grow_with_the_video(reuse: bool) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Frame(np.ndarray[Any, Any]):  # a plain array cannot be referred to weakly
        __hash__ = object.__hash__  # type: ignore[assignment]

    def camera() -> Iterator[RGB]:
        nonlocal most
        for _ in range(60):
            frame = np.zeros((40, 60, 3), np.uint8).view(Frame)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame
            del frame

    assert len(maps_of(small_net(clip_length=4), camera(), reuse=reuse)) == 60
    assert most <= 8


# --------------------------------------------------------------------------------------------------------------- segments


@pytest.mark.parametrize(("maps", "step"), [(1, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_from_a_border_gives_the_same_bits(
    maps: int, step: int, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    frames = noise(61)
    predict = Predictor(small_net(maps=maps), size=SIZE, precision=precision, chunk=3)
    whole = list(predict(frames, step=step))
    assert len(whole) == 61
    starts = sorted({predict.border(number, step) for number in range(61)})
    assert len(starts) >= 2
    for start, first in starts:
        assert predict.border(start, step) == (start, first)
        assert same(list(predict(frames[first:], step=step, start=start)), whole[start:])


def test_a_start_within_a_segment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    with pytest.raises(ValueError, match="start must be a segment's border, such as 15, got 17"):
        maps_of(small_net(), noise(30), {"start": 17})


def test_several_devices_share_the_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    for count in (3, 61):
        one, three = (maps_of(small_net(), noise(count), device=device) for device in ("cpu", ["cpu"] * 3))
        assert same(one, three)


def test_several_devices_take_no_more_frames_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    for device in ("cpu", ["cpu"] * 2):
        taken = lead = 0

        def camera() -> Iterator[RGB]:
            nonlocal taken
            for frame in noise(100):
                taken += 1
                yield frame

        predict = Predictor(small_net(), size=SIZE, device=device)
        for number, _ in enumerate(predict(camera())):
            lead = max(lead, taken - number)
        assert lead <= predict.most_frames()


def test_devices_stop_when_maps_are_no_longer_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 64)
    counted: list[int] = []
    maps = Predictor(small_net(), size=SIZE, device=["cpu"] * 2, chunk=1)(noise(200), tick=counted.append)
    next(maps)
    maps.close()
    assert sum(counted) < 135  # of 7 and two segments


def test_a_rate_next_to_the_video_s_own_shares_as_well() -> None:
    net, frames = small_net(maps=2), noise(30)
    assert same(maps_of(net, frames, {"step": Fraction(1000, 1001)}), maps_of(net, frames))


def test_an_error_on_one_of_several_devices_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    frames: list[Any] = noise(61)
    frames[40] = "no frame"
    with pytest.raises(AttributeError):
        maps_of(small_net(), frames, device=["cpu", "cpu"])


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_the_maps_of_the_cpu(precision: Any) -> None:
    net, frames = small_net(clip_length=16, width=0.25), noise(50)
    expected = np.stack(maps_of(net, frames, precision="float64"))
    exact = np.stack(maps_of(net, frames, precision="float64", device="cuda"))
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-6)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # which rounds float32 to 10 bits
        maps = np.stack(maps_of(net, frames, precision=precision, device="cuda"))
    assert np.median(np.abs(maps - expected)) < (1e-5 if precision == "float32" else 0.05)
    assert (np.abs(maps - expected) > 0.1).mean() < 0.01


# -------------------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("reuse", [True, False])
def test_a_compiled_network_gives_the_same_maps(reuse: bool) -> None:
    """Chunks that are not full, at the ends of segments, are filled up for it: it is compiled once."""
    net, frames = small_net(clip_length=16), noise(37)
    expected = maps_of(net, frames, precision="float64", reuse=reuse, compile=False, chunk=4)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        maps = maps_of(net, frames, precision="float64", reuse=reuse, compile=True, chunk=4)
    np.testing.assert_allclose(np.stack(maps), np.stack(expected), rtol=0, atol=1e-6)


def test_long_videos_repay_compiling_where_windows_share_nothing() -> None:
    net = TASEDNet()
    shared, plain = Predictor(net, chunk=1), Predictor(net, chunk=1, reuse=False)
    assert [plain.repays_compiling(frames) for frames in (None, 250, 600)] == [False, False, True]
    assert not shared.repays_compiling(10**6)
    assert [shared.repays_compiling(frames, step=2) for frames in (250, 600)] == [False, True]
    assert not Predictor(net, chunk=1, reuse=False, size=(64, 96)).repays_compiling(600)
    for asked in (True, False):
        assert Predictor(small_net(), chunk=1, compile=asked, size=SIZE).repays_compiling(1) == asked


# ------------------------------------------------------------------------------------------------------------------- live


@pytest.mark.cuda
def test_a_gpu_gives_live_maps() -> None:
    net, frames = small_net(clip_length=8), noise(10)
    maps = [
        list(Predictor(net, size=SIZE, precision="float64", device=device)(frames, live=True))
        for device in ("cpu", "cuda")
    ]
    assert [one is None for one in maps[1]] == [one is None for one in maps[0]]
    np.testing.assert_allclose(np.stack(maps[1][7:]), np.stack(maps[0][7:]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("maps", "step"), [(1, 1), (2, 1), (1, 2)])
def test_live_maps_come_with_their_frames(maps: int, step: int) -> None:
    given = 0

    def camera() -> Iterator[RGB]:
        nonlocal given
        for frame in frames:
            given += 1
            yield frame

    net, frames = small_net(maps=maps), noise(24)
    live: list[Any] = []
    for one in Predictor(net, size=SIZE, precision="float64")(camera(), live=True, step=step):
        live.append(one)
        assert given == len(live)
    assert len(live) == 24
    first = 7 * step
    assert all(one is None for one in live[:first])
    offline = maps_of(small_net(maps=maps), frames, {"step": step}, precision="float64", reuse=False)
    for number in range(first, 24, maps):  # offline a network of two maps has every second window
        if (number + 1) % maps == 0:
            np.testing.assert_allclose(live[number], offline[number], rtol=0, atol=1e-6)
    assert all(one.dtype == np.float64 for one in live[first:])


# ------------------------------------------------------------------------------------------------------------------ video


def test_a_video_gives_times_and_maps(tmp_path: Path) -> None:
    times = [Fraction(ms, 1000) for ms in (0, 40, 90, 130, 300, 310, 340, 360, 400)]
    with video_writer(tmp_path / "a.mp4", Fraction(25), Fraction(1, 1000)) as write:
        for time, image in zip(times, noise(9, *SIZE), strict=True):
            write(VideoFrame(image, time))
    found = list(Predictor(small_net(), size=SIZE).predict_video(tmp_path / "a.mp4"))
    assert [time for time, _ in found] == times
    assert all(saliency.shape == SIZE for _, saliency in found)
    with pytest.raises(ValueError, match="fps must be a positive number, got 0"):
        next(Predictor(small_net(), size=SIZE).predict_video(tmp_path / "a.mp4", fps=0))


# ----------------------------------------------------------------------------------------------------------------- memory


def test_the_limit_picks_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net(clip_length=16, width=0.125)
    monkeypatch.setitem(predictor.CHUNKS, "cpu", 8)
    monkeypatch.setattr(predictor, "used_bytes", lambda device: (2**30, 2**40))
    engine = Predictor(net, size=SIZE)._engines[0]
    needed = {chunk: predictor.SPARE * engine.bytes_needed(chunk) + predictor.BESIDE for chunk in (1, 2, 4, 8)}
    assert needed[1] < needed[2] < needed[4] < needed[8]
    for chunk, size in needed.items():
        assert Predictor(net, size=SIZE, memory_limit=int(2**30 + size + 2)).chunk == chunk
    assert Predictor(net, size=SIZE).chunk == 8
    monkeypatch.setattr(predictor, "used_bytes", lambda device: (2**30, int(needed[2]) + 2))
    assert Predictor(net, size=SIZE).chunk == 2


def test_a_limit_that_is_too_low_is_refused() -> None:
    message = r"one window of 8 frames at 32x48 needs 0\.\d GiB more than the \d+\.\d GiB in use, but there are 0\.0 GiB: raise memory_limit"
    with pytest.raises(ValueError, match=message):
        Predictor(small_net(), size=SIZE, memory_limit=1)


def test_what_is_counted_is_what_the_allocator_gives() -> None:
    """The count of tensors that are alive, without data, against PyTorch's own of real ones."""
    from bench.memory import peak_bytes

    net = small_net(clip_length=16, width=0.25)
    predict = Predictor(net, size=(64, 96), chunk=2, compile=False)
    windows = list(sliding_windows([torch.rand(64, 96, 3) for _ in range(40)], 16))[15:]

    def call() -> None:
        once = predict._engines[0].run(True, 2, False)
        for start in (0, 2):
            once(windows[start : start + 2])

    counted, real = predict._engines[0].bytes_needed(2), peak_bytes(call, "cpu")
    assert counted == pytest.approx(real, rel=0.15)


def test_what_is_in_use_grows_with_what_is_taken() -> None:
    before, free = memory.used_bytes(CPU)
    assert 2**25 < before < free + before
    with mmap.mmap(-1, 2**27) as taken:  # what the heap gives may have been the process's before
        taken.write(b"\1" * 2**27)
        after, _ = memory.used_bytes(CPU)
    assert after - before > 2**26


def test_a_system_that_says_nothing_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_text", lambda file: "")
    used, free = memory.used_bytes(CPU)
    assert used == 0
    assert free > 2**60


@pytest.mark.parametrize(
    ("folder", "files", "free"),
    [
        ("cgroup", {"memory.max": "3072"}, 2048),
        ("cgroup", {"memory.max": "3072", "memory.current": "2048"}, 1024),  # others are in it as well
        ("cgroup", {"memory.max": "3072", "memory.current": "2048", "memory.stat": "shmem 6\ninactive_file 512"}, 1536),
        ("cgroup", {"memory.max": "3072", "memory.current": "4096"}, 0),
        ("cgroup", {"memory.max": "max", "memory.current": "2048"}, 5120),
        ("cgroup/memory", {"memory.limit_in_bytes": "3072", "memory.usage_in_bytes": "2048"}, 1024),
    ],
)
def test_a_container_has_what_its_limit_leaves(
    monkeypatch: pytest.MonkeyPatch, folder: str, files: dict[str, str], free: int
) -> None:
    told = {f"/sys/fs/{folder}/{name}": f"{text}\n" for name, text in files.items()}
    told |= {"/proc/self/status": "Name:\tpython\nGroups:\nVmRSS:\t 1 kB\n", "/proc/meminfo": "MemAvailable:  5 kB\n"}
    monkeypatch.setattr(memory, "_text", lambda file: told.get(file, ""))
    assert memory.used_bytes(CPU) == (1024, free)


# ---------------------------------------------------------------------------------------------------------- lack of memory


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[int, int], bool]) -> None:
    """Has calls of the network, by number and windows, run out of memory: every second one when all is computed."""
    numbers = itertools.count()
    for kind in (PlainRun, SharingRun):

        def run(self: Any, windows: Any, original: Any = kind.__call__) -> torch.Tensor:
            number = next(numbers)
            if refused(number, len(windows)):
                if number % 2:
                    original(self, windows)
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return original(self, windows)

        monkeypatch.setattr(kind, "__call__", run)


@pytest.mark.filterwarnings("ignore::tased_net.errors.MemoryWarning")
@pytest.mark.parametrize(("reuse", "device", "maps"), [(True, "cpu", 1), (True, ["cpu", "cpu"], 3), (False, "cpu", 3)])
def test_where_memory_runs_out_the_same_maps_come_in_smaller_chunks(
    reuse: bool, device: Any, maps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    frames, options = noise(61), {"precision": "float64", "reuse": reuse, "device": device}
    expected = maps_of(small_net(maps=maps), frames, {}, chunk=1, **options)
    for most, since in ((1, 0), (2, 2)):
        predict = Predictor(small_net(maps=maps), size=SIZE, chunk=7, **options)
        with monkeypatch.context() as patch:
            refuse(patch, lambda number, windows, most=most, since=since: number >= since and windows > most)  # type: ignore[misc]
            found = list(predict(frames))
        np.testing.assert_allclose(np.stack(found), np.stack(expected), rtol=0, atol=1e-9)
        assert predict.chunk == 1 if most == 1 else predict.chunk <= 3


def test_each_smaller_chunk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Predictor(small_net(), size=SIZE, chunk=4)
    refuse(monkeypatch, lambda number, windows: windows > 1)
    with pytest.warns(MemoryWarning) as told:
        list(predict(noise(20)))
    assert [str(one.message) for one in told] == [
        "out of memory on cpu with 4 windows at a time: goes on with 2",
        "out of memory on cpu with 2 windows at a time: goes on with 1",
    ]


@pytest.mark.filterwarnings("ignore::tased_net.errors.MemoryWarning")
@pytest.mark.parametrize("device", ["cpu", ["cpu", "cpu"]])
def test_the_sizes_of_chunks_give_the_same_bits_again(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to a run that begins at a segment in their midst, and to one that runs out of memory where the first one did not."""
    monkeypatch.setattr(predictor, "SEGMENT", 8)
    frames, noted = noise(61), dict[int, int]()
    predict = Predictor(small_net(width=0.125), size=SIZE, device=device, chunk=4)
    chunks = Chunks({0: 4}, changed=noted.__setitem__)
    with monkeypatch.context() as patch:
        refuse(patch, lambda number, windows: (number >= 5 and windows > 2) or (number >= 15 and windows > 1))
        whole = list(predict(frames, chunks=chunks))
    assert {0: 4, **noted} == chunks.sizes
    assert set(noted.values()) >= {1, 2}
    for start, first in sorted({predict.border(number) for number in range(61)}):
        assert same(list(predict(frames[first:], start=start, chunks=Chunks(chunks.sizes))), whole[start:])
    with monkeypatch.context() as patch:
        refuse(patch, lambda number, windows: number == 2 and windows > 1)
        again = Chunks(chunks.sizes)
        found = list(predict(frames, chunks=again))
    assert same(list(predict(frames, chunks=Chunks(again.sizes))), found)


def test_sizes_of_chunks_are_asked_for_while_others_are_noted() -> None:
    chunks, failed, done = Chunks({0: 4}), list[BaseException](), threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                chunks.at(10**9)
        except RuntimeError as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for place in range(1, 600):
            chunks.computed(place, place % 3 + 1)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert failed == []


@pytest.mark.parametrize("options", [{}, {"clip_length": 16, "aggregation": "late"}, {"maps": 3}])
def test_both_backends_give_the_same_maps(options: dict[str, Any]) -> None:
    """On one thread, as stock unpooling of windows that overlap races with more."""
    found, frames, threads = [], noise(20), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for backend in ("fused", "torch"):
            found.append(maps_of(small_net(width=0.125, backend=backend, **options), frames, precision="float64"))
    finally:
        torch.set_num_threads(threads)
    assert same(*found)


def test_memory_that_does_not_suffice_for_a_window_is_an_error_after_the_maps_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = Predictor(small_net(), size=SIZE, chunk=1)
    refuse(monkeypatch, lambda number, windows: number == 12)
    maps = predict(noise(20))
    with pytest.raises(MemoryError, match=r"^out of memory on cpu with one window of 8 frames at 32x48: make room, or"):
        for count, _ in enumerate(maps, 1):  # noqa: B007 as it is looked at after the loop
            pass
    assert count == 12


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("shape mismatch"), False),
        (OSError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error: Exception, refused: bool) -> None:
    assert is_out_of_memory(error) == refused


def test_an_error_that_is_none_of_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharingRun, "__call__", lambda *arguments: (_ for _ in ()).throw(RuntimeError("wrong")))
    with pytest.raises(RuntimeError, match=r"^wrong$"):
        list(Predictor(small_net(), size=SIZE, chunk=2)(noise(3)))


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore::tased_net.errors.MemoryWarning")
def test_a_gpu_that_runs_out_of_memory_gives_the_same_maps() -> None:
    net, frames = small_net(clip_length=16, width=0.5), noise(80)
    expected = np.stack(maps_of(net, frames, size=(128, 192), precision="float64", device="cuda", chunk=1))
    predict = Predictor(net, size=(128, 192), precision="float64", device="cuda", chunk=64)
    needed = predict._engines[0].bytes_needed(8)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + needed) / total)
    try:
        found = np.stack(list(predict(frames)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= predict.chunk < 64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
