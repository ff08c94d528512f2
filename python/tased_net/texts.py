"""Texts from strangers: names and values fit for a line on a terminal, and files of text that are read whole."""

from __future__ import annotations

import os

LONGEST = 80  # characters of a stranger's text in a sentence


def printable(text: str) -> str:
    r"""The text with all that is not for people to see as escapes: line ends, colours of terminals, turned directions.

    >>> print(printable("a\nb\x1b[31m"))
    a\nb\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown(text: str, longest: int = LONGEST) -> str:
    r"""A stranger's text in a sentence: printable, and of a bearable length.

    >>> shown("a\n" * 99, 4)
    'a\\na\\n…'
    """
    line = printable(text[:longest])
    return line if len(text) <= longest else f"{line}…"


def shown_value(value: object) -> str:
    """A stranger's value in a sentence, as Python writes it."""
    try:
        return shown(repr(value))
    except (ValueError, RecursionError):  # a number of very many digits; what is too deep
        return f"a {type(value).__name__} beyond measure"


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """A file of UTF-8 text of at most `most` bytes, without the mark that Windows sets before it.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is longer, or not UTF-8; the message says which.
    """
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"is longer than {most:,} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError("is not a text in UTF-8") from None
