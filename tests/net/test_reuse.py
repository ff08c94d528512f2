"""What windows share is computed once, and the maps stay those of the plain sliding window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import cases
from tased_net import Predictor, TASEDNet
from tased_net.reuse import Line, ReusingEncoder, SharingRun, clips_of, nodes_of
from tased_net.sliding import Window, sliding_windows

SIZE = (33, 48)
VARIANTS: list[dict[str, Any]] = [
    {"clip_length": 4},
    {"clip_length": 8, "upsampling": "trp"},
    {"clip_length": 16, "aggregation": "late-two-step", "backend": "torch"},
    {"clip_length": 24, "aggregation": "late", "maps": 3},
    {"clip_length": 32},
    {"clip_length": 32, "decoder": "unet", "maps": 2},
    {"clip_length": 64, "upsampling": "tri"},
]


def small_net(**options: Any) -> TASEDNet:
    torch.manual_seed(1)  # in nets as small as these two values of a window can be equal but for rounding, as with 0
    return TASEDNet(**{"width": 0.02, **options}).eval()


def noise(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 60, 3), np.uint8))


def maps_of(net: TASEDNet, count: int, precision: Any = "float64", **options: Any) -> NDArray[Any]:
    return np.stack(list(Predictor(net, size=SIZE, precision=precision, **options)(noise(count))))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_maps_are_those_of_the_plain_window_in_float64(options: dict[str, Any]) -> None:
    """At the start, where clips run back in time, in the middle and at the end."""
    net = small_net(**options)
    count = 2 * net.clip_length + 5
    expected = maps_of(net, count, reuse=False)
    for chunk in (1, 3):
        np.testing.assert_allclose(maps_of(net, count, chunk=chunk), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(not cases.FULL, reason="takes minutes and 8 GB of memory; TASED_TEST_SCALE=full runs it")
@pytest.mark.usefixtures("much_memory")
def test_maps_are_those_of_the_plain_window_at_full_size() -> None:
    """32 frames of 224x384 and every channel, in float64: at the start, in the middle and at the end."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    predictor = Predictor(TASEDNet(), precision="float64")
    frames = list(np.random.default_rng(0).integers(0, 256, (70, 224, 384, 3), np.uint8))
    maps = list(predictor(frames))
    network_inputs = [predictor.prepared(frame).double() for frame in frames]
    for number, (clip, _) in enumerate(sliding_windows(network_inputs, 32)):
        if number in (0, 17, 30, 31, 45, 69):
            with torch.inference_mode():
                expected = predictor.net(clips_of(torch.stack(clip)[None]))
            np.testing.assert_allclose(maps[number], expected[0].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("maps", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 13, 14, 15, 16, 30])
def test_short_and_looped_videos_are_the_same(count: int, maps: int) -> None:
    net = small_net(clip_length=8, maps=maps)
    expected = maps_of(net, count, reuse=False)
    assert len(expected) == count
    for chunk in (1, 2, 5, 100):
        np.testing.assert_allclose(maps_of(net, count, chunk=chunk), expected, rtol=0, atol=1e-6)


def test_batch_norms_need_not_be_folded() -> None:
    net = small_net(clip_length=16).double()
    frames = torch.rand(21, *SIZE, 3, dtype=torch.float64)
    run = SharingRun(net)
    with torch.inference_mode():
        maps = [run([Window(list(frames[start : start + 16]), range(1))]) for start in range(6)]
        expected = [net(clips_of(frames[None, start : start + 16])) for start in range(6)]
    torch.testing.assert_close(torch.cat(maps)[:, 0], torch.cat(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("precision", "median"), [("float32", 1e-6), ("bfloat16", 0.05)])
def test_maps_in_lower_precision_differ_no_more_than_by_another_batch(precision: Any, median: float) -> None:
    """A nearly tied switch falls to the other side here and there, as it does when two clips are computed at once."""
    net = small_net(width=0.125, clip_length=16)
    plain, reused = maps_of(net, 40, precision, reuse=False, chunk=1), maps_of(net, 40, precision)
    pairs = maps_of(net, 40, precision, reuse=False, chunk=2)

    def jumped(a: NDArray[Any], b: NDArray[Any]) -> float:
        return float((np.abs(a - b) > 1e-3).mean())

    assert np.median(np.abs(plain - reused)) < median
    assert jumped(plain, reused) <= 2 * jumped(plain, pairs) + 1e-3
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(plain, reused, strict=True)]
    assert min(correlations) > 0.9


