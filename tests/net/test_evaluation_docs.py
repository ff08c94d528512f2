"""The page on evaluation: its commands and its Python run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from net.layouts import write_dhf1k
from net.test_evaluate import write_maps
from tased_net import TASEDNet, cli, metrics
from tased_net.data import DATASETS

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_page_s_commands_and_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATASETS["dhf1k"].expected, "test", range(701, 703))
    lengths = {601: 2, 602: 3}
    write_dhf1k(Path("DHF1K"), {**lengths, 701: 2, 702: 1})
    write_maps(Path("maps"), lengths)
    write_maps(Path("other"), lengths, noise=0.8)
    write_maps(Path("maps_of_test"), {701: 2, 702: 1})
    torch.manual_seed(0)
    TASEDNet(clip_length=8, width=0.02).save_pretrained("tased.safetensors")
    assert cli.main(["evaluate", "other", "--data", "DHF1K", "--dataset", "dhf1k", "--quiet"]) == 0
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "tased"
        if "--workers" in arguments:
            arguments[arguments.index("--workers") + 1] = "0"  # another test starts workers
        if "--weights" in arguments:
            arguments += ["--size", "32x48"]
        assert cli.main(arguments) == 0, command
    assert Path("maps_scores/videos.csv").read_bytes() == Path("scores_by_two/videos.csv").read_bytes()
    names: dict[str, object] = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.parametrize("name", ["nss", "cc", "sim", "auc_judd", "shuffled_auc", "kl_divergence", "information_gain"])
def test_every_metric_has_its_section(name: str) -> None:
    sections = re.split(r"^### ", TEXT, flags=re.MULTILINE)
    assert any(f"`tased_net.metrics.{name}`" in section and "$$" in section for section in sections)
    assert hasattr(metrics, name)
