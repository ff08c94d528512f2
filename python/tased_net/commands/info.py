"""`tased info`: what a variant of the network costs."""

from __future__ import annotations

import argparse

from ..info import table
from ..predictor import SIZE
from ..texts import printable
from ..weights import Origin
from .shared import Commands, add_debug, add_size, add_variant, variant, weights_of


def add(commands: Commands) -> None:
    """Adds `tased info`."""
    parser = commands.add_parser(
        "info",
        help="print what a variant of the network costs",
        description="Prints a table of the network's stages for one clip: output shape, parameters, multiply-adds of the "
        "convolutions, and bytes of all maps in float32.",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="a .safetensors file that states its variant, or synthetic, those that come with the package",
    )
    add_size(parser)
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased info`: prints the table of a variant."""
    weights = weights_of(options)
    origin = Origin() if weights is None else weights.origin
    for line in table(variant(options, weights), options.size or origin.size or SIZE):
        print(line)
    if origin.about is not None:
        print(f"Weights {printable(options.weights)}: {origin.about}.")
    return 0
