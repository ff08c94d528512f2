"""tased_ext.reference against the rules spelt out as loops, and against stock PyTorch on one thread."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import cases
import tased_ext
from cases import AUX_CASES, DTYPES, FILLS, POOL_CASES, Case, assert_same, make, mixed
from tased_ext import reference

FUNCTIONS = ("aux_pool", "aux_max_pool", "max_unpool", "aux_pool_unpool", "max_pool3d")
CONVERSIONS = ("switches_to_indices", "indices_to_switches")
SMALL = [case for case in AUX_CASES if math.prod(case.shape) < 4000]


@pytest.mark.parametrize("name", FUNCTIONS + CONVERSIONS)
def test_the_reference_has_the_signatures_of_the_operations(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (tased_ext, reference))
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def scan(positions: list[tuple[int, ...]], value: Callable[[tuple[int, ...]], float]) -> tuple[int, ...]:
    """The best of positions: in their order, a later one replaces the best only if it is greater or NaN."""
    best = positions[0]
    for position in positions[1:]:
        if value(position) > value(best) or math.isnan(value(position)):
            best = position
    return best


def window(index: tuple[int, ...], case: Case, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The positions (row, column) of a spatial window on the plane, in row-major order."""
    kernel, stride, padding = case.pooling.unpool.values()
    starts = [i * s - p for i, s, p in zip(index, stride, padding, strict=True)]
    axes = [
        [q for q in range(start, start + k) if 0 <= q < extent]
        for start, k, extent in zip(starts, kernel, size, strict=True)
    ]
    return list(itertools.product(*axes))


@pytest.mark.parametrize(("case", "fill"), mixed(SMALL[::3], list(FILLS)), ids=str)
def test_auxiliary_pooling_follows_the_rules_spelt_out_as_loops(case: Case, fill: str) -> None:
    z = make(case.shape, torch.float64, fill)
    values, switches = reference.aux_max_pool(z, **case.pooling.aux)
    pooling = case.pooling
    (kt, _, kw), (st, *stride), (_, *padding) = pooling.kernel, pooling.stride, pooling.padding
    for n, c, t in itertools.product(*map(range, values.shape[:3])):
        clip = z[n, c, t * st : t * st + kt].tolist()

        def p(position: tuple[int, ...], clip: list[list[list[float]]] = clip) -> float:
            (frame,) = scan([(f,) for f in range(kt)], lambda f: clip[f[0]][position[0]][position[1]])
            return clip[frame][position[0]][position[1]]

        for i, j in itertools.product(*map(range, values.shape[3:])):
            row, column = scan(window((i, j), case, case.shape[3:]), p)
            offset = (row - i * stride[0] + padding[0]) * kw + column - j * stride[1] + padding[1]
            assert switches[n, c, t, i, j] == offset
            assert_same(values[n, c, t, i, j], torch.tensor(p((row, column)), dtype=torch.float64))


@pytest.mark.parametrize("case", [case for case in SMALL[::3] if not case.pooling.ceil_mode], ids=str)
def test_unpooling_follows_the_rules_spelt_out_as_loops(case: Case) -> None:
    grid = case.pooling.aux_grid(case.shape)
    assert grid is not None
    kernel, stride, padding = case.pooling.unpool.values()
    x, switches = make(grid), cases.make_switches(grid, min(case.pooling.area + 1, 255))
    expected = torch.zeros(*grid[:3], *case.shape[3:])
    for n, c, t, i, j in itertools.product(*map(range, grid)):
        row, column = divmod(int(switches[n, c, t, i, j]), kernel[1])
        position = i * stride[0] - padding[0] + row, j * stride[1] - padding[1] + column
        if row < kernel[0] and position in window((i, j), case, case.shape[3:]):
            expected[n, c, t, position[0], position[1]] = x[n, c, t, i, j]
    assert_same(reference.max_unpool(x, switches, **case.pooling.unpool, output_size=case.shape[3:]), expected)


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(AUX_CASES, DTYPES, list(FILLS)), ids=str)
def test_auxiliary_pooling_and_unpooling_equal_the_stock_chain(case: Case, dtype: torch.dtype, fill: str) -> None:
    z = make(case.shape, dtype, fill)
    values, indices = cases.stock_aux_pool(z, case.pooling)
    actual, switches = reference.aux_max_pool(z, **case.pooling.aux)
    assert_same(actual, values)
    size = case.shape[3:]
    assert_same(reference.switches_to_indices(switches, **case.pooling.unpool, output_size=size), indices)
    assert_same(reference.indices_to_switches(indices, **case.pooling.unpool, output_size=size), switches)
    x = make(values.shape, dtype)
    assert_same(
        reference.max_unpool(x, switches, **case.pooling.unpool, output_size=size),
        cases.stock_max_unpool(x, indices, case.pooling, size),
    )


def gradient(result: Tensor, source: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(result, source, make(result.shape, result.dtype, seed="gradient"))
    return grad


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(POOL_CASES, DTYPES[:2], list(FILLS)), ids=str)
def test_max_pool3d_and_its_gradient_equal_stock(case: Case, dtype: torch.dtype, fill: str) -> None:
    x = make(case.shape, dtype, fill).requires_grad_()
    with cases.threads(1):
        expected = F.max_pool3d(x, **case.pooling.pool3d)
        actual = reference.max_pool3d(x, **case.pooling.pool3d)
        assert_same(actual, expected)
        assert_same(gradient(actual, x), gradient(expected, x))


@pytest.mark.parametrize(("case", "fill"), mixed(AUX_CASES, list(FILLS)), ids=str)
def test_gradients_of_the_stock_chain_are_the_references(case: Case, fill: str) -> None:
    z = make(case.shape, torch.float64, fill).requires_grad_()
    expected, indices = cases.stock_aux_pool(z, case.pooling)
    actual, switches = reference.aux_max_pool(z, **case.pooling.aux)
    with cases.threads(1):
        # Where windows overlap in time as well, the stock chain adds in another order.
        torch.testing.assert_close(gradient(actual, z), gradient(expected, z), rtol=0, atol=1e-13)
    x = make(actual.shape, torch.float64).requires_grad_()
    size = case.shape[3:]
    stock = cases.stock_max_unpool(x, indices, case.pooling, size)
    unpooled = reference.max_unpool(x, switches, **case.pooling.unpool, output_size=size, exact_grad=False)
    assert_same(gradient(unpooled, x), gradient(stock, x))


@pytest.mark.parametrize("case", AUX_CASES[::9], ids=str)
def test_gather_is_the_transpose_of_scatter(case: Case) -> None:
    grid, windows = case.pooling.aux_grid(case.shape), case.pooling.windows
    assert grid is not None
    offsets = cases.make_switches(grid, min(case.pooling.area + 1, 255))
    frames = cases.make_switches(grid, case.pooling.kernel[0])
    x, y = make(grid, torch.float64).requires_grad_(), make(case.shape, torch.float64)
    scattered = reference.scatter_windows(x, offsets, frames, *windows, *case.shape[2:])
    gathered = reference.gather_windows(y, offsets, frames, *windows, False)
    assert_same(torch.autograd.grad(scattered, x, y)[0], gathered)
