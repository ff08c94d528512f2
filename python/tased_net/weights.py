"""Weights from files: released TASED-Net files, S3D's Kinetics files for the encoder, safetensors.

Files are data from strangers. Pickles are read with `weights_only=True`, which runs no code, and what does not fit the
network exactly is refused before the network is touched.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .tased import TASEDNet

# S3D numbers its layers in one row, pools included: where each of our stages begins in it.
S3D_STAGES = (("base1", 0, 5), ("base2", 5, 8), ("base3", 8, 14), ("base4", 14, 16))


class WeightsError(ValueError):
    """A weights file that is missing, damaged, unsafe or made for another network."""


def load_weights(net: TASEDNet, path: str | os.PathLike[str]) -> Literal["network", "encoder"]:
    """Loads a weights file into `net`, whole or not at all.

    Parameters
    ----------
    net
        The network; its parameters keep their dtype, device and layout.
    path
        A ``.safetensors`` file, or a PyTorch file of one state dict: TASED-Net's, as released, or S3D's (keys
        ``base.0.conv_s.weight`` …, as trained on Kinetics), of which the encoder is taken. Keys may begin with ``module.``.

    Returns
    -------
    str
        What was loaded: "network", or "encoder" from an S3D file.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, holds code, or does not fit; the message says which keys differ.

    Examples
    --------
    >>> net = TASEDNet(clip_length=8, width=0.125)
    >>> load_weights(net, "TASED_updated.pt")
    Traceback (most recent call last):
    tased_net.weights.WeightsError: TASED_updated.pt: no such file
    """
    state = {key.removeprefix("module."): value for key, value in _read(path).items()}
    wanted: Mapping[str, Tensor] = net.state_dict()
    loaded: Literal["network", "encoder"] = "network"
    if any(key.startswith("base.") for key in state):
        loaded = "encoder"
        state = _encoder_from_s3d(state)
        wanted = {key: value for key, value in wanted.items() if key.startswith("base")}
    _check_fit(path, net, wanted, state)
    net.load_state_dict(state, strict=False)  # not strict: an encoder is a part, and old files lack num_batches_tracked
    return loaded


def _read(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no such file")
    try:
        if os.fspath(path).endswith(".safetensors"):
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise WeightsError(f"{path}: no permission to read it") from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported" in str(error):
            raise WeightsError(
                f"{path}: holds more than tensors, and reading it could run code; export its state_dict and load that"
            ) from error
        raise WeightsError(f"{path}: not a PyTorch weights file, or damaged") from error
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file, or damaged ({error})") from error
    except (
        Exception
    ) as error:  # torch.load meets damage with many types: RuntimeError, EOFError, KeyError, UnicodeDecodeError …
        raise WeightsError(f"{path}: not a PyTorch weights file, or damaged") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise WeightsError(f"{path}: not a state dict, which maps names to tensors")
    return state


def _encoder_from_s3d(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """S3D's keys ``base.K.…`` under our names; the classifier ``fc`` is dropped, other keys stay to be reported."""
    encoder = {}
    for key, value in state.items():
        head, _, rest = key.removeprefix("base.").partition(".")
        if key.startswith("base.") and head.isdecimal():
            for stage, begin, end in S3D_STAGES:
                if begin <= int(head) < end:
                    key = f"{stage}.{int(head) - begin}.{rest}"
        if not key.startswith("fc."):
            encoder[key] = value
    return encoder


def _check_fit(
    path: str | os.PathLike[str], net: TASEDNet, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in wanted]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    complaints = [
        f"{len(keys)} {what} ({_shortened(keys)})"
        for what, keys in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if keys
    ]
    if complaints:
        raise WeightsError(f"{path}: does not fit TASEDNet({net.extra_repr()}): keys {', '.join(complaints)}")


def _shortened(names: Iterable[str], shown: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
