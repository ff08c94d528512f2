"""Builds the CPU library with sanitizers and runs the tests of the operations with it: `make sanitize`.

python -m sanitizers [address,undefined | thread]... [--minutes M [--first K] | -- pytest's arguments]

With --minutes it makes random calls for so long instead (calls.py): `make sanitize MINUTES=60`.

AddressSanitizer sees every access of the library beyond a tensor or a buffer, UndefinedBehaviorSanitizer what has no meaning in
C++ (shifts, overflows, conversions, indices; not the alignment of pointers: CMakeLists.txt). ThreadSanitizer sees two threads of
one call that touch the same memory without an order, on whatever schedule: the library's part of each call is shared among four
threads (threads.cpp). Not seen is what torch does, its own thread pool included.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from . import ROOT, RUNTIMES, environment

# The other vector levels run the same source, and compiled graphs call the same operators from another compiler's code.
SUITE = "not lower_vector_levels and not inductor and not compiled"


def find_tool(name: str) -> str:
    program = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if program is None:
        sys.exit(f"error: make sanitize takes {name}: pip install {name}.")
    return program


def build(sanitizers: str) -> Path:
    """A folder from which tased_ext is imported with the library that has these sanitizers."""
    folder = ROOT / "build" / f"sanitize-{sanitizers.partition(',')[0]}"
    cmake = find_tool("cmake")
    options = [
        "-GNinja",
        f"-DCMAKE_MAKE_PROGRAM={find_tool('ninja')}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DTASED_CUDA=0",
        f"-DTASED_SANITIZE={sanitizers}",
    ]
    jobs = os.environ.get("MAX_JOBS")
    for command in (
        [cmake, "-S", str(ROOT), "-B", str(folder), *options],
        [cmake, "--build", str(folder), "--target", "_C", *([f"-j{jobs}"] if jobs else [])],
    ):
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(
                f"error: the library does not compile with -fsanitize={sanitizers}; the compiler's words are above."
            )
    packages = folder / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    shutil.copytree(ROOT / "tased_ext", packages / "tased_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy2(folder / "_C.abi3.so", packages / "tased_ext")
    return packages


def prepared(sanitizers: str) -> dict[str, str]:
    """The variables of a Python whose tased_ext has these sanitizers."""
    packages = build(sanitizers)
    variables = environment(sanitizers, packages, ROOT / "tests")
    # For the tests that start Python again as well; torch's own threads are none of this.
    variables["PYTEST_ADDOPTS"] = f"-o pythonpath={shlex.quote(f'{packages} tests .')}"
    variables["OMP_NUM_THREADS"] = "1"
    check = f"import tased_ext; assert tased_ext.build_info()['libraries']['_C'].startswith({str(packages)!r})"
    subprocess.run([sys.executable, "-c", check], cwd=packages, check=True, env=variables)
    return variables


def run_tests(sanitizers: str, arguments: list[str]) -> int:
    """pytest's exit code; a finding ends the run at once, with the sanitizer's report."""
    variables = prepared(sanitizers)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s", "tests/ops", "-k", SUITE]
    print(f"--- tests/ops under -fsanitize={sanitizers}", flush=True)
    return subprocess.run([*command, *arguments], cwd=ROOT, check=False, env=variables).returncode


def run_calls(sanitizers: str, minutes: float, first: int) -> int:
    """1 if the sanitizer found something in random calls, and then the case that makes it find that again; else 0."""
    variables = prepared(sanitizers)
    record = ROOT / "build" / f"sanitize-{sanitizers.partition(',')[0]}" / "case.txt"
    command = [sys.executable, "-m", "sanitizers.calls", "--minutes", str(minutes), "--first", str(first)]
    print(f"--- random calls under -fsanitize={sanitizers}, for {minutes:g} minutes", flush=True)
    number = watched([*command, "--record", str(record)], record, variables)
    if number is not None:
        print(f"Again: make sanitize SANITIZE={sanitizers} MINUTES=1 FIRST={number}", file=sys.stderr)
    return int(number is not None)


def watched(command: list[str], record: Path, variables: dict[str, str]) -> int | None:
    """Runs a command that notes its cases in `record`; the number of the one that ended it before its time, if one did."""
    record.unlink(missing_ok=True)
    # From its folder, for Python would find another tased_ext in that of the sources first.
    done = subprocess.run(command, cwd=record.parent, check=False, env=variables)
    if done.returncode == 0:
        return None
    count, case = (
        record.read_text(encoding="utf-8").splitlines() if record.exists() else ("0", "none: it did not begin")
    )
    print(f"Ended with status {done.returncode} after {count} cases without a finding, in {case}", file=sys.stderr)
    return int(case.split()[1].rstrip(":")) if case.startswith("case ") else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sanitizers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "sanitizers", nargs="*", metavar="SANITIZERS", help=f"of {' and '.join(RUNTIMES)} (default: both)"
    )
    parser.add_argument(
        "--minutes", type=float, help="random calls for so long, shared among the sanitizers, in place of tests"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first of the random calls")
    arguments = sys.argv[1:]
    divide = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:divide])
    chosen = options.sanitizers or list(RUNTIMES)
    unknown = [name for name in chosen if name not in RUNTIMES]
    if unknown:
        parser.error(f"{unknown[0]} is none of {' and '.join(RUNTIMES)}")
    if options.minutes is None:
        sys.exit(max(run_tests(sanitizers, arguments[divide + 1 :]) for sanitizers in chosen))
    if options.minutes <= 0:
        parser.error("--minutes: a time is more than none")
    sys.exit(max(run_calls(sanitizers, options.minutes / len(chosen), options.first) for sanitizers in chosen))


if __name__ == "__main__":
    main()
