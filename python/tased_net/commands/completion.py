"""Shell completion: `tased --print-completion SHELL` prints the script, which shtab makes from the parsers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import shtab

PATHS = ("VIDEO", "FILE", "ROOT")  # what is called so may be something else as well: a URL, a recipe's name


def add(parser: argparse.ArgumentParser) -> None:
    """Adds --print-completion to the parser of all commands, once they are there."""
    _complete_paths(parser)
    shtab.add_argument_to(parser, help="print what makes a shell complete commands, options and files, and exit")


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Has files completed wherever an argument is a path."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in cast(dict[str, argparse.ArgumentParser], action.choices).values():
                _complete_paths(command)
        elif action.type is Path or str(action.metavar).startswith(PATHS):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
