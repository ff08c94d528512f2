"""TASED-Net's poolings as its CUDA kernels meet them: every operation at every site, and the bytes that must move.

Used by the tests of traffic and launches, and by report.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

import cases
from cases import Pooling, make
from simt.harness import Kernels, Traffic

LAYOUTS = ("contiguous", "channels_last")
MULTIPROCESSORS = 132  # of an H100


@dataclass(frozen=True)
class Site:
    """A map of the encoder, (N, C, T, H, W), and the poolings that read it.

    Attributes
    ----------
    aux : Pooling
        The Auxiliary pooling, whose switches the decoder takes.
    main : Pooling
        The encoder's own pooling of the same map.
    share : int
        Play a share of the channels on a share of the multiprocessors: nearly the same tiles in a fraction of the time.
    """

    shape: tuple[int, int, int, int, int]
    aux: Pooling
    main: Pooling
    share: int = 1


_OVERLAPPING = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
_PLANE = Pooling((1, 3, 3), (1, 2, 2), (0, 1, 1))
_VOLUME = Pooling((3, 3, 3), (2, 2, 2), (1, 1, 1))
_BRANCH = Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))  # in every block of S3D
SITES = {
    "i2": Site((1, 192, 16, 56, 96), _OVERLAPPING, _PLANE, 12),
    "i1": Site((1, 480, 16, 28, 48), _OVERLAPPING, _VOLUME, 10),
    "i0": Site((1, 832, 8, 14, 24), Pooling((2, 2, 2), (2, 2, 2)), _BRANCH, 13),
}


class Played(NamedTuple):
    """An operation that was played, and the bytes that it cannot do without.

    Attributes
    ----------
    floor : int
        Everything once that is read or written: maps, values, one byte a switch.
    stock : int
        The same for PyTorch's operations in its place, which keep indices of eight bytes and fill with zeros what they
        then scatter to.
    """

    operation: str
    traffic: Traffic
    floor: int
    stock: int

    @property
    def moved(self) -> int:
        """Bytes of all loads and stores."""
        return sum(self.traffic["loaded"].values()) + self.stored

    @property
    def by_blocks(self) -> int:
        """Bytes in sectors of 32, each loaded once by every block that needs it: no cache but a block's own."""
        return self._loaded("by_blocks")

    @property
    def once(self) -> int:
        """Bytes in sectors of 32, each loaded once: a second-level cache that holds what blocks share."""
        return self._loaded("once")

    @property
    def stored(self) -> int:
        """No kernel stores a byte twice."""
        return sum(self.traffic["stored"].values())

    def _loaded(self, count: str) -> int:
        return sum(self.traffic[count][name] for name in self.traffic["loaded"]) + self.stored


class Stage:
    """A site's map in a dtype and a layout, on which its operations are played."""

    def __init__(
        self,
        kernels: Kernels,
        site: Site,
        dtype: torch.dtype,
        layout: str,
        fill: Callable[[Sequence[int], torch.dtype], Tensor] = make,
    ) -> None:
        n, channels, *sizes = site.shape
        kernels.multiprocessors = MULTIPROCESSORS // site.share
        self.kernels, self.site = kernels, site
        self.dtype, self.layout, self.fill = dtype, cases.LAYOUTS[layout], fill
        self.z = self._map((n, channels // site.share, *sizes))

    def every(self) -> Iterator[Played]:
        yield from self.auxiliary()
        yield from self.pools()

    def auxiliary(self) -> Iterator[Played]:
        """Auxiliary pooling and max-unpooling, forward and backward."""
        kernels, z, site, size = self.kernels, self.z, self.site, self.z.element_size()
        windows, plane_windows = site.aux.aux_windows, site.aux.plane_pooling.windows
        values, switches, frames = kernels.aux_max_pool(z, *windows, False, True)
        whole, pooled = z.numel(), values.numel()
        plane = whole // z.shape[2] * values.shape[2]
        stock_pool = self._stock_pool(whole, plane) + self._stock_pool(plane, pooled)
        stock_unpool = self._stock_scatter(pooled, plane)
        yield self._played("aux_max_pool", whole * size + pooled * (size + 2), stock_pool)
        kernels.scatter_windows(values, switches, frames, *site.aux.windows, *z.shape[2:])
        stock = stock_unpool + self._stock_scatter(plane, whole)
        yield self._played("aux_max_pool backward", whole * size + pooled * (size + 2), stock)
        kernels.aux_pool(z, *windows, False)
        yield self._played("aux_pool", whole * size + pooled, stock_pool)
        decoded = self._map(values.shape)
        unpooled = kernels.max_unpool(decoded, switches, *windows[2:], *z.shape[3:])
        yield self._played("max_unpool", pooled * (size + 1) + plane * size, stock_unpool)
        kernels.gather_windows(unpooled, switches, None, *plane_windows, True)
        yield self._played("max_unpool backward", pooled * (2 * size + 1), pooled * (2 * size + 8))
        for keep in (False, True):
            kernels.aux_pool_unpool(z, decoded, *windows, keep)
            name = "aux_pool_unpool, training" if keep else "aux_pool_unpool"
            yield self._played(name, (whole + pooled + plane) * size + pooled * keep, stock_pool + stock_unpool)

    def pools(self) -> Iterator[Played]:
        """The encoder's poolings, forward and backward."""
        for pooling in dict.fromkeys((self.site.main, _BRANCH)):
            kernel, stride = ("x".join(map(str, sizes)) for sizes in (pooling.kernel, pooling.stride))
            name = f"max_pool3d {kernel}/{stride}"
            values, offsets = self.kernels.max_pool3d(self.z, *pooling.windows, False, True)
            whole, pooled, size = self.z.numel(), values.numel(), self.z.element_size()
            floor = whole * size + pooled * (size + 1)
            yield self._played(name, floor, self._stock_pool(whole, pooled))
            self.kernels.scatter_windows(values, offsets, None, *pooling.windows, *self.z.shape[2:])
            yield self._played(f"{name} backward", floor, self._stock_scatter(pooled, whole))

    def _map(self, shape: Sequence[int]) -> Tensor:
        return self.layout(self.fill(shape, self.dtype))

    def _played(self, operation: str, floor: int, stock: int) -> Played:
        return Played(operation, self.kernels.traffic, floor, stock)

    def _stock_pool(self, elements: int, results: int) -> int:
        """A pooling reads its map, and writes values and their indices."""
        return elements * self.z.element_size() + results * (self.z.element_size() + 8)

    def _stock_scatter(self, elements: int, results: int) -> int:
        """An unpooling, or a pooling's gradient, fills its result, reads values and indices, and writes the values."""
        return results * self.z.element_size() + elements * (2 * self.z.element_size() + 8)
