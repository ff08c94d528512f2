"""The metrics' bench runs, and its two peers score alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import metrics


def test_the_bench_prints_and_writes_every_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--pred-size", "14", "24", "--size", "22", "40", "--seconds", "0", "--out", str(tmp_path)]
    assert metrics.main(arguments) == 0
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert [row["metric"] for row in rows] == ["imresize", "nss", "cc", "sim", "auc_judd", "shuffled_auc", "a frame"]
    assert all(row["ours"] > 0 and row["plain"] > 0 for row in rows)
    assert "The target, 60 ms a frame, is reached." in capsys.readouterr().out


def test_the_peers_of_the_bench_score_alike() -> None:
    peers = metrics.peers(**metrics.frame((14, 24), (22, 40)))
    for name in ("nss", "cc", "sim", "shuffled_auc"):
        ours, theirs = (peer() for peer in peers[name])
        assert ours == pytest.approx(theirs, abs=0.03 if name == "shuffled_auc" else 1e-6)
