"""Builds the CPU library with sanitizers and runs the tests of the operations with it: `make sanitize`.

python -m sanitizers [address,undefined | thread]... [-- pytest's arguments]

AddressSanitizer sees every access of the library beyond a tensor or a buffer, UndefinedBehaviorSanitizer what has no meaning in
C++ (shifts, overflows, conversions, indices; not the alignment of pointers: CMakeLists.txt). ThreadSanitizer sees two threads of
one call that touch the same memory without an order, on whatever schedule: the library's part of each call is shared among four
threads (threads.cpp). Not seen is what torch does, its own thread pool included.
"""

from __future__ import annotations

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


def run(sanitizers: str, arguments: list[str]) -> int:
    """pytest's exit code; a finding ends the run at once, with the sanitizer's report."""
    packages = build(sanitizers)
    variables = environment(sanitizers, packages, ROOT / "tests")
    # For the tests that start Python again as well; torch's own threads are none of this.
    variables["PYTEST_ADDOPTS"] = f"-o pythonpath={shlex.quote(f'{packages} tests .')}"
    variables["OMP_NUM_THREADS"] = "1"
    check = f"import tased_ext; assert tased_ext.build_info()['libraries']['_C'].startswith({str(packages)!r})"
    subprocess.run([sys.executable, "-c", check], cwd=packages, check=True, env=variables)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-q",
        "-s",
        "tests/ops",
        "-k",
        SUITE,
        *arguments,
    ]
    print(f"--- tests/ops under -fsanitize={sanitizers}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False, env=variables).returncode


def main() -> None:
    arguments = sys.argv[1:]
    divide = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = arguments[:divide] or list(RUNTIMES)
    unknown = [name for name in chosen if name not in RUNTIMES]
    if unknown:
        sys.exit(f"error: {unknown[0]} is none of {' and '.join(RUNTIMES)}.")
    sys.exit(max(run(sanitizers, arguments[divide + 1 :]) for sanitizers in chosen))


if __name__ == "__main__":
    main()
