"""Both builds: which sources, which toolchain, and one clear sentence where something is missing.

Stand-ins for torch and nvcc, a few lines each, play the environments that are hard to come by.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLKIT = "compute_75 compute_80 compute_86 compute_89 compute_90 compute_100 compute_120"


@pytest.fixture
def toolchains() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toolchains", ROOT / "scripts" / "toolchains.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toolchains"] = module
    spec.loader.exec_module(module)
    return module


class Environment:
    """An environment with a given torch and CUDA toolkit, in which the build's programs run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("USE_CUDA", "TORCH_CUDA_ARCH_LIST", "CUDA_PATH", "MAX_JOBS", "CXX")
        }
        self.variables["CUDA_HOME"] = str(folder / "cuda")
        self.variables["PYTHONPATH"] = str(folder)

    def add_torch(self, version: str = "2.14.1", cuda: str | None = "13.0") -> None:
        (self.folder / "torch").mkdir()
        text = f"__version__ = {version!r}\nclass version:\n    cuda = {cuda!r}\n"
        (self.folder / "torch" / "__init__.py").write_text(text)

    def add_nvcc(self, release: str = "13.0", architectures: str = TOOLKIT) -> None:
        nvcc = self.folder / "cuda" / "bin" / "nvcc"
        nvcc.parent.mkdir(parents=True)
        nvcc.write_text(
            f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\necho {architectures}\n"
        )
        nvcc.chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**self.variables, **variables},
        )

    def choice(self, **variables: str) -> str:
        result = self.run("scripts/toolchains.py", **variables)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def error(self, **variables: str) -> str:
        """What a failing build says, which is one line."""
        result = self.run("setup.py", "-q", "build_ext", "--build-lib", str(self.folder / "lib"), **variables)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        return result.stderr.splitlines()[-1]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


# -------------------------------------------------------------------------------------------------- what cannot be built


def test_torch_too_old(environment: Environment) -> None:
    environment.add_torch("2.9.1")
    assert environment.error() == (
        "error: building tased_ext takes torch 2.10 or newer, but this is torch 2.9.1: "
        "pip install 'torch>=2.10' into the environment that builds."
    )


def test_no_torch(environment: Environment) -> None:
    (environment.folder / "torch.py").write_text("raise ImportError('No module named torch')")
    assert environment.error().startswith(
        "error: building tased_ext takes torch 2.10 or newer, but No module named torch: pip install"
    )


@pytest.mark.parametrize("variables", [{"CXX": "/nowhere/c++"}, {"PATH": "/nowhere"}])
def test_no_compiler(environment: Environment, variables: dict[str, str]) -> None:
    environment.add_torch()
    name = variables.get("CXX", "c++")
    assert environment.error(**variables) == (
        f"error: no C++ compiler: {name} is not there; install GCC or Clang (apt install g++), or set CXX."
    )


@pytest.mark.parametrize("value", ["yes", "2"])
def test_use_cuda_is_0_or_1(environment: Environment, value: str) -> None:
    environment.add_torch()
    assert environment.error(USE_CUDA=value) == f"error: USE_CUDA must be 0, 1 or unset, but is {value}."


def test_max_jobs_is_a_number(environment: Environment) -> None:
    environment.add_torch()
    assert environment.error(MAX_JOBS="many") == "error: MAX_JOBS must be a number of jobs, but is many."


@pytest.mark.parametrize(
    ("release", "cuda", "reason"),
    [
        (None, "13.0", "there is no CUDA toolkit ({nvcc}); install one, or set CUDA_HOME"),
        ("11.8", "13.0", "{nvcc} (release 11.8) is too old; install CUDA 12.0 or newer, or set CUDA_HOME"),
        ("13.0", None, "torch 2.14.1 is a build without CUDA; install one with CUDA (pytorch.org)"),
    ],
    ids=["no toolkit", "old toolkit", "torch without CUDA"],
)
def test_unusable_cuda_is_an_error_only_when_asked_for(
    environment: Environment, release: str | None, cuda: str | None, reason: str
) -> None:
    environment.add_torch(cuda=cuda)
    if release is not None:
        environment.add_nvcc(release)
    reason = reason.format(nvcc=environment.folder / "cuda" / "bin" / "nvcc")
    assert environment.error(USE_CUDA="1") == f"error: USE_CUDA=1, but {reason}."
    assert f"_C_cuda  not built: {reason}\n" in environment.choice()


# --------------------------------------------------------------------------------------------------------- what is built


def test_use_cuda_0_leaves_cuda_out(environment: Environment) -> None:
    environment.add_torch()
    environment.add_nvcc()
    assert "_C_cuda  not built: USE_CUDA=0\n" in environment.choice(USE_CUDA="0")
    assert "_C_cuda  built with" in environment.choice()


def test_default_architectures_cover_turing_to_blackwell_and_beyond(environment: Environment) -> None:
    environment.add_torch()
    environment.add_nvcc()
    assert "for 7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX\n" in environment.choice()


def test_toolkit_without_the_newest_architectures_leaves_them_out(environment: Environment) -> None:
    environment.add_torch()
    environment.add_nvcc("12.4", "compute_75 compute_80 compute_86 compute_89 compute_90")
    choice = environment.choice()
    assert "cannot compile for 10.0, which is left out" in choice
    assert "for 7.5 8.0 8.6 8.9 9.0+PTX\n" in choice


