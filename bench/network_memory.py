"""Memory of the network by clips, frames and size, as the CPU's allocator counts it: the table in docs/network.md.

`python -m bench.network_memory` takes some minutes, `--width 0.125` seconds. What is counted is everything that a call
allocates at one time beyond the weights and the clip: prediction, a training step (forward, backward and the gradients),
and a step that keeps nothing within the blocks (`checkpoint_activations`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from tqdm import tqdm

from tased_net import TASEDNet

from .memory import peak_bytes

CASES = (  # clips, frames, height and width
    (1, 16, 224, 384),
    (1, 32, 224, 384),
    (2, 32, 224, 384),
    (1, 64, 224, 384),
    (1, 32, 128, 224),
    (1, 32, 360, 640),
)


def calls(net: TASEDNet, clip: torch.Tensor) -> Iterator[Callable[[], object]]:
    """Prediction, a step of training, and a step that computes activations again."""

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            maps: torch.Tensor = net.eval()(clip)
        return maps

    def step() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(net.train()(clip).sum(), list(net.parameters()))

    yield predict
    for recomputed in (False, True):
        net.checkpoint_activations(recomputed)
        yield step


def rows(cases: Sequence[tuple[int, int, int, int]], width: float) -> Iterator[str]:
    """The lines of a Markdown table, in GiB."""
    yield "| clips | frames | size | predict | train | train, recomputed |"
    yield "|---|---|---|---|---|---|"
    for clips, frames, height, across in tqdm(cases, unit="case", disable=None, leave=False):
        torch.manual_seed(0)
        net = TASEDNet(clip_length=frames, width=width).to(memory_format=torch.channels_last_3d)
        clip = torch.rand(clips, 3, frames, height, across).contiguous(memory_format=torch.channels_last_3d)
        gib = " | ".join(f"{peak_bytes(call, 'cpu') / 2**30:.2f}" for call in calls(net, clip * 2 - 1))
        yield f"| {clips} | {frames} | {height}x{across} | {gib} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.network_memory", description=__doc__)
    parser.add_argument("--width", type=float, default=1.0, help="of the network (default: %(default)s)")
    for line in rows(CASES, parser.parse_args(arguments).width):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
