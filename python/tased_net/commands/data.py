"""`tased data`: what is there of a dataset, and what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data import DATASETS, DataError, Scan, Split
from ..texts import printable
from .shared import Commands, PageFormatter, UsageError, add_debug, say

_ROW = "{:<8}{:>8}{:>12}{:>18}"


def add(commands: Commands) -> None:
    """Adds `tased data`."""
    parser = commands.add_parser(
        "data",
        help="list what is there of a dataset, and what is missing",
        description="Finds the videos of a dataset, counts them and their frames, and tells what is missing or broken. "
        "docs/data.md shows the layouts that are known.",
        epilog="""examples:
  tased data DHF1K --dataset dhf1k
  tased data UCF --dataset ucfsports --split test --strict

Exit status: 0 done, 1 --strict and something is missing, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=PageFormatter,
    )
    add = parser.add_argument
    add("root", type=Path, metavar="ROOT", help="the dataset's folder")
    add("--dataset", choices=tuple(DATASETS), required=True, help="its layout; folder: a plain folder of your own")
    add(
        "--split", help="only this one: train, val, test, or NAME for the videos listed in ROOT/NAME.txt (default: all)"
    )
    add("--strict", action="store_true", help="fail if anything is missing or broken")
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased data`: returns 1 if something is missing that must not be."""
    try:
        scan = Scan(options.root, options.dataset)
        parts = [options.split] if options.split is not None else [*scan.splits, None]
        opened = [scan.open(part, progress=True) for part in parts]
    except DataError as error:
        if options.debug:
            raise
        raise UsageError(str(error)) from error
    print(_ROW.format("split", "videos", "frames", "annotated frames"))
    for split in opened:
        print(_ROW.format(printable(split.split or "all"), *(f"{count:,}" for count in _counts(split))))
    problems = opened[-1].problems
    for problem in problems:
        print(problem)
    if problems and options.strict:
        say(f"error: {options.root}: is not complete")
        return 1
    return 0


def _counts(split: Split) -> tuple[int, int, int]:
    """Videos, frames, and frames that have a map."""
    frames = {video.name: video.length - len(video.gaps) for video in split.videos}
    annotated = sum(frames[video.name] for video in split.videos if video.maps is not None)
    return len(split.videos), sum(frames.values()), annotated
