"""What is measured: the operations, the stock layers that compute the same, the maps, and the bytes that must move.

A `Row` names one measurement. `subjects` and `floor` make what takes turns in it, all on the same inputs: ours, eager,
compiled, and the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch._functorch.config
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor

import tased_ext
from tests.cases import LAYOUTS as STORED
from tests.cases import Pooling

from .timing import Call

# ----------------------------------------------------------------------------------------------------------------- maps


@dataclass(frozen=True)
class Site:
    """A map (N, C, T, H, W) and the windows over it; `cached` if it is to be found in a CPU's caches."""

    name: str
    shape: tuple[int, int, int, int, int]
    pooling: Pooling
    cached: bool = False

    @property
    def plane(self) -> tuple[int, int]:
        return self.shape[-2:]


_AUX = Pooling((4, 3, 3), (4, 2, 2), (0, 1, 1))
_SAME = Pooling((3, 3, 3), (1, 1, 1), (1, 1, 1))
_HALF = Pooling((1, 3, 3), (1, 2, 2), (0, 1, 1))

# TASED-Net's own, for 32 frames of 224 x 384: Auxiliary pooling and unpooling …
AUX_SITES = (
    Site("i2", (1, 192, 16, 56, 96), _AUX),
    Site("i1", (1, 480, 16, 28, 48), _AUX),
    Site("i0", (1, 832, 8, 14, 24), Pooling((2, 2, 2), (2, 2, 2)), cached=True),
)
# … and the encoder's ordinary poolings: an Inception block's at two depths, and one between blocks.
POOL_SITES = (
    Site("192x16x28x48", (1, 192, 16, 28, 48), _SAME),
    Site("480x8x14x24", (1, 480, 8, 14, 24), _SAME, cached=True),
    Site("192x16x56x96", (1, 192, 16, 56, 96), _HALF),
)
# What else people have. A huge map has more elements than 32 bits can count; on an empty one only the call costs anything.
OTHER_SHAPES = {
    "small": (1, 16, 4, 8, 12),
    "odd": (1, 65, 12, 45, 67),
    "view": (1, 96, 8, 28, 48),
    "huge": (1, 64, 32, 1024, 1056),
    "empty": (0, 8, 4, 8, 8),
}

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": STORED["contiguous"],
    "channels_last_3d": STORED["channels_last"],
    "sliced": STORED["sliced"],
    "sliced_channels_last_3d": STORED["sliced_channels_last"],
    "transposed": STORED["transposed"],
}
DENSE = ("contiguous", "channels_last_3d")
VIEWS = ("sliced", "sliced_channels_last_3d", "transposed")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# ----------------------------------------------------------------------------------------------------------- operations


@dataclass(frozen=True)
class Operation:
    """An operation as users call it, and the stock layers that it replaces.

    Every call takes the site and then tensors: ours those named in `inputs`; a stock one gets int64 indices for switches.
    """

    ours: Callable[..., Any]
    stock: Callable[..., Any]
    one_stock: Callable[..., Any]  # one layer of them, whose call costs what a call costs
    inputs: tuple[str, ...]
    gradient: str | None  # the input that has one
    reads: tuple[str, ...]  # what its floor reads
    writes: bool = True  # whether its floor writes the result


def _stock_pool(site: Site, z: Tensor) -> tuple[Tensor, Tensor]:
    p = F.max_pool3d(z, **site.pooling.frame_pooling.pool3d)
    return _stock_plane_pool(site, p)


def _stock_plane_pool(site: Site, p: Tensor) -> tuple[Tensor, Tensor]:
    values, indices = F.max_pool3d(p, **site.pooling.plane_pooling.pool3d, return_indices=True)
    return values, indices


def _stock_unpool(site: Site, x: Tensor, indices: Tensor) -> Tensor:
    plane = site.pooling.plane_pooling
    size = (x.shape[-3], *site.plane)
    return F.max_unpool3d(x, indices, plane.kernel, plane.stride, plane.padding, output_size=size)


def _stock_max_pool3d(site: Site, z: Tensor) -> Tensor:
    return F.max_pool3d(z, **site.pooling.pool3d)


