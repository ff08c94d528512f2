"""What all tests share: a device, which is the CPU and, where there is one, a GPU; and an open ear for ctrl-C."""

from __future__ import annotations

import signal

import pytest
import torch


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def pytest_configure() -> None:
    # A shell starts what runs in the background deaf to ctrl-C, and what that starts would be deaf as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
