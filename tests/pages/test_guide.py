"""The guide to `tased predict` says what is written, and shows it."""

from __future__ import annotations

import re
from pathlib import Path

from pages.blocks import ROOT, text_of
from tased_net import cli
from tased_net.writers import WRITERS

FOLDER = ROOT / "docs"
TEXT = text_of("docs/guide.md")


def test_every_format_is_described_with_the_files_that_it_writes(folder: Path) -> None:
    paragraphs = [part.replace("\n", " ") for part in TEXT.split("\n\n") if part.startswith("**`")]
    names = [name for part in paragraphs for name in re.findall(r"`([\w-]+)`", re.split(r"\*\*[:,]", part)[0])]
    assert sorted(names) == sorted(WRITERS)
    assert cli.main(f"predict street.mp4 -o out --size 32x48 --format {' '.join(WRITERS)}".split()) == 0
    written = {file.as_posix() for file in Path("out").iterdir()} - {"out/street"} | {"out/street/0001.png"}
    said = re.findall(r"`(out/street[^`]+)`", " ".join(paragraphs))
    assert {*said, "out/street_saliency.webp"} == written


def test_every_format_has_its_picture() -> None:
    pictures = {FOLDER / picture for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)}
    assert set((FOLDER / "guide").iterdir()) == pictures
    assert {picture.stem for picture in pictures} >= set(WRITERS) - {"webp"}
    assert all(picture.stat().st_size < 120_000 for picture in pictures)
