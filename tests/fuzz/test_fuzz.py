"""A short run of the fuzzer, always the same one, and that the fuzzer sees what it is to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fuzz


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer in a process of its own, as one that has many threads cannot be forked."""
    paths = [fuzz.ROOT / name for name in ("tests", "python", ".")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONWARNINGS": ""}
    command = [sys.executable, "-m", "fuzz", "--findings", str(folder), *arguments]
    return subprocess.run(command, cwd=fuzz.ROOT, env=variables, capture_output=True, text=True, check=False)


def test_hostile_input_is_refused_with_a_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "--cases", "250")
    told = "\n".join(file.read_text(errors="replace") for file in tmp_path.glob("*/finding.txt"))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}\n{told}"


def test_every_kind_of_finding_is_seen(tmp_path: Path) -> None:
    """Each fault is found as what it is, kept with the command that repeats it, and the cases after it are done."""
    expected = {
        "crash": "crash",
        "fail": "traceback",
        "mumble": "no sentence",
        "swell": "memory",
        "leave-a-file-open": "open files left",
        "leave-a-thread": "threads left",
        "write-elsewhere": "files left",
    }
    names = [*expected, "refuse", "swell-for-a-while", "leak"]
    targets = [word for name in names for word in ("--target", f"fault-{name}")]
    done = run(tmp_path, "--cases", "250", *targets)
    assert done.returncode == 1, done.stderr
    kept = {folder.name for folder in tmp_path.iterdir()}
    for name, kind in expected.items():
        for number in (0,) if name == "swell" else (0, 1):
            told = (tmp_path / f"fault-{name}-0-{number}" / "finding.txt").read_text()
            assert told.startswith(f"case {number}: {kind}\n"), told
            assert f"python -m fuzz --seed 0 --target fault-{name} --case {number}\n" in told
    # A small file may not take what others may, and what grows a little shows in many cases.
    assert [name for name in kept if "while" in name] == ["fault-swell-for-a-while-0-0"]
    assert [name for name in kept if "leak" in name] == ["fault-leak-0--1"]
    assert not any("refuse" in name for name in kept)


def test_a_hang_is_seen(tmp_path: Path) -> None:
    done = run(tmp_path, "--target", "fault-hang", "--case", "0", "--seconds", "2")
    assert done.returncode == 1, done.stderr
    told = (tmp_path / "fault-hang-0-0" / "finding.txt").read_text()
    assert told.startswith("case 0: hang\n")
    assert "in hang" in told  # where it is


def test_no_source_hands_a_text_to_a_shell() -> None:
    """Beside the fuzzer's names, such as $(touch pwned): nothing in the packages asks for a shell."""
    for folder in ("python", "tased_ext", "bench", "scripts"):
        for file in (fuzz.ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            for word in ("shell=True", "os.system", "popen(", "getoutput(", "os.exec"):
                assert word not in text, f"{file}: {word}"
