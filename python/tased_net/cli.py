"""The command `tased`. It loads the rest of itself, which takes seconds, when it can be stopped.

Results go to files, tables to stdout and messages to stderr. Exit status: 0 all done, 1 a part failed, 2 the command line does
not make sense, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    came: list[int] = []
    try:
        with terminated_as_interrupted() as came:
            from .commands.main import run

            return run(arguments, came)
    except (Exception, KeyboardInterrupt) as error:
        if not came and isinstance(error, Exception):
            raise
        print("tased: stopped", file=sys.stderr)
        return 130


@contextmanager
def terminated_as_interrupted() -> Iterator[list[int]]:
    """Makes SIGTERM, as a scheduler sends it, stop the command as ctrl-C does; gives the signals that have come."""
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield came
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background of a shell it is ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
