"""The loop of training: steps, validations, and a state from which a stopped run goes on as if it had not been stopped."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..data import Clips
from ..losses import Loss
from ..recipes import PLATEAU, Recipe, conflicts, network_options
from ..tased import TASEDNet
from ..weights import architecture, load_weights, read_weights
from .datasets import open_splits
from .draws import Draws, FixedDraws, uniform_places
from .folder import COLUMNS, Row, RunFolder, State, TrainingError
from .interrupts import Interrupt, interrupts
from .loading import Batch, StepKeys, TrainingClips, ValidationClips, training_batches, validation_batches
from .optimise import MovingAverage, Rates, optimiser_of
from .pictures import draw_losses, draw_scenes
from .processes import Processes, joined, local_device
from .statistics import RunningStatistics
from .validation import Stopped, validate

# What each precision means for the network's weights, and for its convolutions if that differs.
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
    "float16": (torch.float32, torch.float16),
}
LEAST_SCALE = 2.0**-14  # of float16's losses: below it, gradients do not get finite by scaling

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step, by which signal if by any, and its last validation loss and its lowest."""

    step: int
    signal: int | None
    validation_loss: float | None
    best: float | None


class NotFinite(Exception):
    """A step that was not taken, as its loss or its gradients are not finite."""


def train(
    recipe: Recipe,
    run: str | os.PathLike[str],
    *,
    device: str | None = None,
    resume: bool = False,
    progress: bool = False,
    tell: Tell = lambda message: None,
) -> Outcome:
    """Trains a network (paper section 4.1).

    Under torchrun all processes call it alike and share each step's batches; a step is the same step whatever their number.

    Parameters
    ----------
    recipe
        All that decides what is computed.
    run
        A folder for the results: the network as ``last.safetensors`` and ``best.safetensors`` (lowest validation loss), which
        `TASEDNet.from_pretrained` reads, ``state.pt``, ``log.csv``, ``recipe.toml``, ``loss.png``, ``validation.png``.
    device
        "cpu", "cuda", "cuda:1"; None for CUDA if there is any.
    resume
        Go on from the run's state, if there is one. On a CPU the weights are then, bit for bit, those of a run that was
        never stopped.
    progress
        Whether to show a bar on stderr.
    tell
        Called with a sentence about what is worth knowing.

    Returns
    -------
    Outcome
        Ctrl-C and SIGTERM end a run after the step in which they come, with its state saved.

    Raises
    ------
    TrainingError
        If there is nothing to train on, the run cannot be resumed, too many clips cannot be read, or the loss is not finite; in
        the last two cases the state before that step is saved.
    WeightsError
        If weights to begin with cannot be loaded.
    """
    with joined() as processes, ExitStack() as stack:
        folder = RunFolder(run)
        state = folder.read_state()
        if state is not None and not resume:
            raise TrainingError(f"{run}: holds a run already: --resume goes on with it, -o OTHER begins another")
        if state is not None:
            begun = Recipe(**state["recipe"])
            changed = conflicts(begun, recipe)
            if changed:
                name = changed[0]
                raise TrainingError(
                    f"{run}: the run began with {name} = {getattr(begun, name)!r}, and {getattr(recipe, name)!r} would make it "
                    "another: leave it out, or begin another with -o OTHER"
                )
        if not processes.first:
            progress, tell = False, lambda message: None
        interrupt = stack.enter_context(interrupts(tell))
        trainer = Trainer(recipe, folder, state, processes, device, interrupt, tell, progress)
        stack.callback(trainer.close)
        return trainer.run()


