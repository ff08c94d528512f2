"""docs/cuda-model.md: bytes counted on the kernels of every operation, and the time that a GPU's memory would take.

Written by `python -m simt.report --write`; test_report.py keeps it true.
"""

from __future__ import annotations

import dataclasses

import torch

from simt.harness import ROOT, Kernels
from simt.sites import LAYOUTS, SITES, Played, Stage

DOCUMENT = ROOT / "docs" / "cuda-model.md"
DTYPES = (torch.float32, torch.bfloat16)
BANDWIDTH = 3.35e12  # bytes a second: an H100 SXM's HBM3, by its data sheet

_INTRODUCTION = """\
# What the CUDA kernels move: a model

**Nothing here was measured: no GPU has run these kernels yet.** The bytes are counted on the kernels' own source, which the
tests play on the CPU (`tests/simt`), with every block and thread of the launch that an H100 would get at batch 1. The times
are those bytes divided by 95 and by 80 % of the {bandwidth:.2f} TB/s that the data sheet gives an H100 SXM. Once a GPU has run
them, measured times belong beside them.

- *floor*: every input read once, every result written once.
- *contiguous*, *channels-last*: counted bytes, in sectors of 32 bytes, each loaded once by every block that needs it. So this
  is what moves if the second-level cache serves nothing; if it serves all that blocks share, the floor moves (the gradient of
  `max_unpool` reads single elements, for which whole sectors come).
- *at 95 %*, *at 80 %*: the time for the larger of the two.
- *stock*: PyTorch's operations in its place, one after another, every byte once as well: `MaxPool3d` writes values and indices
  of eight bytes, `MaxUnpool3d` and the gradients fill with zeros and then scatter, and the pooled map between the two poolings
  of Auxiliary pooling is stored. *fewer*: this over the floor. What stock kernels move beyond it was not counted.

Not in the model: a launch's own cost, of which an operation here has one and the stock chain up to four; maps that are in the
second-level cache already, as i1 and i0 may be within a network; and, for max-pooling over 3x3x3, the reads of overlapping
windows that the first-level cache serves, about eleven times the floor, which may well take longer than memory does.
"""


def _row(contiguous: Played, channels_last: Played) -> str:
    counted = max(contiguous.by_blocks, channels_last.by_blocks)
    megabytes = (contiguous.floor, contiguous.by_blocks, channels_last.by_blocks)
    times = (counted / BANDWIDTH / share * 1e6 for share in (0.95, 0.8))
    cells = [f"`{contiguous.operation}`" if " " not in contiguous.operation else contiguous.operation]
    cells += [f"{count / 1e6:.1f}" for count in megabytes]
    cells += [f"{time:.1f}" for time in times]
    cells += [f"{contiguous.stock / 1e6:.1f}", f"{contiguous.stock / contiguous.floor:.1f}x"]
    return f"| {' | '.join(cells)} |"


def section(kernels: Kernels, name: str, dtype: torch.dtype) -> str:
    """The operations at a site in a dtype, in MB and microseconds."""
    site = dataclasses.replace(SITES[name], share=1)
    shape = "x".join(map(str, site.shape[1:]))
    played = (Stage(kernels, site, dtype, layout).every() for layout in LAYOUTS)
    return "\n".join(
        [
            f"## {name}: {shape}, {str(dtype).removeprefix('torch.')}\n",
            "| operation | floor, MB | contiguous, MB | channels-last, MB | at 95 %, µs | at 80 %, µs | stock, MB | fewer |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(*pair) for pair in zip(*played, strict=True)),
            "",
        ]
    )


def document(kernels: Kernels) -> str:
    sections = (section(kernels, name, dtype) for name in SITES for dtype in DTYPES)
    return "\n".join([_INTRODUCTION.format(bandwidth=BANDWIDTH / 1e12), *sections])