def test_each_layer_sees_the_slices_that_windows_share_once() -> None:
    """Counted for T = 32: 31 of 32 frames of the first convolution, then 12 of 16, 10 of 16 and 6 of 16 slices."""
    net = small_net(clip_length=32)
    seen: dict[str, int] = {}
    watched = {"base1.0.conv_s": "first", "base1.3.conv_s": "second", "base2.1.branch0.0.conv": "last"}
    for name, key in watched.items():
        net.get_submodule(name).register_forward_hook(
            lambda _, arguments, output, key=key: seen.__setitem__(
                key, seen.get(key, 0) + output[0, 0].numel() * len(output)
            )
        )
    frames = [torch.rand(*SIZE, 3) for _ in range(32 + 40)]
    windows = (window for window in sliding_windows(frames, 32) if not window.reversed)
    run = SharingRun(net)
    with torch.inference_mode():
        for _ in range(20):
            run([next(windows)])
        seen.clear()
        for _ in range(20):
            run([next(windows)])
    sizes = {"first": 17 * 24, "second": 9 * 12, "last": 5 * 6}
    slices = {key: count / sizes[key] / 20 for key, count in seen.items()}
    assert slices == {"first": 1, "second": 4, "last": 8}  # own slices near the ends, and one new one


def test_clean_slices_follow_from_the_layers() -> None:
    encoder = ReusingEncoder(small_net(clip_length=32))
    frames = torch.rand(40, *SIZE, 3)
    with torch.inference_mode():
        z2, z1 = encoder(frames, [0, 3, 8])
    assert (z2.length, len(z2.lines), z2.before, z2.after) == (16, 2, 3, 2)
    assert (z1.length, len(z1.lines), z1.before, z1.after) == (16, 2, 5, 4)
    assert z1.all().shape == (3, z1.all().shape[1], 16, 5, 6)


def test_windows_may_need_no_new_frame() -> None:
    net = small_net(clip_length=32).double()
    encoder = ReusingEncoder(net)
    frames = torch.rand(34, *SIZE, 3, dtype=torch.float64)
    with torch.inference_mode():
        encoder(frames, [0])
        _, z1 = encoder(frames[:0], [1, 2])
        expected = [net.base2(net.pool1(net.base1(clips_of(frames[None, start : start + 32])))) for start in (1, 2)]
    torch.testing.assert_close(z1.all(), torch.cat(expected), rtol=0, atol=1e-9)


def test_a_clip_without_clean_slices_is_computed_whole() -> None:
    encoder = ReusingEncoder(small_net(clip_length=8))
    with torch.inference_mode():
        z2, z1 = encoder(torch.rand(9, *SIZE, 3), [0, 1])
    assert z2.whole is not None
    assert z1.whole is not None


def test_lines_hold_no_more_than_a_window_needs() -> None:
    net = small_net(clip_length=32)
    encoder = ReusingEncoder(net)

    def held() -> int:
        lines: list[Line] = [encoder.frames]
        nodes = [*encoder.base1, *encoder.base2]
        while nodes:
            node = nodes.pop()
            lines += node.lines
            nodes += [inner for branch in getattr(node, "branches", ()) for inner in branch]
        return sum(line.end - line.begin for line in lines)

    counts = []
    with torch.inference_mode():
        for start in range(60):
            encoder(torch.rand(32 if start == 0 else 1, *SIZE, 3), [start])
            counts.append(held())
    assert max(counts[40:]) <= max(counts[:40])


def test_a_layer_of_another_stride_is_followed_as_well() -> None:
    """A chain that S3D does not have: kernels, strides and paddings of its own."""
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        nn.MaxPool3d((2, 1, 1), (1, 1, 1), (0, 0, 0)),
        nn.MaxPool3d((5, 1, 1), (2, 1, 1), (2, 0, 0)),
    )
    nodes = nodes_of(chain, 1)
    frames = torch.rand(100, 3, 4, 2)
    encoder = ReusingEncoder.__new__(ReusingEncoder)
    encoder.clip_length, encoder.frames, encoder.base1, encoder.base2 = 40, Line(), nodes, []
    starts = [0, 1, 2, 5, 9, 33, 60]
    given = 0
    for start in starts:
        y, _ = encoder(frames[given : start + 40], [start])
        given = start + 40
        assert y.whole is None
        assert torch.equal(y.all(), chain(clips_of(frames[None, start : start + 40])))
