"""Hostile input: what `make fuzz` feeds to everything in the package that reads a file or a command line.

python -m fuzz [--cases N] [--seed S] [--target NAME]...

A target makes a case and reads it: `targets.py`, from good files (`corpus.py`) that are damaged (`damage.py`), from what
hypothesis draws, and from files of an absurd size (`absurd.py`). Cases run in processes with limits (`pool.py`). A case is
its target, a seed and a number, and can be repeated by these.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "build" / "fuzz"
