"""Which backend runs on a device: ours, or PyTorch's layers on a GPU for which tased_ext has no kernels."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch

import tased_ext
from tased_net.backends import WITHOUT_KERNELS, backend_on
from tased_net.commands import shared
from tased_net.recipes import Recipe
from tased_net.train import trainer

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BUILT, NOT_BUILT = "/site-packages/tased_ext/_C_cuda.so", "not built"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """What tased_ext says of its CUDA library."""
    library: str = request.param
    facts: dict[str, Any] = {**tased_ext.build_info(), "libraries": {"_C": "_C.so", "_C_cuda": library}}
    monkeypatch.setattr(tased_ext, "build_info", lambda: facts)
    return library


@pytest.mark.parametrize("library", [NOT_BUILT, "not loaded: no libcudart.so"], indirect=True)
@pytest.mark.parametrize("devices", [[GPU], [torch.device("cuda:0"), torch.device("cuda:1")], [CPU, GPU]])
def test_a_gpu_without_kernels_runs_stock_layers_with_one_warning(library: str, devices: list[torch.device]) -> None:
    said: list[str] = []
    assert backend_on(devices, said.append) == "torch"
    assert said == [WITHOUT_KERNELS]


@pytest.mark.parametrize(("library", "device"), [(BUILT, GPU), (BUILT, CPU), (NOT_BUILT, CPU)], indirect=["library"])
def test_where_there_are_kernels_they_run_without_a_word(library: str, device: torch.device) -> None:
    said: list[str] = []
    assert backend_on([device], said.append) == "fused"
    assert said == []


@pytest.mark.parametrize(("library", "backend"), [(NOT_BUILT, "torch"), (BUILT, "fused")], indirect=["library"])
def test_a_command_s_network_has_the_backend_of_its_device(
    library: str, backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared, "devices", lambda options: [GPU])
    net, _ = shared.network(Namespace(weights="none", seed=0, device=None, clip_length=8, width=0.02))
    assert net.options["backend"] == backend
    assert capsys.readouterr().err.count(f"tased: warning: {WITHOUT_KERNELS}\n") == (backend == "torch")


@pytest.mark.parametrize(("library", "backend"), [(NOT_BUILT, "torch"), (BUILT, "fused")], indirect=["library"])
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_run_s_network_has_the_backend_of_its_device(library: str, backend: str, device: torch.device) -> None:
    said: list[str] = []
    net = trainer._network(Recipe(clip_length=8, width=0.02), None, device, said.append)
    stock = device == GPU and backend == "torch"
    assert net.options["backend"] == ("torch" if stock else "fused")
    assert said.count(WITHOUT_KERNELS) == stock
