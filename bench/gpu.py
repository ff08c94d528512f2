"""Proof on your own GPU: python -m bench.gpu tests|speed, or make test-gpu and make bench-gpu.

`tests` runs the tests that need a GPU, and those of the operations again under each tool of compute-sanitizer, where there is one.
`speed` runs bench.ops and bench.network. Both end in one report, which can be attached to an issue: build/gpu-report.md, and all
figures in build/gpu-report.json. What an earlier run has left there stays in the report as long as the GPU, the versions and the
sources are the same. Exit status: 0, 1 if something failed, 2 where there is no GPU to run on, 130 for ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import tased_ext

from .gpu_report import Unreadable, failures_in, findings_of, markdown, pytest_results

ROOT = Path(__file__).resolve().parents[1]
# The tools in the order in which their findings matter.
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
FOUND = 86  # the exit status of compute-sanitizer where it has found something
# Torch's kernels are none of ours, nor is what a compiler makes of them; maps of gigabytes take a tool for hours.
SANITIZED = "not compiled and not inductor and not two_to_the_31"


class NoGpu(Exception):
    """There is nothing to run on."""


def check(device_count: int, cuda_of_torch: str | None, library: str) -> None:
    """Raises NoGpu, with the cure, unless the tests and benches can run on a GPU.

    Parameters
    ----------
    device_count
        GPUs that PyTorch finds.
    cuda_of_torch
        The CUDA version that PyTorch was built with.
    library
        Path of tased_ext's CUDA library, or "not loaded: " and why.
    """
    if cuda_of_torch is None:
        raise NoGpu("this PyTorch is a build without CUDA: install one with CUDA (pytorch.org), and then `make clean`")
    if not device_count:
        raise NoGpu("PyTorch finds no CUDA GPU: see what nvidia-smi says, and CUDA_VISIBLE_DEVICES")
    if library.startswith("not loaded"):
        raise NoGpu(
            f"tased_ext's CUDA library is {library}: `make clean`, and build with USE_CUDA=1, which says what is missing"
        )


def machine() -> dict[str, str]:
    """What the figures of a report depend on, by name."""
    info = tased_ext.build_info()
    found: dict[str, str] = {}
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        found[f"GPU {index}"] = (
            f"{device.name}, compute capability {device.major}.{device.minor}, {device.multi_processor_count} multiprocessors, "
            f"{device.total_memory / 2**30:.1f} GiB"
        )
    found["driver"] = (
        _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").partition("\n")[0] or "unknown"
    )
    found["CUDA of torch"] = info["torch_cuda"]
    found["CUDA of tased_ext"] = f"{info['cuda_toolkit']}, for {info['cuda_architectures']}"
    found["tased-net"] = f"{info['version']}, {_commit()}"
    for name in ("torch", "python", "platform"):
        found[name] = info[name]
    return found


def _said(*command: str) -> str:
    """What a program prints; nothing where it cannot."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "not from a git repository"
    return f"commit {commit}, with changes" if _said("git", "status", "--porcelain") else f"commit {commit}"


# --------------------------------------------------------------------------------------------------------------- stages


def run_tests(folder: Path) -> dict[str, Any]:
    """The tests that are marked `cuda`."""
    file = folder / "tests.xml"
    file.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-m", "pytest", "-m", "cuda", f"--junitxml={file}"], cwd=ROOT, check=False)
    try:
        results = pytest_results(file)
    except Unreadable as error:
        return {"broke_off": str(error)}
    if done.returncode not in (0, 1):
        return {**results, "broke_off": f"pytest ended with status {done.returncode}"}
    return results


