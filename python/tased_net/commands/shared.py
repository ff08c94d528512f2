"""What the commands have in common: options, messages, and the network that a command line describes."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias

import torch
from tqdm import tqdm

from ..decoders import DECODERS
from ..heads import AGGREGATIONS, UPSAMPLINGS
from ..predictor import SIZE
from ..tased import MIN_SIDE, TASEDNet
from ..weights import ARCHITECTURE, load_weights, read_weights

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
    tqdm.write(f"tased: {message}", file=sys.stderr)


def reason(error: OSError, path: object) -> str:
    """Which file could not be read or written, or else `path`, and why."""
    return f"{error.filename or path}: {(error.strerror or str(error)).lower()}"


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Makes SIGTERM, as a scheduler sends it, stop the command as ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The variant's options that stand on the command line."""
    return {name: getattr(options, name) for name in ARCHITECTURE if getattr(options, name, None) is not None}


def variant(options: argparse.Namespace) -> dict[str, Any]:
    """The variant that --weights states, if it does, with the options of the command line; checked."""
    stated = read_weights(options.weights)[1] if options.weights is not None else None
    wanted = {**(stated or {}), **given(options)}
    try:
        with torch.device("meta"):
            TASEDNet(**wanted)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('clip_length', 'clip-length')}") from error
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


def network(options: argparse.Namespace) -> TASEDNet:
    """The network that the options describe, with its weights."""
    wanted = variant(options)
    torch.manual_seed(options.seed)
    net = TASEDNet(**wanted)
    untrained = f"untrained, with random weights (seed {options.seed}): its maps say nothing about where people look"
    if options.weights is None:
        say(f"no --weights given: the network is {untrained}")
    elif load_weights(net, options.weights) == "encoder":
        say(f"{options.weights} holds the encoder only: the prediction network is {untrained}")
    return net


def add_size(parser: argparse._ActionsContainer) -> None:
    """Adds --size HxW."""
    parser.add_argument(
        "--size",
        type=_size,
        default=SIZE,
        metavar="HxW",
        help="size that frames are resized to for the network (default: {}x{})".format(*SIZE),
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
        help=f"how the prediction network joins the frames: {_listed(AGGREGATIONS)}",
    )
    add("--upsampling", choices=UPSAMPLINGS, help="how it upsamples between its blocks")
    add("--denser", action="store_const", const=True, help="put two more convolutions into each of its spatial blocks")
    add("--maps", type=int, metavar="K", help="predict the maps of a clip's last K frames at once, in place of one")
    add("--width", type=float, metavar="FACTOR", help="scale the channels of every block")
    add("--decoder", choices=("tased", *DECODERS), help="TASED-Net's own, or one that the paper compares it with")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Adds --debug."""
    parser.add_argument("--debug", action="store_true", help="show the Python traceback of an error")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"want HxW such as 224x384, both at least {MIN_SIDE}, got {text!r}")
    return int(height), int(width)


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
