"""What tased_ext's libraries are built from and with: the one place that setup.py and CMakeLists.txt read.

_C (CPU) is always built, _C_cuda where a CUDA toolkit and a CUDA build of torch are. Both use torch's stable ABI alone, so
one binary serves every torch from 2.10 on; torch.utils.cpp_extension would tie it to the torch and CUDA of the build.
Environment: USE_CUDA=0|1, TORCH_CUDA_ARCH_LIST, CUDA_HOME, CXX, CXXFLAGS, LDFLAGS. Run as a script, it tells its choice.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"_C": ["csrc/*.cpp", "csrc/cpu/*.cpp"], "_C_cuda": ["csrc/cuda/*.cu"]}
ARCHITECTURES = ["7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"]  # and PTX of the newest
CACHES = ("ccache", "sccache")  # that may stand before a compiler
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-DTORCH_TARGET_VERSION=0x020a000000000000", "-DPy_LIMITED_API=0x030A0000"]


class Unusable(Exception):
    """Why _C_cuda cannot be built, and the cure."""


class Toolchain(NamedTuple):
    """What a library is built with; `about` says it to people."""

    about: str
    compiler: list[str]
    compile_flags: list[str]
    link_flags: list[str]


def fail(sentence: str) -> NoReturn:
    sys.exit(f"error: {sentence}.")


def words(variable: str) -> list[str]:
    return shlex.split(os.environ.get(variable, ""))


def sources(library: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for pattern in SOURCES[library] for path in ROOT.glob(pattern))


def import_torch() -> ModuleType:
    cure = "pip install 'torch>=2.10' into the environment that builds"
    try:
        import torch
    except ImportError as error:
        fail(f"building tased_ext takes torch 2.10 or newer, but {error}: {cure}")
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < (2, 10):
        fail(f"building tased_ext takes torch 2.10 or newer, but this is torch {torch.__version__}: {cure}")
    return torch


def common_flags(torch: ModuleType) -> tuple[list[str], list[str]]:
    """To compile, and to link."""
    folder = Path(torch.__path__[0])
    # Headers of others are system headers, their warnings not ours. `import torch` has loaded its libraries: no rpath.
    headers = [f"-isystem{path}" for path in (folder / "include", sysconfig.get_path("include"))]
    return [*FLAGS, f"-I{ROOT / 'csrc'}", *headers], ["-shared", f"-L{folder / 'lib'}", "-ltorch_cpu"]


def cpu_toolchain(torch: ModuleType) -> Toolchain:
    compiler = words("CXX") or [next(filter(shutil.which, ("c++", "g++", "clang++")), "c++")]
    if shutil.which(compiler[0]) is None:
        fail(f"no C++ compiler: {compiler[0]} is not there; install GCC or Clang (apt install g++), or set CXX")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        fail("no Python.h; install Python's headers (apt install python3-dev)")
    compile_flags, link_flags = common_flags(torch)
    about = shlex.join(compiler)
    return Toolchain(about, compiler, [*compile_flags, *words("CXXFLAGS")], [*link_flags, *words("LDFLAGS")])


def find_nvcc(torch: ModuleType) -> tuple[str, str]:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = f"{home}/bin/nvcc" if home else shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if shutil.which(nvcc) is None:
        raise Unusable(f"there is no CUDA toolkit ({nvcc}); install one, or set CUDA_HOME")
    release = re.search(r"release (\d+)\.\d+", run_nvcc(nvcc, "--version"))
    if release is None or int(release[1]) < 12:
        raise Unusable(f"{nvcc} ({release and release[0]}) is too old; install CUDA 12.0 or newer, or set CUDA_HOME")
    if torch.version.cuda is None:
        raise Unusable(f"torch {torch.__version__} is a build without CUDA; install one with CUDA (pytorch.org)")
    return nvcc, release[0]


def run_nvcc(nvcc: str, option: str) -> str:
    return subprocess.run([nvcc, option], check=False, capture_output=True, text=True).stdout


def choose_architectures(nvcc: str) -> list[str]:
    """TORCH_CUDA_ARCH_LIST, or of the default list what this nvcc can compile for."""
    numbers = re.findall(r"compute_(\d+)", run_nvcc(nvcc, "--list-gpu-arch"))
    known = [f"{number[:-1]}.{number[-1]}" for number in sorted(numbers, key=int)]
    chosen = re.findall(r"[^;,\s]+", os.environ.get("TORCH_CUDA_ARCH_LIST", ""))
    if not chosen:
        chosen = [name for name in ARCHITECTURES if name in known]
        for name in sorted(set(ARCHITECTURES) - set(chosen)):
            print(f"tased_ext: {nvcc} cannot compile for {name}, which is left out")
        chosen[-1] += "+PTX"
    for name in chosen:
        capability = re.fullmatch(r"(\d+\.\d)[af]?(\+PTX)?", name)
        if capability is None or capability[1] not in known:
            sentence = f"TORCH_CUDA_ARCH_LIST has {name}, but {nvcc} knows {' '.join(known)}; write it as '8.0;9.0+PTX'"
            if capability is None:
                fail(sentence)
            raise Unusable(sentence)  # the Makefile lists the GPUs that are here, which may be newer than the toolkit
    return chosen


def gencode(architecture: str) -> str:
    number = architecture.removesuffix("+PTX").replace(".", "")
    ptx = f",compute_{number}" if architecture.endswith("+PTX") else ""
    return f"-gencode=arch=compute_{number},code=[sm_{number}{ptx}]"


def cuda_toolchain(torch: ModuleType, cxx: list[str]) -> Toolchain:
    nvcc, release = find_nvcc(torch)
    architectures = choose_architectures(nvcc)
    names = f'-DTASED_CUDA_ARCHS="{" ".join(architectures)}"'
    compile_flags, link_flags = common_flags(torch)
    return Toolchain(
        f"{nvcc} ({release}) for {' '.join(architectures)}",
        [
            nvcc,
            "-forward-unknown-to-host-compiler",
            f"-ccbin={next(word for word in cxx if Path(word).name not in CACHES)}",
        ],
        [*compile_flags, "-DUSE_CUDA", "-lineinfo", names, *map(gencode, architectures)],
        # nvcc links CUDA's runtime statically; its symbols are hidden, so torch's may be of another major version.
        [*link_flags, "-ltorch_cuda", "-Wl,--exclude-libs,ALL"],
    )


def choose_toolchains() -> dict[str, Toolchain]:
    """The libraries that are built, and with what. Prints it, with the reason for what is not."""
    use_cuda = os.environ.get("USE_CUDA", "")
    if use_cuda not in ("", "0", "1"):
        fail(f"USE_CUDA must be 0, 1 or unset, but is {use_cuda}")
    torch = import_torch()
    toolchains = {"_C": cpu_toolchain(torch)}
    try:
        if use_cuda == "0":
            raise Unusable("USE_CUDA=0")
        toolchains["_C_cuda"] = cuda_toolchain(torch, toolchains["_C"].compiler)
        about_cuda = f"built with {toolchains['_C_cuda'].about}"
    except Unusable as reason:
        if use_cuda == "1":
            fail(f"USE_CUDA=1, but {reason}")
        about_cuda = f"not built: {reason}"
    print(f"tased_ext for torch 2.10 and newer (headers of {torch.__version__}), Python 3.10 and newer")
    print(f"  _C       built with {toolchains['_C'].about}")
    print(f"  _C_cuda  {about_cuda}")
    print(f"  ccache   {shutil.which('ccache') or 'not there'}", flush=True)
    return toolchains


def write_cmake(path: str) -> None:
    """Writes what is built, and with what, for CMakeLists.txt to include."""
    with open(path, "w") as file:
        for library, (_, compiler, compile_flags, link_flags) in choose_toolchains().items():
            facts = {
                "SOURCES": SOURCES[library],
                "COMPILER": compiler[:1],
                "FLAGS": compile_flags,
                "LINK_FLAGS": link_flags,
            }
            for name, values in facts.items():
                print(f"set({library}_{name} [==[{';'.join(values)}]==])", file=file)


if __name__ == "__main__":
    if sys.argv[1:]:
        write_cmake(sys.argv[1])
    else:
        choose_toolchains()
