"""`tased info`: what a variant of the network costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..info import table
from .shared import Commands, add_debug, add_size, add_variant, variant


def add(commands: Commands) -> None:
    """Adds `tased info`."""
    parser = commands.add_parser(
        "info",
        help="print what a variant of the network costs",
        description="Prints a table of the network's stages for one clip: output shape, parameters, multiply-adds of the "
        "convolutions, and bytes of all maps in float32.",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a .safetensors file that states its variant")
    add_size(parser)
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased info`: prints the table of a variant."""
    for line in table(variant(options), options.size):
        print(line)
    return 0
