"""The command `tased`. It loads the rest of itself, which takes seconds, when it can be stopped.

Results go to files, tables to stdout and messages to stderr. Exit status: 0 all done, 1 a part failed, 2 the command line does
not make sense, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    try:
        with stopped_by_signals() as stop:
            from .commands.main import run

            stop.loading = False
            return run(arguments, stop.came)
    except KeyboardInterrupt:  # when all is done or told already
        print("tased: stopped", file=sys.stderr)
        return 130


class Stop:
    """What ctrl-C does, and SIGTERM as a scheduler sends it.

    Attributes
    ----------
    loading
        Whether Python is still loading: then the process ends at once, for libraries that are half loaded make of
        KeyboardInterrupt errors of their own, or abort (numpy 2.4.6, torch 2.14.1).
    came
        The signals that have come since.
    """

    def __init__(self) -> None:
        self.loading = True
        self.came: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.loading:
            os.write(2, b"tased: stopped\n")
            os._exit(130)
        self.came.append(number)
        raise KeyboardInterrupt


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Has the signals do what a `Stop` does."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield stop
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background of a shell it is ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
