"""The CUDA kernels compiled for GPUs, without one: no spills, no local memory, 16-byte accesses in the machine code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from cases import FULL
from simt.harness import ROOT

SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
KERNEL_SOURCES = [path for path in SOURCES if path.with_suffix(".cuh").exists()]
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120) if FULL else (75, 90, 120)
FOLDER = ROOT / "build" / "ptxas"

# Of the kernels whose names match: at least so many 16-byte loads and stores in global memory.
WIDE_ACCESSES = {
    r"pool_kernel<": (4, 0),  # four frames in flight
    r"pool_unpool_kernel<": (4, 1),
    r"scatter_(last|sum)_kernel<": (0, 1),
    r"pool_volume_kernel<.*, [248]>": (1, 1),
}


def find_cuda(name: str) -> str | None:
    """A program of the CUDA toolkit, or of the part of it that comes with Triton."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    folders = [f"{home}/bin", os.environ.get("PATH", "")]
    try:
        import triton
    except ImportError:
        pass
    else:
        folders.append(str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin"))
    return shutil.which(name, path=os.pathsep.join(folders))


NVCC = find_cuda("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="there is no CUDA toolkit (nvcc)")


@dataclass(frozen=True)
class Kernel:
    """What ptxas reports of a kernel, in bytes but for the registers."""

    name: str
    stack: int
    spill_stores: int
    spill_loads: int
    registers: int


def demangle(text: str) -> str:
    tool = shutil.which("c++filt") or find_cuda("cu++filt")
    if tool is None:
        pytest.skip("there is neither c++filt nor cu++filt")
    text = subprocess.run([tool], input=text, capture_output=True, text=True, check=True).stdout
    # void tased::gather_kernel<unsigned int, int>(tased::GatherParams<…>) → gather_kernel<unsigned int, int>
    return re.sub(r"void (tased::\w+_kernel<.*?>)\(.*\)", lambda m: re.sub(r"\w+::", "", m[1]).replace(" >", ">"), text)


def compile_kernels(source: Path, architecture: int) -> tuple[Path, str]:
    """The cubin and ptxas's report; compiled anew only if a source is newer."""
    cubin = FOLDER / f"{source.stem}.sm_{architecture}.cubin"
    report = cubin.with_suffix(".txt")
    newest = max(path.stat().st_mtime for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cuh", ".cu"))
    if not (report.exists() and report.stat().st_mtime > newest):
        FOLDER.mkdir(parents=True, exist_ok=True)
        headers = Path(torch.__file__).parent / "include"
        command = [str(NVCC), "-std=c++17", "-O3", f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v"]
        command += ["--Werror", "all-warnings", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
        command += ["-I", str(ROOT / "csrc"), "-isystem", str(headers), "-o", str(cubin), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report.write_text(done.stderr)
    return cubin, report.read_text()


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, int], tuple[Path, str]]:
    """Cubin and report by operation and architecture."""
    jobs = [(source, architecture) for architecture in ARCHITECTURES for source in KERNEL_SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: compile_kernels(*job), jobs)
        return {
            (source.stem, architecture): result for (source, architecture), result in zip(jobs, results, strict=True)
        }


def parse_report(report: str) -> list[Kernel]:
    kernels = []
    for entry in demangle(report).split("Function properties for ")[1:]:
        bytes_of = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        assert bytes_of is not None, entry
        assert registers is not None, entry
        stack, spill_stores, spill_loads = map(int, bytes_of.groups())
        kernels.append(Kernel(entry.partition("\n")[0], stack, spill_stores, spill_loads, int(registers[1])))
    return kernels


def machine_code(cubin: Path) -> dict[str, str]:
    """SASS by kernel."""
    tool = find_cuda("cuobjdump")
    if tool is None or find_cuda("nvdisasm") is None:
        pytest.skip("there is no cuobjdump with nvdisasm, neither in the CUDA toolkit nor with Triton")
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(tool).parent), os.environ.get("PATH", "")))}
    command = [tool, "-sass", str(cubin)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    entries = demangle(done.stdout).split("Function : ")[1:]
    return {entry.partition("\n")[0]: entry for entry in entries}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("operation", [path.stem for path in KERNEL_SOURCES])
class TestMachineCode:
    def test_no_spills_and_no_local_memory(
        self,
        compiled: dict[tuple[str, int], tuple[Path, str]],
        tables: dict[str, list[str]],
        operation: str,
        architecture: int,
    ) -> None:
        kernels = parse_report(compiled[operation, architecture][1])
        assert kernels
        for kernel in kernels:
            assert (kernel.stack, kernel.spill_stores, kernel.spill_loads) == (0, 0, 0), kernel
            row = f"{kernel.name:75} sm_{architecture:<3} {kernel.registers:3} registers"
            tables.setdefault("registers; shared memory is dynamic, at most 48 KiB a block", []).append(row)

    def test_wide_accesses(
        self, compiled: dict[tuple[str, int], tuple[Path, str]], operation: str, architecture: int
    ) -> None:
        for name, code in machine_code(compiled[operation, architecture][0]).items():
            assert not re.search(r"\b(LDL|STL)\b", code), f"{name} touches local memory"
            for pattern, (loads, stores) in WIDE_ACCESSES.items():
                if re.match(pattern, name):
                    assert len(re.findall(r"\bLDG\.E\.128", code)) >= loads, name
                    assert len(re.findall(r"\bSTG\.E\.128", code)) >= stores, name


def test_every_promise_is_of_a_kernel(compiled: dict[tuple[str, int], tuple[Path, str]]) -> None:
    reports = "".join(demangle(report) for _, report in compiled.values())
    for pattern in WIDE_ACCESSES:
        assert re.search(rf"Function properties for {pattern}", reports), pattern
