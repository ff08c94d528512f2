"""Links of the pages, as they are read on GitHub: files and sections are there, addresses are well formed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from pages.blocks import PAGES, ROOT, SPAN, prose

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def links(page: str) -> Iterator[str]:
    return (match[1] for match in LINK.finditer(SPAN.sub("code", prose(page))))


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings: those of equal headings are numbered."""
    found, times = set(), Counter[str]()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", heading).lower()).replace(" ", "-")
        found.add(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
        times[anchor] += 1
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_what_is_there(page: str) -> None:
    dead = []
    for link in links(page):
        address = urlsplit(link)
        if address.scheme:
            assert address.scheme in ("http", "https")
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]+", address.hostname or "")
            continue
        target = (ROOT / page).parent / address.path if address.path else ROOT / page
        name = str(target.resolve().relative_to(ROOT))
        if not target.is_file() or (address.fragment and address.fragment not in anchors(name)):
            dead.append(link)
    assert not dead


def test_most_pages_have_links() -> None:
    assert sum(any(links(page)) for page in PAGES) > len(PAGES) / 2
