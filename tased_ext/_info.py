"""What a bug report needs: versions, libraries, vector level, CUDA architectures, device."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from . import _ops

try:
    __version__ = version("tased-net")
except PackageNotFoundError as error:
    raise ImportError("tased_ext is imported from a folder that is not installed; run `pip install -e .`") from error


def build_info() -> dict[str, Any]:
    """Facts about this installation, by name; `python -m tased_ext` prints them.

    Returns
    -------
    dict
        ``version``, ``torch``, ``torch_cuda``, ``python``, ``platform`` (text); ``libraries`` (name → path, or why it
        is not loaded); ``vector_level`` (the CPU kernels' instruction set); ``cuda_architectures`` and ``cuda_toolkit``
        of the CUDA library; ``device`` (the first GPU's name, or why there is none).
    """
    return {
        "version": __version__,
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda or "none",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": dict(_ops.libraries),
        "vector_level": _ops.ops.cpu_vector_level(),
        "cuda_architectures": _ops.ops.cuda_architectures() if _ops.cuda_loaded else "none",
        "cuda_toolkit": _ops.ops.cuda_toolkit() if _ops.cuda_loaded else "none",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device",
    }
