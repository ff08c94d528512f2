"""What the migration guide says: its recipe continues a run that stock layers began, and its tables are true."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tased_ext
from pages.blocks import blocks, run_python

OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


# ----------------------------------------------------------------------------------------------------------- the recipe


def train(net: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> list[float]:
    """The losses of ten steps towards every fourth frame of float64 clips."""
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(10):
        clip = torch.randn(2, 1, 8, 11, 14, dtype=torch.float64, generator=generator)
        loss = F.mse_loss(net(clip), clip[:, :, ::4])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(params=OPTIMISERS)
def continued(request: pytest.FixtureRequest) -> dict[str, tuple[list[float], list[Tensor]]]:
    """Losses and weights of three runs that go on from the same stock run: stock, ours in its convention, ours exact."""
    guide: dict[str, Any] = {"__name__": "migration"}
    run_python(blocks("docs/migration.md", "python")[0], guide)
    optimiser_of = OPTIMISERS[request.param]
    torch.manual_seed(0)
    began = guide["Before"]().double()
    optimiser = optimiser_of(began.parameters())
    train(began, optimiser, seed=1)
    state, optimiser_state = copy.deepcopy((began.state_dict(), optimiser.state_dict()))

    def go_on(net: nn.Module) -> tuple[list[float], list[Tensor]]:
        net.double().load_state_dict(state)
        optimiser = optimiser_of(net.parameters())
        optimiser.load_state_dict(copy.deepcopy(optimiser_state))
        losses = train(net, optimiser, seed=2)
        return losses, [weight.detach() for weight in net.parameters()]

    return {
        "stock": go_on(guide["Before"]()),
        "convention": go_on(guide["After"](exact_grad=False)),
        "exact": go_on(guide["After"](exact_grad=True)),
    }


def test_a_stock_run_goes_on_the_same_in_its_convention(continued: dict[str, Any]) -> None:
    torch.testing.assert_close(continued["convention"], continued["stock"], rtol=0, atol=0)


def test_the_exact_gradient_takes_a_stock_run_elsewhere(continued: dict[str, Any]) -> None:
    (losses, weights), (stock_losses, stock_weights) = continued["exact"], continued["stock"]
    assert losses[0] == stock_losses[0]  # before the first gradient they are one
    assert max(abs(a - b) for a, b in zip(losses, stock_losses, strict=True)) > 1e-5
    assert max((a - b).abs().max().item() for a, b in zip(weights, stock_weights, strict=True)) > 1e-4


# --------------------------------------------------------------------------------------------- what the guide says besides


def test_the_layers_of_the_table_have_one_result_and_one_gradient() -> None:
    t, k, s, p = 4, 3, 2, 1
    pool3d, twin3d = nn.MaxPool3d((t, k, k), s, p), tased_ext.MaxPool3d((t, k, k), s, p)
    frames, plane = nn.MaxPool3d((t, 1, 1)), nn.MaxPool3d((1, k, k), (1, s, s), (0, p, p), return_indices=True)
    unpool = nn.MaxUnpool3d((1, k, k), (1, s, s), (0, p, p))

    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 9, 13, 14, generator=generator).relu_().requires_grad_()  # half of it zeros, which tie
    joined = frames(z)
    values, indices = plane(joined)
    twins, switches = tased_ext.AuxMaxPool(t, k, s, p)(z)
    alone, alone_switches = tased_ext.AuxMaxPool(1, k, s, p)(joined)
    x = torch.randn(values.shape, generator=generator).requires_grad_()
    unpooled = unpool(x, indices, output_size=joined.shape)

    assert switches.equal(tased_ext.indices_to_switches(indices, k, s, p, output_size=z.shape))
    assert switches.equal(tased_ext.AuxPool(t, k, s, p)(z))
    assert switches.equal(alone_switches)
    stock_convention = {"exact_grad": False}
    for after, before, source in (
        (twin3d(z), pool3d(z), z),
        (twins, values, z),
        (alone, values, z),
        (tased_ext.MaxUnpool(k, s, p, **stock_convention)(x, switches, output_size=z.shape), unpooled, x),
        (tased_ext.AuxPoolUnpool(t, k, s, p, **stock_convention)(z, x), unpooled, x),
    ):
        assert after.equal(before)
        arriving = torch.randn(after.shape, generator=generator)
        gradients = [torch.autograd.grad(y, source, arriving, retain_graph=True)[0] for y in (after, before)]
        assert gradients[0].equal(gradients[1])


def test_an_identity_keeps_the_keys_of_a_sequence() -> None:
    stock = nn.Sequential(
        nn.Conv3d(1, 2, 1), nn.MaxPool3d((4, 1, 1)), nn.MaxPool3d((1, 2, 2)), nn.BatchNorm3d(2), nn.Conv3d(2, 1, 1)
    )
    ours = nn.Sequential(stock[0], tased_ext.MaxPool3d((4, 2, 2)), nn.Identity(), stock[3], stock[4])
    without = nn.Sequential(stock[0], tased_ext.MaxPool3d((4, 2, 2)), stock[3], stock[4])
    assert ours.state_dict().keys() == stock.state_dict().keys() != without.state_dict().keys()


def test_only_stock_unpooling_refuses_deterministic_algorithms() -> None:
    p = torch.randn(1, 2, 3, 8, 8)
    x, indices = F.max_pool3d(p, (1, 2, 2), return_indices=True)
    switches = tased_ext.indices_to_switches(indices, 2, output_size=p.shape)
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
            F.max_unpool3d(x, indices, (1, 2, 2))
        tased_ext.max_unpool(x, switches, 2)
    finally:
        torch.use_deterministic_algorithms(False)


def test_only_stock_unpooling_loses_the_channels_last_layout() -> None:
    p = torch.randn(1, 2, 3, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    x, indices = F.max_pool3d(p, (1, 2, 2), return_indices=True)
    switches = tased_ext.indices_to_switches(indices, 2, output_size=p.shape)
    assert F.max_unpool3d(x, indices, (1, 2, 2)).is_contiguous()
    assert tased_ext.max_unpool(x, switches, 2).is_contiguous(memory_format=torch.channels_last_3d)


def test_an_index_outside_its_window_is_refused() -> None:
    p = torch.randn(1, 2, 3, 8, 8)
    _, indices = F.max_pool3d(p, (1, 4, 4), (1, 2, 2), (0, 1, 1), return_indices=True)
    with pytest.raises(RuntimeError, match="window"):
        tased_ext.indices_to_switches(indices, 2, output_size=p.shape)
