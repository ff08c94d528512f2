"""The kernels compiled for GPUs, without one: ptxas's report and the machine code, for tests and report.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from alone import alone
from simt.harness import ROOT

SOURCES = [path for path in sorted((ROOT / "csrc" / "cuda").glob("*.cu")) if path.with_suffix(".cuh").exists()]
FOLDER = ROOT / "build" / "ptxas"


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


def release() -> str:
    """nvcc's, "13.0"."""
    told = subprocess.run([str(NVCC), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release (\d+\.\d+)", told)
    assert found is not None, told
    return found[1]


def demangle(text: str) -> str:
    """The text with its symbols readable: gather_kernel<unsigned int, int> for a kernel."""
    tool = shutil.which("c++filt") or find_cuda("cu++filt")
    if tool is None:
        raise FileNotFoundError("there is neither c++filt nor cu++filt")
    text = subprocess.run([tool], input=text, capture_output=True, text=True, check=True).stdout
    # void tased::gather_kernel<unsigned int, int>(tased::GatherParams<…>) → gather_kernel<unsigned int, int>
    return re.sub(r"void (tased::\w+_kernel<.*?>)\(.*\)", lambda m: re.sub(r"\w+::", "", m[1]).replace(" >", ">"), text)


@dataclass(frozen=True)
class Kernel:
    """What ptxas reports of a kernel, in bytes but for the registers."""

    name: str
    stack: int
    spill_stores: int
    spill_loads: int
    registers: int


@dataclass(frozen=True)
class Compiled:
    """A source compiled for an architecture."""

    cubin: Path
    report: str

    def kernels(self) -> list[Kernel]:
        kernels = []
        for entry in demangle(self.report).split("Function properties for ")[1:]:
            bytes_of = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", entry)
            registers = re.search(r"Used (\d+) registers", entry)
            assert bytes_of is not None, entry
            assert registers is not None, entry
            stack, spill_stores, spill_loads = map(int, bytes_of.groups())
            kernels.append(Kernel(entry.partition("\n")[0], stack, spill_stores, spill_loads, int(registers[1])))
        return kernels

    def machine_code(self) -> dict[str, str]:
        """SASS by kernel; FileNotFoundError if there is no disassembler."""
        tool = find_cuda("cuobjdump")
        if tool is None or find_cuda("nvdisasm") is None:
            raise FileNotFoundError("there is no cuobjdump with nvdisasm, neither in the CUDA toolkit nor with Triton")
        environment = {**os.environ, "PATH": os.pathsep.join((str(Path(tool).parent), os.environ.get("PATH", "")))}
        command = [tool, "-sass", str(self.cubin)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        entries = demangle(done.stdout).split("Function : ")[1:]
        return {entry.partition("\n")[0]: entry for entry in entries}


def compile_source(source: Path, architecture: int) -> Compiled:
    """Compiles it anew only if a source is newer; AssertionError with the compiler's words if that fails."""
    cubin = FOLDER / f"{source.stem}.sm_{architecture}.cubin"
    report = cubin.with_suffix(".txt")
    headers = ROOT / "csrc"
    newest = max(path.stat().st_mtime for path in (*headers.glob("*.h"), *headers.glob("cuda/*")))
    with alone(cubin.name):
        if not (report.exists() and report.stat().st_mtime > newest):
            FOLDER.mkdir(parents=True, exist_ok=True)
            command = [str(NVCC), "-std=c++17", "-O3", f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v"]
            command += ["--Werror", "all-warnings", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
            command += ["-I", str(headers), "-isystem", str(Path(torch.__path__[0]) / "include")]
            done = subprocess.run([*command, "-o", cubin, source], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            report.write_text(done.stderr)
    return Compiled(cubin, report.read_text())


def compile_all(architectures: Iterable[int]) -> dict[tuple[str, int], Compiled]:
    """Every operation's kernels, by operation and architecture."""
    jobs = [(source, architecture) for architecture in architectures for source in SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: compile_source(*job), jobs)
        return {(source.stem, architecture): done for (source, architecture), done in zip(jobs, results, strict=True)}
