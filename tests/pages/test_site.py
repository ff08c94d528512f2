"""The site of `make docs`: built without a warning, no link of it is dead, and it takes nothing from the network."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from net.browser import PROGRAM, Browser

pytest.importorskip("mkdocs", reason="no MkDocs: pip install 'tased-net[docs]'")

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"audio", "iframe", "img", "link", "script", "source", "video"}


class Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors |= {name for name in (found.get("id"), found.get("name")) if name}
        for place in (found.get("href"), found.get("src")):
            if place is not None:
                (self.loaded if tag in LOADED else self.links).append(place)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return site


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}


def test_every_link_of_the_site_leads_somewhere(pages: dict[Path, Page]) -> None:
    assert len(pages) > 20
    dead = []
    for file, page in pages.items():
        for link in page.links + page.loaded:
            place, anchor = urldefrag(link)
            if urlsplit(place).scheme:
                continue
            target = (file.parent / unquote(place)).resolve() if place else file
            if not target.is_file() or (anchor and target in pages and unquote(anchor) not in pages[target].anchors):
                dead.append(f"{file.name}: {link}")
    assert not dead


def test_the_site_loads_nothing_from_the_network(pages: dict[Path, Page], site: Path) -> None:
    loaded = {place for page in pages.values() for place in page.loaded}
    assert not {place for place in loaded if urlsplit(place).scheme or place.startswith("//")}
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8").replace('"', "").replace("'", "")


def test_sections_and_formulas_are_in_their_place(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert "<!-- include -->" not in text
        assert 'class="arithmatex"' not in text
    formulas = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8").count("$$") // 2
    drawn = (site / "evaluation.html").read_text(encoding="utf-8")
    assert drawn.count('display="block"') == formulas
    assert "\\" not in "".join(
        part.partition("</math>")[0] for part in drawn.split("<math ")[1:]
    )  # every command is known


@pytest.mark.skipif(PROGRAM is None, reason="no browser")
def test_opened_as_a_file_it_can_be_searched(site: Path, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        browser.open(site / "index.html")
        found = browser.run("""
            document.querySelector("label[for=__search]").click();
            const input = document.querySelector(".md-search__input");
            input.focus();
            input.value = "shuffled";
            input.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
            const list = document.querySelector(".md-search-result__list");
            if (!list.children.length) {
              await new Promise((resolve) => new MutationObserver(resolve).observe(list, { childList: true }));
            }
            return [...list.querySelectorAll("a")].map((link) => link.href);
        """)
        assert any("/evaluation.html" in link for link in found)
        methods = [event.get("method") for event in browser.events]
        assert "Runtime.exceptionThrown" not in methods
        asked = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        assert {urlsplit(url).scheme for url in asked} <= {"data", "file"}
