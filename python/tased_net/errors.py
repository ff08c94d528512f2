"""What errors tell: one line of them, and whether memory was refused."""

from __future__ import annotations

import torch

# What errors say, in small letters, where memory was refused: PyTorch's allocators on Linux and elsewhere, CUDA, cuBLAS and
# cuDNN, C++, and oneDNN, which gives no reason (seen with torch 2.14.1).
REFUSALS = (
    *("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "bad_alloc"),
    *("could not create a primitive", "could not create a memory"),
)


class MemoryWarning(UserWarning):
    """Memory did not suffice, and less is computed at a time."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error tells that memory was refused."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in REFUSALS)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
