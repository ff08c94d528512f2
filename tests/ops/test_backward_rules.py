"""The gradients of the operations: their rules, their exactness, and what is kept in memory for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

import cases
import tased_ext
from cases import (
    AUX_CASES,
    DTYPES,
    FILLS,
    LAYOUTS,
    POOL_CASES,
    Case,
    Pooling,
    assert_keeps_layout,
    assert_same,
    make,
    mixed,
)
from tased_ext import reference

SITE = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
FLOOR_CASES = [case for case in AUX_CASES if not case.pooling.ceil_mode]
BATCHED_LAYOUTS = [name for name in LAYOUTS if not name.startswith("unbatched")]
# Windows that overlap in every axis, windows with gaps between them, and frames, rows and columns left over.
SMALL = (
    Case((1, 2, 7, 5, 6), Pooling((3, 3, 3), (2, 1, 1), (0, 1, 1))),
    Case((2, 1, 7, 6, 5), Pooling((2, 3, 2), (3, 2, 1), (0, 1, 0))),
    Case((1, 2, 5, 7, 5), Pooling((2, 2, 2), (1, 3, 3))),
)


def gradient(result: Tensor, source: Tensor, layout: str = "contiguous") -> Tensor:
    """The gradient of `source` for a random gradient of `result` that is stored in `layout`."""
    drawn = make(result.shape, result.dtype, seed="gradient").to(result.device)
    (grad,) = torch.autograd.grad(result, source, LAYOUTS[layout](drawn))
    return grad


def grid_of(case: Case) -> tuple[int, ...]:
    grid = case.pooling.aux_grid(case.shape)
    assert grid is not None
    return grid


# ----------------------------------------------------------------------------------------------------- the whole matrix


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(AUX_CASES * 2, DTYPES, BATCHED_LAYOUTS, list(FILLS)), ids=str
)
def test_gradient_of_auxiliary_pooling_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    z = make(case.shape, dtype, fill)
    leaf, twin = z.clone().requires_grad_(), z.to(device).requires_grad_()
    expected = gradient(reference.aux_max_pool(leaf, **case.pooling.aux)[0], leaf, layout)
    assert_same(gradient(tased_ext.aux_max_pool(twin, **case.pooling.aux)[0], twin, layout), expected)


@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(POOL_CASES * 2, DTYPES, BATCHED_LAYOUTS, list(FILLS)), ids=str
)
def test_gradient_of_max_pool3d_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, device: torch.device
) -> None:
    x = make(case.shape, dtype, fill)
    leaf, twin = x.clone().requires_grad_(), x.to(device).requires_grad_()
    expected = gradient(reference.max_pool3d(leaf, **case.pooling.pool3d), leaf, layout)
    assert_same(gradient(tased_ext.max_pool3d(twin, **case.pooling.pool3d), twin, layout), expected)


@pytest.mark.parametrize("exact_grad", [True, False])
@pytest.mark.parametrize(("case", "dtype", "layout"), mixed(AUX_CASES * 2, DTYPES, BATCHED_LAYOUTS), ids=str)
def test_gradient_of_unpooling_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, exact_grad: bool, device: torch.device
) -> None:
    # Random bytes: valid switches, those off the map, and those past the kernel's area.
    grid, options = grid_of(case), {**case.pooling.unpool, "output_size": case.shape[3:], "exact_grad": exact_grad}
    switches = cases.make_switches(grid, min(case.pooling.area + case.pooling.area // 4, 255))
    leaf, twin = make(grid, dtype).requires_grad_(), make(grid, dtype).to(device).requires_grad_()
    expected = gradient(reference.max_unpool(leaf, switches, **options), leaf, layout)
    assert_same(gradient(tased_ext.max_unpool(twin, switches.to(device), **options), twin, layout), expected)


@pytest.mark.parametrize("exact_grad", [True, False])
@pytest.mark.parametrize(
    ("case", "dtype", "layout", "fill"), mixed(FLOOR_CASES, DTYPES, BATCHED_LAYOUTS, list(FILLS)), ids=str
)
def test_gradient_of_pooling_and_unpooling_in_one_equals_the_reference(
    case: Case, dtype: torch.dtype, layout: str, fill: str, exact_grad: bool, device: torch.device
) -> None:
    options = {**case.pooling.aux_unpool, "exact_grad": exact_grad}
    z = make(case.shape, dtype, fill)
    leaf, twin = make(grid_of(case), dtype).requires_grad_(), make(grid_of(case), dtype).to(device).requires_grad_()
    expected = gradient(reference.aux_pool_unpool(z, leaf, **options), leaf, layout)
    assert_same(gradient(tased_ext.aux_pool_unpool(z.to(device), twin, **options), twin, layout), expected)


@pytest.mark.parametrize(("case", "dtype", "layout"), mixed(AUX_CASES, DTYPES, BATCHED_LAYOUTS), ids=str)
def test_scatter_and_gather_of_windows_equal_the_reference(
    case: Case, dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    grid, windows = grid_of(case), case.pooling.windows
    offsets = cases.make_switches(grid, min(case.pooling.area + 1, 255))
    frames = cases.make_switches(grid, case.pooling.kernel[0], seed="frames")
    x, y = LAYOUTS[layout](make(grid, dtype, "special")), LAYOUTS[layout](make(case.shape, dtype, "special"))
    moved = (offsets.to(device), frames.to(device), *windows)
    scattered = torch.ops.tased_ext.scatter_windows(x.to(device), *moved, *case.shape[2:])
    assert_same(scattered, reference.scatter_windows(x, offsets, frames, *windows, *case.shape[2:]))
    gathered = torch.ops.tased_ext.gather_windows(y.to(device), *moved, False)
    assert_same(gathered, reference.gather_windows(y, offsets, frames, *windows, False))


# --------------------------------------------------------------------------------------------------------- rule by rule


def test_switches_have_no_gradient(device: torch.device) -> None:
    z = make((1, 2, 4, 6, 6)).to(device).requires_grad_()
    assert not tased_ext.aux_pool(z, **SITE.aux).requires_grad
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    assert values.requires_grad
    assert not switches.requires_grad


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradient_goes_to_the_first_frame_that_reaches_the_maximum(dtype: torch.dtype, device: torch.device) -> None:
    z = torch.tensor([[1, 7, 7], [9, 2, 9], [9, 7, 9]], dtype=dtype, device=device).T  # rows: frames 1 9 9, 7 2 7, …
    z = z.reshape(1, 1, 3, 1, 3).requires_grad_()  # frames of three columns: 1 9 9, 7 2 7, 7 9 9
    values, switches = tased_ext.aux_max_pool(z, 3, (1, 1))
    (grad,) = torch.autograd.grad(values.sum(), z)
    assert values.flatten().tolist() == [7, 9, 9]
    assert grad[0, 0, :, 0].tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    values, switches = tased_ext.aux_max_pool(z, 3, (1, 3))
    (grad,) = torch.autograd.grad(values.sum(), z)
    assert switches.item() == 1
    assert grad[0, 0, :, 0].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_of_overlapping_windows_add_up_in_ascending_order(layout: str, device: torch.device) -> None:
    # Nine windows pick the middle. In ascending order 2^24 swallows both ones before it is taken away.
    x = torch.zeros(1, 3, 1, 5, 5, device=device)
    x[..., 2, 2] = 1
    x = LAYOUTS[layout](x).requires_grad_()
    order = torch.tensor([2.0**24, 1, 1, -(2.0**24), 0, 0, 0, 0, 3], device=device).view(3, 3)
    for result in (tased_ext.max_pool3d(x, (1, 3, 3), 1), tased_ext.aux_max_pool(x, 1, 3, 1)[0]):
        (grad,) = torch.autograd.grad(result, x, order.expand_as(result))
        expected = torch.zeros(1, 3, 1, 5, 5)
        expected[..., 2, 2] = 3
        assert_same(grad, expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_gradients_add_up_in_float32_and_are_rounded_once(
    dtype: torch.dtype, layout: str, device: torch.device
) -> None:
    # One large gradient and eight of half its last place: rounded at every step, they would all be lost.
    x = torch.zeros(1, 3, 1, 5, 5, dtype=dtype, device=device)
    x[..., 2, 2] = 1
    x = LAYOUTS[layout](x).requires_grad_()
    result = tased_ext.max_pool3d(x, (1, 3, 3), 1)
    order = torch.full((3, 3), torch.finfo(dtype).eps / 2, dtype=dtype, device=device)
    order[0, 0] = 1
    (grad,) = torch.autograd.grad(result, x, order.expand_as(result))
    assert grad.dtype == dtype
    assert_same(grad[0, :, 0, 2, 2], torch.full((3,), 1 + 4 * torch.finfo(dtype).eps, dtype=dtype))


def overwritten(layout: str, exact_grad: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """The gradients that two windows with the same switch get from max_unpool and from aux_pool_unpool."""
    z = torch.tensor([0.0, 1, 0]).expand(1, 3, 1, 1, 3).contiguous().to(device)
    z = LAYOUTS[layout](z)
    x = LAYOUTS[layout](torch.tensor([5.0, 6]).expand(1, 3, 1, 1, 2).contiguous().to(device)).requires_grad_()
    switches = tased_ext.aux_pool(z, 1, (1, 2), 1)
    assert switches[0, 0].flatten().tolist() == [1, 0]
    upstream = torch.tensor([2.0, 3, 4], device=device).expand(1, 3, 1, 1, 3)
    composed = tased_ext.max_unpool(x, switches, (1, 2), 1, exact_grad=exact_grad)
    fused = tased_ext.aux_pool_unpool(z, x, 1, (1, 2), 1, exact_grad=exact_grad)
    return torch.autograd.grad(composed, x, upstream)[0], torch.autograd.grad(fused, x, upstream)[0]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_an_overwritten_window_gets_zero_with_exact_grad(layout: str, device: torch.device) -> None:
    for grad in overwritten(layout, True, device):
        assert grad[0, 1].flatten().tolist() == [0, 3]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_window_gets_the_gradient_at_its_position_without_exact_grad(layout: str, device: torch.device) -> None:
    for grad in overwritten(layout, False, device):
        assert grad[0, 1].flatten().tolist() == [3, 3]


@pytest.mark.parametrize(("case", "fill"), mixed(AUX_CASES, list(FILLS)), ids=str)
def test_gradient_without_exact_grad_is_that_of_stock_unpooling(case: Case, fill: str, device: torch.device) -> None:
    values, indices = cases.stock_aux_pool(make(case.shape, fill=fill), case.pooling)
    leaf, twin = make(values.shape).requires_grad_(), make(values.shape).to(device).requires_grad_()
    size = case.shape[3:]
    switches = tased_ext.indices_to_switches(indices.to(device), **case.pooling.unpool, output_size=size)
    y = tased_ext.max_unpool(twin, switches, **case.pooling.unpool, output_size=size, exact_grad=False)
    assert_same(gradient(y, twin), gradient(cases.stock_max_unpool(leaf, indices, case.pooling, size), leaf))


@pytest.mark.parametrize(("case", "dtype", "fill"), mixed(POOL_CASES, DTYPES[:2], list(FILLS)), ids=str)
def test_gradient_of_max_pool3d_is_that_of_stock_on_one_thread(
    case: Case, dtype: torch.dtype, fill: str, device: torch.device
) -> None:
    leaf, twin = (make(case.shape, dtype, fill).to(place).requires_grad_() for place in ("cpu", device))
    expected = gradient(F.max_pool3d(leaf, **case.pooling.pool3d), leaf)
    assert_same(gradient(tased_ext.max_pool3d(twin, **case.pooling.pool3d), twin), expected)


def test_an_invalid_switch_gets_zero_gradient(device: torch.device) -> None:
    switches = torch.arange(256, dtype=torch.uint8, device=device).view(1, 1, 1, 16, 16)
    for exact_grad in (True, False):
        x = torch.ones(1, 1, 1, 16, 16, device=device, requires_grad=True)
        (grad,) = torch.autograd.grad(tased_ext.max_unpool(x, switches, 3, exact_grad=exact_grad).sum(), x)
        assert grad.flatten().tolist() == [1] * 9 + [0] * 247


def test_pooling_and_unpooling_in_one_gives_the_encoder_no_gradient(device: torch.device) -> None:
    z_enc = make((1, 2, 4, 6, 6)).to(device).requires_grad_()
    z_dec = make((1, 2, 1, 3, 3)).to(device).requires_grad_()
    y = tased_ext.aux_pool_unpool(z_enc, z_dec, **SITE.aux_unpool)
    grad_enc, grad_dec = torch.autograd.grad(y.sum(), (z_enc, z_dec), materialize_grads=True)
    assert not grad_enc.any()
    assert grad_dec.any()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_keep_the_layout(layout: str, device: torch.device) -> None:
    z = LAYOUTS[layout](make((2, 9, 8, 15, 21)).to(device)).requires_grad_()
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    x = values.detach().requires_grad_()
    for result, source in (
        (values, z),
        (tased_ext.max_pool3d(z, 3, 2, 1), z),
        (tased_ext.max_unpool(x, switches, **SITE.unpool), x),
        (tased_ext.aux_pool_unpool(z.detach(), x, **SITE.aux_unpool), x),
    ):
        assert_keeps_layout(gradient(result, source, layout), source)


def test_an_empty_batch_has_an_empty_gradient(device: torch.device) -> None:
    z = torch.empty(0, 3, 8, 14, 12, device=device, requires_grad=True)
    x = torch.empty(0, 3, 2, 7, 6, device=device, requires_grad=True)
    for result, source in (
        (tased_ext.aux_max_pool(z, **SITE.aux)[0], z),
        (tased_ext.max_pool3d(z, 3, 2, 1), z),
        (tased_ext.max_unpool(x, x.detach().byte(), **SITE.unpool), x),
        (tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool), x),
    ):
        assert gradient(result, source).shape == source.shape


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_views_receive_the_gradients_of_their_elements(layout: str, device: torch.device) -> None:
    leaf, twin = (make((2, 9, 8, 14, 12), torch.float64).to(place).requires_grad_() for place in ("cpu", device))
    weights = make((2, 9, 2, 7, 6), torch.float64)
    expected_values = reference.aux_max_pool(LAYOUTS[layout](leaf), **SITE.aux)[0]
    (expected,) = torch.autograd.grad((expected_values * weights).sum(), leaf)
    values = tased_ext.aux_max_pool(LAYOUTS[layout](twin), **SITE.aux)[0]
    (grad,) = torch.autograd.grad((values * weights.to(device)).sum(), twin)
    torch.testing.assert_close(grad.cpu(), expected, rtol=0, atol=1e-12)  # expanding sums in an order of its own


# ---------------------------------------------------------------------------------------------------- exact derivatives


def differentiable(
    name: str, case: Case, device: torch.device, exact_grad: bool = True
) -> tuple[Callable[..., Tensor], Tensor]:
    """An operation as a function of one float64 tensor, and that tensor."""
    z = make(case.shape, torch.float64).to(device)
    x = make(grid_of(case), torch.float64, seed="decoder").to(device)
    pooling = case.pooling
    # Switches of a map with many ties: most windows share theirs with another.
    tied = make(case.shape, torch.float64, "ties").to(device)
    switches = tased_ext.aux_pool(tied, **pooling.aux)
    options = {"exact_grad": exact_grad}
    unpool = {**pooling.unpool, "output_size": case.shape[3:], **options}
    function, source = {
        "aux_max_pool": (lambda z: tased_ext.aux_max_pool(z, **pooling.aux)[0], z),
        "max_pool3d": (lambda z: tased_ext.max_pool3d(z, **pooling.pool3d), z),
        "max_unpool": (lambda x: tased_ext.max_unpool(x, switches, **unpool), x),
        "aux_pool_unpool": (lambda x: tased_ext.aux_pool_unpool(tied, x, **pooling.aux_unpool, **options), x),
    }[name]
    return function, source.requires_grad_()


@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("name", ["aux_max_pool", "max_pool3d", "max_unpool", "aux_pool_unpool"])
def test_gradcheck_and_gradgradcheck_pass_with_overlapping_windows(name: str, case: Case, device: torch.device) -> None:
    function, source = differentiable(name, case, device)
    assert gradcheck(function, source, check_batched_grad=True)
    assert gradgradcheck(function, source, check_batched_grad=True)


@pytest.mark.parametrize("name", ["max_unpool", "aux_pool_unpool"])
def test_stock_convention_is_no_derivative_but_has_one(name: str, device: torch.device) -> None:
    function, source = differentiable(name, SMALL[0], device, exact_grad=False)
    with pytest.raises(GradcheckError):
        gradcheck(function, source)
    assert gradgradcheck(function, source)


@pytest.mark.parametrize("name", ["aux_max_pool", "max_pool3d", "max_unpool", "aux_pool_unpool"])
def test_double_backward_is_differentiable_again(name: str, device: torch.device) -> None:
    function, source = differentiable(name, SMALL[0], device)

    def gradient_norm(source: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad(function(source).pow(4).sum(), source, create_graph=True)
        return grad

    assert gradgradcheck(gradient_norm, source)


# --------------------------------------------------------------------------------------------------------------- memory


def kept_bytes(function: Callable[[], Any]) -> dict[torch.dtype, int]:
    """Elements that a call keeps for its backward, by dtype."""
    kept: dict[torch.dtype, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.dtype] = kept.get(tensor.dtype, 0) + tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return kept


def test_one_byte_a_window_is_kept_for_backward_and_two_by_aux_max_pool(device: torch.device) -> None:
    z = make((2, 9, 8, 15, 21)).to(device).requires_grad_()
    values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
    x, windows = values.detach().requires_grad_(), values.numel()
    options = {**SITE.unpool, "output_size": z.shape[3:]}
    assert kept_bytes(lambda: tased_ext.aux_max_pool(z, **SITE.aux)) == {torch.uint8: 2 * windows}
    assert kept_bytes(lambda: tased_ext.max_unpool(x, switches, **options)) == {torch.uint8: windows}
    assert kept_bytes(lambda: tased_ext.aux_pool_unpool(z.detach(), x, **SITE.aux_unpool)) == {torch.uint8: windows}
    pooled = tased_ext.max_pool3d(z, 3, 2, 1)
    assert kept_bytes(lambda: tased_ext.max_pool3d(z, 3, 2, 1)) == {torch.uint8: pooled.numel()}


class Results(TorchDispatchMode):
    """Records the results of every call of our operators."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.namespace == "tased_ext":
            self.results.extend(result if isinstance(result, tuple) else (result,))
        return result


def test_nothing_is_kept_where_no_gradient_is_asked_for(device: torch.device) -> None:
    z, x = make((2, 9, 8, 15, 21)).to(device), make((2, 9, 2, 8, 11)).to(device)
    for requires_grad in (False, True):
        z.requires_grad_(requires_grad)
        x.requires_grad_(requires_grad)
        with torch.no_grad(), Results() as recorded:
            tased_ext.aux_max_pool(z, **SITE.aux)
            tased_ext.max_pool3d(z, 3, 2, 1)
            tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool)
        windows, pooled, unpooled = 18 * 2 * 8 * 11, 18 * 4 * 8 * 11, 18 * 2 * 15 * 21
        # aux_max_pool: values, switches, frames; max_pool3d: values, offsets; aux_pool_unpool: y, switches
        assert [result.numel() for result in recorded.results] == [windows, windows, 0, pooled, 0, unpooled, 0]
