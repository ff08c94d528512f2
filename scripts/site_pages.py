"""What the site does with pages that are also read on GitHub: a hook of mkdocs.yml.

A page stays one file. Those outside docs/ get their place in the site here; a link to any other file of the repository leads to a
page that shows it; a section that another page has is shown under the link that is marked to include it; and formulas become
MathML, which browsers draw by themselves.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Where pages outside docs/ are in the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "bench.md",
}
LANGUAGES = {".cpp": "cpp", ".h": "cpp", ".cuh": "cpp", ".cu": "cpp", ".py": "python", ".toml": "toml", ".yml": "yaml"}

INCLUDE = re.compile(r"^<!-- include -->\n\[[^]]*\]\(([^)#]+)#([^)]+)\)\.?$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|`[^`]*`", re.MULTILINE | re.DOTALL)
PARTS = re.compile(r"(^<!-- include -->\n[^\n]*$|^```.*?^```|`[^`]*`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
FORMULA = re.compile(r'<(div|span) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages outside docs/, and one for each file that a page links to."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    linked: set[str] = set()

    def note(path: str) -> str:
        linked.add(path)
        return source_uri(path)

    for file in files.documentation_pages():
        translate(path_of(file.src_uri), file.src_uri, note)
    for path in sorted(linked):
        files.append(File.generated(config, source_uri(path), content=source_page(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its sections and links in place."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    return translate(path_of(page.file.src_uri), page.file.src_uri, source_uri)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its formulas as MathML."""
    return FORMULA.sub(mathml, html)


def path_of(uri: str) -> str:
    """The file in the repository that has this page."""
    outside = {uri: path for path, uri in PAGES.items()}
    return outside.get(uri, f"docs/{uri}")


def source_uri(path: str) -> str:
    return f"source/{path}.md"


def source_page(path: str) -> str:
    language = LANGUAGES.get(Path(path).suffix, "text")
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n````{language}\n{text}````\n"


def translate(path: str, uri: str, uri_of_source: Callable[[str], str]) -> str:
    """The text of a file of the repository as the page `uri`; `uri_of_source` tells where a file that is no page is shown."""

    def place(link: str, folder: str) -> str:
        target = posixpath.normpath(posixpath.join(folder, link))
        if target in PAGES:
            target = PAGES[target]
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif (ROOT / target).is_file():
            target = uri_of_source(target)
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    def translated(text: str, path: str) -> str:
        folder = posixpath.dirname(path)
        done = []
        for part in PARTS.split(text):
            include = INCLUDE.fullmatch(part)
            if include:
                other = posixpath.normpath(posixpath.join(folder, include[1]))
                done.append(translated(section((ROOT / other).read_text(encoding="utf-8"), include[2]), other))
            elif part.startswith("`"):
                done.append(part)
            else:
                done.append(LINK.sub(lambda link: place(link[1], folder), part))
        return "".join(done)

    return translated((ROOT / path).read_text(encoding="utf-8"), path)


def section(text: str, anchor: str) -> str:
    """What stands below the heading with this anchor, up to the next one of its level or above."""
    headings = list(HEADING.finditer(CODE.sub(lambda code: "`" * len(code[0]), text)))
    for number, heading in enumerate(headings):
        if anchor_of(text[heading.start(2) : heading.end(2)]) == anchor:
            ends = (other.start() for other in headings[number + 1 :] if len(other[1]) <= len(heading[1]))
            return text[heading.end() : next(ends, len(text))].strip()
    raise ValueError(f"there is no section #{anchor}")


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives to a heading, and so does `toc` in mkdocs.yml."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def mathml(formula: re.Match[str]) -> str:
    return str(convert(html.unescape(formula[3]), display="block" if formula[2] == "[" else "inline"))
