"""The operations under what PyTorch does to programs: opcheck, compile, export, vmap, torch.func, checkpoints, modes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import tased_ext
from cases import LAYOUTS, Pooling, assert_keeps_layout, assert_same, make, make_switches

# Several versions of PyTorch use what they themselves deprecate, here in their compilers and in forward mode.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")

SITE = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
OVERLAPPING = Pooling((3, 3, 3), (2, 1, 1), (0, 1, 1))
OPERATORS = torch.ops.tased_ext


class EveryOperation(nn.Module):
    """A small network in which each operation passes gradients on to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = tased_ext.MaxPool3d(3, 1, 1)
        self.aux_max_pool = tased_ext.AuxMaxPool(**SITE.aux)
        self.aux_pool = tased_ext.AuxPool(**SITE.aux)
        self.unpool = tased_ext.MaxUnpool(**SITE.unpool)
        self.aux_pool_unpool = tased_ext.AuxPoolUnpool(**SITE.aux_unpool)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.pool(z * 2)
        values, switches = self.aux_max_pool(pooled)
        y = self.unpool(values.cos(), self.aux_pool(z), z.shape[-2:])
        return y + self.aux_pool_unpool(z, values.sin()), switches


def run(function: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Results and gradient."""
    leaf = z.detach().requires_grad_()
    y, switches = function(leaf)
    y.square().sum().backward()
    assert leaf.grad is not None
    return y.detach(), switches, leaf.grad


def assert_close(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Equal up to the rounding of sin and cos, which compilers compute in ways of their own."""
    for result, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(result, wanted)


# -------------------------------------------------------------------------------------------------------------- opcheck


def operator_calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Every operator on every layout of the operands, and with each result or operand present and absent."""
    calls: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    windows, aux_windows = OVERLAPPING.windows, OVERLAPPING.aux_windows
    for layout in ("contiguous", "channels_last", "sliced", "unbatched", "unbatched_channels_last"):
        z = LAYOUTS[layout](make((2, 3, 7, 5, 6)))
        grid = OVERLAPPING.aux_grid((2, 3, 7, 5, 6))
        assert grid is not None
        x, offsets = LAYOUTS[layout](make(grid)), LAYOUTS[layout](make_switches(grid, 8))
        frames = LAYOUTS[layout](make_switches(grid, 2))
        volume_offsets = LAYOUTS[layout](make_switches(grid, 26))
        y = LAYOUTS[layout](make((2, 3, grid[2], 5, 6)))
        calls[f"aux_pool-{layout}"] = (OPERATORS.aux_pool, (z, *aux_windows, True))
        calls[f"max_unpool-{layout}"] = (OPERATORS.max_unpool, (x, offsets, *aux_windows[2:], 5, 6))
        for flag in (True, False):
            calls[f"aux_max_pool-{layout}-{flag}"] = (OPERATORS.aux_max_pool, (z, *aux_windows, False, flag))
            calls[f"max_pool3d-{layout}-{flag}"] = (OPERATORS.max_pool3d, (z, *windows, True, flag))
            calls[f"aux_pool_unpool-{layout}-{flag}"] = (OPERATORS.aux_pool_unpool, (z, x, *aux_windows, flag))
            calls[f"gather_windows-{layout}-{flag}"] = (
                OPERATORS.gather_windows,
                (y, offsets, None, 1, 1, 0, *aux_windows[2:], flag),
            )
        calls[f"gather_windows-{layout}-frames"] = (OPERATORS.gather_windows, (z, offsets, frames, *windows, False))
        calls[f"scatter_windows-{layout}-frames"] = (
            OPERATORS.scatter_windows,
            (x, offsets, frames, *windows, *z.shape[-3:]),
        )
        calls[f"scatter_windows-{layout}"] = (
            OPERATORS.scatter_windows,
            (x, volume_offsets, None, *windows, *z.shape[-3:]),
        )
    return calls


@pytest.mark.parametrize(("operator", "arguments"), operator_calls().values(), ids=operator_calls())
def test_opcheck_passes(operator: Any, arguments: tuple[Any, ...], device: torch.device) -> None:
    moved = tuple(x.to(device) if isinstance(x, Tensor) else x for x in arguments)
    torch.library.opcheck(operator.default, moved)


def test_opcheck_covers_every_operator_that_takes_tensors() -> None:
    schemas = [schema for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("tased_ext::")]
    taking_tensors = {
        schema.name for schema in schemas if any(str(argument.type) == "Tensor" for argument in schema.arguments)
    }
    assert taking_tensors == {str(operator).replace(".", "::") for operator, _ in operator_calls().values()}


# ---------------------------------------------------------------------------------------------- compiling and exporting


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_as_one_graph_with_dynamic_shapes(backend: str, device: torch.device) -> None:
    torch._dynamo.reset()
    network = EveryOperation()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend=backend)
    z = make((2, 3, 8, 14, 12)).to(device)
    assert_close(run(compiled, z), run(network, z))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for shape in ((3, 5, 12, 9, 17), (2, 4, 9, 30, 7)):
            z = make(shape).to(device)
            assert_close(run(compiled, z), run(network, z))


def test_compiled_graphs_keep_the_layout(device: torch.device) -> None:
    torch._dynamo.reset()
    network = EveryOperation()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="inductor")
    z = LAYOUTS["channels_last"](make((2, 16, 8, 14, 12)).to(device))
    with torch.no_grad():
        actual, expected = compiled(z), network(z)
    assert_close(actual, expected)
    for result in actual:
        assert_keeps_layout(result, z)


def test_compiles_where_nothing_requires_grad(device: torch.device) -> None:
    torch._dynamo.reset()
    network = EveryOperation()
    compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="aot_eager")
    for z in (make((2, 3, 8, 14, 12)).to(device), make((3, 8, 10, 12)).to(device)):
        with torch.inference_mode():
            assert_close(compiled(z), network(z))


def exported(device: torch.device) -> torch.export.ExportedProgram:
    """The network for any batch and any sizes of which the windows fit."""
    dynamic = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    z = make((2, 3, 8, 14, 12)).to(device)
    return torch.export.export(EveryOperation(), (z,), dynamic_shapes=({**dynamic, 4: torch.export.Dim.DYNAMIC},))


def test_exports_with_dynamic_shapes(device: torch.device, tmp_path: Path) -> None:
    torch.export.save(exported(device), tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    for shape in ((2, 3, 8, 14, 12), (3, 3, 13, 9, 17)):
        z = make(shape).to(device)
        for actual, expected in zip(program(z), EveryOperation()(z), strict=True):
            assert_same(actual, expected.cpu())


def test_packages_with_aot_inductor(device: torch.device, tmp_path: Path) -> None:
    path = torch._inductor.aoti_compile_and_package(exported(device), package_path=str(tmp_path / "network.pt2"))
    package = torch._inductor.aoti_load_package(path)
    for shape in ((2, 3, 8, 14, 12), (3, 3, 13, 9, 17)):
        z = make(shape).to(device)
        assert_close(package(z), EveryOperation()(z))


# -------------------------------------------------------------------------------------------------- vmap and torch.func


def mapped_operations(device: torch.device, batched: bool) -> dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]]:
    """Operations on single maps, and stacks of four operands for each."""
    shape = (4, 2, 3, 7, 5, 6) if batched else (4, 3, 7, 5, 6)
    z, pooling = make(shape, torch.float64).to(device), OVERLAPPING
    values, switches = torch.vmap(lambda z: tased_ext.aux_max_pool(z, **pooling.aux))(z)
    unpool: dict[str, Any] = {**pooling.unpool, "output_size": (5, 6)}
    return {
        "aux_pool": (lambda z: tased_ext.aux_pool(z, **pooling.aux), (z,)),
        "aux_max_pool": (lambda z: tased_ext.aux_max_pool(z, **pooling.aux)[0], (z,)),
        "max_pool3d": (lambda z: tased_ext.max_pool3d(z, **pooling.pool3d), (z,)),
        "max_unpool": (lambda x, s: tased_ext.max_unpool(x, s, **unpool), (values, switches)),
        "aux_pool_unpool": (lambda z, x: tased_ext.aux_pool_unpool(z, x, **pooling.aux_unpool), (z, values)),
    }


NAMES = ["aux_pool", "aux_max_pool", "max_pool3d", "max_unpool", "aux_pool_unpool"]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_vmap_equals_a_loop(name: str, batched: bool, device: torch.device) -> None:
    function, operands = mapped_operations(device, batched)[name]
    # Each operand mapped over its first dimension, over its last one, or not at all.
    for in_dims in itertools.product((0, -1, None), repeat=len(operands)):
        if all(dim is None for dim in in_dims):
            continue
        arguments = [x[0] if dim is None else x.movedim(0, dim) for x, dim in zip(operands, in_dims, strict=True)]
        loop = [
            function(*(x[0 if dim is None else i] for x, dim in zip(operands, in_dims, strict=True))) for i in range(4)
        ]
        assert_same(torch.vmap(function, in_dims)(*arguments), torch.stack(loop).cpu(), context=in_dims)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("name", NAMES[1:])
def test_vmap_over_gradients_equals_a_loop(name: str, batched: bool, device: torch.device) -> None:
    function, operands = mapped_operations(device, batched)[name]
    differentiated = 1 if name == "aux_pool_unpool" else 0

    def gradient(*arguments: Tensor) -> Tensor:
        return torch.func.grad(lambda *inner: function(*inner).pow(3).sum(), argnums=differentiated)(*arguments)

    loop = torch.stack([gradient(*(x[i] for x in operands)) for i in range(4)])
    assert_same(torch.vmap(gradient)(*operands), loop.cpu())
    assert_same(torch.vmap(gradient)(*operands), autograd_loop(function, operands, differentiated).cpu())


def autograd_loop(function: Callable[..., Tensor], operands: tuple[Tensor, ...], differentiated: int) -> Tensor:
    gradients: list[Tensor] = []
    for i in range(4):
        arguments = [x[i].detach() for x in operands]
        leaf = arguments[differentiated].requires_grad_()
        gradients += torch.autograd.grad(function(*arguments).pow(3).sum(), leaf)
    return torch.stack(gradients)


@pytest.mark.parametrize("name", NAMES[1:])
def test_torch_func_transforms_agree_with_autograd(name: str, device: torch.device) -> None:
    function, operands = mapped_operations(device, batched=False)[name]
    position = 1 if name == "aux_pool_unpool" else 0
    operands = tuple(x[0, :1] for x in operands)  # one channel

    def of_one(x: Tensor) -> Tensor:
        return function(*operands[:position], x, *operands[position + 1 :])

    x = operands[position]
    expected = torch.autograd.functional.jacobian(of_one, x)
    assert_same(torch.func.jacrev(of_one)(x), expected.cpu())

    def cubes(x: Tensor) -> Tensor:
        return of_one(x).pow(3).sum()

    hessian = torch.autograd.functional.hessian(cubes, x)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(cubes))(x), hessian)


@pytest.mark.parametrize("name", NAMES[1:])
def test_forward_mode_is_refused_and_not_taken_for_zero(name: str, device: torch.device) -> None:
    function, operands = mapped_operations(device, batched=False)[name]
    arguments = [x[0] for x in operands]
    position = 1 if name == "aux_pool_unpool" else 0
    with forward_ad.dual_level():
        arguments[position] = forward_ad.make_dual(arguments[position], torch.ones_like(arguments[position]))
        with pytest.raises(NotImplementedError, match="forward mode AD"):
            function(*arguments)


# ---------------------------------------------------------------------------------------------- checkpointing and modes


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_gives_equal_gradients(use_reentrant: bool, device: torch.device) -> None:
    network, z = EveryOperation(), make((2, 3, 8, 14, 12)).to(device)
    checkpointed = run(lambda z: checkpoint(network, z, use_reentrant=use_reentrant), z)
    for actual, expected in zip(checkpointed, run(network, z), strict=True):
        assert_same(actual, expected.cpu())


def test_deterministic_algorithms_are_content(device: torch.device) -> None:
    network, z = EveryOperation(), make((2, 3, 8, 14, 12)).to(device)
    expected = run(network, z)
    torch.use_deterministic_algorithms(True)
    try:
        actual = run(network, z)
    finally:
        torch.use_deterministic_algorithms(False)
    for result, wanted in zip(actual, expected, strict=True):
        assert_same(result, wanted.cpu())


def test_autocast_changes_no_dtype(device: torch.device) -> None:
    z, x = make((1, 2, 4, 6, 6)).to(device), make((1, 2, 1, 3, 3)).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        values, switches = tased_ext.aux_max_pool(z, **SITE.aux)
        for result in (
            values,
            tased_ext.max_pool3d(z, 3),
            tased_ext.max_unpool(x, switches, **SITE.unpool),
            tased_ext.aux_pool_unpool(z, x, **SITE.aux_unpool),
        ):
            assert result.dtype == torch.float32


def test_inference_mode_gives_equal_results(device: torch.device) -> None:
    network, z = EveryOperation(), make((2, 3, 8, 14, 12)).to(device)
    with torch.inference_mode():
        results = network(z)
    for actual, expected in zip(results, network(z), strict=True):
        assert_same(actual.clone(), expected.cpu())


def test_meta_tensors_have_the_shapes_of_real_ones() -> None:
    network = EveryOperation()
    for shape in ((2, 3, 8, 14, 12), (3, 9, 15, 11)):
        real, meta = network(make(shape)), network(torch.empty(shape, device="meta"))
        assert [(y.shape, y.dtype, y.stride()) for y in meta] == [(y.shape, y.dtype, y.stride()) for y in real]
