"""The shim itself: it runs threads as CUDA would, and refuses what CUDA would not forgive."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "read_beyond",
            r"kernel read_beyond, block \(0, 0, 0\), thread 63: load of 4 bytes at offset 256 of input is out of",
        ),
        ("write_beyond", r"thread 63: store of 4 bytes at offset 256 of output is out of its 256 bytes"),
        ("write_input", r"thread 0: store of an input: input"),
        ("misaligned_pack", r"thread 1: load of 16 bytes at offset 4 of input is misaligned"),
        ("early_exit", r"divergent barrier: thread 0 waits at .*faults.h:\d+, but thread 63 is done"),
        ("two_barriers", r"divergent barrier: thread 0 waits at .*, but thread 32 waits at .*"),
    ],
)
def test_a_fault_is_named(module: ModuleType, fault: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        module.fault(fault, 0)


def test_the_shim_goes_on_after_a_fault(module: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="divergent"):
        module.fault("early_exit", 0)
    assert len(module.fault("missing_barrier", 0)) == 64


def test_a_missing_barrier_shows_in_the_order_of_threads(module: ModuleType) -> None:
    results = {tuple(module.fault("missing_barrier", seed)) for seed in range(3)}
    assert len(results) == 3
