"""docs/troubleshooting.md: every sentence that it quotes is one that the code can say, and every sentence of an error is quoted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = [
    *sorted((ROOT / "python" / "tased_net").rglob("*.py")),
    *sorted((ROOT / "tased_ext").glob("*.py")),
    *(ROOT / "setup.py", ROOT / "scripts" / "toolchains.py"),
]
ERRORS = {
    *(
        "VideoError",
        "WeightsError",
        "UsageError",
        "TrainingError",
        "RecipeError",
        "DataError",
        "JobError",
        "ScoresError",
    ),
    *("SettingsError", "SynthError", "OwnError", "MemoryError", "HeldError", "MemoryWarning"),
}
OF_THE_SYSTEM = {"No space left on device", "No such file or directory"}  # and not ours
FAULTS = (
    *(
        "disk full",
        "read-only output",
        "a file vanishes midway",
        "decoder error",
        "out of memory in a chunk",
        "ctrl-C, SIGTERM",
    ),
    *("killed worker", "two runs in one folder", "unwritable cache", "clock jumps"),
)


def words(node: ast.AST) -> str:
    """A string of the code, with … for what varies."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(words, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return words(node.left) + words(node.right)
    return "…"


def plain(text: str) -> str:
    return re.sub("(…|{})+", "…", text).strip()


def nodes() -> Iterator[ast.AST]:
    for source in SOURCES:
        yield from ast.walk(ast.parse(source.read_text(encoding="utf-8")))


def raised() -> set[str]:
    """What errors are made of: sentences that stand where they are raised."""
    found = set()
    for node in nodes():
        if isinstance(node, ast.Call) and node.args and getattr(node.func, "id", None) in ERRORS:
            found.add(plain(words(node.args[0])))
    return {sentence for sentence in found if len(re.findall("[a-z]{2,}", sentence)) > 1}


def quoted() -> list[str]:
    """The code spans of the tables' columns of sentences."""
    found = []
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith(("| sentence", "| what happens")):
            cell = re.split(r"(?<!\\)\|", line)[-3]  # before that of the cure
            found += [plain(first or second) for first, second in re.findall(r"``\s(.*?)\s``|`([^`]+)`", cell)]
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_on_the_page(fault: str) -> None:
    assert f"\n| {fault} | " in PAGE


def test_every_sentence_on_the_page_is_one_that_the_code_says() -> None:
    said = [plain(words(node)) for node in nodes() if isinstance(node, ast.JoinedStr | ast.Constant | ast.BinOp)]
    kernels = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', (ROOT / "csrc" / "checks.h").read_text(encoding="utf-8")))
    sentences = quoted()
    assert len(sentences) > 120
    unsaid = []
    for sentence in sentences:
        parts = [part for part in sentence.split("…") if part]
        pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
        if sentence not in OF_THE_SYSTEM and not any(map(pattern.search, said)) and not pattern.search(kernels):
            unsaid.append(sentence)
    assert unsaid == []


def test_every_sentence_of_an_error_is_on_the_page() -> None:
    there = set(quoted())
    assert sorted(raised() - there) == []
