"""The layers: twins of the functions, drop-ins for the stock ones, and good citizens of torch.nn."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tased_ext
from cases import Pooling, assert_same, make

SITE = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
# A layer, its function, and the arguments of both.
TWINS: dict[str, tuple[nn.Module, Any, dict[str, Any]]] = {
    "AuxPool": (tased_ext.AuxPool(**SITE.aux), tased_ext.aux_pool, SITE.aux),
    "AuxMaxPool": (tased_ext.AuxMaxPool(**SITE.aux), tased_ext.aux_max_pool, SITE.aux),
    "AuxMaxPool in ceil mode": (
        tased_ext.AuxMaxPool(4, 3, 2, ceil_mode=True),
        tased_ext.aux_max_pool,
        {"temporal": 4, "kernel_size": 3, "stride": 2, "ceil_mode": True},
    ),
    "MaxUnpool": (tased_ext.MaxUnpool(**SITE.unpool), tased_ext.max_unpool, SITE.unpool),
    "MaxUnpool with the stock gradient": (
        tased_ext.MaxUnpool(**SITE.unpool, exact_grad=False),
        tased_ext.max_unpool,
        {**SITE.unpool, "exact_grad": False},
    ),
    "AuxPoolUnpool": (tased_ext.AuxPoolUnpool(**SITE.aux_unpool), tased_ext.aux_pool_unpool, SITE.aux_unpool),
    "AuxPoolUnpool with the stock gradient": (
        tased_ext.AuxPoolUnpool(**SITE.aux_unpool, exact_grad=False),
        tased_ext.aux_pool_unpool,
        {**SITE.aux_unpool, "exact_grad": False},
    ),
    "MaxPool3d": (
        tased_ext.MaxPool3d(3, 2, 1, ceil_mode=True),
        tased_ext.max_pool3d,
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    ),
}


def operands(layer: nn.Module, device: torch.device) -> tuple[Tensor, ...]:
    z, x = make((1, 2, 8, 14, 12), fill="ties").to(device), make((1, 2, 2, 7, 6)).to(device)
    if isinstance(layer, tased_ext.MaxUnpool):
        return x.requires_grad_(), tased_ext.aux_pool(z, **SITE.aux)
    if isinstance(layer, tased_ext.AuxPoolUnpool):
        return z, x.requires_grad_()
    return (z.requires_grad_(),)


def results(call: Any, inputs: tuple[Tensor, ...], **options: Any) -> list[Tensor]:
    """What a call returns, and the gradient of the input that has one."""
    outputs = call(*inputs, **options)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    leaves = [x for x in inputs if x.requires_grad]
    if not outputs[0].requires_grad:
        return list(outputs)
    return [*outputs, *torch.autograd.grad(outputs[0].square().sum(), leaves)]


@pytest.mark.parametrize(("layer", "function", "options"), TWINS.values(), ids=TWINS)
def test_a_layer_is_its_function(
    layer: nn.Module, function: Any, options: dict[str, Any], device: torch.device
) -> None:
    inputs = operands(layer, device)
    for actual, expected in zip(results(layer, inputs), results(function, inputs, **options), strict=True):
        assert_same(actual.detach(), expected.detach().cpu())


@pytest.mark.parametrize("layer", [twin[0] for twin in TWINS.values()], ids=list(TWINS))
def test_layers_copy_and_pickle(layer: nn.Module, device: torch.device) -> None:
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    inputs = operands(layer, device)
    for twin in (
        copy.copy(layer),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(saved, weights_only=False),
    ):
        assert twin is not layer
        assert repr(twin) == repr(layer)
        for actual, expected in zip(results(twin, inputs), results(layer, inputs), strict=True):
            assert_same(actual.detach(), expected.detach().cpu())


@pytest.mark.parametrize("layer", [twin[0] for twin in TWINS.values()], ids=list(TWINS))
def test_layers_have_no_state(layer: nn.Module) -> None:
    assert not layer.state_dict()
    assert not list(layer.parameters())
    nn.Sequential(layer).load_state_dict({}, strict=True)


@pytest.mark.parametrize("layer", [twin[0] for twin in TWINS.values()], ids=list(TWINS))
def test_repr_builds_the_layer_again(layer: nn.Module) -> None:
    twin = eval(repr(layer), vars(tased_ext).copy())
    assert type(twin) is type(layer)
    assert repr(twin) == repr(layer)


def test_repr_tells_the_options_that_are_not_defaults() -> None:
    assert repr(tased_ext.AuxPool(4, 3)) == "AuxPool(temporal=4, kernel_size=3)"
    assert (
        repr(tased_ext.AuxMaxPool((4, 2), (3, 2), 2, (1, 0), ceil_mode=True))
        == "AuxMaxPool(temporal=(4, 2), kernel_size=(3, 2), stride=2, padding=(1, 0), ceil_mode=True)"
    )
    assert repr(tased_ext.MaxUnpool(3, exact_grad=False)) == "MaxUnpool(kernel_size=3, exact_grad=False)"
    assert repr(tased_ext.AuxPoolUnpool(4, 3, 2, 1)) == "AuxPoolUnpool(temporal=4, kernel_size=3, stride=2, padding=1)"
    assert repr(tased_ext.MaxPool3d(3, 1, 1)) == "MaxPool3d(kernel_size=3, stride=1, padding=1)"


@pytest.mark.parametrize(
    ("layer", "stock"),
    [(tased_ext.MaxPool3d, nn.MaxPool3d), (tased_ext.MaxUnpool, nn.MaxUnpool3d)],
    ids=["pool", "unpool"],
)
def test_drop_ins_take_the_arguments_of_the_stock_layers(layer: type[nn.Module], stock: type[nn.Module]) -> None:
    ours, theirs = (list(inspect.signature(module).parameters.values()) for module in (layer, stock))
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [(p.name, p.default) for p in theirs]


def test_max_pool3d_drops_in_for_the_stock_layer(device: torch.device) -> None:
    x = make((2, 3, 9, 14, 11)).to(device)
    for options in (
        {"kernel_size": 3},
        {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)},
        {"kernel_size": 2, "stride": 3, "padding": 1, "dilation": 1, "return_indices": False, "ceil_mode": True},
        {"kernel_size": 2, "dilation": (1, 1, 1)},
    ):
        assert_same(tased_ext.MaxPool3d(**options)(x), nn.MaxPool3d(**options)(x).cpu())


def test_max_unpool_drops_in_for_the_stock_layer(device: torch.device) -> None:
    z = make((2, 3, 4, 14, 12)).to(device)
    values, switches = tased_ext.aux_max_pool(z, 1, 2)
    indices = tased_ext.switches_to_indices(switches, 2, output_size=(14, 12))
    stock = nn.MaxUnpool3d((1, 2, 2))(values, indices, output_size=z.shape)
    assert_same(tased_ext.MaxUnpool(2)(values, switches, output_size=z.shape), stock.cpu())


@pytest.mark.parametrize("dilation", [2, (1, 2, 1), (1, 1)], ids=str)
def test_dilation_is_refused_naming_the_stock_layer(dilation: Any) -> None:
    with pytest.raises(ValueError, match=r"no dilation, but got dilation=.*; use torch\.nn\.MaxPool3d$"):
        tased_ext.MaxPool3d(3, dilation=dilation)


def test_indices_are_refused_naming_the_layers_that_serve_them() -> None:
    with pytest.raises(ValueError, match=r"use tased_ext\.AuxMaxPool for switches or torch\.nn\.MaxPool3d$"):
        tased_ext.MaxPool3d(3, return_indices=True)


@pytest.mark.parametrize(("layer", "function", "options"), TWINS.values(), ids=TWINS)
def test_layers_take_the_arguments_of_their_functions(layer: nn.Module, function: Any, options: dict[str, Any]) -> None:
    constructor = inspect.signature(type(layer)).parameters
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in {"z", "x", "z_enc", "z_dec", "switches", "output_size"}:
            assert constructor[name].default == parameter.default
