"""What `make sanitize` relies on: in a plain Python, each sanitizer finds its fault, and is silent where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sanitizers


def call(flags: str, function: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What becomes of a Python that calls `function` of faults.cpp compiled with these sanitizers."""
    try:
        environment = sanitizers.environment(flags)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    library = folder / "faults.so"
    sources = [sanitizers.FOLDER / name for name in ("faults.cpp", "threads.cpp")]
    headers = f"-isystem{Path(torch.__path__[0], 'include')}"
    compiler = [
        os.environ.get("CXX", "c++"),
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-O1",
        headers,
        "-Wl,-Bsymbolic-functions",
    ]
    subprocess.run([*compiler, f"-fsanitize={flags}", "-fno-sanitize-recover=all", *sources, "-o", library], check=True)
    program = f"import ctypes; print(ctypes.CDLL({str(library)!r}).{function}(8))"
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("flags", "function", "finding"),
    [
        ("address,undefined", "read_beyond_a_buffer", "heap-buffer-overflow"),
        ("address,undefined", "overflow_an_int", "signed integer overflow"),
        ("thread", "race_for_a_number", "data race"),
    ],
)
def test_a_fault_is_found_and_ends_the_run(flags: str, function: str, finding: str, tmp_path: Path) -> None:
    done = call(flags, function, tmp_path)
    assert done.returncode != 0
    assert finding in done.stderr


@pytest.mark.parametrize("flags", sanitizers.RUNTIMES)
def test_sharing_without_a_race_is_no_finding(flags: str, tmp_path: Path) -> None:
    done = call(flags, "share_without_a_race", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
