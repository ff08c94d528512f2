"""Which rows a run measures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .works import AUX_SITES, DENSE, DTYPES, OPERATIONS, POOL_SITES, VIEWS, Row, Site, other_site


def rows(device: str = "cpu", threads: Sequence[int] = (1, 2)) -> list[Row]:
    """Everything, in the order of the table: the cost of calls, TASED-Net's maps, then small, odd, viewed and huge ones.

    On a GPU threads do not matter, and all rows say one.
    """
    threads = threads if device == "cpu" else (1,)
    most = max(threads)
    others = (
        *_other("small", DENSE, ("inference", "backward"), most),
        *_other("odd", DENSE, ("inference", "backward"), most),
        *_other("view", VIEWS, ("inference",), most),
        *_huge(most),
    )
    return [*_calls(), *_at_sites(device, threads), *others]


def _calls() -> Iterator[Row]:
    for name, operation in OPERATIONS.items():
        for mode in ("inference", "training", "backward") if operation.gradient else ("inference",):
            yield Row("call", name, mode, other_site("empty", name), "contiguous", threads=1)


def _at_sites(device: str, threads: Sequence[int]) -> Iterator[Row]:
    """Every operation on every map of its own, layout, dtype and number of threads; on a GPU also eight clips at once."""
    batches = (1,) if device == "cpu" else (1, 8)
    for batch, name in itertools.product(batches, OPERATIONS):
        for site in POOL_SITES if name == "max_pool3d" else AUX_SITES:
            for dtype, layout, count in itertools.product(DTYPES, DENSE, threads):
                for mode in modes(name):
                    row = Row("site", name, mode, _batch(site, batch), layout, dtype, count)
                    yield replace(row, compiled=_is_compiled(row, device))


def modes(operation: str) -> tuple[str, ...]:
    if OPERATIONS[operation].gradient is None:
        return ("inference",)
    return ("inference", "training", "backward") if operation == "aux_pool_unpool" else ("inference", "backward")


def _batch(site: Site, batch: int) -> Site:
    return site if batch == 1 else replace(site, name=f"{site.name}x{batch}", shape=(batch, *site.shape[1:]))


def _is_compiled(row: Row, device: str) -> bool:
    """Whether torch.compile takes part, for seconds each: on two threads, in half types only where a target asks for it."""
    if device != "cpu":
        return True
    if row.threads == 1:
        return False
    return (
        row.dtype == "float32" or row.mode == "inference" or row.layout == "channels_last_3d" or row.site.name == "i0"
    )


def _other(kind: str, layouts: Sequence[str], modes: Sequence[str], threads: int) -> Iterator[Row]:
    for layout, (name, operation), mode in itertools.product(layouts, OPERATIONS.items(), modes):
        if mode == "inference" or operation.gradient:
            yield Row(kind, name, mode, other_site(kind, name), layout, threads=threads)


def _huge(threads: int) -> Iterator[Row]:
    for layout, name in itertools.product(DENSE, ("aux_pool_unpool", "max_pool3d")):
        yield Row("huge", name, "inference", other_site("huge", name), layout, "bfloat16", threads)


def memory_rows() -> list[Row]:
    """A map for every operation that has a backward: what is kept a window depends on nothing else."""
    names = [name for name, operation in OPERATIONS.items() if operation.gradient]
    return [
        Row("memory", name, "memory", POOL_SITES[0] if name == "max_pool3d" else AUX_SITES[1], layout, compiled=True)
        for layout, name in itertools.product(DENSE, names)
    ]


def quick_memory(rows: Sequence[Row]) -> list[Row]:
    """The contiguous ones, without torch.compile."""
    return [replace(row, compiled=False) for row in rows if row.layout == "contiguous"]


def quick(rows: Sequence[Row]) -> list[Row]:
    """A sample: float32 on the most threads, few maps an operation, and torch.compile only where a target asks for it."""
    most = max(row.threads for row in rows)
    chosen = []
    for row in rows:
        if row.kind == "call":
            chosen.append(row)
        elif (
            row.dtype == "float32"
            and row.threads == most
            and row.site.name in _QUICK.get((row.operation, row.mode), ())
        ):
            asks = row.layout == "channels_last_3d" or row.operation in ("aux_pool", "aux_pool_unpool")
            chosen.append(replace(row, compiled=row.compiled and asks and row.operation != "max_unpool"))
    return chosen


_POOLS = tuple(site.name for site in POOL_SITES)
_QUICK = {
    ("aux_pool", "inference"): ("i2", "i1", "small", "odd", "view"),
    ("aux_max_pool", "backward"): ("i1",),
    ("aux_pool_unpool", "inference"): ("i2", "i1", "small", "odd", "view"),
    ("aux_pool_unpool", "backward"): ("i1", "small"),
    ("max_unpool", "inference"): ("i2", "i1", "odd"),
    ("max_unpool", "backward"): ("i1", "odd"),
    ("max_pool3d", "inference"): (*_POOLS, "small", "odd"),
    ("max_pool3d", "backward"): (*_POOLS, "small"),
}
