"""What a variant of the network costs, stage by stage, found without data: `tased info`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .tased import TASEDNet

PAPER_PARAMETERS, PAPER_MACS = 21.2e6, 63.2e9  # section 4.1, late two-step aggregation at T = 32


@dataclass(frozen=True)
class Stage:
    """One child of the network during a forward pass of one clip.

    Attributes
    ----------
    name
        Its name in the network.
    output
        Shape of what it gives, without the batch.
    parameters
        How many it has.
    macs
        Multiply-adds of its convolutions.
    deconvolution_macs
        Those of its transposed convolutions alone.
    activation_bytes
        Bytes of all maps that its layers make, in float32: what training keeps of it, about.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    deconvolution_macs: int
    activation_bytes: int


def stages(options: dict[str, Any], size: tuple[int, int]) -> list[Stage]:
    """The stages of a variant in the order in which a clip passes them.

    Parameters
    ----------
    options
        Of `TASEDNet`.
    size
        Height and width of the clip.

    Raises
    ------
    ValueError
        If the options or the size are not possible.
    """
    with torch.device("meta"):
        net = TASEDNet(**options).eval()
        clip = torch.empty(1, 3, net.clip_length, *size)
    shapes: dict[str, tuple[int, ...]] = {}
    activations: dict[str, int] = {}
    deconvolutions: dict[str, int] = {}

    def after(stage: str, layer: nn.Module, output: Tensor | tuple[Tensor, ...]) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        if layer is net.get_submodule(stage):
            shapes[stage] = tuple(first.shape[1:])
        if not next(layer.children(), None) and not getattr(layer, "inplace", False):
            made = (output,) if isinstance(output, Tensor) else output
            activations[stage] = activations.get(stage, 0) + sum(y.nbytes for y in made)
        if isinstance(layer, nn.ConvTranspose3d):
            weight = layer.weight
            macs = weight.numel() * first[0, 0].numel() // layer.stride[1] // layer.stride[2]
            deconvolutions[stage] = deconvolutions.get(stage, 0) + macs

    for name, layer in net.named_modules():
        if name:
            stage = name.split(".")[0]
            layer.register_forward_hook(lambda layer, _, output, stage=stage: after(stage, layer, output))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(clip)
    counts = counter.get_flop_counts()
    return [
        Stage(
            name,
            shape,
            sum(p.numel() for p in net.get_submodule(name).parameters()),
            sum(counts.get(f"TASEDNet.{name}", {}).values()) // 2,
            deconvolutions.get(name, 0),
            activations.get(name, 0),
        )
        for name, shape in shapes.items()
    ]


def table(options: dict[str, Any], size: tuple[int, int]) -> Iterator[str]:
    """The lines of the stages' table, the total beside the paper's figures."""
    rows = stages(options, size)
    yield f"{'stage':<10} {'output':<22} {'parameters':>11} {'GMAC':>8} {'activations':>12}"
    for row in rows:
        output = "x".join(map(str, row.output))
        yield (
            f"{row.name:<10} {output:<22} {row.parameters:>11,} {row.macs / 1e9:>8.2f} "
            f"{row.activation_bytes / 2**20:>8.1f} MiB"
        )
    parameters, macs, deconvolution_macs, activation_bytes = (
        sum(getattr(row, name) for row in rows)
        for name in ("parameters", "macs", "deconvolution_macs", "activation_bytes")
    )
    yield f"{'total':<33} {parameters:>11,} {macs / 1e9:>8.2f} {activation_bytes / 2**20:>8.1f} MiB"
    yield f"{'the paper, late-two-step at T=32':<33} {PAPER_PARAMETERS:>11,.0f} {PAPER_MACS / 1e9:>8.2f}"
    yield (
        f"Without its transposed convolutions this network has {(macs - deconvolution_macs) / 1e9:.2f} GMAC. "
        "The paper does not say what it counts."
    )
