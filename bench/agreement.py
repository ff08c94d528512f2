"""How far maps of one network differ when they are computed in another way: the tables in docs/network.md.

`python -m bench.agreement` takes some minutes at full size; weights are random and the video is noise, on which near ties abound.
`--weights synthetic --video FILE` shows trained weights on a real one. Switches jump where two values of a pooling window nearly tie, so a
difference in the last bits can show as a jump: where one coarse switch is another, some thousand pixels move. So each way is
compared with the plain window, one at a time, and with what the plain window gives in float64.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tased_net import Predictor, TASEDNet
from tased_net.metrics import cc, sim
from tased_net.predictor import SIZE
from tased_net.video import open_video

Maps = NDArray[Any]  # (N, h, w)

PRECISIONS: tuple[Literal["float64", "float32", "bfloat16"], ...] = ("float64", "float32", "bfloat16")
PLAIN = "plain, one at a time"
FLIPPED = 1e-3  # difference from which on a pixel counts as flipped


def noise(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Frames of coarse noise that drifts, (N, h, w, 3)."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, size[0] // 8 + count, size[1] // 8), np.float32))
    large = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1)[0]
    frames = [large[:, 2 * t : 2 * t + size[0], : size[1] // 8 * 8] for t in range(count)]
    return np.stack([(255 * frame).byte().permute(1, 2, 0).numpy() for frame in frames])


def compared(maps: Maps, others: Maps) -> dict[str, float]:
    """Median and largest difference, share of pixels that flipped, mean CC and SIM."""
    difference = np.abs(maps.astype(float) - others)
    pairs = list(zip(maps, others, strict=True))
    return {
        "median": float(np.median(difference)),
        "largest": float(difference.max()),
        "flipped": float((difference > FLIPPED).mean()),
        "cc": float(np.mean([cc(one, other) for one, other in pairs])),
        "sim": float(np.mean([sim(one, other) for one, other in pairs])),
    }


def needed(net: TASEDNet, count: int) -> int:
    """Frames of a video that `rows` reads."""
    return net.clip_length - 1 + max(net.clip_length, count)


def rows(net: TASEDNet, frames: Sequence[NDArray[np.uint8]], size: tuple[int, int], count: int) -> Iterator[str]:
    """The lines of a Markdown table, for the first maps, of reversed clips, and as many after them."""
    yield "| precision | way | against | median | largest | flipped | CC | SIM |"
    yield "|---|---|---|---|---|---|---|---|"
    early = net.clip_length - 1
    truth: Maps = np.empty(0)
    for precision in PRECISIONS:

        def maps(**options: Any) -> Maps:
            predictor = Predictor(net, size=size, precision=precision, compile=False, **options)  # noqa: B023
            shared = list(islice(predictor(frames), early + count))
            return np.stack(shared[:count] + shared[early:])

        plain = maps(reuse=False, chunk=1)
        truth = plain if precision == "float64" else truth
        ways = {PLAIN: plain, "plain, two at a time": maps(reuse=False, chunk=2), "shared": maps(chunk=2)}
        for way, found in ways.items():
            for other, reference in ((PLAIN, plain), ("float64", truth)):
                if found is not reference:
                    yield f"| {precision} | {way} | {other} | {_cells(compared(found, reference))} |"


def _cells(found: dict[str, float]) -> str:
    return f"{found['median']:.1e} | {found['largest']:.1e} | {found['flipped']:.2%} | {found['cc']:.5f} | {found['sim']:.5f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=__doc__)
    add = parser.add_argument
    add("--weights", metavar="FILE", help="of a network, which states its variant (default: random ones)")
    add("--video", metavar="FILE", help="whose first frames are predicted (default: noise that drifts)")
    add("--width", type=float, default=1.0, help="of the network (default: %(default)s)")
    add("--clip-length", type=int, default=32, help="frames of a clip (default: %(default)s)")
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="(default: the weights', else 224 384)")
    add("--count", type=int, default=4, help="maps at the start, and as many later (default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    net = TASEDNet(clip_length=options.clip_length, width=options.width)
    if options.weights is not None:
        net = TASEDNet.from_pretrained(options.weights)
    height, width = options.size or net.origin.size or SIZE
    size = (height, width)
    frames: Sequence[NDArray[np.uint8]] = list(noise(needed(net, options.count), size))
    if options.video is not None:
        with open_video(options.video) as opened:
            frames = [frame.image for frame in islice(opened, needed(net, options.count))]
    for line in rows(net, frames, size, options.count):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
