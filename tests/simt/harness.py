"""The CUDA kernels on the host: builds simt_harness and calls it the way torch.ops.tased_ext is called."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from alone import alone

ROOT = Path(__file__).resolve().parents[2]
# Set, the tests use the build with AddressSanitizer and UBSan.
SANITIZE = "TASED_SIMT_SANITIZE"

# In 0xA5 bytes no result of a test consists.
_UNWRITTEN = 0xA5


class Traffic(TypedDict):
    """What a call moved, in bytes, and how it was launched (simt.h).

    `loaded` and `stored` are all bytes, by array; `by_blocks` and `once` are in sectors of 32, counted once for every block
    that touches them, and once altogether; `wide_loaded` and `wide_stored` are of accesses of 16 bytes.
    """

    loaded: dict[str, int]
    stored: dict[str, int]
    by_blocks: dict[str, int]
    once: dict[str, int]
    wide_loaded: int
    wide_stored: int
    launches: int
    kernel: str  # its symbol
    indices: int  # bits
    grid: tuple[int, int, int]
    threads: int  # of a block
    working_share: float  # of all threads that ran: those that touched global memory
    shared_bytes: int  # of a block


def find_tool(name: str) -> str | None:
    """A program beside the running Python, or on the path."""
    return shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))


def build(sanitize: bool = False) -> ModuleType:
    """Compiles what has changed and imports the module; AssertionError with the compiler's words if that fails."""
    folder = ROOT / "build" / ("simt-sanitize" if sanitize else "simt")
    cmake = find_tool("cmake")
    assert cmake is not None
    options = [
        "-GNinja",
        f"-DCMAKE_MAKE_PROGRAM={find_tool('ninja')}",
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DTASED_SANITIZE={'address,undefined' if sanitize else ''}",
    ]
    commands = [[cmake, "-S", str(Path(__file__).parent), "-B", str(folder), *options], [cmake, "--build", str(folder)]]
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    with alone(folder.name):
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert done.returncode == 0, done.stdout + done.stderr
    library = folder / f"simt_harness{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location("simt_harness", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pooled_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """PyTorch's rule: in ceil mode the last window must start on the map or in the padding before it."""
    windows = (size + 2 * padding - kernel + (stride - 1 if ceil_mode else 0)) // stride + 1
    return windows - 1 if ceil_mode and (windows - 1) * stride >= size + padding else windows


@dataclass
class Windows:
    """The operators' integers: kernel and stride (and padding) in time, then in rows and columns."""

    t: tuple[int, int, int]
    h: tuple[int, int, int]
    w: tuple[int, int, int]

    @staticmethod
    def of(kt: int, st: int, pt: int, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int) -> Windows:
        return Windows((kt, st, pt), (kh, sh, ph), (kw, sw, pw))


def is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.stride(1) == 1


def memory(x: Tensor | None, channels_last: bool) -> np.ndarray[Any, Any] | None:
    """The bytes of a tensor in memory order: its own where it is dense in the layout, as all results are."""
    if x is None:
        return None
    if channels_last:
        x = x.permute(0, 2, 3, 4, 1)
    flat = x.contiguous().view(-1).view(torch.uint8)
    array: np.ndarray[Any, Any] = flat.numpy()
    return array


