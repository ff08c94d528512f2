"""The loop of training: steps, validations, and a state from which a stopped run goes on as if it had not been stopped."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ..backends import backend_on
from ..data import Clips
from ..errors import is_out_of_memory
from ..losses import Loss
from ..recipes import PRECISIONS, Recipe, RecipeError, conflicts, network_options
from ..tased import TASEDNet
from ..weights import Origin, architecture, load_weights, put_weights, read_weights
from .datasets import open_splits
from .draws import Draws, FixedDraws, layer_seed, uniform_places, usable_starts
from .folder import COLUMNS, OwnError, Row, RunFolder, State, TrainingError
from .interrupts import Interrupt, interrupts
from .loading import (
    ATTEMPTS,
    Batch,
    StepKeys,
    TrainingClips,
    ValidationClips,
    taken,
    training_batches,
    validation_batches,
)
from .optimise import MovingAverage, Rates, optimiser_of
from .pictures import draw_losses, draw_scenes
from .processes import Processes, distributed, joined, local_device
from .statistics import RunningStatistics
from .validation import Stopped, validate

TWO_FRAMES = (4, 8, 16)  # clip lengths of which a stretch of the encoder has maps of two frames
LEAST_SCALE = 2.0**-14  # of float16's losses: below it, gradients do not get finite by scaling

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step, by which signal if it broke off, and the lowest validation loss if there was one."""

    step: int
    signal: int | None
    best: float | None


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
        "cpu", "cuda", "cuda:1"; None for CUDA if there is any. Of several processes each takes a GPU of its own, so "cuda:1" is
        for one alone.
    resume
        Go on from the run's state, if there is one. On a CPU, with as many threads on the same kind of machine, the weights are
        then, bit for bit, those of a run that was never stopped.
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
    RecipeError
        If the recipe cannot be carried out as it is, or is not that of the run that is to be resumed.
    TrainingError
        If there is nothing to train on, the run's state is damaged, too many clips cannot be read, or the loss is not finite; in
        the last two cases the state before that step is saved.
    WeightsError
        If weights to begin with cannot be loaded.
    """
    with joined() as processes, warnings.catch_warnings(), ExitStack() as stack:
        # Of 1x1x1 convolutions, whose gradients are stored as contiguous and as channels last at once.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        # PyTorch forks the processes that read clips; they compute nothing that threads of this one have locked.
        warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
        folder = RunFolder(run)
        state = _state_of(folder, recipe, resume)
        if not processes.first:
            progress, tell = False, lambda message: None
        interrupt = stack.enter_context(interrupts(tell))
        trainer = Trainer(recipe, folder, state, processes, device, interrupt, tell, progress)
        stack.callback(trainer.close)
        try:
            if processes.first:
                stack.enter_context(folder.hold())
                if state is None and folder.state.exists():  # of a run that has ended a moment ago
                    raise _held_already(folder)
            return trainer.run()
        except (RuntimeError, MemoryError) as error:
            told = _told(error)
            if told is None:
                raise
            if interrupt.signal is not None and _is_of_a_worker(error):  # what came to us has come to it
                return Outcome(trainer.step, interrupt.signal, trainer.lowest)
            raise told from error
        except OSError as error:
            raise TrainingError(
                f"{folder.path}: cannot be written ({error}): make room, and go on with --resume"
            ) from error


def _is_of_a_worker(error: Exception) -> bool:
    """Whether it tells that a process that reads clips has ended, which PyTorch does wherever the run is."""
    return "DataLoader worker (pid" in str(error)


def _told(error: Exception) -> OwnError | None:
    """What befalls one process, in words that name the cure."""
    if _is_of_a_worker(error):
        line = str(error).splitlines()[0]
        return OwnError(
            f"a process that reads clips has ended ({line}): memory may be short; go on with --resume and fewer --workers"
        )
    if is_out_of_memory(error):
        return OwnError("out of memory: give a smaller --batch and a larger --accumulate, or --checkpoint")
    return None


def _state_of(folder: RunFolder, recipe: Recipe, resume: bool) -> State | None:
    """The state to go on from, if there is one, and if this recipe may go on from it."""
    state = folder.read_state()
    if state is None:
        return None
    if not resume:
        raise _held_already(folder)
    try:
        begun = Recipe(**state["recipe"])
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{folder.state}: has no recipe; move it away to begin anew") from error
    for name in conflicts(begun, recipe):
        raise RecipeError(
            f"{folder.path}: the run began with {name} = {getattr(begun, name)!r}, and {getattr(recipe, name)!r} would make it "
            "another: leave it out, or begin another with -o OTHER"
        )
    return state


def _held_already(folder: RunFolder) -> RecipeError:
    return RecipeError(f"{folder.path}: holds a run already: --resume goes on with it, -o OTHER begins another")


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
        self.folder, self.processes, self.interrupt = folder, processes, interrupt
        self.tell, self.progress = tell, progress
        try:
            self.device = local_device(device, processes)
        except ValueError as error:
            raise RecipeError(f"--device {error}") from error
        self.net = _network(recipe, state, self.device, tell)
        self.net.origin = Origin(recipe.height_width)
        self.recipe = dataclasses.replace(recipe, **architecture(self.net.options))
        _refuse_what_cannot_be(self.recipe, self.device, processes)
        self._open_data()
        self._build(state)
        self.board: Any = None

    # ------------------------------------------------------------------------------------------------------ before training

    def _open_data(self) -> None:
        recipe = self.recipe
        clips, validated = (
            Clips(split, self.net.clip_length, recipe.height_width, maps=self.net.maps)
            for split in open_splits(recipe, self.tell, self.progress)
        )
        per_step, starts = recipe.batch * recipe.accumulate, usable_starts(clips)
        draws: Draws | FixedDraws = Draws(starts, per_step, recipe.seed)
        places = uniform_places(usable_starts(validated), recipe.validation_clips)
        if recipe.overfit:
            validated, places = clips, uniform_places(starts, recipe.overfit)
            draws = FixedDraws(places, per_step, recipe.seed)
        if not any(starts) or not places:
            raise TrainingError(f"{recipe.data}: no clip of {self.net.clip_length} frames has its last map")
        self.clips, self.places = TrainingClips(clips, draws), places
        self.validation = validation_batches(
            ValidationClips(validated, places),
            recipe.batch,
            self.processes.rank,
            self.processes.count,
            min(recipe.workers, len(places)),
            self.device.type == "cuda",
        )

    def _build(self, state: State | None) -> None:
        """The network on its device, and all that goes with it, as new or as a state has it."""
        recipe, processes = self.recipe, self.processes
        self.dtype, self.autocast = PRECISIONS[recipe.precision]
        self.net.to(self.device, self.dtype).to(memory_format=torch.channels_last_3d).train()
        if recipe.sync_bn:
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
        self.average = MovingAverage(self.net, recipe.ema) if recipe.ema else None
        self.optimiser = optimiser_of(self.net, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast is torch.float16)
        self.rates, self.loss = Rates(recipe), Loss(recipe.loss)
        self.step, self.skipped, self.best, self.saved = 0, 0, math.inf, False
        self.pending: Row | None = None  # the row of a step whose validation was broken off
        if state is not None:
            self._load(state)
        if len(set(processes.gather([str(self.step)]))) > 1:
            raise TrainingError(
                f"{self.folder.path}: not all processes find the same state there: name a folder that all see"
            )
        self.statistics = RunningStatistics(self.net, recipe.bn_momentum, processes)
        self.net.checkpoint_activations(recipe.checkpoint)
        if recipe.compile:
            self.net.compile()
        self.parallel: DistributedDataParallel | None = None
        if processes.count > 1:
            self.parallel = distributed(self.net)

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
        if self.step < self.recipe.steps:
            self.tell(f"{self.folder.path}: goes on after step {self.step} of {self.recipe.steps}")
        else:
            self.tell(f"{self.folder.path}: has done its {self.recipe.steps} steps; --steps N asks for more")

    def state(self) -> State:
        """All that the run needs to go on. Of random numbers that is the recipe's seed and the step."""
        return {
            "recipe": dataclasses.asdict(self.recipe),
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
        if self.processes.first:
            self.folder.write_recipe(self.recipe.text())
            self.folder.begin_log(self.step - (self.pending is not None))
            self.board = _tensorboard(self.folder, self.step)
        recipe, processes, pin = self.recipe, self.processes, self.device.type == "cuda"
        steps = range(self.step + 1, recipe.steps + 1)
        keys = StepKeys(steps, recipe.batch, recipe.accumulate, processes.rank, processes.count)
        read = training_batches(self.clips, keys, recipe.workers, pin)
        bar = tqdm(total=recipe.steps, initial=self.step, unit="step", disable=not self.progress)
        with taken(read) as batches, bar:
            going = self.pending is None or self._finish(self.pending)
            while going and self.step < recipe.steps:
                row = self._step(batches)
                bar.set_postfix_str(f"loss {row['loss']:.4f}, {row['images_per_second']:.1f} images/s", refresh=False)
                bar.update()
                going = self._finish(row)
        self._save()
        left = self.step < recipe.steps or self.pending is not None
        return Outcome(self.step, (self.interrupt.signal or signal.SIGINT) if left else None, self.lowest)

    @property
    def lowest(self) -> float | None:
        """The lowest validation loss, if there was a validation."""
        return None if math.isinf(self.best) else self.best

    def _step(self, batches: Iterator[Batch]) -> Row:
        """Takes a step, or leaves all as it was."""
        began, step = time.monotonic(), self.step + 1
        rates = self.rates.at(step)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.statistics.begin()
        skipped, loss = self.skipped, None
        try:
            loss = self._gradients(step, batches)
            norm = self._update(step)
        except RuntimeError as error:
            # In any other case the weights may have moved in part, or the device be lost.
            if isinstance(error, TrainingError) or (loss is None and _told(error) is not None):
                self.statistics.cancel()
                self.skipped = skipped
                self._save()
            raise
        finally:
            self.optimiser.zero_grad()
        self.statistics.end(self.recipe.accumulate)
        if self.average is not None:
            self.average.follow(self.net, step)
        self.step, self.saved = step, False
        seconds = time.monotonic() - began
        images = self.recipe.batch * self.recipe.accumulate * self.net.clip_length
        row = (step, loss, rates[1], rates[0], norm, seconds, images / seconds, self.skipped)
        return dict(zip(COLUMNS, row, strict=False))

    def _gradients(self, step: int, batches: Iterator[Batch]) -> float:
        """Sums the gradients of a step's batches over all processes; returns the mean loss of its clips."""
        recipe, processes = self.recipe, self.processes
        losses = torch.zeros(recipe.batch * recipe.accumulate, dtype=torch.float64)  # of all clips of the step
        names: dict[int, str] = {}
        skipped: list[str] = []
        turns = range(processes.rank, recipe.accumulate, processes.count)
        for turn in turns:
            batch = next(batches)
            skipped += batch.skipped
            broken = len(batch.numbers) < recipe.batch
            # Before the others would wait for this one's gradients, or for its part of a batch norm.
            if broken or turn == turns[-1] or recipe.sync_bn:
                self._count_skipped(skipped, broken)
                skipped = []
            torch.manual_seed(layer_seed(recipe.seed, step, turn))
            # DDP adds up gradients in the last backward, and divides by the number of processes. Until then it is passed by:
            # also without a sum to take, its forward may wait for the others, who have no batch at this turn.
            maps = self._forward(self.net if self.parallel is None or turn != turns[-1] else self.parallel, batch.clips)
            each = self.loss(maps, batch.density.to(self.device), batch.fixations.to(self.device))
            self.scaler.scale(each.mean() * processes.count / recipe.accumulate).backward()
            losses[batch.numbers] = each.detach().double().cpu()
            names.update(zip(batch.numbers, batch.names, strict=True))
            self.statistics.seen()
        processes.add_up(losses)
        if self.skipped > recipe.max_skipped:
            raise TrainingError(
                f"step {step}: {self.skipped} clips could not be read, more than max_skipped = {recipe.max_skipped}; repair the "
                f"dataset or raise --max-skipped, and go on with --resume"
            )
        if not losses.isfinite().all():
            mine = [name for number, name in sorted(names.items()) if not losses[number].isfinite()]
            raise self._not_finite(step, "the loss of " + ", ".join(processes.gather(mine)))
        return losses.mean().item()

    def _count_skipped(self, here: list[str], broken: bool) -> None:
        """Tells and counts the clips that all processes have left out; all fail where one finds its data `broken`."""
        for sentence in self.processes.gather(here):
            self.tell(f"left out a clip: {sentence}")
            self.skipped += 1
        for sentence in self.processes.gather(here[-1:] if broken else []):
            raise TrainingError(f"{ATTEMPTS} clips in a row cannot be read, the last one: {sentence}")

    def _forward(self, model: nn.Module, clips: Tensor) -> Tensor:
        clips = clips.to(self.device, self.dtype, non_blocking=True, memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            maps: Tensor = model(clips)
        return maps

    def _update(self, step: int) -> float:
        """Moves the weights by the gradients; returns these' norm."""
        self.scaler.unscale_(self.optimiser)
        parameters = list(self.net.parameters())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not norm.isfinite() and (not self.scaler.is_enabled() or self.scaler.get_scale() < LEAST_SCALE):
            raise self._not_finite(step, "the gradients' norm")
        if self.recipe.clip_gradient is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip_gradient, norm)
        # Where float16's gradients have overflowed, no step is taken, and their scale is lowered.
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return norm.item()

    def _not_finite(self, step: int, what: str) -> TrainingError:
        return TrainingError(
            f"step {step}: {what} is not finite; {self.folder.state} holds the run after step {step - 1}. A lower --lr, "
            "--clip-gradient or --precision float32 may help: begin anew with one of them"
        )

    # ------------------------------------------------------------------------------------------------------- between steps

    def _finish(self, row: Row) -> bool:
        """Validates where it is time to, writes what is to be written; returns whether to go on."""
        recipe, processes = self.recipe, self.processes
        due = self.step % recipe.validate_every == 0 or self.step == recipe.steps
        if due:
            self.pending, self.saved = row, False
            self._save()
            try:
                row = row | self._validate()
            except Stopped:
                return False
            self.saved = False
        self.pending = None  # of a longer run, what was broken off may no longer be due
        if processes.first:
            self.folder.write_row(row)
            for name, value in row.items():
                if self.board is not None and name != "step":
                    self.board.add_scalar(name, value, self.step)
        if due or self.step % recipe.save_every == 0:
            self._save()
        return not processes.any(self.interrupt.signal is not None)

    def _validate(self) -> dict[str, float]:
        net = self.net if self.average is None else self.average.net
        scores, scenes = validate(
            net,
            self.validation,
            len(self.places),
            self.loss,
            self._forward,
            self.processes,
            stop=lambda: self.interrupt.signal is not None,
            tell=self.tell,
            progress=self.progress,
        )
        loss = scores["val_loss"]
        # A validation for which the end of the run is the only reason decides nothing: a longer run would not have it.
        if self.step % self.recipe.validate_every == 0:
            self.rates.observe(loss)
        if loss < self.best:
            self.best = loss
            if self.processes.first:
                self.folder.write_network(self.folder.best, net)
        if self.processes.first and scenes:
            draw_scenes(self.folder.validation_picture, scenes, f"step {self.step}, validation loss {loss:.4f}")
        return scores

    def _save(self) -> None:
        """Writes the state, the network and the curve, if that has not been done since the last step."""
        if self.processes.first and not self.saved:
            self.folder.write_state(self.state(), self.net if self.average is None else self.average.net)
            rows = self.folder.rows()
            if rows:
                draw_losses(self.folder.loss_picture, rows, self.recipe.loss)
        self.saved = True

    def close(self) -> None:
        """Leaves the network as others know it."""
        self.statistics.release()
        if self.board is not None:
            self.board.close()


def _refuse_what_cannot_be(recipe: Recipe, device: torch.device, processes: Processes) -> None:
    if processes.count > recipe.accumulate:
        raise RecipeError(
            f"{processes.count} processes share the {recipe.accumulate} batches of a step: "
            f"give --accumulate {processes.count} or more"
        )
    smallest = [-(-side // 16) // 2 for side in recipe.height_width]
    if recipe.batch == 1 and recipe.clip_length in (4, 8) and smallest == [1, 1]:
        raise RecipeError(
            f"a batch of one clip of {recipe.clip_length} frames of {recipe.size} has a single value in its smallest maps, which "
            "batch norms cannot normalise: give --batch 2, a larger --size or a longer --clip-length"
        )
    if recipe.sync_bn and (device.type != "cuda" or recipe.accumulate % processes.count):
        raise RecipeError(
            "sync_bn needs GPUs that share the batches of a step evenly: "
            f"{processes.count} processes on {device.type}, accumulate = {recipe.accumulate}"
        )
    if recipe.compile and recipe.checkpoint:
        raise RecipeError("compile and checkpoint do not go together: leave out one")
    if device.type == "cpu" and recipe.precision == "bfloat16" and recipe.clip_length in TWO_FRAMES:
        raise RecipeError(
            f"bfloat16 on a CPU goes wrong with clips of {recipe.clip_length} frames: PyTorch's gradient of a convolution over "
            "two frames reads memory that holds nothing (seen in 2.14); take float32 or float16, or 24 frames or more"
        )


def _network(recipe: Recipe, state: State | None, device: torch.device, tell: Tell) -> TASEDNet:
    """The network to begin with; its first weights are those of a file, or drawn by the recipe's seed.

    A run that is resumed has the variant that it began with: the file that stated it may be gone, or another one by now.
    """
    weights = read_weights(recipe.weights) if recipe.weights is not None and state is None else None
    stated = network_options(Recipe(**state["recipe"])) if state is not None else (weights and weights.options) or {}
    begins_at_random = recipe.weights is None and recipe.encoder_weights == "none"
    torch.manual_seed(recipe.seed)
    try:
        net = TASEDNet(**{**stated, **network_options(recipe)}, backend=backend_on([device], tell))
    except ValueError as error:
        raise RecipeError(str(error)) from error
    if state is not None:
        return net
    if weights is not None and recipe.encoder_weights != "none":
        raise RecipeError(
            "weights and encoder_weights are both given: those of a whole network have an encoder already"
        )
    if weights is not None:
        put_weights(net, weights)
    elif begins_at_random:
        tell(
            "the encoder begins with random weights; the paper's begins with those of Kinetics: --encoder-weights FILE"
        )
    elif load_weights(net, recipe.encoder_weights) != "encoder":
        raise RecipeError(f"{recipe.encoder_weights}: holds a whole network: give it as --weights")
    return net


def _tensorboard(folder: RunFolder, step: int) -> Any:
    """What writes for TensorBoard, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder.path / "tensorboard", purge_step=step + 1)
