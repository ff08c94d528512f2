"""The optimiser, its learning rates, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from ..recipes import PLATEAU, Recipe
from ..tased import TASEDNet
from ..weights import is_encoder_key

PLATEAU_DROPS = 2  # as in the paper


def optimiser_of(net: TASEDNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's, with the encoder's parameters in one group and the prediction network's in the other."""
    parts: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for name, parameter in net.named_parameters():
        parts[is_encoder_key(name)].append(parameter)
    groups = [{"params": parts[True], "lr": recipe.encoder_lr}, {"params": parts[False], "lr": recipe.lr}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


class Rates:
    """The learning rates of encoder and prediction network at each step. The encoder's drops if the recipe says so.

    Drops come at the recipe's steps; or, of "plateau", twice, each when the validation loss has not fallen below its lowest
    for `patience` validations.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.lowest, self.waited, self.drops = math.inf, 0, 0

    def at(self, step: int) -> tuple[float, float]:
        """The rates at a step, from 1: the encoder's and the prediction network's."""
        recipe = self.recipe
        factor = recipe.drop_factor ** (self.drops if recipe.drops == PLATEAU else recipe.drops_before(step))
        return recipe.encoder_lr * (factor if recipe.drop_encoder else 1.0), recipe.lr * factor

    def observe(self, loss: float) -> None:
        """Takes note of a validation."""
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.recipe.patience and self.drops < PLATEAU_DROPS:
            self.drops, self.waited = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """What has been observed, for a run that is stopped."""
        return {"lowest": self.lowest, "waited": self.waited, "drops": self.drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self.lowest, self.waited, self.drops = state["lowest"], state["waited"], state["drops"]


class MovingAverage:
    """A network whose weights follow those of another, by 1 - `decay` of the way each step; its statistics as well.

    In the first steps by more, so that it forgets the weights that the run began with: after step n by at least 9 / (10 + n).
    """

    def __init__(self, net: TASEDNet, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, net: TASEDNet, step: int) -> None:
        """After a step of `net`, from 1."""
        way = max(1 - self.decay, 9 / (10 + step))
        pairs = zip(self.net.state_dict().values(), net.state_dict().values(), strict=True)
        for mine, other in pairs:
            if mine.is_floating_point():
                mine.lerp_(other, way)
            else:
                mine.copy_(other)
