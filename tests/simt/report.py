"""What the CUDA kernels take of a GPU, without one.

python -m simt.report            registers and occupancy of every kernel on every architecture
python -m simt.report --write    the same into occupancy.txt, which tests compare with, and docs/cuda-model.md
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from cases import DTYPES
from simt import harness, model, ptxas
from simt.harness import Kernels
from simt.occupancy import MULTIPROCESSORS, occupancy
from simt.ptxas import Compiled
from simt.sites import LAYOUTS, SITES, Stage

BASELINE = Path(__file__).with_name("occupancy.txt")
ARCHITECTURES = tuple(MULTIPROCESSORS)
# Kernels that keep a part of the map or its switches in shared memory.
_KEEPING = ("pool_kernel", "pool_unpool_kernel", "scatter_last_kernel")


class Block(NamedTuple):
    """How a kernel is launched."""

    threads: int
    shared: int  # bytes


class Use(NamedTuple):
    """What a kernel takes of a multiprocessor."""

    registers: int
    occupancy: float  # the least of its launches

    def __str__(self) -> str:
        return f"{self.registers}r {self.occupancy:.0%}"

    @staticmethod
    def of(text: str) -> Use:
        registers, percent = re.findall(r"\d+", text)
        return Use(int(registers), int(percent) / 100)


def site_launches(kernels: Kernels) -> dict[str, set[Block]]:
    """By kernel, the blocks of all of TASED-Net's launches; the last block of each is played."""
    kernels = dataclasses.replace(kernels, last_blocks=1)
    launches: dict[str, set[Block]] = {}
    for site in SITES.values():
        whole = dataclasses.replace(site, share=1)
        for dtype in DTYPES:
            for layout in LAYOUTS:
                stage = Stage(kernels, whole, dtype, layout, lambda shape, dtype: torch.zeros(shape, dtype=dtype))
                for played in stage.every():
                    block = Block(played.traffic["threads"], played.traffic["shared_bytes"])
                    launches.setdefault(played.traffic["kernel"], set()).add(block)
    names = ptxas.demangle("\n".join(launches)).splitlines()
    return dict(zip(names, launches.values(), strict=True))


def largest_launch(kernel: str) -> set[Block]:
    """Of kernels that TASED-Net does not launch, what the plan allows (plan.cuh)."""
    return {Block(512, 48 * 1024) if kernel.startswith(_KEEPING) else Block(256, 0)}


def uses(compiled: dict[tuple[str, int], Compiled], launches: dict[str, set[Block]]) -> dict[str, dict[int, Use]]:
    """Every kernel's use by architecture."""
    result: dict[str, dict[int, Use]] = {}
    for (_, architecture), done in compiled.items():
        for kernel in done.kernels():
            blocks = launches.get(kernel.name) or largest_launch(kernel.name)
            least = min(occupancy(architecture, block.threads, kernel.registers, block.shared) for block in blocks)
            result.setdefault(kernel.name, {})[architecture] = Use(kernel.registers, least)
    return dict(sorted(result.items()))


def _range(numbers: Iterable[int]) -> str:
    least, most = min(numbers := list(numbers)), max(numbers)
    return str(most) if least == most else f"{least}-{most}"


def table(kernels: dict[str, dict[int, Use]], launches: dict[str, set[Block]]) -> str:
    """The report, and the baseline: a line a kernel, columns two spaces apart."""
    width = max(map(len, kernels))
    heads = [f"{number // 10}.{number % 10}" for number in ARCHITECTURES]
    lines = [
        f"Compiled by nvcc {ptxas.release()}. Registers of a thread (r), and the least occupancy of TASED-Net's launches; of a",
        "kernel that it does not launch (*), that of the largest block.",
        f"{'kernel':{width}}  {'threads':>8}  {'shared':>12}  " + "  ".join(f"{head:>9}" for head in heads),
    ]
    for name, by_architecture in kernels.items():
        blocks = launches.get(name) or largest_launch(name)
        threads = _range(block.threads for block in blocks) + "*" * (name not in launches)
        shared = _range(block.shared for block in blocks)
        cells = "  ".join(f"{by_architecture[number]!s:>9}" for number in ARCHITECTURES)
        lines.append(f"{name:{width}}  {threads:>8}  {shared:>12}  {cells}")
    return "\n".join(lines) + "\n"


def baseline() -> tuple[str, dict[str, dict[int, Use]]]:
    """Of occupancy.txt: nvcc's release, and every kernel's use by architecture."""
    text = BASELINE.read_text()
    release = re.search(r"nvcc (\d+\.\d+)", text)
    assert release is not None, BASELINE
    rows = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[3:])
    kernels = {name: dict(zip(ARCHITECTURES, map(Use.of, cells), strict=True)) for name, _, _, *cells in rows}
    return release[1], kernels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep it, and count docs/cuda-model.md anew: minutes")
    options = parser.parse_args()
    if ptxas.NVCC is None:
        sys.exit("error: there is no CUDA toolkit (nvcc); install one, or set CUDA_HOME.")
    kernels = Kernels(harness.build())
    launches = site_launches(kernels)
    text = table(uses(ptxas.compile_all(ARCHITECTURES), launches), launches)
    print(text, end="")
    if options.write:
        BASELINE.write_text(text)
        model.DOCUMENT.write_text(model.document(kernels), encoding="utf-8")


if __name__ == "__main__":
    main()
