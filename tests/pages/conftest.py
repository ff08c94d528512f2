"""For the pages: a cache of their own, as the network's tests have, and a folder with all that pages name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from net.conftest import own_cache
from pages import stage

__all__ = ["own_cache"]


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
