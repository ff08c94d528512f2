"""AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer in a Python that was built without them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]

# By what -fsanitize= is told: the run-time library.
RUNTIMES = {"address,undefined": "libasan.so", "thread": "libtsan.so"}
OPTIONS = {
    # Python and torch keep memory for good.
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"halt_on_error=1:suppressions={FOLDER / 'thread.supp'}",
}


def runtime_libraries(sanitizers: str) -> list[str]:
    """What must be loaded before Python is: the sanitizer's library, and the one whose exceptions it watches.

    Raises
    ------
    FileNotFoundError
        Where the compiler is missing or does not bring them.
    """
    compiler = os.environ.get("CXX", "c++")
    libraries = []
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"there is no {compiler}")
    for name in (RUNTIMES[sanitizers], "libstdc++.so"):
        command = [compiler, f"-print-file-name={name}"]
        library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(library).is_absolute():
            raise FileNotFoundError(
                f"{compiler} has no {name}: install GCC's sanitizers, or set CXX to a GCC that has them"
            )
        libraries.append(library)
    return libraries


def environment(sanitizers: str, *search_path: str | Path) -> dict[str, str]:
    """The variables of a Python that loads what was compiled with these sanitizers, and that imports from `search_path`."""
    paths = [*map(str, search_path), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        **OPTIONS,
        "LD_PRELOAD": " ".join(runtime_libraries(sanitizers)),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
