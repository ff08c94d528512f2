"""Random geometries, contents and memory layouts: operations and gradients against the reference, bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import cases
import tased_ext
from cases import DTYPES, FILLS, LAYOUTS, Pooling, assert_same, make
from tased_ext import reference

random_cases = settings(
    max_examples=2000 if cases.FULL else 250,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


@st.composite
def poolings(draw: st.DrawFn, pad_time: bool) -> Pooling:
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)))
    stride = draw(st.tuples(*(st.integers(1, k + 1) for k in kernel)))
    padding = draw(st.tuples(*(st.integers(0, k // 2) for k in kernel)))
    return Pooling(kernel, stride, padding if pad_time else (0, *padding[1:]), draw(st.booleans()))


shapes = st.tuples(*(st.integers(1, most) for most in (3, 20, 8, 20, 40)))
contents = st.tuples(st.sampled_from(DTYPES), st.sampled_from(sorted(FILLS)), st.integers(0, 2**32))
layouts = st.sampled_from(sorted(LAYOUTS))
threads = st.integers(1, 3)


def result_and_gradient(call: Any, source: Tensor) -> tuple[Tensor, Tensor]:
    """The value of a call, and the gradient of its source for a random gradient of the value."""
    leaf = source.detach().requires_grad_()
    value = call(leaf)
    upstream = make(value.shape, value.dtype, seed="gradient").to(value.device)
    return value.detach(), torch.autograd.grad(value, leaf, upstream)[0]


def assert_equal(ours: Any, definition: Any, source: Tensor) -> None:
    for actual, expected in zip(
        result_and_gradient(ours, source), result_and_gradient(definition, source.cpu()), strict=True
    ):
        assert_same(actual, expected)


@random_cases
@given(poolings(pad_time=True), shapes, contents, layouts, threads)
def test_max_pool3d_is_the_reference(
    device: torch.device, pooling: Pooling, shape: tuple[int, ...], content: Any, layout: str, count: int
) -> None:
    assume(pooling.grid(shape) is not None)
    x = LAYOUTS[layout](make(shape, *content).to(device))
    with cases.threads(count):
        assert_equal(
            lambda x: tased_ext.max_pool3d(x, **pooling.pool3d),
            lambda x: reference.max_pool3d(x, **pooling.pool3d),
            x,
        )


@random_cases
@given(poolings(pad_time=False), shapes, contents, layouts, threads)
def test_auxiliary_pooling_is_the_reference(
    device: torch.device, pooling: Pooling, shape: tuple[int, ...], content: Any, layout: str, count: int
) -> None:
    assume(pooling.aux_grid(shape) is not None)
    z = LAYOUTS[layout](make(shape, *content).to(device))
    with cases.threads(count):
        assert_same(tased_ext.aux_pool(z, **pooling.aux), reference.aux_pool(z.cpu(), **pooling.aux))
        assert_equal(
            lambda z: tased_ext.aux_max_pool(z, **pooling.aux)[0],
            lambda z: reference.aux_max_pool(z, **pooling.aux)[0],
            z,
        )


@random_cases
@given(poolings(pad_time=False), shapes, contents, layouts, threads, st.booleans(), st.data())
def test_unpooling_is_the_reference(
    device: torch.device,
    pooling: Pooling,
    grid: tuple[int, ...],
    content: Any,
    layout: str,
    count: int,
    exact_grad: bool,
    data: st.DataObject,
) -> None:
    natural = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(grid[3:], *pooling.unpool.values(), strict=True)]
    assume(all(extent + stride > 1 for extent, stride in zip(natural, pooling.stride[1:], strict=True)))
    size = [
        data.draw(st.integers(max(1, extent - stride + 1), extent + stride - 1))
        for extent, stride in zip(natural, pooling.stride[1:], strict=True)
    ]
    switches = LAYOUTS[layout](cases.make_switches(grid, data.draw(st.integers(0, min(pooling.area + 5, 255)))))
    x = LAYOUTS[layout](make(grid, *content).to(device))
    options = {**pooling.unpool, "output_size": tuple(size), "exact_grad": exact_grad}
    with cases.threads(count):
        assert_equal(
            lambda x: tased_ext.max_unpool(x, switches.to(device), **options),
            lambda x: reference.max_unpool(x, switches, **options),
            x,
        )


@random_cases
@given(poolings(pad_time=False), shapes, contents, layouts, threads, st.booleans())
def test_pooling_and_unpooling_in_one_is_the_reference(
    device: torch.device,
    pooling: Pooling,
    shape: tuple[int, ...],
    content: Any,
    layout: str,
    count: int,
    exact_grad: bool,
) -> None:
    pooling = Pooling(pooling.kernel, pooling.stride, pooling.padding)  # without ceil_mode
    grid = pooling.aux_grid(shape)
    assume(grid is not None)
    assert grid is not None
    z = LAYOUTS[layout](make(shape, *content).to(device))
    x = LAYOUTS[layout](make(grid, content[0]).to(device))
    options = {**pooling.aux_unpool, "exact_grad": exact_grad}
    with cases.threads(count):
        assert_equal(
            lambda x: tased_ext.aux_pool_unpool(z, x, **options),
            lambda x: reference.aux_pool_unpool(z.cpu(), x, **options),
            x,
        )


@random_cases
@given(poolings(pad_time=False), shapes, layouts)
def test_indices_and_switches_convert_both_ways(
    device: torch.device, pooling: Pooling, shape: tuple[int, ...], layout: str
) -> None:
    assume(pooling.aux_grid(shape) is not None)
    assume(layout != "unbatched_expanded_channels")  # a window's byte may be none of its neighbour's at the border
    switches = LAYOUTS[layout](tased_ext.aux_pool(make(shape, fill="ties").to(device), **pooling.aux))
    options = {**pooling.unpool, "output_size": shape[3:]}
    indices = tased_ext.switches_to_indices(switches, **options)
    assert_same(indices, reference.switches_to_indices(switches.cpu(), **options))
    assert_same(tased_ext.indices_to_switches(indices, **options), switches.cpu())
