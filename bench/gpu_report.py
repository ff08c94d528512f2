"""The report on a GPU: what the tests, compute-sanitizer and the benches came to, as Markdown that can be attached to an issue."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Stage = Mapping[str, Any]

MOST = 200  # characters of what a failing test says, and failures and skipped tests that are told by name


class Unreadable(Exception):
    """Results that are not there, or not whole."""


# ------------------------------------------------------------------------------------------------------- from what ran


def pytest_results(file: Path) -> dict[str, Any]:
    """What pytest wrote with --junitxml.

    Returns
    -------
    dict
        ``passed``, ``failed``, ``skipped`` (numbers of tests), ``seconds``, ``failures`` (name and what it says, one for each that
        failed or broke off) and ``skips`` (numbers by reason).

    Raises
    ------
    Unreadable
        Where pytest ended before it wrote them.
    """
    try:
        root = ET.parse(file).getroot()
    except (OSError, ET.ParseError) as error:
        raise Unreadable(f"pytest left no results in {file}: {error}") from error
    failures, skips, passed = [], dict[str, int](), 0
    for case in root.iter("testcase"):
        wrong = next((found for tag in ("failure", "error") if (found := case.find(tag)) is not None), None)
        skipped = case.find("skipped")
        if wrong is not None:
            name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
            failures.append({"name": name, "says": first_line(wrong.get("message", "")) or "no message"})
        elif skipped is not None:
            reason = skipped.get("message", "") or "no reason"
            skips[reason] = skips.get(reason, 0) + 1
        else:
            passed += 1
    seconds = sum(float(suite.get("time", 0)) for suite in root.iter("testsuite"))
    skipped_tests = sum(skips.values())
    return {
        "passed": passed,
        "failed": len(failures),
        "skipped": skipped_tests,
        "seconds": round(seconds, 1),
        "failures": failures,
        "skips": skips,
    }


def findings_of(log: str) -> int:
    """How many errors a run of compute-sanitizer tells of in the last line of its log.

    Raises
    ------
    Unreadable
        Where the log has no such line: the tool did not come to its end.
    """
    told = re.findall(
        r"^=+ (?:ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards? displayed)", log, re.MULTILINE
    )
    if not told:
        raise Unreadable("no summary in its log")
    return int("".join(told[-1]))


def first_line(text: str) -> str:
    """The first line that has something in it, cut where it is too long."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= MOST else f"{line[: MOST - 1]}…"


# ----------------------------------------------------------------------------------------------------------- the verdict


def failures_in(report: Stage) -> list[str]:
    """A sentence for everything in a report that went wrong; a bound of the bench that is missed is none of it."""
    found = []
    for name in ("tests", "operations", "network"):
        if "broke_off" in report.get(name, {}):
            found.append(f"{name}: {report[name]['broke_off']}")
    if failed := report.get("tests", {}).get("failed", 0):
        found.append(f"tests: {failed} failed")
    for tool, one in report.get("sanitizers", {}).items():
        if one.get("findings"):
            found.append(f"{tool}: {one['findings']} findings")
        elif "broke_off" in one:
            found.append(f"{tool}: {one['broke_off']}")
    return found


# --------------------------------------------------------------------------------------------------------- as Markdown


def markdown(report: Stage) -> str:
    """The whole report: the machine, then a section for each of the stages, run or not."""
    wrong = failures_in(report)
    parts = [
        "# tased-net on a GPU",
        "\n".join(f"- {sentence}" for sentence in wrong) if wrong else "Nothing that was run has failed.",
        table(("", ""), report["machine"].items()),
        "## Tests",
        *_tests(report.get("tests")),
        "## compute-sanitizer",
        *_sanitizers(report.get("sanitizers", {})),
        "## The operations",
        *_operations(report.get("operations")),
        "## The network",
        *_network(report.get("network")),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _missing(stage: Stage | None, never: str) -> str:
    return never if stage is None else f"Broke off: {stage['broke_off']}"


def _tests(tests: Stage | None) -> Iterator[str]:
    if tests is None or "broke_off" in tests:
        yield _missing(tests, "Not run: `make test-gpu`.")
    else:
        yield f"{tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped, in {tests['seconds']} s."
        for one in tests["failures"][:MOST]:
            yield f"- `{one['name']}`: {one['says']}"
        if len(tests["failures"]) > MOST:
            yield f"… and {len(tests['failures']) - MOST} more."
        if tests["skips"]:
            yield table(("skipped", "reason"), ((number, reason) for reason, number in tests["skips"].items()))


def _sanitizers(sanitizers: Stage) -> Iterator[str]:
    if not sanitizers:
        yield "Not run: `make test-gpu`, where compute-sanitizer is on the path or in the CUDA toolkit."
        return
    rows = []
    for tool, one in sanitizers.items():
        found = one.get("findings")
        told = (
            f"broke off: {one['broke_off']}" if found is None else "nothing found" if not found else f"{found} findings"
        )
        rows.append((tool, told, one.get("log", "")))
    yield table(("tool", "the tests of the operations, our kernels", "log"), rows)


def _operations(bench: Stage | None) -> Iterator[str]:
    if bench is None or "broke_off" in bench:
        yield _missing(bench, "Not measured: `make bench-gpu`.")
        return
    rows = [row for row in bench["rows"] if row["kind"] == "site"]
    reached = sum(target["reached"] for target in bench["targets"])
    yield (
        f"{reached} of {len(bench['targets'])} bounds reached (bench/README.md). The bandwidth is that of the bytes that must move; "
        "a copy moves as many from device to device."
    )
    missed = [
        (work(target), target["site"], target["layout"], target["dtype"], target["target"], f"{target['measured']:.3g}")
        for target in bench["targets"]
        if not target["reached"]
    ]
    if missed:
        yield "Missed:"
        yield table(("work", "map", "layout", "dtype", "bound", "measured"), missed)
    if rows:
        yield "<details><summary>All rows at TASED-Net's maps</summary>"
        yield table(
            ("work", "map", "layout", "dtype", "times eager", "times compiled", "of a copy's bandwidth"),
            (
                (
                    work(row),
                    row["site"],
                    row["layout"],
                    row["dtype"],
                    *map(_ratio(row), ("eager", "compiled")),
                    _share(row),
                )
                for row in rows
            ),
        )
        yield "</details>"


def work(row: Stage) -> str:
    operation, mode = str(row["operation"]), row["mode"]
    return operation if mode == "inference" else f"{operation} {mode}"


def _ratio(row: Stage) -> Any:
    return lambda peer: f"{row['ratios'][peer]['median']:.2f}" if peer in row["ratios"] else "-"


def _share(row: Stage) -> str:
    return f"{1 / row['ratios']['floor']['median']:.0%}" if "floor" in row["ratios"] else "-"


def _network(bench: Stage | None) -> Iterator[str]:
    if bench is None or "broke_off" in bench:
        yield _missing(bench, "Not measured: `make bench-gpu`.")
        return
    clip = "x".join(map(str, bench["machine"]["clip"]))
    yield f"A frame of a video, clips of {clip}."
    yield table(
        ("precision", "way", "ms a frame", "times eager", "times compiled", "GFLOP", "of a matrix product's rate"),
        (
            (
                row["precision"],
                row["way"],
                f"{row['seconds'] * 1e3:.2f}",
                f"{row['x_eager']:.2f}",
                "-" if row["x_compiled"] is None else f"{row['x_compiled']:.2f}",
                f"{row['gflop']:.1f}",
                f"{row['of_product_rate']:.0%}",
            )
            for row in bench["rows"]
        ),
    )
