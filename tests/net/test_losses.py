"""Losses: their definitions, worked out apart; maps that are empty; derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tased_net.losses import PARTS, Loss, correlation, kl_divergence, scanpath, similarity

MIXES = ("kl", "cc", "sim", "nss", "kl+0.1*cc", "0.5*sim + 2*nss+kl")


def truth(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Density and fixations; the maps of a batch differ in scale."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.rand(*shape, generator=generator, dtype=dtype) ** 4
    density *= torch.rand(*shape[:-2], 1, 1, generator=generator, dtype=dtype) + 0.1
    return density, torch.rand(*shape, generator=generator) > 0.9


def predicted(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return truth(*shape, dtype=dtype, seed=1)[0]


# -------------------------------------------------------------------------------------------------------------- definitions


def test_parts_are_what_their_definitions_say_map_by_map() -> None:
    density, fixations = truth(3, 8, 12)
    saliency = predicted(3, 8, 12)
    for number in range(3):
        s, d, f = (maps[number].numpy() for maps in (saliency, density, fixations))
        q, p = (s + 1e-7) / (s + 1e-7).sum(), d / d.sum()
        assert kl_divergence(saliency, density)[number].item() == pytest.approx((p * np.log(p / q)).sum(), rel=1e-12)
        assert correlation(saliency, density)[number].item() == pytest.approx(
            np.corrcoef(s.flat, d.flat)[0, 1], rel=1e-12
        )
        q, p = ((m - m.min()) / (m.max() - m.min()) for m in (s, d))
        shared = np.minimum(q / q.sum(), p / p.sum()).sum()
        assert similarity(saliency, density)[number].item() == pytest.approx(shared, rel=1e-12)
        standard = (s - s.mean()) / s.std(ddof=1)
        assert scanpath(saliency, fixations)[number].item() == pytest.approx(standard[f].mean(), rel=1e-12)


def test_a_map_counts_for_itself_whatever_else_is_in_the_batch() -> None:
    density, fixations = truth(4, 8, 12)
    saliency = predicted(4, 8, 12)
    for mix in MIXES:
        together = Loss(mix)(saliency, density, fixations)
        alone = torch.cat([Loss(mix)(saliency[n : n + 1], density[n : n + 1], fixations[n : n + 1]) for n in range(4)])
        torch.testing.assert_close(together, alone, rtol=1e-14, atol=0)


def test_what_agrees_with_the_truth_has_no_loss() -> None:
    density, fixations = truth(2, 8, 12)
    for mix, rounding in (("kl", 1e-6), ("cc", 1e-12), ("sim", 1e-12), ("kl+cc+sim", 1e-6)):
        loss = Loss(mix)(0.3 * density, density, fixations)
        torch.testing.assert_close(loss, torch.zeros(2).double(), rtol=0, atol=rounding)


def test_a_mix_is_the_weighted_sum_of_its_parts() -> None:
    density, fixations = truth(2, 8, 12)
    saliency = predicted(2, 8, 12)
    kl, cc, sim, nss = (Loss(name)(saliency, density, fixations) for name in ("kl", "cc", "sim", "nss"))
    for mix, expected in (
        ("kl+0.1*cc", kl + 0.1 * cc),
        ("0.5*sim + 2*nss+kl", 0.5 * sim + 2 * nss + kl),
        (".5*kl", kl / 2),
    ):
        torch.testing.assert_close(Loss(mix)(saliency, density, fixations), expected)


def test_several_maps_of_a_clip_are_averaged() -> None:
    density, fixations = truth(2, 3, 8, 12)
    saliency = predicted(2, 3, 8, 12)
    for mix in MIXES:
        each = [Loss(mix)(saliency[:, k], density[:, k], fixations[:, k]) for k in range(3)]
        torch.testing.assert_close(Loss(mix)(saliency, density, fixations), torch.stack(each).mean(0))
        one = Loss(mix)(saliency[:, 0], density[:, :1], fixations[:, :1])  # the network's one map has no k
        torch.testing.assert_close(one, each[0], rtol=0, atol=0)


def test_half_precision_is_computed_in_float32() -> None:
    density, fixations = truth(2, 32, 48, dtype=torch.float32)
    saliency = predicted(2, 32, 48, dtype=torch.float32).half()
    for mix in MIXES:
        loss = Loss(mix)(saliency, density, fixations)
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, Loss(mix)(saliency.float(), density, fixations), rtol=0, atol=0)


@pytest.mark.parametrize("mix", ["", "kl+", "mse", "kl+kl", "-1*kl", "kl*2", "0*kl", "kl+nan*cc", "kl cc"])
def test_a_mix_that_is_none_is_refused(mix: str) -> None:
    with pytest.raises(ValueError, match=r"^want kl, cc, sim or nss, or a sum of them such as kl\+0.1\*cc, got '"):
        Loss(mix)


# --------------------------------------------------------------------------------------------------------------- empty maps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("value", [0.0, 0.02, 1.0])
def test_a_map_of_one_value_has_a_finite_loss_and_leaves_the_others_alone(
    mix: str, dtype: torch.dtype, value: float
) -> None:
    density, fixations = truth(2, 8, 12, dtype=dtype)
    saliency = predicted(2, 8, 12, dtype=dtype)
    expected = Loss(mix)(saliency, density, fixations)[1]
    saliency[0] = value
    saliency.requires_grad_()
    losses = Loss(mix)(saliency, density, fixations)
    assert losses.isfinite().all()
    torch.testing.assert_close(losses[1], expected, rtol=0, atol=0)
    losses.sum().backward()
    assert saliency.grad is not None
    assert saliency.grad.isfinite().all()


@pytest.mark.parametrize("mix", MIXES)
def test_a_map_without_truth_teaches_nothing(mix: str) -> None:
    density, fixations = truth(2, 8, 12)
    density[0], fixations[0] = 0, False
    saliency = predicted(2, 8, 12).requires_grad_()
    losses = Loss(mix)(saliency, density, fixations)
    assert losses.isfinite().all()
    losses.sum().backward()
    assert saliency.grad is not None
    assert saliency.grad[0].abs().max() == 0
    assert saliency.grad[1].abs().max() > 0


def test_an_empty_prediction_counts_as_an_even_one() -> None:
    density, _ = truth(1, 8, 12)
    empty, even = torch.zeros_like(density), torch.full_like(density, 0.5)
    torch.testing.assert_close(kl_divergence(empty, density), kl_divergence(even, density))


@pytest.mark.parametrize("name", PARTS)
def test_nan_in_a_prediction_shows_in_its_loss(name: str) -> None:
    density, fixations = truth(2, 8, 12)
    fixations[0] = True
    saliency = predicted(2, 8, 12)
    saliency[0, 3, 4] = math.nan
    assert Loss(name)(saliency, density, fixations).isnan().tolist() == [True, False]


# -------------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("mix", MIXES)
def test_derivatives_are_those_of_finite_differences(mix: str) -> None:
    density, fixations = truth(2, 2, 4, 5)
    fixations[:, :, 1] = True
    density[0, 0] = 0  # the maps of one clip: without truth, and with
    saliency = predicted(2, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: Loss(mix)(s, density, fixations), (saliency,))