OPERATIONS = {
    "aux_pool": Operation(
        ours=lambda site, z: tased_ext.aux_pool(z, **site.pooling.aux),
        stock=lambda site, z: _stock_pool(site, z)[1],
        one_stock=_stock_plane_pool,
        inputs=("z",),
        gradient=None,
        reads=("z",),
        writes=False,  # a 64th of what it reads
    ),
    "aux_max_pool": Operation(
        ours=lambda site, z: tased_ext.aux_max_pool(z, **site.pooling.aux),
        stock=_stock_pool,
        one_stock=_stock_plane_pool,
        inputs=("z",),
        gradient="z",
        reads=("z",),
    ),
    "aux_pool_unpool": Operation(
        ours=lambda site, z, x: tased_ext.aux_pool_unpool(z, x, **site.pooling.aux_unpool),
        stock=lambda site, z, x: _stock_unpool(site, x, _stock_pool(site, z)[1]),
        one_stock=_stock_unpool,
        inputs=("z", "x"),
        gradient="x",
        reads=("z",),
    ),
    "max_unpool": Operation(
        ours=lambda site, x, s: tased_ext.max_unpool(x, s, **site.pooling.unpool, output_size=site.plane),
        stock=_stock_unpool,
        one_stock=_stock_unpool,
        inputs=("x", "switches"),
        gradient="x",
        reads=("x", "switches"),
    ),
    "max_pool3d": Operation(
        ours=lambda site, z: tased_ext.max_pool3d(z, **site.pooling.pool3d),
        stock=_stock_max_pool3d,
        one_stock=_stock_max_pool3d,
        inputs=("z",),
        gradient="z",
        reads=("z",),
    ),
}


# ----------------------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Row:
    """One measurement.

    Its kind is "site" (TASED-Net's maps), "small", "odd", "view", "huge", "call" (empty maps) or "memory". Its mode is
    "inference", "training" (a forward pass that keeps what backward needs), "backward", or "step" (both of them).
    """

    kind: str
    operation: str
    mode: str
    site: Site
    layout: str
    dtype: str = "float32"
    threads: int = 2
    compiled: bool = False

    @property
    def work(self) -> str:
        return self.operation if self.mode == "inference" else f"{self.operation} {self.mode}"

    @property
    def cached(self) -> bool:
        """Whether a CPU is timed with what the calls before left in its caches, rather than with cold ones."""
        return self.kind != "site" or self.site.cached

    def __str__(self) -> str:
        return f"{self.work} {self.site.name} {self.layout} {self.dtype} {self.threads}t"


def other_site(kind: str, operation: str) -> Site:
    """The small, odd, … map for an operation, with windows of TASED-Net's."""
    shape = OTHER_SHAPES[kind]
    pooling = _AUX if operation != "max_pool3d" else _SAME if kind == "small" else _HALF
    return Site(kind, shape, pooling)


# ---------------------------------------------------------------------------------------------------------------- calls


def forget() -> None:
    """Free the inputs of earlier rows."""
    _map.cache_clear()
    _decoder.cache_clear()