@pytest.mark.parametrize("value", ["8.0;9.0a+PTX", "8.0 9.0a+PTX", "8.0, 9.0a+PTX"])
def test_torch_cuda_arch_list_is_honoured(environment: Environment, value: str) -> None:
    environment.add_torch()
    environment.add_nvcc()
    assert "for 8.0 9.0a+PTX\n" in environment.choice(TORCH_CUDA_ARCH_LIST=value)


def test_an_architecture_that_nvcc_does_not_know_leaves_out_the_cuda_library(environment: Environment) -> None:
    environment.add_torch()
    environment.add_nvcc()
    sentence = "TORCH_CUDA_ARCH_LIST has 7.0, but"
    assert f"not built: {sentence}" in environment.choice(TORCH_CUDA_ARCH_LIST="7.0")
    assert environment.error(TORCH_CUDA_ARCH_LIST="7.0", USE_CUDA="1").startswith(f"error: USE_CUDA=1, but {sentence}")


@pytest.mark.parametrize("value", ["Hopper", "9"])
def test_what_is_no_architecture_is_an_error(environment: Environment, value: str) -> None:
    environment.add_torch()
    environment.add_nvcc()
    error = environment.error(TORCH_CUDA_ARCH_LIST=value)
    assert error.startswith(f"error: TORCH_CUDA_ARCH_LIST has {value}, but")
    assert error.endswith("knows 7.5 8.0 8.6 8.9 9.0 10.0 12.0; write it as '8.0;9.0+PTX'.")


def test_gencode_makes_code_for_the_architecture_and_ptx_where_asked(toolchains: ModuleType) -> None:
    assert toolchains.gencode("8.0") == "-gencode=arch=compute_80,code=[sm_80]"
    assert toolchains.gencode("12.0+PTX") == "-gencode=arch=compute_120,code=[sm_120,compute_120]"
    assert toolchains.gencode("9.0a+PTX") == "-gencode=arch=compute_90a,code=[sm_90a,compute_90a]"


# --------------------------------------------------------------------------------------------------------------- sources


def test_every_source_belongs_to_one_library(toolchains: ModuleType) -> None:
    found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*") if path.suffix in (".cpp", ".cu"))
    listed = [name for library in toolchains.SOURCES for name in toolchains.sources(library)]
    assert sorted(listed) == found
    assert all(toolchains.sources(library) for library in toolchains.SOURCES)


def test_cmake_compiles_the_same_sources_with_the_same_flags(toolchains: ModuleType, tmp_path: Path) -> None:
    cmake = Path(sys.executable).with_name("cmake")
    program = str(cmake) if cmake.exists() else shutil.which("cmake")
    if program is None:
        pytest.skip("no CMake: pip install cmake")
    subprocess.run(
        [program, "-S", ROOT, "-B", tmp_path, "-DTASED_CUDA=0", f"-DPython_EXECUTABLE={sys.executable}"],
        check=True,
        capture_output=True,
    )
    entries = json.loads((tmp_path / "compile_commands.json").read_text())
    commands = {
        os.path.relpath(entry["file"], ROOT): entry["command"] for entry in entries if "/_C.dir/" in entry["command"]
    }
    assert sorted(commands) == toolchains.sources("_C")
    flags = toolchains.cpu_toolchain(toolchains.import_torch()).compile_flags
    assert all(flag in command.split() for command in commands.values() for flag in flags)


def test_sdist_has_all_that_a_build_needs(toolchains: ModuleType, tmp_path: Path) -> None:
    command = ["setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), "sdist", "--dist-dir", str(tmp_path)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    assert sources | {"setup.py", "pyproject.toml", "CMakeLists.txt", "scripts/toolchains.py", "README.md"} <= packed
    assert not any(name.endswith((".so", ".pyc")) for name in packed)


@pytest.mark.parametrize("seconds", [None, "1700000000"])
def test_an_sdist_made_twice_has_the_same_bytes(seconds: str | None, tmp_path: Path) -> None:
    sources = shutil.copytree(ROOT / "csrc", tmp_path / "sources" / "csrc")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "scripts", "tased_ext"):
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, sources.parent / name)
    archives = []
    # Another time, umask and folder.
    for year, umask in ((2001, 0o022), (2026, 0o077)):
        folder = Path(shutil.copytree(sources.parent, tmp_path / str(year)))
        for path in folder.rglob("*"):
            path.chmod(path.stat().st_mode & ~umask)
            os.utime(path, (year * 3e7, year * 3e7))
        variables = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
        if seconds is not None:
            variables["SOURCE_DATE_EPOCH"] = seconds
        command = [sys.executable, "setup.py", "-q", "sdist"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, env=variables, umask=umask)
        archives.append(next((folder / "dist").glob("*.tar.gz")))
    first, second = (archive.read_bytes() for archive in archives)
    assert first == second
    with tarfile.open(archives[0]) as archive:
        assert {member.mtime for member in archive} == {int(seconds or 315532800)}


@pytest.mark.parametrize("value", ["yesterday", "-1"])
def test_source_date_epoch_is_a_number_of_seconds(value: str, tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), "sdist", "-d", str(tmp_path)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": value}
    )
    assert done.returncode == 1
    assert done.stderr.endswith(f"error: SOURCE_DATE_EPOCH must be seconds since 1970, but is {value}.\n")
