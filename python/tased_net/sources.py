"""Where videos come from: files, URLs, standard input, patterns; and what they are called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Files in folders that are taken for videos; one that is named may be called anything.
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts"),
    *(".vob", ".webm", ".wmv", ".y4m"),
)
STDIN = "-"
TIMEOUT = 30.0  # seconds that a server may stay silent


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether FFmpeg is to open `source` by its protocol, such as http, https, rtsp or file."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def video_name(source: str | os.PathLike[str]) -> str:
    """A name for a video's results: of its file without the suffix, of its folder, of a URL's last part.

    Examples
    --------
    >>> [video_name(source) for source in ("clips/street.mp4", "http://host/a%20b.mkv?key=1", "frames/img*.png", "-")]
    ['street', 'a b', 'frames', 'stdin']
    """
    if os.fspath(source) == STDIN:
        return "stdin"
    if is_url(source):
        address = urlsplit(os.fspath(source))
        path = Path(unquote(address.path))
        name = re.sub(r"[^\w .()+-]", "_", path.stem or address.hostname or address.scheme)
        return "_" if name in (".", "..") else name  # which are folders of their own
    path = Path(source)
    if path.is_dir():
        return os.path.basename(os.path.realpath(path))
    if is_pattern(path):
        fixed = path.parent
        while is_pattern(fixed):
            fixed = fixed.parent
        return os.path.basename(os.path.realpath(fixed))
    return path.stem


def holds(question: Callable[[], bool]) -> bool:
    """Whether an entry of a folder is what it is asked for; it is nothing where the system cannot tell, as of a link to itself.

    `question` is a method of `os.DirEntry`, which asks the system only where the folder does not say it.
    """
    try:
        return question()
    except OSError:
        return False


def is_pattern(path: Path) -> bool:
    """Whether `path` is a glob pattern, and not a file that has such a name."""
    return re.search(r"[*?\[]", os.fspath(path)) is not None and not path.exists()


def shown_name(source: str | os.PathLike[str]) -> str:
    """The source's name in messages: without a URL's user and password."""
    if os.fspath(source) == STDIN:
        return "standard input"
    return re.sub(r"(?<=://)[^/?#]*@", "", os.fspath(source)) if is_url(source) else os.fspath(source)
