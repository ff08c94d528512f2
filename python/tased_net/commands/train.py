"""`tased train`: a network from a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..recipes import FLAG, KEYS, NAMED, Kind, Recipe, RecipeError, load_recipe
from ..train import TrainingError, train
from ..train.folder import OwnError
from ..train.processes import started
from .shared import Commands, PageFormatter, UsageError, add_debug, add_variant, say

# How --help groups the keys of a recipe; those of the network come with `add_variant`.
GROUPS = {
    "data": "dataset train_split validation_split size workers max_skipped overfit",
    "weights to begin with": "weights encoder_weights seed",
    "optimisation": "batch accumulate steps loss optimizer lr encoder_lr momentum weight_decay drops drop_factor drop_encoder "
    "patience bn_momentum clip_gradient ema sync_bn",
    "computation": "precision compile checkpoint",
    "validation and saving": "validate_every validation_clips save_every",
}
METAVARS = {"weights": "FILE", "encoder_weights": "FILE|none", "size": "HxW", "dataset": "NAME", "loss": "MIX"}


def add(commands: Commands) -> None:
    """Adds `tased train`."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        usage="%(prog)s --data ROOT --dataset NAME -o RUN [options]\n       %(prog)s -o RUN --resume [options]",
        description="Trains a network and writes it to RUN/last.safetensors and, at its lowest validation loss, "
        "RUN/best.safetensors, with log.csv, loss.png, validation.png, and the recipe that was used. "
        "A recipe is a file of the options below; those on the command line take its place. Defaults are those of the recipe paper.",
        epilog="""examples:
  tased train --data DHF1K --dataset dhf1k -o run \\
    --encoder-weights S3D_kinetics400.pt
  tased train -o run --resume --steps 2000
  tased train --data UCF --dataset ucfsports -o ucf --recipe small \\
    --weights run/best.safetensors --lr 0.01
  torchrun --nproc-per-node 4 -m tased_net.cli train --data DHF1K \\
    --dataset dhf1k -o run --resume

Exit status: 0 all done, 1 the run ended before its last step, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=PageFormatter,
    )
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the run")
    add("--recipe", metavar="FILE|NAME", help=f"a .toml file, or {' or '.join(NAMED)} (default: paper)")
    add("--resume", action="store_true", help="go on with the run in RUN, if there is one")
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    add("--data", metavar="ROOT", help=KEYS["data"].metadata["help"])
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names.split():
            _add_key(group, name)
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def _add_key(group: argparse._ArgumentGroup, name: str) -> None:
    kind: Kind = KEYS[name].metadata["kind"]
    default = KEYS[name].default
    help = KEYS[name].metadata["help"]
    flag = f"--{name.replace('_', '-')}"
    if kind is FLAG:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=help)
        return
    if default is not None:
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        help = f"{help} (default: {shown})"
    metavar = METAVARS.get(name, "N" if kind.read is int else "X" if kind.read is float else "VALUE")
    group.add_argument(flag, type=_typed(kind), metavar=metavar, help=help)


def _typed(kind: Kind) -> Callable[[str], Any]:
    """The type of an argument that is a key of a recipe."""

    def parsed(text: str) -> Any:
        try:
            value = kind.read(text)
        except ValueError:
            value = None
        if not kind.fits(value):
            raise argparse.ArgumentTypeError(f"want {kind.wanted}, got {text!r}")
        return value

    return parsed


def run(options: argparse.Namespace) -> int:
    """`tased train`: returns 0 at the last step, 1 if the run failed, 130 after ctrl-C."""
    tell = _silent if options.quiet else say
    try:
        recipe = _recipe(options)
        outcome = train(
            recipe,
            options.output,
            device=options.device,
            resume=options.resume,
            progress=not options.quiet,
            tell=tell,
        )
    except RecipeError as error:
        raise UsageError(str(error)) from error
    except (TrainingError, OSError) as error:
        if options.debug:
            raise
        if started().first or isinstance(error, OwnError):
            say(f"error: {error}")
        return 1
    if not started().first:
        tell = _silent
    if outcome.signal is not None:
        tell(f"stopped after step {outcome.step} of {recipe.steps}; to go on: tased train -o {options.output} --resume")
        return 128 + outcome.signal
    best = "" if outcome.best is None else f", lowest validation loss {outcome.best:.4f}"
    tell(f"{options.output}: {outcome.step} steps{best}")
    return 0


def _silent(message: str) -> None:
    """Says nothing."""


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe that is named, or the run's own if it is resumed, or the paper's, with the changes of the command line."""
    changes = {name: getattr(options, name) for name in KEYS if getattr(options, name, None) is not None}
    name = options.recipe
    own = options.output / "recipe.toml"
    if name is None:
        name = str(own) if options.resume and own.is_file() else "paper"
    return load_recipe(name, changes)
