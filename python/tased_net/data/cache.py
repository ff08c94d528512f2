"""What was found out about files, kept in the user's cache folder so that it is found out once.

Nothing depends on the cache: what is missing, damaged or cannot be written is a note on the debug level, and the work is done
again. Processes that write the same entry do not disturb each other, the last one wins.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

from ..writing import whole_file

log = logging.getLogger("tased_net.data")


def cache_folder() -> Path:
    """The folder ``tased-net`` in $XDG_CACHE_HOME, or else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tased-net"


def cached(kind: str, path: str) -> object:
    """What `keep` kept for a path, or None."""
    try:
        entry = json.loads(_file(kind, path).read_bytes())
        return entry["value"] if entry["path"] == path else None
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # RuntimeError: there is no home
        log.debug("cache entry for %s is not used: %s", path, error)
        return None


def keep(kind: str, path: str, value: object) -> None:
    """Keeps a value that JSON can hold."""
    try:
        file = _file(kind, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file, to_disk=False) as beside:
            beside.write_text(json.dumps({"path": path, "value": value}, separators=(",", ":")), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        log.debug("cache entry for %s is not written: %s", path, error)


def _file(kind: str, path: str) -> Path:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return cache_folder() / kind / f"{digest}.json"
