"""The network's time a frame of a video: windows that share their work, against the plain window, eager and compiled.

`python -m bench.network` takes some minutes at full size. All peers take turns in one run; only the ratios can be compared
with another run. The plain window is one clip a frame, as in the release; "shared" is what `Predictor` does: `chunk` windows
that follow others already done, batch norms folded, nothing compiled. On a CPU all allocate their maps in huge pages; on a GPU,
where cuDNN convolves float32 in TensorFloat-32, so does the matrix product that they are compared with.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tased_net import TASEDNet
from tased_net.predictor import CHUNKS
from tased_net.reuse import SharingRun
from tased_net.sliding import Window

from . import machine
from .timing import Clock, CpuClock, CudaClock, Elsewhere, Spread, measure, ratio
from .works import compiled

Call = Callable[[], object]

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
SIDE = 3072  # of the square matrices whose product tells what the cores can do


def shared(net: TASEDNet, size: tuple[int, int], chunk: int, dtype: torch.dtype, device: str) -> Call:
    """A call that computes the next `chunk` windows of an endless video."""
    net = copy.deepcopy(net).fuse().to(device, dtype).to(memory_format=torch.channels_last_3d)
    frames = [torch.rand(*size, 3, device=device) * 2 - 1 for _ in range(net.clip_length)]
    run = SharingRun(net, lambda new: torch.stack(new).to(dtype))
    starts = count()

    def call() -> Tensor:
        turned = [start % len(frames) for start in islice(starts, chunk)]
        with torch.inference_mode():
            return run([Window(frames[start:] + frames[:start], range(1)) for start in turned])

    call()
    return call


def plain(net: TASEDNet, size: tuple[int, int], autocast: torch.dtype | None, frozen: bool, device: str) -> Call:
    """A call that computes one clip, in channels-last memory; frozen: by torch.compile with weights as constants."""
    clip = torch.rand(1, 3, net.clip_length, *size, device=device) * 2 - 1
    clip = clip.contiguous(memory_format=torch.channels_last_3d)
    run: Callable[[Tensor], Any] = compiled(net, torch.get_num_threads()) if frozen else net

    def call() -> object:
        with torch.no_grad(), torch.autocast(device, dtype=autocast, enabled=autocast is not None):
            return run(clip)

    return call


def gflop(net: TASEDNet, size: tuple[int, int], chunk: int) -> tuple[float, float]:
    """GFLOP a frame of the plain window and of the shared ones; a multiply-add is two."""
    with torch.device("meta"):
        twin = TASEDNet(**net.options).eval()
        clip = torch.empty(1, 3, net.clip_length, *size)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        twin(clip)
    call = shared(twin, size, chunk, torch.float32, "meta")
    with FlopCounterMode(display=False) as part:
        call()
    return whole.get_total_flops() / 1e9, part.get_total_flops() / 1e9 / chunk


def product(autocast: torch.dtype | None, device: str) -> Call:
    """A product of square matrices."""
    a, b = (torch.rand(SIDE, SIDE, dtype=autocast or torch.float32, device=device) for _ in range(2))
    return lambda: a @ b


def rows(net: TASEDNet, size: tuple[int, int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row a precision and way, times a frame in seconds."""
    whole, part = gflop(net, size, options.chunk)
    net = net.to(options.device)
    for precision in options.precision:
        autocast = PRECISIONS[precision]
        frames = {"eager": 1, "shared": options.chunk}
        calls = {
            "product": product(autocast, options.device),
            "eager": plain(net, size, autocast, False, options.device),
            "shared": shared(net, size, options.chunk, autocast or torch.float32, options.device),
        }
        if not options.no_compile:
            torch._inductor.config.freezing = True
            calls["compiled"], frames["compiled"] = plain(net, size, autocast, True, options.device), 1
        clock: Clock = CpuClock() if options.device == "cpu" else CudaClock()
        samples = measure(calls, clock, options.seconds, (3, 40))
        rate = 2 * SIDE**3 / 1e9 / Spread.of(samples["product"]).median
        for way, number in frames.items():
            times = [seconds / number for seconds in samples[way]]
            spread = Spread.of(times)
            work = part if way == "shared" else whole
            yield {
                "precision": precision,
                "way": way,
                "seconds": spread.median,
                "spread_percent": spread.percent,
                "rounds": len(times),
                "gflop": work,
                "of_product_rate": work / spread.median / rate,
                "x_eager": ratio(samples["eager"], times).median,
                "x_compiled": ratio(samples["compiled"], times).median if "compiled" in samples else None,
            }


def draw(table: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Bars of the time a frame."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colors = {"eager": "#b8bfc9", "compiled": "#6b8fb5", "shared": "#e4572e"}
    labels = [f"{row['precision']}\n{row['way']}" for row in table]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.55 * len(table)), layout="constrained")
    seconds = [row["seconds"] for row in table]
    bars = axes.barh(range(len(table)), seconds, color=[colors[row["way"]] for row in table])
    axes.bar_label(
        bars,
        [f"{s:.2f} s, {row['x_eager']:.2f}x eager" for s, row in zip(seconds, table, strict=True)],
        padding=4,
    )
    axes.set_yticks(range(len(table)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, max(seconds) * 1.35)
    axes.set_xlabel("seconds a frame (shorter is faster)")
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints and writes the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.network", description=__doc__)
    add = parser.add_argument
    add("--precision", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    add("--width", type=float, default=1.0, help="of the network (default: %(default)s)")
    add("--size", type=int, nargs=2, default=(224, 384), metavar=("H", "W"))
    add("--chunk", type=int, help=f"windows at a time (default: {CHUNKS['cpu']} on a CPU, {CHUNKS['cuda']} on a GPU)")
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--seconds", type=float, default=60.0, help="to measure a precision for (default: %(default)s)")
    add("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    add("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA GPU")
    options.chunk = options.chunk or CHUNKS[options.device]
    if options.device == "cuda":
        torch.set_float32_matmul_precision("high")
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # PyTorch asks for huge pages: fewer page faults, for all alike
    torch.manual_seed(0)
    net = TASEDNet(width=options.width).eval().to(memory_format=torch.channels_last_3d)
    size = (options.size[0], options.size[1])
    facts = {**machine.facts(options.device), "threads": torch.get_num_threads(), "clip": (net.clip_length, *size)}
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    print("\nprecision way             s a frame  x eager  x comp.    GFLOP  of product rate")
    elsewhere = Elsewhere()
    table = []
    for row in rows(net, size, options):
        table.append(row)
        against = "" if row["x_compiled"] is None else f"{row['x_compiled']:.2f}"
        print(
            f"{row['precision']:<10}{row['way']:<9}{row['seconds']:>10.4f} ±{row['spread_percent']:>3.0f}%"
            f"{row['x_eager']:>9.2f}{against:>9}{row['gflop']:>9.1f}{row['of_product_rate']:>17.0%}",
            flush=True,
        )
    print(f"Other processes used {elsewhere.share():.0%} of the cores meanwhile.")
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": {**facts, "used_by_others": round(elsewhere.share(), 3)}, "rows": table}
    (options.out / "network.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    where = f", {facts['threads']} threads" if options.device == "cpu" else ""
    draw(table, options.out / "network.png", f"TASED-Net, {facts['device']}{where}")
    print(f"Written: {options.out / 'network.json'}, {options.out / 'network.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
