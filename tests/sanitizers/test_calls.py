"""The random calls of `make sanitize MINUTES=60`: what they reach, and that the case of a finding is told."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest
import torch

import tased_ext
from cases import DTYPES, FILLS
from sanitizers import __main__ as command
from sanitizers import calls


def test_a_case_is_always_the_same_and_cases_differ() -> None:
    cases = [calls.Case.of(number) for number in range(300)]
    assert cases == [calls.Case.of(number) for number in range(300)]
    assert len({str(case).partition(":")[2] for case in cases}) == 300
    for axis, values in {"dtype": len(DTYPES), "fill": len(FILLS), "batched": 2, "threads": 3}.items():
        assert len({getattr(case, axis) for case in cases}) == values
    for place in range(4):
        assert {case.layouts[place] for case in cases} == set(calls.LAYOUTS)


def test_every_byte_is_among_the_corrupted_of_each_case() -> None:
    for number, grid in enumerate([(1, 1, 1, 1, 1), (1, 2, 3, 5, 7), (1, 3, 4, 7, 9), (2, 5, 1, 16, 8)]):
        case = calls.Case.of(number)
        tensors = list(case.corrupted(grid))
        assert all(tensor.numel() == math.prod(grid) for tensor in tensors)
        if "expanded" not in case.layouts[2]:  # which has one channel's or one frame's for all of them
            assert set(range(256)) == {value for tensor in tensors for value in tensor.flatten().tolist()}


def test_every_operation_is_called_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if function.namespace == "tased_ext":
                called.add(function._schema.name.partition("::")[2])
                if called_switches := [x for x in args if isinstance(x, torch.Tensor) and x.dtype == torch.uint8]:
                    called.update(f"{function._schema.name} of {int(x.max())}" for x in called_switches if x.numel())
            return function(*args, **(kwargs or {}))

    with Watch():
        for number in range(40):
            calls.Case.of(number).run()
    assert called >= {"aux_pool", "aux_max_pool", "max_pool3d", "max_unpool", "aux_pool_unpool"}
    assert called >= {f"tased_ext::{name} of 255" for name in ("max_unpool", "gather_windows", "scatter_windows")}


def test_the_command_makes_as_many_calls_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "case.txt"
    assert calls.main(["--cases", "3", "--first", "7", "--record", str(record)]) == 0
    assert capsys.readouterr().out == f"with {tased_ext.build_info()['libraries']['_C']}\n3 cases\n"
    assert record.read_text() == f"2\n{calls.Case.of(9)}\n"
    assert len(list(calls.chosen(0, None, 0.0))) == 0


ENDS = "import sys, pathlib, os; pathlib.Path(sys.argv[1]).write_text('41\\ncase 48: 1x2, k3\\n'); os.abort()"


@pytest.mark.parametrize(
    ("program", "number", "message"),
    [
        (ENDS, 48, "Ended with status -6 after 41 cases without a finding, in case 48: 1x2, k3\n"),
        ("raise SystemExit(3)", 0, "Ended with status 3 after 0 cases without a finding, in none: it did not begin\n"),
        ("pass", None, ""),
    ],
)
def test_the_case_of_a_finding_is_told(
    program: str, number: int | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "case.txt"
    record.write_text("7\ncase 7: of an earlier run\n")
    told = command.watched([sys.executable, "-c", program, str(record)], record, dict(os.environ))
    assert told == number
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory"], "memory is none of address,undefined and thread"),
        (["--minutes", "0"], "--minutes: a time is more than none"),
        (["--minutes", "long"], "argument --minutes: invalid float value"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sanitizers", *arguments])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
