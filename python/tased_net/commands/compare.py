"""`tased compare`: is one set of scores better than another?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..scores import LESS_IS_BETTER, LEVEL, TITLES, Difference, ScoresError, compare, read_means
from ..texts import printable
from ..words import listed, plural
from .shared import Commands, UsageError, add_debug, say, seed


def add(commands: Commands) -> None:
    """Adds `tased compare`."""
    parser = commands.add_parser(
        "compare",
        help="tell whether one set of scores is better than another",
        description="Compares two tables of scores video by video: the mean difference over the videos that are in both, "
        f"with its {100 * LEVEL:.0f} % interval by bootstrap over videos.",
        epilog="A and B are the videos.csv, or frames.csv, of two runs of tased evaluate.",
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="a table of scores")
    add("b", type=Path, metavar="B", help="the table to compare it with")
    add("--seed", type=seed, default=0, metavar="N", help="seed of the bootstrap (default: %(default)s)")
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased compare`: prints the differences, and what they say."""
    try:
        a, b = read_means(options.a), read_means(options.b)
        metrics = [metric for metric in a.metrics if metric in b.metrics]
        if not metrics:
            raise ScoresError(f"{options.a} and {options.b} have no metric in common")
        for means in (a, b):
            columns = [means.metrics.index(metric) for metric in metrics]
            means.values = {video: values[columns] for video, values in means.values.items()}
        differences = compare(a.values, b.values, metrics, seed=options.seed)
    except ScoresError as error:
        raise UsageError(str(error)) from error
    for name, means, others in ((options.a, a, b), (options.b, b, a)):
        alone = [video for video in means.frames if video not in others.frames]
        if alone:
            say(f"warning: {len(alone)} video{plural(len(alone))} in {name} only, such as {alone[0]}: left out")
    unequal = [video for video, frames in a.frames.items() if b.frames.get(video, frames) != frames]
    if unequal:
        example = f"such as {unequal[0]} of {a.frames[unequal[0]]} in A and {b.frames[unequal[0]]} in B"
        say(f"warning: {len(unequal)} video{plural(len(unequal))} scored on another number of frames, {example}")
    print(f"A is {printable(str(options.a))}\nB is {printable(str(options.b))}\n")
    print(f"{'':8}{'A':>9}{'B':>9}{'A - B':>9}   {f'{100 * LEVEL:.0f} % interval':<19}A better on")
    for one in differences:
        better = f"{one.better[0]} of {one.better[1]} videos"
        ends = f"{one.low:+.3f} to {one.high:+.3f}"
        print(f"{TITLES[one.metric]:8}{one.a:9.3f}{one.b:9.3f}{one.a - one.b:+9.3f}   {ends:<19}{better}")
    print(f"\n{verdict(differences)}")
    return 0


def verdict(differences: Sequence[Difference]) -> str:
    """Whether A is better than B, in words."""
    groups = {
        words: [TITLES[one.metric] for one in differences if one.verdict == who]
        for who, words in (
            ("A", "A is better than B in {}"),
            ("B", "A is worse than B in {}"),
            (None, "no difference can be told in {}"),
        )
    }
    found = [words.format(listed(names)) for words, names in groups.items() if names]
    text = "; ".join(found)
    turned = [TITLES[one.metric] for one in differences if one.metric in LESS_IS_BETTER]
    return f"{text[0].upper()}{text[1:]}.{f' (Less is better in {listed(turned)}.)' if turned else ''}"