@lru_cache(maxsize=8)
def _map(shape: tuple[int, ...], layout: str, dtype: str, device: str) -> Tensor:
    """A normally distributed map; a huge one repeats its first frame, which is drawn in less time."""
    n, c, t, h, w = shape
    generator = torch.Generator().manual_seed(0)
    repeats = t if t * h * w > 2**24 else 1
    x = torch.randn(n, c, t // repeats, h, w, generator=generator).to(device, DTYPES[dtype])
    return LAYOUTS[layout](x.repeat(1, 1, repeats, 1, 1))


@lru_cache(maxsize=4)
def _decoder(site: Site, layout: str, dtype: str, device: str) -> dict[str, Tensor]:
    """The inputs on the pooled grid: decoder map, switches, and the indices that a stock layer has for them."""
    z = _map(site.shape, layout, dtype, device)
    indices = _stock_pool(site, z)[1]
    switches = tased_ext.aux_pool(z, **site.pooling.aux)
    x = _map(tuple(indices.shape), layout, dtype, device)
    return {"x": x, "switches": LAYOUTS[layout](switches), "indices": LAYOUTS[layout](indices)}


def inputs(row: Row, device: str) -> dict[str, Tensor]:
    """The tensors of a row by name: z, and x, switches and indices where the operation takes them."""
    tensors = {"z": _map(row.site.shape, row.layout, row.dtype, device)}
    if OPERATIONS[row.operation].inputs != ("z",):
        tensors |= _decoder(row.site, row.layout, row.dtype, device)
    return tensors


def windows(row: Row) -> int:
    """How many windows a row's map has."""
    pooling, shape = row.site.pooling, row.site.shape
    grid = pooling.grid(shape) if row.operation == "max_pool3d" else pooling.aux_grid(shape)
    assert grid
    return math.prod(grid)


def compiled(function: Callable[..., Any], threads: int) -> Callable[..., Any]:
    """`torch.compile` of one row's function, for its shapes and its number of threads only."""
    torch._dynamo.reset()
    torch._inductor.config.cpp.threads = threads  # or a graph that was cached for another number would do
    torch._inductor.config.compile_threads = 1  # no workers that run on beside the measurement
    torch._functorch.config.donated_buffer = False  # or the graph could not be retained
    return torch.compile(function, fullgraph=True, dynamic=False)


def subjects(row: Row, device: str) -> dict[str, Call]:
    """Ours and its peers. Backward is `torch.autograd.grad` on a retained graph, given a gradient in its result's layout."""
    operation = OPERATIONS[row.operation]
    tensors = inputs(row, device)
    if row.mode != "inference" and operation.gradient:
        tensors[operation.gradient] = tensors[operation.gradient].detach().requires_grad_()
    ours = [tensors[name] for name in operation.inputs]
    stock = [tensors["indices" if name == "switches" else name] for name in operation.inputs]

    def stock_chain(*arguments: Tensor) -> Any:
        return operation.stock(row.site, *arguments)

    def call(function: Callable[..., Any], arguments: list[Tensor]) -> Call:
        if row.mode not in ("backward", "step"):
            return lambda: function(*arguments)
        assert operation.gradient
        leaf = tensors[operation.gradient]
        result = _first(function(*arguments))
        gradient = torch.ones_like(result)
        if row.mode == "backward":
            return lambda: torch.autograd.grad(result, leaf, gradient, retain_graph=True)
        return lambda: torch.autograd.grad(_first(function(*arguments)), leaf, gradient)

    calls = {"ours": call(lambda *arguments: operation.ours(row.site, *arguments), ours)}
    if row.kind == "call":
        if operation.one_stock is _stock_unpool:
            stock = [tensors["x"], tensors["indices"]]
        calls["eager"] = call(lambda *arguments: operation.one_stock(row.site, *arguments), stock)
    else:
        calls["eager"] = call(stock_chain, stock)
    if row.compiled:
        calls["compiled"] = call(compiled(stock_chain, row.threads), stock)
    return calls


def _first(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


# ---------------------------------------------------------------------------------------------------------------- floor


def floor(row: Row, device: str) -> dict[str, Call]:
    """A call named floor: one after the other, the `pieces`. Where nothing is known of them, there is none."""
    calls = tuple(pieces(row, device).values())

    def floor() -> None:
        for call in calls:
            call()

    return {"floor": floor} if calls else {}


def pieces(row: Row, device: str) -> dict[str, Call]:
    """The reads and writes that no implementation can do without, by name.

    Nothing is known of them for views, which must be made dense first, and for empty maps.
    """
    if row.kind in ("view", "call"):
        return {}
    reads, write = moved(row, device)
    if device != "cpu":
        return {"copy": _copy(sum(x.nbytes for x in (*reads.values(), write)) // 2, device)}
    if len(reads) == 1 and all(x.nbytes == write.nbytes for x in reads.values()):
        return {f"copy {name}": _write(write) for name in reads}
    calls = {f"read {name}": _read(x) for name, x in reads.items()}
    if OPERATIONS[row.operation].writes:
        calls["write result"] = _write(write)
    return calls


def moved(row: Row, device: str) -> tuple[dict[str, Tensor], Tensor]:
    """The tensors to read, by name, and one like that to write."""
    operation = OPERATIONS[row.operation]
    tensors = inputs(row, device)
    result = _first(operation.ours(row.site, *(tensors[name] for name in operation.inputs)))
    if row.mode != "backward":
        return {name: tensors[name] for name in operation.reads}, result
    assert operation.gradient
    switches = torch.empty_like(tensors.get("x", result), dtype=torch.uint8)
    return {"gradient": result, "switches": switches}, tensors[operation.gradient]


def _read(x: Tensor) -> Call:
    """Reads the memory of x as float32, the fastest read that PyTorch has: the sum of a half type is bound by arithmetic."""
    if x.dtype == torch.uint8 or x.nbytes % 4:
        return torch.ones(x.nbytes // 4, device=x.device).sum  # bytes could be denormal numbers, which are slow to add
    return x.as_strided((x.numel(),), (1,)).view(torch.float32).sum


def _write(x: Tensor) -> Call:
    source, target = torch.empty_like(x).copy_(x), torch.empty_like(x).copy_(x)
    return lambda: target.copy_(source)


def _copy(size: int, device: str) -> Call:
    return _write(torch.zeros(size, dtype=torch.uint8, device=device))
