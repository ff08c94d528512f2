"""For the pages: what the network's tests have, one thread and a cache of their own; and a folder with all that pages name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from net.conftest import one_thread, own_cache
from pages import stage

__all__ = ["one_thread", "own_cache"]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = tmp_path_factory.mktemp("files")
    stage.furnish(files)
    return files


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home to work in, with all that the pages name."""
    folder = tmp_path / "home"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    stage.hasten(monkeypatch)
    return folder
