"""The kernels of csrc/cuda, built for the host as the tests begin."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from simt import harness


@pytest.fixture(scope="session")
def module() -> ModuleType:
    for tool in ("cmake", "ninja"):
        if harness.find_tool(tool) is None:
            pytest.skip(f"building the kernels for the host takes {tool}: pip install {tool}")
    return harness.build(sanitize=harness.SANITIZE in os.environ)


@pytest.fixture
def kernels(module: ModuleType) -> harness.Kernels:
    return harness.Kernels(module)
