"""What a reader must know of a machine to place the figures that were taken on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

import tased_ext

from . import memory, report


def facts(device: str) -> dict[str, Any]:
    """Versions, processor, cores and, on the CPU, what new memory costs, by name."""
    known: dict[str, Any] = {
        "tased_ext": tased_ext.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "vector level": tased_ext.build_info()["vector_level"],
    }
    if device == "cpu":
        fresh, mapped = memory.page_fault_seconds()
        known["page faults"] = f"16 MiB take {report.seconds(fresh)} to write first, {report.seconds(mapped)} again"
    return known


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
