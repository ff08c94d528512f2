"""The CUDA kernels compiled for GPUs, without one: no spills, no local memory, 16-byte accesses, occupancy as recorded."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cases import FULL
from simt import occupancy, ptxas, report
from simt.harness import Kernels
from simt.ptxas import NVCC, Compiled

OPERATIONS = [path.stem for path in ptxas.SOURCES]
ARCHITECTURES = report.ARCHITECTURES if FULL else (75, 90, 120)

# Of the kernels whose names match: at least so many 16-byte loads and stores in global memory.
WIDE_ACCESSES = {
    r"pool_kernel<": (4, 0),
    r"pool_unpool_kernel<": (4, 1),
    r"scatter_(last|sum)_kernel<": (0, 1),
    r"pool_volume_kernel<.*, [248]>": (1, 1),
}
# Of the kernels that take frames in: 16-byte loads under way before the first of them is waited for.
IN_FLIGHT = 4

pytestmark = pytest.mark.skipif(NVCC is None, reason="there is no CUDA toolkit (nvcc)")


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, int], Compiled]:
    """By operation and architecture."""
    return ptxas.compile_all(ARCHITECTURES)


@pytest.fixture(scope="module")
def machine_code(compiled: dict[tuple[str, int], Compiled]) -> dict[tuple[str, int], dict[str, str]]:
    """SASS by operation and architecture, and kernel."""
    try:
        return {key: done.machine_code() for key, done in compiled.items()}
    except FileNotFoundError as reason:
        pytest.skip(str(reason))


def loads_in_flight(code: str) -> int:
    """The most 16-byte loads that follow each other without an instruction that touches what one of them loads."""
    most, awaited = 0, []
    for instruction in re.findall(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", code):
        load = re.search(r"\bLDG\.E\.128\S*\s+R(\d+)", instruction)
        touched = {int(number) for number in re.findall(r"\bR(\d+)", instruction)}
        if any(touched & registers for registers in awaited):
            awaited = []
        if load is not None:
            first = int(load[1])
            awaited.append(set(range(first, first + 4)))
            most = max(most, len(awaited))
    return most


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("operation", OPERATIONS)
class TestMachineCode:
    def test_no_spills_and_no_local_memory(
        self, compiled: dict[tuple[str, int], Compiled], operation: str, architecture: int
    ) -> None:
        kernels = compiled[operation, architecture].kernels()
        assert kernels
        for kernel in kernels:
            assert (kernel.stack, kernel.spill_stores, kernel.spill_loads) == (0, 0, 0), kernel

    def test_wide_accesses(
        self, machine_code: dict[tuple[str, int], dict[str, str]], operation: str, architecture: int
    ) -> None:
        for name, code in machine_code[operation, architecture].items():
            assert not re.search(r"\b(LDL|STL)\b", code), f"{name} touches local memory"
            for pattern, (loads, stores) in WIDE_ACCESSES.items():
                if re.match(pattern, name):
                    assert len(re.findall(r"\bLDG\.E\.128", code)) >= loads, name
                    assert len(re.findall(r"\bSTG\.E\.128", code)) >= stores, name

    def test_frames_are_loaded_together(
        self, machine_code: dict[tuple[str, int], dict[str, str]], operation: str, architecture: int
    ) -> None:
        for name, code in machine_code[operation, architecture].items():
            if re.match(r"pool_(unpool_)?kernel<", name):
                assert loads_in_flight(code) >= IN_FLIGHT, name


def test_every_promise_is_of_a_kernel(compiled: dict[tuple[str, int], Compiled]) -> None:
    names = [kernel.name for done in compiled.values() for kernel in done.kernels()]
    for pattern in WIDE_ACCESSES:
        assert any(re.match(pattern, name) for name in names), pattern


# ------------------------------------------------------------------------------------------------------------ occupancy


def test_occupancy_is_as_recorded(kernels: Kernels, compiled: dict[tuple[str, int], Compiled]) -> None:
    """Of every kernel as TASED-Net launches it; `make cuda-report` shows it, `python -m simt.report --write` records it."""
    release, recorded = report.baseline()
    if ptxas.release() != release:
        pytest.skip(f"occupancy.txt is of CUDA {release}, and this is {ptxas.release()}")
    launches = report.site_launches(kernels)
    now = report.uses(compiled, launches)
    assert sorted(recorded) == sorted(now)
    assert launches.keys() <= now.keys()
    for name, by_architecture in now.items():
        for architecture, use in by_architecture.items():
            before = recorded[name][architecture]
            assert round(use.occupancy, 2) >= before.occupancy, f"{name}, {architecture}: {use}, but it was {before}"


CALCULATOR = """
#include <cstdio>
#include <cuda_occupancy.h>

int main() {
  int major, minor, warps, threads, registers;
  size_t shared, reserved, dynamic;
  while (scanf("%d %d %d %zu %zu %d %d %zu", &major, &minor, &warps, &shared, &reserved, &threads, &registers,
               &dynamic) == 8) {
    cudaOccDeviceProp device{};
    device.computeMajor = major;
    device.computeMinor = minor;
    device.maxThreadsPerBlock = 1024;
    device.maxThreadsPerMultiprocessor = 32 * warps;
    device.regsPerBlock = device.regsPerMultiprocessor = 65536;
    device.warpSize = 32;
    device.sharedMemPerBlock = 48 * 1024;
    device.sharedMemPerMultiprocessor = shared;
    device.sharedMemPerBlockOptin = shared - reserved;
    device.reservedSharedMemPerBlock = reserved;
    device.numSms = 132;
    cudaOccFuncAttributes kernel{};
    kernel.maxThreadsPerBlock = 1024;
    kernel.numRegs = registers;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.maxDynamicSharedSizeBytes = 48 * 1024;
    cudaOccDeviceState state{};
    cudaOccResult result{};
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic) != 0) return 1;
    printf("%d\\n", result.activeBlocksPerMultiprocessor);
  }
}
"""


def test_occupancy_is_what_cudas_calculator_computes(tmp_path: Path) -> None:
    header = Path(str(NVCC)).resolve().parents[1] / "include" / "cuda_occupancy.h"
    compiler = ptxas.find_cuda("c++")
    if not header.exists() or compiler is None:
        pytest.skip("there is no cuda_occupancy.h, or no C++ compiler")
    source, program = tmp_path / "calculator.cpp", tmp_path / "calculator"
    source.write_text(CALCULATOR)
    subprocess.run([compiler, "-w", f"-I{header.parent}", source, "-o", program], check=True)
    lines, ours = [], []
    for architecture, room in occupancy.MULTIPROCESSORS.items():
        device = f"{architecture // 10} {architecture % 10} {room.warps} {room.shared} {room.reserved}"
        for threads in (32, 64, 96, 256, 352, 512):
            for registers in (16, 32, 40, 61, 64, 65, 96, 128):
                for shared in (0, 84, 10752, 24 * 1024 + 1, 48 * 1024):
                    lines.append(f"{device} {threads} {registers} {shared}")
                    ours.append(occupancy.resident_blocks(architecture, threads, registers, shared))
    done = subprocess.run([program], input="\n".join(lines), capture_output=True, text=True, check=True)
    theirs = list(map(int, done.stdout.split()))
    different = [line for line, *blocks in zip(lines, ours, theirs, strict=True) if blocks[0] != blocks[1]]
    assert not different