@dataclass
class Kernels:
    """The operators of torch.ops.tased_ext on (N, C, T, H, W) tensors that are dense in one of the two layouts.

    Attributes
    ----------
    seed : int
        0 plays blocks and threads one after another; another seed shuffles them.
    most_blocks : int
        Blocks of a grid along y and z.
    last_blocks : int
        Only these many blocks of the grid run, the last ones; 0 for all. What the others would write is not even there.
    multiprocessors : int
        Of the device that is played.
    index_limit : int
        Larger tensors take the kernels with 64-bit indices.
    misaligned : bool
        Outputs begin one element off every 16-byte boundary.
    traffic : Traffic
        Of the last call.
    """

    module: ModuleType
    seed: int = 0
    most_blocks: int = 65535
    last_blocks: int = 0
    multiprocessors: int = 132
    index_limit: int = 2**31 - 1
    misaligned: bool = False
    traffic: Traffic = field(init=False, repr=False)

    def aux_pool(self, z: Tensor, *arguments: Any) -> Tensor:
        *windows, ceil_mode = arguments
        return self._aux_pool(z, windows, ceil_mode, (False, True, False))[1]

    def aux_max_pool(self, z: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *windows, ceil_mode, keep_frames = arguments
        return self._aux_pool(z, windows, ceil_mode, (True, True, keep_frames))

    def max_pool3d(self, x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        *windows, ceil_mode, keep_offsets = arguments
        values, offsets, _ = self._pool("volume", x, Windows.of(*windows), ceil_mode, (True, keep_offsets, False))
        return values, offsets

    def max_unpool(self, x: Tensor, switches: Tensor, *arguments: int) -> Tensor:
        kh, kw, sh, sw, ph, pw, height, width = arguments
        windows = Windows((1, 1, 0), (kh, sh, ph), (kw, sw, pw))
        return self._scatter("last_window", x, switches, None, windows, (x.shape[2], height, width))

    def scatter_windows(self, x: Tensor, offsets: Tensor, frames: Tensor | None, *arguments: int) -> Tensor:
        *windows, map_frames, height, width = arguments
        return self._scatter("sum", x, offsets, frames, Windows.of(*windows), (map_frames, height, width))

    def gather_windows(self, y: Tensor, offsets: Tensor, frames: Tensor | None, *arguments: Any) -> Tensor:
        *windows, winners_only = arguments
        channels_last = is_channels_last(y)
        values = self._empty(y, offsets.shape[2:], y.dtype, channels_last)
        geometry = self._geometry(y.shape, offsets.shape, Windows.of(*windows), channels_last)
        self.traffic = self._launcher().gather(
            geometry,
            str(y.dtype).removeprefix("torch."),
            winners_only=winners_only,
            map=memory(y, channels_last),
            offsets=memory(offsets, channels_last),
            frames=memory(frames, channels_last),
            values=memory(values, channels_last),
        )
        return values

    def aux_pool_unpool(self, z_enc: Tensor, z_dec: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        kt, st, *spatial, keep_switches = arguments
        channels_last = is_channels_last(z_enc)
        unpooled = self._empty(z_enc, (z_dec.shape[2], *z_enc.shape[3:]), z_enc.dtype, channels_last)
        switches = self._empty(z_enc, z_dec.shape[2:], torch.uint8, channels_last) if keep_switches else None
        geometry = self._geometry(z_enc.shape, z_dec.shape, Windows.of(kt, st, 0, *spatial), channels_last)
        self.traffic = self._launcher().pool_unpool(
            geometry,
            str(z_enc.dtype).removeprefix("torch."),
            map=memory(z_enc, channels_last),
            values=memory(z_dec, channels_last),
            switches=memory(switches, channels_last),
            unpooled=memory(unpooled, channels_last),
        )
        return unpooled, torch.empty(0, dtype=torch.uint8) if switches is None else switches

    def _aux_pool(
        self, z: Tensor, windows: list[int], ceil_mode: bool, keep: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        kt, st, *spatial = windows
        return self._pool("temporal_first", z, Windows.of(kt, st, 0, *spatial), ceil_mode, keep)

    def _pool(
        self, scan: str, x: Tensor, windows: Windows, ceil_mode: bool, keep: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        ceil = (ceil_mode and scan == "volume", ceil_mode, ceil_mode)
        axes = zip(x.shape[2:], (windows.t, windows.h, windows.w), ceil, strict=True)
        grid = [pooled_size(size, *window, rounded_up) for size, window, rounded_up in axes]
        channels_last = is_channels_last(x)
        dtypes = (x.dtype, torch.uint8, torch.uint8)
        values, offsets, frames = (
            self._empty(x, grid, dtype, channels_last) if kept else None
            for kept, dtype in zip(keep, dtypes, strict=True)
        )
        self.traffic = self._launcher().pool(
            self._geometry(x.shape, (*x.shape[:2], *grid), windows, channels_last),
            str(x.dtype).removeprefix("torch."),
            scan=scan,
            map=memory(x, channels_last),
            values=memory(values, channels_last),
            offsets=memory(offsets, channels_last),
            frames=memory(frames, channels_last),
        )
        none = torch.empty(0, dtype=torch.uint8)
        return tuple(none if x is None else x for x in (values, offsets, frames))  # type: ignore[return-value]

    def _scatter(
        self,
        meet: str,
        x: Tensor,
        offsets: Tensor,
        frames: Tensor | None,
        windows: Windows,
        sizes: tuple[int, int, int],
    ) -> Tensor:
        channels_last = is_channels_last(x)
        result = self._empty(x, sizes, x.dtype, channels_last)
        self.traffic = self._launcher().scatter(
            self._geometry(result.shape, x.shape, windows, channels_last),
            str(x.dtype).removeprefix("torch."),
            meet=meet,
            values=memory(x, channels_last),
            offsets=memory(offsets, channels_last),
            frames=memory(frames, channels_last),
            map=memory(result, channels_last),
        )
        return result

    def _launcher(self) -> Any:
        return self.module.Launcher(
            seed=self.seed,
            most_blocks=self.most_blocks,
            last_blocks=self.last_blocks,
            multiprocessors=self.multiprocessors,
            index_limit=self.index_limit,
        )

    def _geometry(self, shape: Any, grid: Any, windows: Windows, channels_last: bool) -> Any:
        axes = zip("thw", shape[2:], grid[2:], (windows.t, windows.h, windows.w), strict=True)
        sizes = {name: [size, count, *window] for name, size, count, window in axes}
        return self.module.Geometry(shape[0], shape[1], **sizes, channels_last=channels_last)

    def _empty(self, like: Tensor, sizes: Any, dtype: torch.dtype, channels_last: bool) -> Tensor:
        """Dense in the layout; every byte is one that no kernel has written, if all of it is going to be."""
        t, h, w = sizes
        n, c = like.shape[:2]
        shape = (n, t, h, w, c) if channels_last else (n, c, t, h, w)
        start = int(self.misaligned)
        whole = torch.empty(n * c * t * h * w + start, dtype=dtype)
        if not self.last_blocks:
            whole.view(torch.uint8).fill_(_UNWRITTEN)
        dense = whole[start:].view(shape)
        return dense.movedim(-1, 1) if channels_last else dense
