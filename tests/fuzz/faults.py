"""Readers that do what none may: that the fuzzer sees it is tested with them (`test_fuzz.py`)."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from pathlib import Path
from typing import Any

from .cases import Draw, Refusal, Target

_kept: list[Any] = []


def _make(draw: Draw, folder: Path) -> Path:
    return folder / "file"


def crash(_: Path) -> None:
    ctypes.string_at(0)


def hang(_: Path) -> None:
    while True:
        time.sleep(1)


def fail(_: Path) -> None:
    raise KeyError("a")


def mumble(_: Path) -> None:
    raise Refusal("two\nlines")


def swell(_: Path) -> None:
    _kept.append(bytearray(b"1") * (3 << 30))


def swell_for_a_while(_: Path) -> None:
    bytearray(b"1") * (400 << 20)


def leak(_: Path) -> None:
    _kept.append(bytearray(b"1") * (1 << 20))


def leave_a_file_open(_: Path) -> None:
    os.open(os.devnull, os.O_RDONLY)


def leave_a_thread(_: Path) -> None:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def write_elsewhere(path: Path) -> None:
    (path.parents[2] / "elsewhere").touch()


def refuse(path: Path) -> None:
    raise Refusal(f"{path}: is refused")


_READERS = (
    *(crash, hang, fail, mumble, swell, leak, leave_a_file_open, leave_a_thread, write_elsewhere, refuse),
    swell_for_a_while,
)
TARGETS = tuple(
    Target(
        f"fault-{reader.__name__.replace('_', '-')}",
        _make,
        reader,
        (Refusal,),
        {"a small file": lambda folder: folder / "file"} if reader is swell_for_a_while else {},
        weight={leak: 1000, swell: 5}.get(reader, 10),
    )
    for reader in _READERS
)
