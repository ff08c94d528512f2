"""Each example trains as it stands in its file, and learns."""

from __future__ import annotations

import copy
import runpy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = {"unet3d": 15, "r3d_saliency": 8}


def example(name: str) -> Callable[[list[str]], list[float]]:
    """The main function of an example; skips where torchvision, which it may need, cannot be imported."""
    if name == "r3d_saliency":
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError, Warning) as error:  # the latter two where it was built for another torch
            pytest.skip(f"torchvision cannot be imported: {error}")
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_the_loss_of_an_example_falls(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    losses = example(name)(["--steps", str(STEPS[name])])
    assert len(losses) == STEPS[name]
    assert median(losses[-4:]) < 0.9 * losses[0]  # every step has a batch of its own, so one alone may rise
    assert f"{losses[-1]:.3f}" in capsys.readouterr().out.splitlines()[-1]


# Several versions of PyTorch use what they themselves deprecate in their compilers.
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")
def test_one_graph_of_inductor_trains_the_unet_on_any_batch() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    eager = runpy.run_path(str(EXAMPLES / "unet3d.py"))["UNet3d"](width=4).double()
    copied = copy.deepcopy(eager)
    compiled = torch.compile(copied, fullgraph=True)
    for batch in (2, 3, 5):
        results = []
        clips = torch.randn(batch, 1, 16, 16, 16, dtype=torch.float64)
        for net, run in ((eager, eager), (copied, compiled)):
            net.zero_grad()
            leaf = clips.clone().requires_grad_()
            torch._dynamo.mark_dynamic(leaf, 0)
            with nullcontext() if batch == 2 else torch._dynamo.config.patch(error_on_recompile=True):
                logits = run(leaf)
                logits.square().mean().backward()
            results.append([logits, leaf.grad, *(one.grad for one in net.parameters()), *net.buffers()])
        assert results[0][1].any()
        torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-6)


def test_the_seed_decides_everything() -> None:
    train = example("unet3d")
    first, again, other = (train(["--steps", "2", "--seed", seed]) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_without_torchvision_the_example_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torchvision", "torchvision.models.feature_extraction"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails, whatever was imported before
    with pytest.raises(SystemExit, match=r"^This example needs torchvision: pip install torchvision$"):
        runpy.run_path(str(EXAMPLES / "r3d_saliency.py"))
