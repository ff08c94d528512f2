"""The pages that people read, taken apart: blocks of code, and code within sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("docs/*.md"))
)

FENCE = re.compile(r"^```(.*)\n((?:(?!```).*\n)*?)```$", re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes
    ----------
    page
        Its page, from the repository's root.
    line
        Where its first line stands, from 1.
    language
        "bash" for commands, "python" and "toml" for what is run and read, "text" for what is shown.
    text
        What it says.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The commands of a block of them."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The page's blocks of code, or those in some languages."""
    text = text_of(page)
    found = [Block(page, text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in FENCE.finditer(text)]
    return [block for block in found if not languages or block.language in languages]


def prose(page: str) -> str:
    """The page without its blocks."""
    return FENCE.sub("", text_of(page))


def spans(page: str) -> list[str]:
    """The code within its sentences and tables, each on one line."""
    return [" ".join(match[1].split()) for match in SPAN.finditer(prose(page))]


def run_python(block: Block, names: dict[str, object], text: str | None = None) -> None:
    """Runs a block, or `text` in its place, with the names of those before; errors tell the page's line."""
    program = "\n" * (block.line - 1) + (block.text if text is None else text)
    exec(compile(program, str(ROOT / block.page), "exec"), names)
