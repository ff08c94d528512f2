"""Commands of the pages: taken apart as a shell does, run, or at least read by the parser of the program that they call.

What cannot be run in a test is in `PROGRAMS` with its reason (make, pip, nox) or in `NOT_RUN`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement
from torch.distributed.run import get_args_parser

from pages.blocks import ROOT
from pages.stage import results, smaller
from tased_net import cli

# Commands of programs that are run, but not these: a pattern, and why. They are read by their parsers all the same.
NOT_RUN = {
    r"tased predict .*--cluster": "takes a cluster; tests/net/test_jobs.py starts one and kills a worker",
    r"torchrun .* train": "its processes wait for each other; tests/net/test_train.py starts them and kills one",
    r"python -m bench\.": "takes minutes at the pages' sizes; tests/bench runs each at small ones",
}
OF_OTHERS = {"tensorboard", "torchvision"}  # what pip is told to install beside this package
TO_BUILD = {"setuptools>=77", "ninja", "numpy"}  # and before it, where it builds without isolation
FOREIGN_OPTIONS = {"--session"}  # that the pages name, of programs which are not ours


@dataclass
class Command:
    """One program of a line: its arguments, the settings before it, where its output goes, and whether a pipe feeds it."""

    arguments: list[str]
    settings: dict[str, str]
    output: str | None
    piped: bool

    def __str__(self) -> str:
        return shlex.join(self.arguments)


def commands(line: str) -> list[Command]:
    """A line taken apart: programs joined by pipes, each with `NAME=VALUE` before and `> FILE` behind it."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|>")
    words.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    found = []
    for place, part in enumerate(parts):
        output = None
        if ">" in part:
            at = part.index(">")
            output = part[at + 1]
            del part[at : at + 2]
        settings = {}
        while part and re.match(r"[A-Z_]+=", part[0]):
            name, _, settings[name] = part.pop(0).partition("=")
        if part:
            found.append(Command(part, settings, output, place > 0))
    return found


# ------------------------------------------------------------------------------------------------------------------- parse