class Trainer:
    """A run in progress."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        state: State | None,
        processes: Processes,
        device: str | None,
        interrupt: Interrupt,
        tell: Tell,
        progress: bool,
    ) -> None:
        if processes.count > recipe.accumulate:
            raise TrainingError(
                f"{processes.count} processes share the {recipe.accumulate} batches of a step: "
                f"give --accumulate {processes.count} or more"
            )
        self.folder, self.processes, self.interrupt, self.tell, self.progress = folder, processes, interrupt, tell, progress
        self.device = local_device(device)
        self.net = _network(recipe, state, tell)
        self.recipe = dataclasses.replace(recipe, **architecture(self.net.options))
        self._open_data()
        self._build(state)
        if processes.first:
            folder.make()
            folder.write_recipe(self.recipe.text())
            folder.begin_log(self.step - (self.pending is not None))
        self.board = _tensorboard(folder, self.step) if processes.first else None

    # ------------------------------------------------------------------------------------------------------ before training

    def _open_data(self) -> None:
        recipe = self.recipe
        training, validation = open_splits(recipe, self.tell)
        clips, self.validated = (
            Clips(split, self.net.clip_length, recipe.height_width, maps=self.net.maps) for split in (training, validation)
        )
        per_step = recipe.batch * recipe.accumulate
        places = uniform_places(self.validated, recipe.validation_clips)
        draws: Draws | FixedDraws
        if recipe.overfit:
            self.validated, places = clips, uniform_places(clips, recipe.overfit)
            draws = FixedDraws(places, per_step, recipe.seed)
        else:
            draws = Draws([clips.starts(video) for video in range(len(training.videos))], per_step, recipe.seed)
        self.clips = TrainingClips(clips, draws)
        self.places = places

    def _build(self, state: State | None) -> None:
        """The network on its device, and all that goes with it, as new or as a state has it."""
        recipe, processes = self.recipe, self.processes
        dtype, self.autocast = PRECISIONS[recipe.precision]
        self.net.to(self.device, dtype).to(memory_format=torch.channels_last_3d).train()
        if recipe.sync_bn:
            if self.device.type != "cuda" or recipe.accumulate % processes.count:
                raise TrainingError(
                    "sync_bn needs GPUs that share the batches of a step evenly: "
                    f"{processes.count} processes on {self.device.type}, accumulate = {recipe.accumulate}"
                )
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
        self.average = MovingAverage(self.net, recipe.ema) if recipe.ema else None
        self.optimiser = optimiser_of(self.net, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast is torch.float16)
        self.rates, self.loss = Rates(recipe), Loss(recipe.loss)
        self.step, self.skipped, self.best = 0, 0, math.inf
        self.pending: Row | None = None  # the row of a step whose validation was broken off
        if state is not None:
            self._load(state)
        self.statistics = RunningStatistics(self.net, recipe.bn_momentum, processes)
        self.net.checkpoint_activations(recipe.checkpoint)
        if recipe.compile:
            self.net.compile()
        self.model: nn.Module = self.net
        if processes.count > 1:
            self.model = DistributedDataParallel(self.net, broadcast_buffers=False, gradient_as_bucket_view=True)

    def _load(self, state: State) -> None:
        try:
            self.net.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.rates.load_state_dict(state["rates"])
            if self.average is not None:
                self.average.net.load_state_dict(state["average"])
            self.step, self.skipped, self.best = state["step"], state["skipped"], state["best"]
            self.pending = state["pending"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(f"{self.folder.state}: does not fit the run; move it away to begin anew") from error
        self.tell(f"{self.folder.path}: goes on after step {self.step} of {self.recipe.steps}")

    def state(self) -> State:
        """All that the run needs to go on. Of random numbers that is the recipe's seed and the step."""
        return {
            "recipe": {key: value for key, value in dataclasses.asdict(self.recipe).items()},
            "step": self.step,
            "network": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rates": self.rates.state_dict(),
            "average": None if self.average is None else self.average.net.state_dict(),
            "best": self.best,
            "skipped": self.skipped,
            "pending": self.pending,
        }

    # -------------------------------------------------------------------------------------------------------------- training

    def run(self) -> Outcome:
        """Trains to the recipe's last step, or until ctrl-C."""
        recipe, processes = self.recipe, self.processes
        keys = StepKeys(
            range(self.step + 1, recipe.steps + 1), recipe.batch, recipe.accumulate, processes.rank, processes.count
        )
        pin = self.device.type == "cuda"
        batches = iter(training_batches(self.clips, keys, recipe.workers, pin))
        self.validation = validation_batches(
            ValidationClips(self.validated, self.places),
            recipe.batch,
            processes.rank,
            processes.count,
            min(recipe.workers, len(self.places)),
            pin,
        )
        stopped = self.pending is not None and not self._finish(self.pending)
        with tqdm(total=recipe.steps, initial=self.step, unit="step", disable=not self.progress) as bar:
            while self.step < recipe.steps and not stopped:
                row = self._step(batches)
                bar.set_postfix_str(f"loss {row['loss']:.4f}, {row['images_per_second']:.1f} images/s", refresh=False)
                bar.update()
                stopped = not self._finish(row)
        self._save()
        self._draw_losses()
        return Outcome(self.step, self.interrupt.signal if stopped else None, None, None)
