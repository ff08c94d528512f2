"""What the command `tased` does: its parser, and what is told of errors."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..errors import MemoryWarning, first_line, is_out_of_memory
from ..frames import VideoWarning
from ..images import quieten_pillow
from ..memory import share_heap
from ..texts import printable
from ..weights import WeightsError
from . import compare, completion, convert, data, evaluate, info, pack, predict, synth, train
from .shared import UsageError, reason, say

COMMANDS = (predict, train, info, convert, data, synth, evaluate, compare, pack)


class Parser(argparse.ArgumentParser):
    """Shows what it refuses in a line, whatever characters are in it."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def run(arguments: Sequence[str] | None, came: Sequence[int]) -> int:
    """Runs the command and returns its exit status; `came` are the signals that have stopped it."""
    # PyTorch takes maps from huge pages then: two windows of 32x224x384 have some thousand page faults instead of 100,000 (torch
    # 2.14.1, glibc).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    share_heap()
    options = argparse.Namespace(debug=False, when_stopped="")
    try:
        with warnings.catch_warnings():
            quieten_pillow()
            for kind in (VideoWarning, MemoryWarning):
                warnings.simplefilter("always", kind)
            warnings.showwarning = lambda message, *_: say(f"warning: {message}")
            options = _parser().parse_args(arguments)
            status: int = options.run(options)
            return status
    except (Exception, KeyboardInterrupt) as error:
        if came or isinstance(error, KeyboardInterrupt):  # libraries make of ctrl-C an error of their own
            say(f"stopped{options.when_stopped}")
            return 130
        if options.debug:
            raise
        if isinstance(error, (UsageError, WeightsError)):
            say(f"error: {error}")
            return 2
        if not (isinstance(error, OSError) or is_out_of_memory(error)):
            raise
        say(f"error: {reason(error) if isinstance(error, OSError) else _of_memory(error)}")
        return 1


def _parser() -> argparse.ArgumentParser:
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
    return parser


def _of_memory(error: BaseException) -> str:
    line = first_line(error)
    return line if "out of memory" in line else f"out of memory ({line})"
