"""The commands of docs/deployment.md, as they stand there: the network packaged, and run from C++ without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tased_ext
from pages.blocks import blocks
from tased_net import TASEDNet

ROOT = Path(__file__).resolve().parents[2]
SIZE = (3, 8, 33, 48)

# Inductor of several versions of PyTorch uses what PyTorch deprecates.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def environment() -> dict[str, str]:
    """`python` and CMake are those of the running environment."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path}


@pytest.fixture(scope="module")
def network() -> TASEDNet:
    """Its batch norms do something, as those of a trained network do."""
    torch.manual_seed(1)
    net = TASEDNet(clip_length=8, width=0.02).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.9, 1.1)
            nn.init.normal_(module.bias, std=0.02)
    return net


@pytest.fixture(scope="module")
def folder(network: TASEDNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's commands have been run on saved weights and two saved clips."""
    path = environment()["PATH"]
    if shutil.which("cmake", path=path) is None:
        pytest.skip("no CMake: pip install cmake")
    if not any(shutil.which(compiler, path=path) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "examples").symlink_to(ROOT / "examples")
    torch.save(network.state_dict(), folder / "weights.pt")
    torch.save(clips(2), folder / "clip.pt")
    (block,) = blocks("docs/deployment.md", "bash")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "saliency of shape [2, 33, 48], from 0." in done.stdout
    return folder


def clips(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.rand(batch, *SIZE, generator=generator, dtype=torch.float64) * 2 - 1


def run(folder: Path, clip: Tensor) -> subprocess.CompletedProcess[str]:
    torch.save(clip, folder / "clip.pt")
    (folder / "map.pt").unlink(missing_ok=True)
    command = ["build/saliency/saliency", "network.pt2", "clip.pt", "map.pt", tased_ext.build_info()["libraries"]["_C"]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_commands_of_the_page_give_the_map_of_the_network(folder: Path, network: TASEDNet) -> None:
    with torch.no_grad():
        torch.testing.assert_close(torch.load(folder / "map.pt"), network(clips(2)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_package_takes_any_batch_and_gives_equal_bits_in_both_languages(
    batch: int, folder: Path, network: TASEDNet
) -> None:
    done = run(folder, clips(batch))
    assert done.returncode == 0, done.stderr
    saliency = torch.load(folder / "map.pt")
    package = torch._inductor.aoti_load_package(str(folder / "network.pt2"))
    assert torch.equal(saliency, package(clips(batch)))
    with torch.no_grad():
        torch.testing.assert_close(saliency, network(clips(batch)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (torch.zeros(1, 3, 8, 17, 48, dtype=torch.float64), "expected: 33, but got: 17"),
        (torch.zeros(1, 3, 7, 33, 48, dtype=torch.float64), "expected: 8, but got: 7"),
        (torch.zeros(1, *SIZE), "unmatched dtype"),
    ],
)
def test_the_program_refuses_another_clip_and_writes_nothing(clip: Tensor, message: str, folder: Path) -> None:
    done = run(folder, clip)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (folder / "map.pt").exists()


def test_the_program_says_what_it_lacks(folder: Path) -> None:
    program = folder / "build" / "saliency" / "saliency"
    usage = subprocess.run([program], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert usage.stderr.startswith("usage: saliency PACKAGE CLIP MAP LIBRARY...")
    missing = subprocess.run(
        [program, "network.pt2", "clip.pt", "map.pt", "missing.so"], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 1
    assert "missing.so: cannot open shared object file" in missing.stderr
