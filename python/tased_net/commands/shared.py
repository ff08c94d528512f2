"""What the commands have in common: options, messages, and the network that a command line describes."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from tqdm import tqdm

from ..backends import backend_on
from ..decoders import DECODERS
from ..heads import AGGREGATIONS, UPSAMPLINGS
from ..predictor import PRECISIONS, SIZE
from ..sizes import read_size, written
from ..tased import TASEDNet
from ..texts import printable
from ..weights import ARCHITECTURE, BUNDLED, WeightsFile, described, put_weights, read_weights
from ..words import listed

DEFAULT_WEIGHTS, NO_WEIGHTS = "synthetic", "none"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class UsageError(Exception):
    """A command line that cannot be carried out."""


class PageFormatter(argparse.HelpFormatter):
    """Fills each paragraph of a description or an epilog to the terminal's width; one of several lines stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part if "\n" in part else super(PageFormatter, self)._fill_text(part, width, indent)
            for part in text.split("\n\n")
        )


def say(message: str) -> None:
    """Tells the user, above any progress bar."""
    tqdm.write(f"tased: {printable(message)}", file=sys.stderr)


def reason(error: OSError, path: object = None) -> str:
    """Which file could not be read or written, or else `path`, and why."""
    what, why = error.filename or path, (error.strerror or str(error)).lower()
    return why if what is None else f"{what}: {why}"


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The variant's options that stand on the command line."""
    return {name: getattr(options, name) for name in ARCHITECTURE if getattr(options, name, None) is not None}


def weights_of(options: argparse.Namespace) -> WeightsFile | None:
    """What the file of --weights holds; None for random weights."""
    return None if options.weights in (None, NO_WEIGHTS) else read_weights(options.weights)


def variant(options: argparse.Namespace, weights: WeightsFile | None) -> dict[str, Any]:
    """The variant that the weights state, if they do, with the options of the command line; checked."""
    stated = (weights and weights.options) or {}
    wanted = {**stated, **given(options)}
    try:
        with torch.device("meta"):
            TASEDNet(**wanted)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('clip_length', 'clip-length')}") from error
    if options.weights in BUNDLED and wanted != stated:
        name = next(name for name in wanted if wanted[name] != stated[name])
        raise UsageError(
            f"--{name.replace('_', '-')}: the weights that come with the package are those of {described(TASEDNet, stated)}; give "
            f"--weights FILE for others, or --weights {NO_WEIGHTS} for random ones"
        )
    return wanted


def devices(options: argparse.Namespace) -> list[torch.device]:
    """The devices of --device, if they are there, or the best one: of several GPUs that of torchrun's numbering."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    best = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % gpus}" if gpus else "cpu"
    names = (options.device or best).split(",")
    try:
        found = [torch.device(name) for name in names]
        for one in found:
            torch.empty(0, device=one)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {','.join(names)}: {str(error).splitlines()[0]}") from error
    return found


def network(options: argparse.Namespace) -> tuple[TASEDNet, str]:
    """The network that the options describe, and what tells its weights from others; says a word about these."""
    weights = weights_of(options)
    wanted = variant(options, weights)
    wanted["backend"] = backend_on(devices(options), lambda sentence: say(f"warning: {sentence}"))
    torch.manual_seed(options.seed)
    net = TASEDNet(**wanted)
    untrained = f"untrained, with random weights (seed {options.seed}): its maps say nothing about where people look"
    if weights is None:
        say(f"the network is {untrained}")
        return net, f"seed {options.seed}"
    if put_weights(net, weights) == "encoder":
        say(f"{options.weights} holds the encoder only: the prediction network is {untrained}")
        return net, f"seed {options.seed}, {weights.key()}"
    if net.origin.about is not None:
        say(f"weights {options.weights}: {net.origin.about}")
    return net, weights.key()


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds --weights, with those that come with the package as the default."""
    parser.add_argument(
        "--weights",
        default=DEFAULT_WEIGHTS,
        metavar="FILE",
        help="the authors' .pt file, or .safetensors, which may state the variant; none for random weights (default: "
        f"{DEFAULT_WEIGHTS}, which come with the package and have learned from synthetic clips)",
    )


def weights_name(options: argparse.Namespace) -> str:
    """What reports call the weights."""
    return f"untrained, seed {options.seed}" if options.weights == NO_WEIGHTS else os.path.basename(options.weights)


def add_size(parser: argparse._ActionsContainer) -> None:
    """Adds --size HxW."""
    parser.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help=f"size that frames are resized to for the network (default: what the weights have learned from, {written(SIZE)} if "
        "they do not say)",
    )


def add_computing(parser: argparse._ActionsContainer, when: str = "") -> None:
    """Adds --device and --precision; `when` says when they matter."""
    parser.add_argument(
        "--device",
        help=f"{when}cpu, cuda, cuda:1, or several as cuda:0,cuda:1 (default: cuda if there is one, else cpu)",
    )
    parser.add_argument(
        "--precision",
        choices=tuple(PRECISIONS),
        default="float32",
        help=f"{when}type to compute in (default: %(default)s)",
    )


def add_variant(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose a variant of the network."""
    group = parser.add_argument_group(
        "variant of the network", "default: what the weights file states, else as released: 32 frames, updated, unpool"
    )
    add = group.add_argument
    add("--clip-length", type=int, metavar="T", help="frames of a clip: 4 or a multiple of 8")
    add(
        "--aggregation",
        choices=AGGREGATIONS,
        metavar="HOW",
        help=f"how the prediction network joins the frames: {listed(AGGREGATIONS, 'or')}",
    )
    add("--upsampling", choices=UPSAMPLINGS, help="how it upsamples between its blocks")
    add("--denser", action="store_const", const=True, help="put two more convolutions into each of its spatial blocks")
    add("--maps", type=int, metavar="K", help="predict the maps of a clip's last K frames at once, in place of one")
    add("--width", type=float, metavar="FACTOR", help="scale the channels of every block")
    add("--decoder", choices=("tased", *DECODERS), help="TASED-Net's own, or one that the paper compares it with")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Adds --debug."""
    parser.add_argument("--debug", action="store_true", help="show the Python traceback of an error")


def size(text: str) -> tuple[int, int]:
    """The type of --size: height and width."""
    try:
        return read_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seed(text: str) -> int:
    """The type of --seed."""
    value = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"want a whole number from 0 to 2**63 - 1, got {text!r}")
    return value


def number(wanted: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """The type of an argument that is a number."""

    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"want {wanted}, got {text!r}")
        return value

    return parsed
