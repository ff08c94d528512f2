"""One test process at a time, of all that run beside each other: for builds that they share, and for what fills a machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "alone"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Waits until no other process is inside an `alone` of this name; a process that dies is no longer inside."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
