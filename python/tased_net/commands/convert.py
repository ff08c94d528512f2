"""`tased convert`: a weights file anew, with its variant."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..tased import TASEDNet
from ..texts import printable
from ..weights import (
    Origin,
    WeightsError,
    architecture,
    checked_about,
    described,
    is_encoder_key,
    put_weights,
    read_weights,
    variant_of,
)
from .shared import Commands, UsageError, add_debug, given, size

# Types of weights that `tased convert` writes.
DTYPES = {"same": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def add(commands: Commands) -> None:
    """Adds `tased convert`."""
    parser = commands.add_parser(
        "convert",
        help="write a weights file as .safetensors that states its variant",
        description="Reads released weights, a checkpoint or .safetensors, finds out which variant of the network they are, "
        "and writes them with it. Clips of 4 and of 8 frames have the same weights: give --clip-length 4 for 4.",
    )
    parser.add_argument("source", type=Path, metavar="IN", help="the file to read")
    parser.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument(
        "--dtype", choices=tuple(DTYPES), default="same", help="type of the weights in OUT (default: %(default)s as IN)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there already")
    parser.add_argument("--clip-length", type=int, metavar="T", help="frames of a clip, where the file leaves it open")
    parser.add_argument("--about", metavar="TEXT", help="what the weights have learned from, which OUT then states")
    parser.add_argument("--size", type=size, metavar="HxW", help="size of the frames that they have learned from")
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased convert`: writes a weights file anew, with its variant."""
    source, target = options.source, options.target
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: name a file that ends in .safetensors")
    if target.exists() and not options.overwrite:
        raise UsageError(f"{target} is there already: give --overwrite to replace it")
    about = checked_about(options.about, "--about")
    weights = read_weights(source)
    _, state, stated, origin = weights
    if all(is_encoder_key(key) for key in state):
        raise WeightsError(f"{source}: holds the encoder only, which is no network to convert")
    found = stated or variant_of(TASEDNet, state)
    if found is None:
        raise WeightsError(f"{source}: fits no variant of TASEDNet")
    try:
        net = TASEDNet(**{**found, **given(options)})
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('clip_length', 'clip-length')}") from error
    put_weights(net, weights)
    net.origin = Origin(options.size or origin.size, origin.about if about is None else about)
    target.parent.mkdir(parents=True, exist_ok=True)
    dtype = DTYPES[options.dtype] or next(value.dtype for value in state.values() if value.is_floating_point())
    net.save_pretrained(target, dtype=dtype)
    print(f"{printable(str(target))}: {described(TASEDNet, architecture(net.options))}")
    return 0
