"""The bench of the operations: python -m bench.ops, or make bench.

Measures every operation against stock PyTorch, torch.compile and the floor, all in this run, and judges the targets.
Exit status: 0, 1 if --check found a target missed, 2 if the command line does not make sense, 130 for ctrl-C.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from tests.cases import threads as cpu_threads

from . import chart, machine, memory, plan, report, targets, works
from .results import Outcome
from .timing import Clock, ColdCpuClock, CpuClock, CudaClock, Elsewhere, measure
from .works import DTYPES, LAYOUTS, Row

BUSY = 0.1  # the share of the cores from which other processes spoil a run
HUGE_GIB = 22  # what the stock chain has been seen to need for a huge map, and some to spare


class UsageError(Exception):
    """A command line that cannot be carried out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Measures, prints, writes and judges the rows that the options choose."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no CUDA GPU")
    rows, memory_rows = _chosen(options)
    options.out.mkdir(parents=True, exist_ok=True)
    # It reports the missing GPU of a PyTorch that was built for one.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    facts = machine.facts(options.device)
    facts["freed memory"] = "stays mapped" if memory.keep_memory_mapped() else "is given back, with page faults to come"
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if rows:
        print(f"\n{report.header()}")
    elsewhere = Elsewhere()
    outcomes = list(_outcomes(rows, options))
    used = elsewhere.share()
    memories = [memory.count(row, options.device) for row in memory_rows]
    table = targets.CPU if options.device == "cpu" else targets.CUDA
    judgements = targets.judge(table, outcomes, memories)
    if memories:
        print(f"\nMemory: ours / eager / compiled\n{report.memory_table(memories)}")
    if judgements:
        print(f"\nTargets\n{report.targets_table(judgements)}")
    every = [*plan.rows(options.device), *plan.memory_rows()]
    left_out = targets.unmeasured(table, every, judgements)
    print(f"\n{report.summary(judgements, left_out)}")
    if used > BUSY:
        print(f"Other processes used {used:.0%} of the cores meanwhile: measure again on a quiet machine.")

    result = {
        "machine": {**facts, "used_by_others": round(used, 3)},
        "rows": [outcome.to_json() for outcome in outcomes],
        "memory": [one.to_json() for one in memories],
        "targets": [judgement.to_json() for judgement in judgements],
    }
    written = [options.out / "ops.json", *_charts(outcomes, options)]
    written[0].write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {', '.join(map(str, written))}")
    return 1 if options.check and not all(judgement.reached for judgement in judgements) else 0


def _chosen(options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """The rows to time and those whose memory to count."""

    def matches(row: Row) -> bool:
        return (
            bool(options.only.search(str(row)))
            and row.dtype in options.dtype
            and row.layout in options.layout
            and (not options.site or row.site.name in options.site)
        )

    rows, memory_rows = plan.rows(options.device, options.threads), plan.memory_rows()
    if options.quick:
        rows, memory_rows = plan.quick(rows), plan.quick_memory(memory_rows)
    if not (options.huge or (not options.quick and _available_gib(options.device) >= HUGE_GIB)):
        rows = [row for row in rows if row.kind != "huge"]
    chosen = [row for row in rows if matches(row)]
    memory_rows = [row for row in memory_rows if matches(row)]
    if not chosen and not memory_rows:
        raise UsageError("--only, --dtype, --layout and --site leave no row to measure")
    # Some targets allow for the cost of a call, which is measured for them.
    wanted = {(row.operation, row.mode) for row in chosen if row.kind != "call"}
    calls = [row for row in rows if row.kind == "call" and (row in chosen or (row.operation, row.mode) in wanted)]
    return [*calls, *(row for row in chosen if row.kind != "call")], memory_rows


def _outcomes(rows: Sequence[Row], options: argparse.Namespace) -> Iterator[Outcome]:
    """Measures row by row, and prints each as it is done."""
    cached = CpuClock()
    cold: Clock = ColdCpuClock() if options.device == "cpu" else CudaClock()
    bar = tqdm(rows, unit="row", disable=None, leave=False)
    for row in bar:
        bar.set_description(str(row))
        if row.kind == "huge":  # two of them may not fit
            works.forget()
            memory.give_back()
        with cpu_threads(row.threads) if options.device == "cpu" else nullcontext():
            # On an empty map only the host works.
            on_host = options.device == "cpu" or row.kind == "call"
            outcome = _outcome(row, cached if on_host and row.cached else cold, options)
        bar.write(report.outcome_line(outcome), file=sys.stdout)
        sys.stdout.flush()
        yield outcome


def _outcome(row: Row, clock: Clock, options: argparse.Namespace) -> Outcome:
    calls = {**works.subjects(row, options.device), **works.floor(row, options.device)}
    elsewhere = Elsewhere()
    samples = measure(calls, clock, *_effort(row, options))
    return Outcome.of(row, samples, elsewhere.share())


def _effort(row: Row, options: argparse.Namespace) -> tuple[float, tuple[int, int]]:
    """How many seconds to measure a row, and the least and the most rounds."""
    if row.kind == "huge":
        return 0.0, (3, 3)
    return (0.4, (5, 40)) if options.quick else (1.0, (7, 60))


def _charts(outcomes: Sequence[Outcome], options: argparse.Namespace) -> list[Path]:
    """A chart a dtype and direction, of TASED-Net's maps on the most threads."""
    at_sites = [outcome for outcome in outcomes if outcome.row.kind == "site"]
    most = max((outcome.row.threads for outcome in at_sites), default=0)
    where = f"{most} threads" if options.device == "cpu" else torch.cuda.get_device_name()
    drawn = []
    for dtype, direction in itertools.product(options.dtype, ("forward", "backward")):
        shown = [
            outcome
            for outcome in at_sites
            if (outcome.row.dtype, outcome.row.threads) == (dtype, most)
            and (outcome.row.mode == "backward") == (direction == "backward")
        ]
        if shown:
            drawn.append(options.out / f"ops_{direction}_{dtype}.png")
            chart.draw(shown, drawn[-1], f"{direction.title()}: tased_ext and stock PyTorch, {dtype}, {where}")
    return drawn


def _available_gib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / 2**30
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Ends in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bench.ops", description="The operations against stock PyTorch and their floor.")
    sites = tuple(dict.fromkeys(row.site.name for row in plan.rows("cuda")))
    parser.add_argument("--quick", action="store_true", help="a sample in less than two minutes")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--only", type=_regex, default=re.compile(""), metavar="REGEX", help="rows whose name matches")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--site", nargs="+", choices=sites, default=[], help="maps by name (default: all)")
    parser.add_argument("--threads", nargs="+", type=_count, default=[1, 2], metavar="N", help="(default: 1 2)")
    parser.add_argument("--huge", action="store_true", help="maps of over 2^31 elements, however little memory is free")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--out", type=Path, default=Path("build/bench"), help="folder (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
