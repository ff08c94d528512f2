"""What all tests share: one thread; a device, which is the CPU and, where there is one, a GPU; tables that are printed at the
end; and an open ear for ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from alone import alone
from cases import threads

TABLES = pytest.StashKey[dict[str, list[str]]]()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Unless a test asks for more: stock unpooling is defined on one only, and what is small gains nothing from more."""
    with threads(1):
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def much_memory() -> Iterator[None]:
    """For a test that needs gigabytes: no other such test runs beside it."""
    with alone("much-memory"):
        yield


@pytest.fixture(scope="session")
def tables(pytestconfig: pytest.Config) -> dict[str, list[str]]:
    """Lines by title, printed when all tests are done."""
    return pytestconfig.stash[TABLES]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLES] = {}
    # A shell starts what runs in the background deaf to ctrl-C, and what that starts would be deaf as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        # A thread that waits in a loop, as OpenMP's do, would keep another process from the core.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torch.set_num_threads(1)  # for fixtures that outlive a test


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tables"] = session.config.stash[TABLES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes in the tables of a process that has done its share."""
    tables = node.config.stash[TABLES]
    for title, lines in getattr(node, "workeroutput", {}).get("tables", {}).items():
        tables.setdefault(title, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash[TABLES].items():
        terminalreporter.section(title)
        for line in sorted(lines):
            terminalreporter.line(line)
