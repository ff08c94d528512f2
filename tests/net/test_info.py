"""What docs/network.md says of sizes is so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tased_net import TASEDNet
from tased_net.info import stages

PAGE = (Path(__file__).parents[2] / "docs" / "network.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


def millions(**options: object) -> str:
    with torch.device("meta"):
        return f"{sum(p.numel() for p in TASEDNet(**options).parameters()) / 1e6:.2f}"  # type: ignore[arg-type]


@pytest.mark.parametrize("clip_length", [4, 8, 16, 32, 48, 64])
def test_the_page_s_parameters_are_the_networks(clip_length: int) -> None:
    (names,) = (row[1:] for row in ROWS if row[0] == "T")
    (row,) = (row[1:] for row in ROWS if row[0] == str(clip_length) and len(row) == 5)
    assert row == [millions(clip_length=clip_length, aggregation=name) for name in names]


def test_the_page_s_variants_have_their_size() -> None:
    variants = [row for row in ROWS if len(row) == 2 and "=" in row[0]]
    assert len(variants) == 10
    for text, size in variants:
        assert millions(**eval(f"dict({text.strip('`')})")) == size


def test_the_page_s_multiply_adds_are_the_network_s() -> None:
    counted = stages({"aggregation": "late-two-step"}, (224, 384))
    macs = sum(stage.macs for stage in counted)
    without = macs - sum(stage.deconvolution_macs for stage in counted)
    assert f"takes {macs / 1e9:.1f} G; without transposed convolutions it is {without / 1e9:.1f} G" in PAGE.replace(
        "\n", " "
    )


def test_multiply_adds_are_those_of_the_formula() -> None:
    by_name = {stage.name: stage for stage in stages({}, (224, 384))}
    assert by_name["convtsp2"].macs == 832 * 480 * 9 * 4 * 14 * 24 == by_name["convtsp2"].deconvolution_macs
    doubling = 192 * 64 * 16 * 4 * 56 * 96 + 64 * 4 * 2 * 112 * 192 + 4 * 4 * 16 * 112 * 192
    assert by_name["convtsp4"].deconvolution_macs == doubling
    assert by_name["convtsp4"].macs == doubling + 64 * 64 * 2 * 2 * 112 * 192 + 4 * 4 * 2 * 112 * 192 + 4 * 224 * 384
