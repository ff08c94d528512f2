"""Calls of every operation on random maps with random windows, with valid bytes and corrupted ones: `make sanitize MINUTES=60`.

python -m sanitizers.calls [--minutes M | --cases N] [--first K] [--record FILE]

Case K is always the same. In each, switches and offsets that no pooling gave take every value from 0 to 255, forward and backward,
whatever the windows are. Results are not looked at, as tests/ops does: the sanitizers look on, with which the library was compiled,
and end the process at a finding. FILE says which case was the last to begin, and how many were before it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import cases
import tased_ext
from cases import DTYPES, FILLS, Pooling, make

ELEMENTS = 20_000  # of a map at most: many small maps find more than few large ones
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129)  # around the widths of vectors
LAYOUTS = tuple(name for name in cases.LAYOUTS if "unbatched" not in name)

operators = torch.ops.tased_ext


@dataclass(frozen=True)
class Case:
    """What is called with what.

    Attributes
    ----------
    layouts
        Of the map, of values, of switches and offsets, and of gradients.
    batched
        Whether the calls have a batch dimension.
    start
        The first of the 256 corrupted values.
    """

    number: int
    shape: tuple[int, int, int, int, int]
    pooling: Pooling
    dtype: torch.dtype
    fill: str
    layouts: tuple[str, str, str, str]
    batched: bool
    threads: int
    start: int

    @classmethod
    def of(cls, number: int) -> Case:
        """The case of this number."""
        generator = random.Random(number)

        def size(most: int) -> int:
            return generator.choice(SIZES) if generator.random() < 0.5 else generator.randint(1, most)

        while True:
            kernel = generator.randint(1, 5), generator.randint(1, 16), generator.randint(1, 16)
            stride = tuple(generator.randint(1, k + 1) for k in kernel)
            padding = tuple(generator.randint(0, k // 2) for k in kernel)
            pooling = Pooling(kernel, stride, padding, generator.random() < 0.3)
            shape = generator.randint(1, 2), size(70), min(size(9), 12), size(40), size(70)
            if math.prod(shape) <= ELEMENTS and pooling.grid(shape) is not None:
                break
        return cls(
            number,
            shape,
            pooling,
            generator.choice(DTYPES),
            generator.choice(tuple(FILLS)),
            tuple(generator.choices(LAYOUTS, k=4)),
            generator.random() < 0.8,
            generator.randint(1, 3),
            generator.randrange(256),
        )

    def __str__(self) -> str:
        shape, layouts = "x".join(map(str, self.shape)), ", ".join(self.layouts)
        batch = "" if self.batched else " without a batch"
        return (
            f"case {self.number}: {shape}{batch}, {self.pooling}, {self.dtype}, {self.fill}, {layouts}, "
            f"{self.threads} threads"
        )

    # ------------------------------------------------------------------------------------------------- its tensors

    def laid_out(self, x: Tensor, which: int) -> Tensor:
        x = cases.LAYOUTS[self.layouts[which]](x)
        return x if self.batched else x[0]

    def values(self, shape: Sequence[int], which: int = 1) -> Tensor:
        return self.laid_out(make(shape, self.dtype, self.fill, (self.number, which)), which).requires_grad_()

    def corrupted(self, grid: Sequence[int]) -> Iterator[Tensor]:
        """Bytes for a grid: as many of them as it takes for each value to come up."""
        count = math.prod(grid)
        every = torch.arange(self.start, self.start + max(count, 256), dtype=torch.int64).remainder(256).byte()
        for first in range(0, len(every), count):
            some = every[max(0, min(first, len(every) - count)) :][:count]
            yield self.laid_out(some.reshape(grid), 2)

    # --------------------------------------------------------------------------------------------------- its calls

    def run(self) -> None:
        """Calls every operation that takes these windows."""
        with cases.threads(self.threads):
            z = self.values(self.shape, 0)
            planes = Pooling(
                self.pooling.kernel, self.pooling.stride, (0, *self.pooling.padding[1:]), self.pooling.ceil_mode
            )
            grid = planes.aux_grid(self.shape)
            if grid is not None:
                self._auxiliary(z, planes, grid)
            grid = self.pooling.grid(self.shape)
            if grid is not None and self.pooling.volume <= 256:
                self.both(partial(tased_ext.max_pool3d, z, **self.pooling.pool3d), z)
                for offsets in self.corrupted(grid):
                    self._windows(z, self.values(grid), offsets, None, self.pooling.windows)

    def _auxiliary(self, z: Tensor, pooling: Pooling, grid: tuple[int, ...]) -> None:
        tased_ext.aux_pool(z, **pooling.aux)
        self.both(lambda: tased_ext.aux_max_pool(z, **pooling.aux)[0], z)
        floor = replace(pooling, ceil_mode=False).aux_grid(self.shape)  # unpooling in one has no ceil_mode
        x, z_dec = self.values(grid), None if floor is None else self.values(floor)
        for exact in (True, False):
            if z_dec is not None:
                fused = partial(tased_ext.aux_pool_unpool, z, z_dec, **pooling.aux_unpool, exact_grad=exact)
                self.both(fused, z_dec)
            unpool = partial(tased_ext.max_unpool, **pooling.unpool, output_size=self.shape[3:], exact_grad=exact)
            for switches in self.corrupted(grid):
                self.both(partial(unpool, x, switches), x)
        for offsets in self.corrupted(grid):
            self._windows(z, x, offsets, offsets.flip(-1), pooling.windows)

    def both(self, call: Callable[[], Tensor], source: Tensor) -> None:
        """Forward, and backward from a gradient in a layout of its own."""
        result = call()
        shape = result.shape if self.batched else (1, *result.shape)
        torch.autograd.grad(result, source, self.laid_out(make(shape, self.dtype, seed=self.number), 3))

    def _windows(self, z: Tensor, x: Tensor, offsets: Tensor, frames: Tensor | None, windows: tuple[int, ...]) -> None:
        """The two operators that backward passes consist of."""
        operators.gather_windows(z.detach(), offsets, frames, *windows, False)
        operators.scatter_windows(x.detach(), offsets, frames, *windows, *self.shape[2:])


def chosen(first: int, count: int | None, minutes: float | None) -> Iterator[Case]:
    """Cases from `first` on: so many, or as many as begin within the time."""
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    for number in itertools.count(first):
        if number - first == count or time.monotonic() >= end:
            return
        yield Case.of(number)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sanitizers.calls", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="how long (default: until ctrl-C)")
    parser.add_argument("--cases", type=int, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: %(default)s)")
    parser.add_argument("--record", type=Path, help="where to note the case that has begun")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"with {tased_ext.build_info()['libraries']['_C']}", flush=True)
    done = 0
    for case in tqdm(chosen(options.first, options.cases, options.minutes), unit="case", disable=None):
        if options.record:
            options.record.write_text(f"{done}\n{case}\n", encoding="utf-8")
        case.run()
        done += 1
    print(f"{done} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
