"""The fuzzer's command line: `make fuzz`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from . import FINDINGS, ROOT, absurd, corpus, faults, pool
from .cases import Outcome, Target
from .targets import TARGETS

_ROW = "{:<12}{:>8}{:>10}{:>10}{:>10}{:>14}"


@dataclass
class Tally:
    """What became of a target's cases."""

    kinds: dict[str, int] = field(default_factory=dict)
    findings: int = 0
    megabytes: float = 0.0

    def add(self, outcome: Outcome, *, one: bool) -> None:
        """Counts what became of a case, or, if it is not one, of many together."""
        self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + one
        self.findings += outcome.is_finding
        self.megabytes = max(self.megabytes, outcome.megabytes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases and returns 1 if there is a finding."""
    names = {target.name: target for target in (*TARGETS, *faults.TARGETS)}
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Feeds damaged, absurd and random input to all that reads any."
    )
    add = parser.add_argument
    add("--cases", type=int, default=10_000, metavar="N", help="cases in all (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="S", help="decides all cases (default: %(default)s)")
    add(
        "--target",
        action="append",
        choices=tuple(names),
        metavar="NAME",
        help=f"only {', '.join(t.name for t in TARGETS)}",
    )
    add("--case", type=int, metavar="K", help="only the case of this number, of one --target, as a finding gives it")
    add("--seconds", type=float, default=pool.SECONDS, metavar="X", help="what is a hang (default: %(default)g)")
    add("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (default: one a core)")
    add("--findings", type=Path, default=FINDINGS, metavar="DIR", help="where to keep findings (default: build/fuzz)")
    options = parser.parse_args(arguments)
    targets = [names[name] for name in options.target] if options.target else list(TARGETS)
    if options.case is not None and len(targets) != 1:
        parser.error("--case is the number of a case of one --target")
    plan = (
        {target: [options.case] for target in targets} if options.case is not None else shared(targets, options.cases)
    )
    torch.set_num_threads(1)  # a process that has used more cannot be forked
    corpus.make_all()
    absurd.zeros()
    tallies = run(plan, options)
    report(tallies, options.findings)
    return 1 if any(tally.findings for tally in tallies.values()) else 0


def shared(targets: Sequence[Target], cases: int) -> dict[Target, list[int]]:
    """The numbers of each target's cases, so that all together are as many, and none has fewer than its absurd ones."""
    weights = sum(target.weight for target in targets)
    counts = {target: max(cases * target.weight // weights, len(target.absurd)) for target in targets}
    counts[targets[0]] += max(0, cases - sum(counts.values()))
    return {target: list(range(count)) for target, count in counts.items()}


def run(plan: Mapping[Target, list[int]], options: argparse.Namespace) -> dict[Target, Tally]:
    """Runs cases under a bar, and keeps the findings."""
    tallies = {target: Tally() for target in plan}
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        tqdm(total=sum(map(len, plan.values())), unit="case", disable=None) as bar,
    ):
        os.environ["MPLCONFIGDIR"] = folder
        for target, number, outcome in pool.run_cases(
            plan.items(), options.seed, Path(folder) / "work", options.jobs, options.seconds
        ):
            tallies[target].add(outcome, one=number >= 0)
            bar.update(number >= 0)
            if outcome.is_finding:
                place = keep(options.findings.resolve(), target, options.seed, number, outcome)
                tqdm.write(f"{target.name}, {target.title(number)}: {outcome.kind}: {place}", file=sys.stderr)
    return tallies


def keep(findings: Path, target: Target, seed: int, number: int, outcome: Outcome) -> Path:
    """Writes down a finding, with its files and the command that repeats it."""
    place = findings / f"{target.name}-{seed}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = f"PYTHONPATH=tests python -m fuzz --seed {seed} --target {target.name} --case {number}"
    text = f"{target.title(number)}: {outcome.kind}\n{command}\n\n{outcome.detail}\n"
    if number >= 0:
        case = place / "case"
        for name in ("in", "here"):
            (case / name).mkdir(parents=True)
        os.chdir(case / "here")
        subject = target.case(number, seed, case / "in")
        os.chdir(ROOT)
        text = f"{text}\n{subject}\n"
    (place / "finding.txt").write_bytes(text.encode(errors="backslashreplace"))
    return place


def report(tallies: Mapping[Target, Tally], findings: Path) -> None:
    """Prints the table."""
    print(_ROW.format("target", "cases", "refused", "accepted", "findings", "most memory"))
    total = Tally()
    for target, tally in tallies.items():
        print(_line(target.name, tally))
        total.findings += tally.findings
        total.megabytes = max(total.megabytes, tally.megabytes)
        for kind, count in tally.kinds.items():
            total.kinds[kind] = total.kinds.get(kind, 0) + count
    print(_line("all", total))
    if total.findings:
        print(f"{total.findings} findings: {findings}")


def _line(name: str, tally: Tally) -> str:
    accepted, refused = (tally.kinds.get(kind, 0) for kind in ("accepted", "refused"))
    return _ROW.format(name, sum(tally.kinds.values()), refused, accepted, tally.findings, f"{tally.megabytes:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
