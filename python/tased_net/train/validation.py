"""How good a network is on the clips of a validation split."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..losses import Loss, correlation, kl_divergence, scanpath, similarity
from ..tased import TASEDNet
from .folder import TrainingError
from .loading import Batch, taken
from .pictures import Scene
from .processes import Processes

SCENES = 6  # of the picture
SCORES = ("val_loss", "val_kl", "val_cc", "val_nss", "val_sim")


class Stopped(Exception):
    """The validation was broken off."""


@torch.no_grad()
def validate(
    net: TASEDNet,
    batches: DataLoader[Batch],
    count: int,
    loss: Loss,
    forward: Callable[[TASEDNet, Tensor], Tensor],
    processes: Processes,
    *,
    stop: Callable[[], bool],
    tell: Callable[[str], None],
    progress: bool,
) -> tuple[dict[str, float], list[Scene]]:
    """Mean loss and scores over `count` clips, of which this process sees `batches`, and some maps to look at.

    Scores are means over the maps that have the truth for them, at the network's size and of floating-point maps:
    `tased evaluate` has the benchmark's. They do not depend on how many processes share the clips.

    Raises
    ------
    Stopped
        If `stop` says so in any process.
    TrainingError
        If no clip can be read.
    """
    training = net.training
    net.eval()
    device = next(net.parameters()).device
    table = torch.zeros(count, len(SCORES) + 1, dtype=torch.float64)  # the last column counts the clips that were read
    mine = [number for numbers in cast("list[list[int]]", batches.batch_sampler) for number in numbers]
    shown = {mine[(2 * scene + 1) * len(mine) // (2 * SCENES)] for scene in range(SCENES if mine else 0)}
    scenes: list[Scene] = []
    skipped: list[str] = []
    with taken(batches) as read:
        for batch in tqdm(read, "validation", len(batches), leave=False, unit="batch", disable=not progress):
            if stop():
                break
            skipped += batch.skipped
            if not batch.numbers:
                continue
            saliency = forward(net, batch.clips.to(device, non_blocking=True))
            table[batch.numbers, :-1] = _scores(saliency, batch, loss).cpu()
            table[batch.numbers, -1] = 1
            scenes += [_scene(batch, saliency, place) for place, number in enumerate(batch.numbers) if number in shown]
    net.train(training)
    if processes.any(stop()):
        raise Stopped
    skipped = processes.gather(skipped)
    for sentence in skipped:
        tell(f"left out a clip of the validation: {sentence}")
    if skipped:
        tell(f"the validation is without {len(skipped)} of its {count} clips")
    processes.add_up(table)
    table = table[table[:, -1] > 0, :-1]
    if not len(table):
        raise TrainingError("no clip of the validation can be read")
    means = dict(zip(SCORES[1:], table[:, 1:].nanmean(0).tolist(), strict=True))
    # Without fixations there is no NSS.
    scores = {name: value for name, value in means.items() if not math.isnan(value)}
    return {"val_loss": table[:, 0].mean().item(), **scores}, scenes


def _scores(saliency: Tensor, batch: Batch, loss: Loss) -> Tensor:
    """The scores of each clip, NaN where it has no truth for one."""
    density, fixations = batch.density.to(saliency.device), batch.fixations.to(saliency.device)
    maps = saliency.reshape(density.shape).to(torch.promote_types(saliency.dtype, torch.float32))
    density = density.to(maps.dtype)
    seen, fixated = density.amax((-2, -1)) > 0, fixations.any(-1).any(-1)
    scores = [
        kl_divergence(maps, density).where(seen, math.nan),
        correlation(maps, density).where(seen, math.nan),
        scanpath(maps, fixations).where(fixated, math.nan),
        similarity(maps, density).where(seen, math.nan),
    ]
    columns = [loss(maps, density, fixations), *(score.nanmean(1) for score in scores)]
    return torch.stack([column.double() for column in columns], 1)


def _scene(batch: Batch, saliency: Tensor, place: int) -> Scene:
    """A clip of the batch to look at."""
    image = ((batch.clips[place, :, -1] * 255 + 255) / 2).round().byte().permute(1, 2, 0)
    maps = saliency[place].reshape(-1, *saliency.shape[-2:])
    return Scene(batch.names[place], image.numpy(), batch.density[place, -1].numpy(), maps[-1].float().cpu().numpy())
