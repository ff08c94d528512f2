"""The command, end to end: what it prints, writes and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench import ops, report
from bench.targets import Judgement, Target
from bench.works import AUX_SITES, Row

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_prints_and_writes_times_memory_targets_and_a_chart(tmp_path: Path) -> None:
    only = "max_pool3d (backward )?(480x8x14x24|small) contiguous|max_unpool memory"
    # In a process of its own, since it changes how memory is handed out.
    command = [sys.executable, "-m", "bench.ops", "--quick", "--device", "cpu", "--only", only, "--out", str(tmp_path)]
    result = subprocess.run(command, check=True, cwd=ROOT, text=True, capture_output=True)
    assert "bounds reached" in result.stdout
    written = json.loads((tmp_path / "ops.json").read_text())
    assert {row["site"] for row in written["rows"]} == {"empty", "480x8x14x24", "small"}
    for row in written["rows"]:
        assert row["rounds"] >= 5
        assert 0 < row["seconds"]["ours"]["low"] <= row["seconds"]["ours"]["median"] <= row["seconds"]["ours"]["high"]
        assert row["ratios"]["eager"]["median"] > 0
    assert written["memory"][0]["saved_bytes_a_window"] == {"ours": 1.0, "eager": 8.0}
    assert {"max_pool3d", "max_unpool"} == {target["operation"] for target in written["targets"]}
    for direction in ("forward", "backward"):
        with Image.open(tmp_path / f"ops_{direction}_float32.png") as image:
            assert min(image.size) > 200


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "("], "error: argument --only: '(' is no regular expression: missing ), unterminated subpattern"),
        (["--only", "conv3d"], "error: --only, --dtype, --layout and --site leave no row to measure"),
        (["--site", "i3"], "error: argument --site: invalid choice: 'i3'"),
        (["--dtype", "int8"], "error: argument --dtype: invalid choice: 'int8'"),
        (["--threads", "0"], "error: argument --threads: '0' is no number of threads"),
        (["--slow"], "error: unrecognized arguments: --slow"),
    ],
)
def test_a_bad_flag_ends_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = ops.main(arguments)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith(sentence)
    assert err.count("\n") == 1


def test_the_targets_name_what_is_missed() -> None:
    row = Row("site", "aux_pool", "inference", AUX_SITES[0], "contiguous")
    target = Target("aux_pool, contiguous", ("aux_pool",), ("i2",), floor=1.3, eager=20)
    judgements = [Judgement(target, "floor", row, 1.2, True), Judgement(target, "eager", row, 12.0, False)]
    reached, missed, which = report.targets_table(judgements).splitlines()
    assert reached.startswith("reached     1/1  aux_pool, contiguous: at most 1.3x the floor")
    assert missed.startswith("MISSED      0/1  aux_pool, contiguous: at least 20x as fast as eager")
    assert which.split() == ["12", "aux_pool", "i2", "contiguous", "float32", "2t"]
    assert report.summary(judgements, 3) == "1 of 2 bounds reached; 3 not measured in this run"


def test_the_targets_tell_how_far_the_floor_would_come_where_that_is_not_far_enough() -> None:
    row = Row("site", "max_unpool", "backward", AUX_SITES[0], "contiguous")
    target = Target("every backward, contiguous", ("max_unpool",), ("i2",), modes=("backward",), eager=3)
    judgements = [Judgement(target, "eager", row, 1.5, False, at_floor) for at_floor in (1.8, 3.2)]
    _, near, far = report.targets_table(judgements).splitlines()
    assert near.endswith("1.5  max_unpool backward i2 contiguous float32 2t (the floor itself: 1.8)")
    assert far.endswith("1.5  max_unpool backward i2 contiguous float32 2t")
    summary = "0 of 2 bounds reached; beyond the floor: 1; 0 not measured in this run"
    assert report.summary(judgements, 0) == summary


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "2 s"), (0.0123, "12.3 ms"), (3.854e-6, "3.85 us"), (8.12e-7, "812 ns")]
)
def test_times_have_their_natural_unit(value: float, text: str) -> None:
    assert report.seconds(value) == text
