"""The command `tased`.

Results go to files, tables to stdout and messages to stderr. Exit status: 0 all done, 1 a part failed, 2 the command line does
not make sense, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import compare, completion, convert, data, evaluate, info, pack, predict, synth, train
from .commands.shared import UsageError, say
from .texts import printable
from .video import VideoWarning
from .weights import WeightsError

COMMANDS = (predict, train, info, convert, data, synth, evaluate, compare, pack)


class Parser(argparse.ArgumentParser):
    """Shows what it refuses in a line, whatever characters are in it."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    # PyTorch takes maps from huge pages then: two windows of 32x224x384 have some
    # thousand page faults instead of 100,000 (torch 2.14.1, glibc).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    parser = Parser(
        prog="tased",
        description="Video saliency with TASED-Net: where do people look?",
        epilog="tased COMMAND --help tells all of a command.",
    )
    parser.add_argument("--version", action="version", version=f"tased {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    completion.add(parser)
    parser.set_defaults(when_stopped="")
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", VideoWarning)
            warnings.showwarning = lambda message, *_: say(f"warning: {message}")
            status: int = options.run(options)
            return status
    except KeyboardInterrupt:
        say(f"stopped{options.when_stopped}")
        return 130
    except (UsageError, WeightsError) as error:
        if options.debug:
            raise
        say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
