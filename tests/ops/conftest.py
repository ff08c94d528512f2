"""One thread unless a test asks for more: stock unpooling is defined on one only, and small maps are fastest on one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import cases


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with cases.threads(1):
        yield
