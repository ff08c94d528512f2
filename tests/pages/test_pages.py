"""What the pages tell to type can be typed: every block runs in a folder with small stand-ins, every other command is read by the
parser of its program, and every name of ours is there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pages import commands, stage
from pages.blocks import PAGES, ROOT, Block, blocks, prose, run_python, spans
from tased_net import cli

# Blocks of commands that another test runs, since it looks at more of what comes out.
ELSEWHERE = {"docs/deployment.md": "tests/examples/test_cpp.py"}
PLACES = {"bench", "csrc", "docs", "examples", "python", "scripts", "tased_ext", "tests", ".ci", ".github"}
WITH_CODE = [page for page in PAGES if blocks(page, "bash", "python", "toml")]


def perform(block: Block, folder: Path, names: dict[str, Any]) -> None:
    """Does what a block says, or its smaller likeness."""
    text = block.text
    for said, run in stage.SMALLER.get(block.page, {}).items():
        text = text.replace(said, run.format(folder=folder) if "{folder}" in run else run)
    if block.language == "python":
        run_python(block, names, text)
    elif block.language == "toml":
        Path(text.splitlines()[0].removeprefix("# ")).write_text(text)
    else:
        for number, line in enumerate(Block(block.page, block.line, "bash", text).lines):
            try:
                commands.perform(line)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{block.page}:{block.line + number}: {line}") from error


# Several versions of PyTorch use what they themselves deprecate in their compilers, and load weights so that it warns.
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")
@pytest.mark.filterwarnings("default:The given buffer is not writable:UserWarning")
@pytest.mark.parametrize("page", WITH_CODE)
def test_what_a_page_says_can_be_done(page: str, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    torch.manual_seed(0)
    for block in blocks(page, "bash", "python", "toml"):
        if block.language != "bash" or page not in ELSEWHERE:
            perform(block, folder, names)
    AFTERWARDS.get(page, lambda names: None)(names)


def check_evaluation(names: dict[str, Any]) -> None:
    assert Path("maps_scores/videos.csv").read_bytes() == Path("scores_by_two/videos.csv").read_bytes()


def check_guide(names: dict[str, Any]) -> None:
    assert Path("street_saliency.mp4").is_file()
    assert names["maps"].shape == (9, 32, 48)


def check_data(names: dict[str, Any]) -> None:
    assert names["name"] == "park:3"
    assert names["clip"].shape == (3, 8, 224, 384)


def check_synthetic(names: dict[str, Any]) -> None:
    assert names["scene"].images.shape[1:] == (112, 192, 3)
    assert np.array_equal(names["clip"].image(40), names["scene"].images[40])


def check_training(names: dict[str, Any]) -> None:
    assert names["outcome"].step == 2
    assert 'loss = "kl+0.1*cc"' in Path("quarter/recipe.toml").read_text()


AFTERWARDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "docs/data.md": check_data,
    "docs/evaluation.md": check_evaluation,
    "docs/guide.md": check_guide,
    "docs/synthetic.md": check_synthetic,
    "docs/training.md": check_training,
}


def test_nothing_is_left_over_in_these_lists() -> None:
    for page, words in stage.SMALLER.items():
        code = "".join(block.text for block in blocks(page))
        assert all(said in code for said in words)
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.lines]
    called = {program.arguments[0] for line in lines for program in commands.commands(line)}
    within = {span.split()[0] for page in PAGES for span in spans(page)}
    assert commands.PROGRAMS.keys() <= called | within
    for pattern in commands.NOT_RUN:
        assert any(re.search(pattern, line) for line in lines)
    assert all(blocks(page, "bash") and (ROOT / test).is_file() for page, test in ELSEWHERE.items())


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    assert {block.language for block in blocks(page)} <= {"bash", "bibtex", "python", "toml", "text"}
    assert "```" not in prose(page)


# ------------------------------------------------------------------------------------------------------- within sentences


PROGRAM = re.compile(rf"({'|'.join(commands.PROGRAMS)}|python) ")


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_read_by_their_parsers(page: str) -> None:
    for span in spans(page):
        if PROGRAM.match(span) and "NAME" not in span:
            for command in commands.commands(span.partition(" …")[0]):
                commands.read(command, loosely=True)


def test_examples_of_the_command_s_help_are_read_by_its_parser() -> None:
    examples = []
    for parser in commands.subcommands(commands.parser_of(cli.main)):
        text = (parser.epilog or "").partition("examples:\n")[2].partition("\n\n")[0].replace("\\\n", " ")
        examples += re.findall(r"^  (\S.*)$", text, re.MULTILINE)
    assert len(examples) > 15
    for example in examples:
        for command in commands.commands(example):
            if command.arguments[0] != "ffmpeg":
                commands.read(command)


@pytest.fixture(scope="module")
def options() -> set[str]:
    parsers = [commands.parser_of(cli.main)]
    parsers += [
        commands.parser_of_module(f"bench.{path.stem}")
        for path in (ROOT / "bench").glob("*.py")
        if "def main" in path.read_text()
    ]
    return set().union(*map(commands.options_of, parsers)) | commands.FOREIGN_OPTIONS


@pytest.mark.parametrize("page", PAGES)
def test_options_within_sentences_are_some_program_s(page: str, options: set[str]) -> None:
    named = {word for span in spans(page) for word in re.findall(r"(?<!\S)--[a-z][\w-]*", span)}
    assert named <= options


def test_the_map_of_the_house_has_every_part() -> None:
    package = ROOT / "python" / "tased_net"
    parts = [path.name for folder in (package, ROOT / "scripts") for path in folder.glob("[a-z]*.py")]
    parts += [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    parts += [f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))]
    there = set(spans("CONTRIBUTING.md"))
    assert [part for part in parts if part not in there] == []


@pytest.mark.parametrize("page", PAGES)
def test_names_and_files_within_sentences_are_there(page: str) -> None:
    missing = []
    for span in spans(page):
        name = re.fullmatch(r"(tased_(?:ext|net)(?:\.\w+)*)(\(.*\))?", span)
        if name and not is_there(name[1]):
            missing.append(span)
        path = re.fullmatch(r"([\w.]+)/[\w./-]*", span)
        if path and path[1] in PLACES and not (ROOT / span).exists():
            missing.append(span)
    assert not missing


def is_there(name: str) -> bool:
    """Whether a dotted name leads to a module, or to something in one."""
    for end in range(name.count(".") + 1, 0, -1):
        parts = name.split(".")
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
