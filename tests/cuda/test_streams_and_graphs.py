"""What only a GPU can show: streams, graphs, several devices, maps beyond 32 bits. tests/ops runs the rules on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import cases
import tased_ext
from cases import AUX_CASES, make

pytestmark = pytest.mark.cuda

SITE = AUX_CASES[0]
LAYOUTS = ("contiguous", "channels_last")
WINDOWS = SITE.pooling.aux_unpool

two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")


def encoder_and_decoder(seed: int = 0, layout: str = "contiguous") -> tuple[Tensor, Tensor]:
    grid = SITE.pooling.aux_grid(SITE.shape)
    assert grid is not None
    z_enc, z_dec = make(SITE.shape, seed=seed), make(grid, seed=seed)
    return cases.LAYOUTS[layout](z_enc), cases.LAYOUTS[layout](z_dec)


def forward_and_backward(z_enc: Tensor, z_dec: Tensor) -> tuple[Tensor, ...]:
    """Through every kernel: the unpooled map, and gradients of both inputs of a sum that needs them all."""
    z_enc, z_dec = z_enc.detach().requires_grad_(), z_dec.detach().requires_grad_()
    values, switches = tased_ext.aux_max_pool(z_enc, **WINDOWS)
    size = z_enc.shape[-2:]
    y = tased_ext.aux_pool_unpool(z_enc, z_dec, **WINDOWS)
    y = y + tased_ext.max_unpool(values, switches, **SITE.pooling.unpool, output_size=size)
    y = y + tased_ext.max_pool3d(y, 3, 1, 1)
    gradients = torch.autograd.grad((y * y).sum(), (z_enc, z_dec))
    return y.detach(), *gradients


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=two_gpus)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kernels_run_on_the_current_stream_of_the_tensors_device(layout: str, index: int) -> None:
    """Whichever device is the current one. The input is written late on the side stream; work on another stream would not
    wait for it."""
    expected = forward_and_backward(*encoder_and_decoder(layout=layout))
    sources = [x.pin_memory() for x in encoder_and_decoder(layout=layout)]
    side = torch.cuda.Stream(index)
    with torch.cuda.stream(side), torch.cuda.device(0):
        inputs = [torch.zeros_like(x, device=f"cuda:{index}") for x in sources]
        with torch.cuda.device(index):
            torch.cuda._sleep(50_000_000)
        for x, source in zip(inputs, sources, strict=True):
            x.copy_(source, non_blocking=True)
        actual = forward_and_backward(*inputs)
    side.synchronize()
    for ours, theirs in zip(actual, expected, strict=True):
        cases.assert_same(ours, theirs)


def test_backward_runs_on_the_stream_of_forward() -> None:
    """The gradient comes from the default stream; autograd joins the streams, and our kernels follow it."""
    z_enc, z_dec = (x.cuda() for x in encoder_and_decoder())
    leaf = z_dec.clone().requires_grad_()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        y = tased_ext.aux_pool_unpool(z_enc, leaf, **WINDOWS)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda._sleep(50_000_000)
    y.backward(y.detach() * 2)
    torch.cuda.synchronize()
    reference = z_dec.cpu().requires_grad_()
    y = tased_ext.aux_pool_unpool(z_enc.cpu(), reference, **WINDOWS)
    y.backward(y.detach() * 2)
    assert leaf.grad is not None
    assert reference.grad is not None
    cases.assert_same(leaf.grad, reference.grad)


@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream")  # the leaf's own stream is neither's
def test_branches_on_two_streams_meet_in_one_gradient() -> None:
    """Each branch goes back on its own stream; autograd adds what they bring."""
    sources = encoder_and_decoder()
    z_enc, z_dec = (x.cuda() for x in sources)
    leaf = z_dec.clone().requires_grad_()
    branches = []
    for scale in (1, 2):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            torch.cuda._sleep(20_000_000)
            branches.append(tased_ext.aux_pool_unpool(z_enc, leaf * scale, **WINDOWS))
        torch.cuda.current_stream().wait_stream(side)
    y = branches[0] + branches[1]
    y.backward(y.detach())
    torch.cuda.synchronize()
    reference = sources[1].requires_grad_()
    first, second = (tased_ext.aux_pool_unpool(sources[0], reference * scale, **WINDOWS) for scale in (1, 2))
    expected = first + second
    expected.backward(expected.detach())
    assert leaf.grad is not None
    assert reference.grad is not None
    cases.assert_same(y.detach(), expected.detach())
    cases.assert_same(leaf.grad, reference.grad)


def captured(work: Callable[[], tuple[Tensor, ...]]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    return graph, results


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_graph_captures_and_replays(layout: str) -> None:
    inputs = [x.cuda() for x in encoder_and_decoder(0, layout)]
    graph, results = captured(lambda: forward_and_backward(*inputs))
    for seed in (1, 2):
        fresh = encoder_and_decoder(seed, layout)
        for x, source in zip(inputs, fresh, strict=True):
            x.copy_(source)
        graph.replay()
        torch.cuda.synchronize()
        for ours, theirs in zip(results, forward_and_backward(*fresh), strict=True):
            cases.assert_same(ours, theirs)


@two_gpus
def test_kernels_run_on_the_tensors_device() -> None:
    expected = forward_and_backward(*encoder_and_decoder())
    with torch.cuda.device(0):
        actual = forward_and_backward(*(x.to("cuda:1") for x in encoder_and_decoder()))
        assert torch.cuda.current_device() == 0
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.device == torch.device("cuda:1")
        cases.assert_same(ours, theirs)


@two_gpus
def test_one_gradient_spans_two_devices() -> None:
    """Autograd has a thread for each device."""
    z_enc, z_dec = encoder_and_decoder()
    leaf, reference = z_dec.clone().requires_grad_(), z_dec.clone().requires_grad_()
    devices = ("cuda:0", "cuda:1")
    first, second = (tased_ext.aux_pool_unpool(z_enc.to(d), leaf.to(d), **WINDOWS).cpu() for d in devices)
    (first * second).sum().backward()
    y = tased_ext.aux_pool_unpool(z_enc, reference, **WINDOWS)
    (y * y).sum().backward()
    assert leaf.grad is not None
    assert reference.grad is not None
    cases.assert_same(leaf.grad, reference.grad)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_beyond_32_bits(layout: str) -> None:
    """2^31 + 2^22 elements of float16: the last channels are pooled and unpooled like a small map of their own."""
    shape = (1, 2050, 2, 512, 1024)
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("less than 20 GiB of free GPU memory")
    memory_format = torch.channels_last_3d if layout == "channels_last" else torch.contiguous_format
    z = torch.empty(shape, dtype=torch.float16, device="cuda", memory_format=memory_format).zero_()
    tail = make((1, 4, *shape[2:]), torch.float16, "ties")
    z[:, -4:] = tail.cuda()
    windows = (2, 3, 2, 1)
    values, switches = tased_ext.aux_max_pool(z, *windows)
    expected, expected_switches = tased_ext.aux_max_pool(tail, *windows)
    cases.assert_same(values[:, -4:].contiguous(), expected)
    cases.assert_same(switches[:, -4:].contiguous(), expected_switches)
    unpooled = tased_ext.aux_pool_unpool(z, values, *windows)[:, -4:].contiguous()
    cases.assert_same(unpooled, tased_ext.aux_pool_unpool(tail, expected, *windows))
    gradients = []
    for x in (z, tail):
        x.requires_grad_()
        gradients += torch.autograd.grad(tased_ext.aux_max_pool(x, *windows)[0].sum(), x)
    cases.assert_same(gradients[0][:, -4:].contiguous(), gradients[1])
