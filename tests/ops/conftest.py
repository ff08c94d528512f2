"""TASED_TEST_SHARE=3 runs a third of the cases of the tests that are chosen, drawn by their names: at another vector level, say."""

from __future__ import annotations

import os
import zlib

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    share = int(os.environ.get("TASED_TEST_SHARE", "1"))
    items[:] = [item for item in items if not hasattr(item, "callspec") or zlib.crc32(item.name.encode()) % share == 0]