class _Reached(Exception):
    """Raised in place of reading the command line."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(main: Callable[[], object]) -> argparse.ArgumentParser:
    """The parser that a program's `main` makes."""

    def reached(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Reached(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", reached), pytest.raises(_Reached) as caught:
        main()
    return caught.value.parser


def parser_of_module(name: str) -> argparse.ArgumentParser:
    """The parser of `python -m NAME`."""
    module = importlib.import_module(name)
    return parser_of(module.main)


def subcommands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers below it."""
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [command for action in actions for command in action.choices.values()]


def loosened(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, content with part of a command line."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in subcommands(parser):
                loosened(command)
        elif not action.option_strings:
            action.nargs = "*" if action.nargs in ("+", "*") else "?"
        elif action.nargs is None:
            action.nargs, action.const = "?", next(iter(action.choices or ()), None)
        action.required = False
    return parser


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of those below it."""
    own = {option for action in parser._actions for option in action.option_strings}
    return own.union(*map(options_of, subcommands(parser)))


def read(command: Command, loosely: bool = False) -> None:
    """Has the program's own parser read the command line; `loosely`: a part of one."""
    program, *arguments = command.arguments
    parser: argparse.ArgumentParser
    if program == "torchrun":
        options = get_args_parser().parse_args(arguments)
        assert options.module
        return read(Command(["python", "-m", options.training_script, *options.training_script_args], {}, None, False))
    if program == "tased":
        parser = parser_of(cli.main)
    elif program == "python" and arguments[:1] == ["-m"]:
        name, *arguments = arguments[1:]
        if name == "tased_ext":  # which has no options
            assert importlib.util.find_spec("tased_ext.__main__")
            assert not arguments
            return None
        parser = parser_of_module(name)
    else:
        return PROGRAMS[program](command)
    if loosely:
        parser = loosened(parser)
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:  # as --help does, with 0
        if stop.code:
            raise
    return None


# --------------------------------------------------------------------------------------------------------------------- run


def perform(line: str) -> None:
    """Runs a line in the folder where we are, as far as its programs can be."""
    for command in commands(line):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in command.settings.items():
                patch.setenv(name, value)
            if any(re.match(pattern, str(command)) for pattern in NOT_RUN):
                read(command)
            else:
                PROGRAMS[command.arguments[0]](command)


def run_module(command: Command) -> None:
    """`python -m tased_ext`; all others are in `NOT_RUN`."""
    read(command)
    assert command.arguments[1:] == ["-m", "tased_ext"]
    runpy.run_module("tased_ext", run_name="__main__")


def run_tased(command: Command) -> None:
    read(command)
    arguments = command.arguments[1:]
    if arguments[0].startswith("-"):
        with written(command.output), pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
        return
    output = cleared(arguments)
    with street_on_standard_input() if "-" in arguments else contextlib.nullcontext(), written(command.output):
        assert cli.main(smaller(arguments)) == 0, str(command)
    if output is not None:
        assert any(output.iterdir()) if output.is_dir() else output.is_file()
        assert not any(output.glob(".*"))


def cleared(arguments: list[str]) -> Path | None:
    """What the command writes and would not replace; it is away, for each command of a page starts without it."""
    output = results(arguments)
    if output is not None and output.is_dir():
        shutil.rmtree(output)
    elif output is not None:
        output.unlink(missing_ok=True)
    return output


def run_ranks(command: Command) -> None:
    """What `torchrun` starts, one process after the other in this one."""
    read(command)
    options = get_args_parser().parse_args(command.arguments[1:])
    assert options.training_script == "tased_net.cli"
    ranks = int(options.nproc_per_node)
    cleared(options.training_script_args)
    for rank in range(ranks):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(rank))
            patch.setenv("WORLD_SIZE", str(ranks))
            assert cli.main(smaller(options.training_script_args)) == 0, str(command)


def dry_run(command: Command) -> None:
    """`make -n`: whether the target is there with all that it needs. Running it would build, test and measure."""
    done = subprocess.run(["make", "-n", *command.arguments[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for bench, arguments in re.findall(r"-m (bench\.\w+) (.*)", done.stdout):
        parser_of_module(bench).parse_args(shlex.split(arguments))


def check_requirements(command: Command) -> None:
    """`pip install` of what there is to install. Running it would change the environment."""
    _, install, *words = command.arguments
    assert install == "install"
    names = [word for word in words if word != "--no-build-isolation"]
    assert all(f'"{name}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8") for name in TO_BUILD)
    extras = set(importlib.metadata.metadata("tased-net").get_all("Provides-Extra") or ())
    for name in names:
        if name != "." and name not in TO_BUILD:
            wanted = Requirement(name)
            assert wanted.name in OF_OTHERS or (wanted.name == "tased-net" and wanted.extras <= extras), name


def check_session(command: Command) -> None:
    """`nox --session NAME`: whether there is one. Running it would install other versions of everything."""
    assert command.arguments[1] == "--session"
    assert re.search(
        rf"^def {command.arguments[2].partition('-')[0]}\(", (ROOT / "noxfile.py").read_text(), re.MULTILINE
    )


def leave(command: Command) -> None:
    """What is not ours and may not be there. Where it feeds a pipe, our end gets a video all the same."""


def check_opened(command: Command) -> None:
    """`xdg-open FILE`: whether there is something to open."""
    assert all(Path(name).is_file() for name in command.arguments[1:])


PROGRAMS: dict[str, Callable[[Command], None]] = {
    "ffmpeg": leave,
    "make": dry_run,
    "nox": check_session,
    "pip": check_requirements,
    "python": run_module,
    "tased": run_tased,
    "torchrun": run_ranks,
    "xdg-open": check_opened,
}


@contextlib.contextmanager
def written(name: str | None) -> Iterator[None]:
    """What is printed goes to a file, if there is a name."""
    if name is None:
        yield
        return
    with open(os.path.expanduser(name), "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        yield
    assert Path(name).expanduser().stat().st_size > 0


@contextlib.contextmanager
def street_on_standard_input() -> Iterator[None]:
    before, file = os.dup(0), os.open("street.mp4", os.O_RDONLY)
    os.dup2(file, 0)
    yield
    os.dup2(before, 0)
    os.close(before)
    os.close(file)
