"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, which also see accesses beyond shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sanitizers
from cases import FULL
from simt import harness


def run_sanitized(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitizers' runtime libraries."""
    try:
        environment = sanitizers.environment("address,undefined", harness.ROOT / "tests")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    environment[harness.SANITIZE] = "1"
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=harness.ROOT, env=environment, capture_output=True, text=True, check=False)


pytestmark = pytest.mark.skipif(harness.SANITIZE in os.environ, reason="this is the run under the sanitizers")


def test_kernels_under_sanitizers() -> None:
    names = [f"test_kernels.py::test_random_cases[{seed}]" for seed in range(1000 if FULL else 30)]
    names += [
        "test_kernels.py::test_the_largest_windows",
        "test_kernels.py::test_arrays_off_the_16_byte_boundary",
        "test_shim.py",
    ]
    tests = [str(Path(__file__).with_name(name)) for name in names]
    done = run_sanitized("-m", "pytest", "-qsx", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sanitizer_sees_shared_memory() -> None:
    done = run_sanitized("-c", "from simt import harness; harness.build(True).fault('write_beyond_shared', 0)")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