def run_sanitizers(folder: Path) -> dict[str, Any]:
    """The operations' tests under each tool of compute-sanitizer; none where it is not to be had."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    program = shutil.which("compute-sanitizer", path=os.pathsep.join((os.environ.get("PATH", ""), f"{home}/bin")))
    if program is None:
        return {}
    # So that a tensor is followed by memory that is nobody's, not by the next one.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    results = {}
    for tool in SANITIZERS:
        print(f"--- tests/ops under compute-sanitizer, {tool}", flush=True)
        log = folder / f"{tool}.log"
        log.unlink(missing_ok=True)
        command = [program, "--tool", tool, "--error-exitcode", str(FOUND)]
        if tool != "initcheck":  # which has to see all that writes, or it takes what others wrote for nobody's
            command += ["--kernel-name", "kernel_substring=tased"]
        command += ["--log-file", str(log), sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-m", "cuda", "-k", SANITIZED, "tests/ops"], cwd=ROOT, check=False, env=environment
        )
        results[tool] = {"log": _from_root(log), **sanitized(log, done.returncode)}
    return results


def sanitized(log: Path, status: int) -> dict[str, Any]:
    """The findings of a tool, from its log and its exit status, which is that of the tests where there are none."""
    try:
        findings = findings_of(log.read_text(encoding="utf-8", errors="replace"))
    except (OSError, Unreadable) as error:
        return {"broke_off": f"{first_words(error)} (exit status {status})"}
    if not findings and status != 0:
        return {"broke_off": f"the tests under it ended with status {status}"}
    return {"findings": findings}


def first_words(error: Exception) -> str:
    return (error.strerror or "unreadable log") if isinstance(error, OSError) else str(error)


def run_bench(module: str, folder: Path, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What a bench has written."""
    file = folder / f"{module.rpartition('.')[2]}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", module, "--device", "cuda", "--out", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0 or not file.exists():
        return {"broke_off": f"python -m {module} ended with status {done.returncode}"}
    written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return written


# --------------------------------------------------------------------------------------------------------------- report


def update(file: Path, facts: dict[str, str], stages: dict[str, Any]) -> dict[str, Any]:
    """Writes FILE.json and FILE.md: these stages, and those of an earlier run on the same machine from the same sources."""
    report: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        report = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    earlier = {name: fact for name, fact in report.get("machine", {}).items() if name != "date"}
    if earlier != facts:
        report = {}
    report |= {"machine": {"date": datetime.now(timezone.utc).strftime("%d %B %Y"), **facts}, **stages}
    file.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".json", json.dumps(report, indent=1) + "\n"), (".md", markdown(report))):
        beside = file.with_suffix(f"{suffix}.part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(file.with_suffix(suffix))
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for, writes the report and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("tests", "speed"))
    parser.add_argument("--quick", action="store_true", help="speed: a sample of bench.ops, and no network")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder (default: build)")
    options = parser.parse_args(arguments)
    target = {"tests": "make test-gpu", "speed": "make bench-gpu"}[options.what]
    try:
        check(torch.cuda.device_count(), torch.version.cuda, tased_ext.build_info()["libraries"]["_C_cuda"])
    except NoGpu as error:
        print(f"error: {target} needs an NVIDIA GPU, but {error}.", file=sys.stderr)
        return 2
    folder = options.out / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[[], Any]] = {
        "tests": lambda: run_tests(folder),
        "sanitizers": lambda: run_sanitizers(folder),
    }
    if options.what == "speed":
        steps = {"operations": lambda: run_bench("bench.ops", folder, ["--quick"] if options.quick else [])}
        if not options.quick:
            steps["network"] = lambda: run_bench("bench.network", folder)
    facts, report = machine(), dict[str, Any]()
    try:
        for name, step in steps.items():
            report = update(options.out / "gpu-report.md", facts, {name: step()})
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    wrong = failures_in({name: report[name] for name in steps})
    for sentence in wrong:
        print(sentence)
    print(f"Written: {_from_root(options.out / 'gpu-report.md')}, {_from_root(options.out / 'gpu-report.json')}")
    return 1 if wrong else 0


def _from_root(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    sys.exit(main())
