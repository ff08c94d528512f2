"""Ctrl-C that lets a step end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_AFTER = 1.0  # seconds; torchrun passes on a signal that the terminal has sent already


class Interrupt:
    """Whether ctrl-C, or SIGTERM as job schedulers send it, has come."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def interrupts(tell: Callable[[str], None]) -> Iterator[Interrupt]:
    """Takes note of the first ctrl-C or SIGTERM; a second one stops at once, as KeyboardInterrupt."""
    interrupt, came = Interrupt(), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if interrupt.signal is None:
            interrupt.signal, came = number, time.monotonic()
            tell("stops after this step; ctrl-C again stops at once")
        elif time.monotonic() - came > AGAIN_AFTER:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield interrupt
        return
    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
