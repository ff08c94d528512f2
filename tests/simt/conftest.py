"""The kernels of csrc/cuda, built for the host as the tests begin, and the tables that tests print at the end."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

from simt import harness

TABLES = pytest.StashKey[dict[str, list[str]]]()


@pytest.fixture(scope="session")
def module() -> ModuleType:
    for tool in ("cmake", "ninja"):
        if harness.find_tool(tool) is None:
            pytest.skip(f"building the kernels for the host takes {tool}: pip install {tool}")
    return harness.build(sanitize=harness.SANITIZE in os.environ)


@pytest.fixture
def kernels(module: ModuleType) -> harness.Kernels:
    return harness.Kernels(module)


@pytest.fixture(scope="session")
def tables(pytestconfig: pytest.Config) -> dict[str, list[str]]:
    """Lines by title, printed when all tests are done."""
    return pytestconfig.stash.setdefault(TABLES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash.get(TABLES, {}).items():
        terminalreporter.section(title)
        for line in sorted(lines):
            terminalreporter.line(line)
