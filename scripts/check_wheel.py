"""Builds one wheel, audits its ABI, and runs the operations from that very wheel beside several versions of torch.

python scripts/check_wheel.py                          beside torch 2.10 and the newest, in environments of their own
python scripts/check_wheel.py 2.11.* venv/bin/python   beside a version, or beside the torch of an interpreter
python scripts/check_wheel.py --here                   only runs the operations that this interpreter imports
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, folder: Path | None = None) -> str:
    """The command's output; where it fails, all ends with what it printed."""
    words = [str(word) for word in command]
    result = subprocess.run(words, check=False, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        sys.exit(f"{result.stdout}\nerror: {' '.join(words)} failed; its output is above.")
    return result.stdout


def environment(folder: Path, *packages: str | Path, python: str = sys.executable) -> Path:
    """A new virtual environment's interpreter."""
    run(python, "-m", "venv", folder)
    interpreter = folder / "bin" / "python"
    run(interpreter, "-m", "pip", "install", *packages)
    return interpreter


def build_wheel(folder: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def audit(wheel: Path, folder: Path) -> None:
    python = environment(folder / "audit", "abi3audit", "torch-abi-audit")
    print(run(python.with_name("abi3audit"), "--strict", "--verbose", wheel))
    zipfile.ZipFile(wheel).extractall(folder / "wheel")
    print(run(python.with_name("torch-abi-audit"), "--check", "both", folder / "wheel" / "tased_ext"))


def run_beside(torch: str, wheel: Path, folder: Path) -> None:
    if Path(torch).is_file():
        python = environment(folder, "--no-deps", wheel, python=torch)
        packages = run(torch, "-c", "import pathlib, torch; print(pathlib.Path(torch.__file__).parent.parent)")
        next(folder.glob("lib/python*/site-packages")).joinpath("torch.pth").write_text(packages.splitlines()[-1])
    else:
        python = environment(folder, f"torch=={torch}" if torch != "newest" else "torch", "numpy")
        run(python, "-m", "pip", "install", "--no-deps", wheel)
    print(run(python, Path(__file__).resolve(), "--here", folder=folder))


def check_operations() -> None:
    """Every operation equals its definition bit for bit, in values and gradients, for each dtype, layout and device."""
    import torch
    from torch import Tensor

    from tased_ext import __main__, functional, reference

    windows = {"kernel_size": 3, "stride": 2, "padding": 1}
    operations: dict[str, Callable[[ModuleType, Tensor, Tensor], Tensor]] = {
        "aux_pool": lambda module, z, x: module.aux_pool(z, 4, **windows),
        "aux_max_pool": lambda module, z, x: module.aux_max_pool(z, 4, **windows)[0],
        "max_unpool": lambda module, z, x: module.max_unpool(x, module.aux_pool(z, 4, **windows), **windows),
        "aux_pool_unpool": lambda module, z, x: module.aux_pool_unpool(z, x, 4, **windows),
        "max_pool3d": lambda module, z, x: module.max_pool3d(z, **windows),
    }

    def outcome(module: ModuleType, name: str, z: Tensor, x: Tensor) -> list[Tensor]:
        z, x = z.clone().requires_grad_(), x.clone().requires_grad_()
        result = operations[name](module, z, x)
        if result.requires_grad:
            (result * result.detach()).sum().backward()
        return [result, *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in (z, x))]

    __main__.main()
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    layouts = (torch.contiguous_format, torch.channels_last_3d)
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    for name, dtype, layout, device in itertools.product(operations, dtypes, layouts, devices):
        # Small integers tie often, and every sum of them is exact.
        z = torch.randint(-5, 6, (2, 16, 8, 31, 45)).to(device, dtype).contiguous(memory_format=layout)
        x = torch.randint(-5, 6, (2, 16, 2, 16, 23)).to(device, dtype).contiguous(memory_format=layout)
        pairs = zip(outcome(functional, name, z, x), outcome(reference, name, z, x), strict=True)
        if not all(torch.equal(ours, definition) for ours, definition in pairs):
            sys.exit(f"error: {name} differs from its definition for {dtype}, {layout} on {device}.")
    print(
        f"{', '.join(operations)}: equal to the definition in {len(dtypes)} dtypes and 2 layouts on {', '.join(devices)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "torch", nargs="*", default=["2.10.*", "newest"], help="versions, or interpreters that have torch"
    )
    parser.add_argument("--here", action="store_true", help="only run the operations that this interpreter imports")
    options = parser.parse_args()
    if options.here:
        check_operations()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        print(f"{wheel.name}, built with {sys.executable}\n")
        audit(wheel, folder)
        for number, torch in enumerate(options.torch):
            print(f"--- beside torch {torch}")
            run_beside(torch, wheel, folder / f"torch{number}")


if __name__ == "__main__":
    main()
