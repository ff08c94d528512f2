"""PyTorch files as strangers may send them: what is checked before `torch.load` reads them, and after.

`weights_only=True` runs no code that a file names, but follows what it says otherwise: a small file may unpack to gigabytes,
announce tensors of any size, or have Python compute a hash for years.
"""

from __future__ import annotations

import errno
import os
import pickle
import pickletools
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import torch
from torch import Tensor

from .errors import is_out_of_memory

_PICKLES_OF_OLD = 5  # at the beginning of a file of before torch 1.6: magic number, version, machine, content, storages
_MOST_PARTS = 10**7  # of an object, counted as often as it is referred to


class CheckpointError(ValueError):
    """A file that is no checkpoint, damaged, or not safe to read; the message does not name it."""


def load_checkpoint(path: str | os.PathLike[str]) -> Any:
    """What `torch.save` wrote, on the CPU, if it is tensors in plain containers and no larger than the file.

    Raises
    ------
    CheckpointError
        If it is anything else.
    OSError
        If the file cannot be read.
    """
    try:
        _check_before(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):
            raise CheckpointError(
                "holds more than tensors, and reading it could run code; export its state_dict and load that"
            ) from error
        raise CheckpointError("not a PyTorch weights file, or damaged") from error
    except Exception as error:
        if is_out_of_memory(error):  # what is whole may be too much, and what is damaged may announce any size
            raise CheckpointError("memory does not suffice to read it, or it is damaged") from error
        # Damage is met with many types: RuntimeError, EOFError, KeyError, UnicodeDecodeError, and the OSError of a place before the
        # file's beginning. Any other OSError is the system's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise CheckpointError("not a PyTorch weights file, or damaged") from error
    for tensor in _tensors(content):
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                "holds a tensor without all of its values: sparse, quantized, expanded or on no device"
            )
    return content


def _check_before(path: str | os.PathLike[str]) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > os.path.getsize(path):
                raise CheckpointError("holds compressed data, which torch.save does not write")
            for member in members:
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as stream:
                        _check_pickle(stream)
    else:
        with open(path, "rb") as stream:
            for _ in range(_PICKLES_OF_OLD):
                if stream.peek(1):
                    _check_pickle(stream)


def _check_pickle(stream: IO[bytes]) -> None:
    """Refuses objects that are small, as their parts are shared, but of which Python visits each part as often as it occurs.

    Such is a tuple of twice a tuple of twice a tuple …, whose hash takes a time that doubles with each. No object is made: what
    is on the stack here is how many parts each would have.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            before = operation.stack_before
            if pickletools.markobject in before:
                rest = before.index(pickletools.markobject)
                start = marks.pop() - rest
            else:
                start = len(stack) - len(before)
            parts = sum(stack[start:], 1)
            del stack[start:]
            if parts > _MOST_PARTS:
                raise CheckpointError("holds what would take too long to read")
            stack += [parts] * len(operation.stack_after)


def _tensors(content: Any) -> Iterable[Tensor]:
    """All tensors in containers in each other."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, (dict, list, tuple, set)) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, dict) else one
