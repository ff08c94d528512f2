"""One thread unless a test asks for more: stock unpooling is defined on one only, and small maps are fastest on one.

TASED_TEST_SHARE=3 runs a third of the cases of the tests that are chosen, drawn by their names: at another vector level, say.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import pytest

import cases


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cases.threads(1):
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    share = int(os.environ.get("TASED_TEST_SHARE", "1"))
    items[:] = [item for item in items if not hasattr(item, "callspec") or zlib.crc32(item.name.encode()) % share == 0]
