"""`tased synth`: clips with known attention."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..sharing import cores
from ..synthetic import FRAMES, MIN_SIDE, SIZE, check
from ..synthetic.dataset import MAPS, Settings, SettingsError, SynthError, write_dataset
from ..words import counted
from .shared import Commands, PageFormatter, UsageError, add_debug, say

SPLITS = {"train": (1, 600), "val": (601, 700)}  # DHF1K's


def add(commands: Commands) -> None:
    """Adds `tased synth`."""
    parser = commands.add_parser(
        "synth",
        help="write synthetic clips with known attention",
        description="Writes synthetic clips in the layout of DHF1K, with fixations and densities of attention that follow "
        "stated rules (docs/synthetic.md). A video depends on the seed and its number only. Videos that are there stay: "
        "after a stop the same command goes on.",
        epilog="""examples:
  tased synth -o synth --videos 200 --seed 1
  tased synth -o synth --videos 20 --seed 1 --split val
  tased synth -o small --videos 600 --size 112x192 --maps rules

Exit status: 0 all done, 1 a file could not be written, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=PageFormatter,
    )
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="ROOT", help="the folder to write to")
    add("--videos", type=_positive, default=20, metavar="N", help="how many (default: %(default)s)")
    add("--split", choices=tuple(SPLITS), default="train", help="train: videos 1 to 600 (default), val: 601 to 700")
    add("--first", type=_positive, metavar="K", help="number of the first one (default: the split's first)")
    add("--seed", type=int, default=0, metavar="N", help="seed of all that is drawn (default: %(default)s)")
    add(
        "--size",
        type=_pair("x", f"HxW such as {SIZE[0]}x{SIZE[1]}"),
        default=SIZE,
        metavar="HxW",
        help=f"size of the frames, even and at least {MIN_SIDE} (default: {SIZE[0]}x{SIZE[1]})",
    )
    add(
        "--frames",
        type=_pair("-", "MIN-MAX such as 100-300"),
        default=FRAMES,
        metavar="MIN-MAX",
        help=f"least and greatest number of frames (default: {FRAMES[0]}-{FRAMES[1]})",
    )
    add(
        "--maps",
        choices=MAPS,
        default=MAPS[0],
        help="what the densities are: fixations, blurred, as in recorded data (default), or what the rules say",
    )
    add("--workers", type=_positive, metavar="N", help="processes (default: one a core)")
    add("--overwrite", action="store_true", help="write videos anew that are there already")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased synth`: returns 1 if a file could not be written, else 0."""
    begin, end = SPLITS[options.split]
    first = options.first if options.first is not None else begin
    last = first + options.videos - 1
    if not begin <= first <= last <= end:
        raise UsageError(
            f"--split {options.split} has the videos {begin} to {end}, not {first} to {last}: give other --videos or --first"
        )
    settings = Settings(options.seed, options.size, options.frames, options.maps)
    try:
        check(options.seed, first, options.size, options.frames)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        written = write_dataset(
            options.output,
            range(first, last + 1),
            settings,
            workers=options.workers or cores(),
            overwrite=options.overwrite,
            progress=not options.quiet,
        )
    except SettingsError as error:
        raise UsageError(str(error)) from error
    except SynthError as error:
        if options.debug:
            raise
        say(f"error: {error}")
        return 1
    if not options.quiet:
        rest = options.videos - written
        before = f", {rest} {'was' if rest == 1 else 'were'} there already" if rest else ""
        say(f"{options.output}: {counted(written, 'video')} written{before}")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a number of at least 1, got {text!r}")
    return int(text)


def _pair(separator: str, wanted: str) -> Callable[[str], tuple[int, int]]:
    """The type of an argument that is two whole numbers."""

    def parsed(text: str) -> tuple[int, int]:
        first, _, second = text.partition(separator)
        if not (first.isdecimal() and second.isdecimal()):
            raise argparse.ArgumentTypeError(f"want {wanted}, got {text!r}")
        return int(first), int(second)

    return parsed
