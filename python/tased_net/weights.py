"""Weights from files and to files: released TASED-Net files, S3D's Kinetics files for the encoder, safetensors.

Files are data from strangers. Pickles are read with `weights_only=True`, which runs no code, and what does not fit the
network exactly is refused before the network is touched, or any memory taken for one.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .checkpoints import CheckpointError, load_checkpoint
from .decoders import DECODERS
from .fusion import unfold
from .heads import AGGREGATIONS, UPSAMPLINGS
from .s3d import GRAIN
from .sizes import read_size, written
from .texts import shown, shown_value
from .writing import whole_file

if TYPE_CHECKING:
    from .tased import TASEDNet

State = dict[str, Tensor]
Options = dict[str, Any]

# S3D numbers its layers in one row, pools included: where each of our stages begins in it.
S3D_STAGES = (("base1", 0, 5), ("base2", 5, 8), ("base3", 8, 14), ("base4", 14, 16))

# The options that decide which weights a network has, and their types in a file.
ARCHITECTURE = {
    "clip_length": int,
    "aggregation": str,
    "upsampling": str,
    "denser": bool,
    "maps": int,
    "width": float,
    "decoder": str,
}
# Of the JSON of these options in a safetensors file, and of an `Origin` under its own name. One key, since the order in which
# several are written is a matter of chance.
METADATA_KEY, ORIGIN_KEY = "tased_net", "origin"

# What tensors of a weights file may be of.
DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32))

# Weights that come with the package, by the names that stand for a file.
BUNDLED = {"synthetic": Path(__file__).with_name("synthetic.safetensors")}
MAX_ABOUT = 300  # characters
LISTED = 3  # keys that a message names


class WeightsError(ValueError):
    """A weights file that is missing, damaged, unsafe or made for another network, or that cannot be written."""


@dataclass(frozen=True)
class Origin:
    """Where weights come from, as far as it is known.

    Attributes
    ----------
    size
        Height and width of the frames that they have learned from.
    about
        What they have learned from, in words.
    """

    size: tuple[int, int] | None = None
    about: str | None = None


class WeightsFile(NamedTuple):
    """What a file holds: tensors under our names, and what it states of their variant and origin; `path` names it in messages."""

    path: str
    state: State
    options: Options | None
    origin: Origin

    def key(self) -> str:
        """Tells these tensors from others, whatever file they come from; hexadecimal."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_weights(net: TASEDNet, path: str | os.PathLike[str]) -> Literal["network", "encoder"]:
    """Loads a weights file into `net`, whole or not at all.

    Parameters
    ----------
    net
        The network; its parameters keep their dtype, device and layout. Batch norms that `fuse` has folded come back.
    path
        A ``.safetensors`` file, or a PyTorch file of one state dict: TASED-Net's, as released, or S3D's (keys
        ``base.0.conv_s.weight`` …, as trained on Kinetics), of which the encoder is taken. Keys may begin with ``module.``.
        Or "synthetic", the weights that come with the package.

    Returns
    -------
    str
        What was loaded: "network", or "encoder" from an S3D file.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, holds code, NaN or infinity, or does not fit; the message says which keys differ,
        and which variant it would fit.

    Examples
    --------
    >>> from tased_net import TASEDNet
    >>> load_weights(TASEDNet(clip_length=8, width=0.125), "TASED_updated.pt")
    Traceback (most recent call last):
    tased_net.weights.WeightsError: TASED_updated.pt: no such file
    """
    return put_weights(net, read_weights(path))


def put_weights(net: TASEDNet, weights: WeightsFile) -> Literal["network", "encoder"]:
    """`load_weights` of a file that has been read; with its errors, but for those of reading."""
    path, state = weights.path, weights.state
    encoder = {key: value for key, value in state.items() if is_encoder_key(key)}
    wanted = shapes(type(net), net.options)
    if len(encoder) == len(state):
        wanted = {key: shape for key, shape in wanted.items() if is_encoder_key(key)}
    _check_fit(path, net, wanted, state)
    if net.fused:
        if len(encoder) == len(state):
            raise WeightsError(f"{path}: holds the encoder only, but the network is fused: load it before net.fuse()")
        unfold(net)
        net.fused = False
    net.load_state_dict(state, strict=False)  # not strict: an encoder is a part, and old files lack num_batches_tracked
    if len(encoder) == len(state):
        return "encoder"
    net.origin = weights.origin
    return "network"


def read_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """What a file holds, or weights that come with the package.

    Raises
    ------
    WeightsError
        As `load_weights`, but for the fit.
    """
    _, state, options, origin = _read(BUNDLED.get(os.fspath(path), path))
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith("base.") for key in state):
        state = _encoder_from_s3d(state)
    odd = [key for key, value in state.items() if value.dtype not in DTYPES]
    if odd:
        raise WeightsError(
            f"{path}: holds {state[odd[0]].dtype}, which no weights are, in {len(odd)} tensors ({_shortened(odd)})"
        )
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: holds NaN or infinity in {len(broken)} tensors ({_shortened(broken)})")
    return WeightsFile(os.fspath(path), state, options, origin)


def write_weights(net: TASEDNet, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
    """Writes a network to a safetensors file that states its variant and origin, whole or not at all.

    Parameters
    ----------
    net
        The network, not fused.
    path
        The file; what was there before is replaced.
    dtype
        Type of the weights in the file; None for that of the network.

    Raises
    ------
    WeightsError
        If the network is fused, what it has learned from is not said in a line, or the file cannot be written.
    """
    if net.fused:
        raise WeightsError(f"{path}: a fused network has no batch norms to save: save it before net.fuse()")
    state = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in net.state_dict().items()
    }
    facts: dict[str, Any] = architecture(net.options)
    if net.origin != Origin():
        size = None if net.origin.size is None else written(net.origin.size)
        facts[ORIGIN_KEY] = {"size": size, "about": checked_about(net.origin.about, os.fspath(path))}
    try:
        with whole_file(path) as beside:
            beside.write_bytes(safetensors.torch.save(state, {METADATA_KEY: json.dumps(facts, ensure_ascii=False)}))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error})") from error


def architecture(options: Mapping[str, Any]) -> Options:
    """Those of a network's options that its weights depend on."""
    return {name: options[name] for name in ARCHITECTURE}


def checked_options(options: object, where: str) -> Options:
    """Options from a file, every one of them known and of its type; those that are left out have their default.

    Raises
    ------
    WeightsError
        If it is anything else.
    """
    if not isinstance(options, dict):
        raise WeightsError(f"{where}: the network's options must be a JSON object, got {type(options).__name__}")
    for name, value in options.items():
        kind = ARCHITECTURE.get(name)
        if kind is None:
            raise WeightsError(f"{where}: {shown_value(name)} is no option of TASEDNet")
        allowed = (int, float) if kind is float else (kind,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
            raise WeightsError(f"{where}: {name} must be of type {kind.__name__}, got {shown_value(value)}")
    return dict(options)


def _checked_origin(facts: object, where: str) -> Origin:
    """An origin from a file; texts may end up on a terminal."""
    if not isinstance(facts, dict) or facts.keys() - {"size", "about"}:
        raise WeightsError(f"{where}: what it states of its origin must be a size and a text, got {shown_value(facts)}")
    size, about = facts.get("size"), facts.get("about")
    about = checked_about(about, where)
    try:
        return Origin(None if size is None else read_size(str(size)), about)
    except ValueError as error:
        raise WeightsError(f"{where}: the size of its origin: {error}") from error


def checked_about(about: object, where: str) -> str | None:
    """What weights have learned from, in a line, if anything is said of it; files are read and written with no other."""
    if about is None or (isinstance(about, str) and len(about) <= MAX_ABOUT and about.isprintable()):
        return about
    raise WeightsError(f"{where}: what it says about its origin is no line of at most {MAX_ABOUT} characters")


# ---------------------------------------------------------------------------------------------------------------- reading


def is_encoder_key(key: str) -> bool:
    """Whether a key belongs to the encoder, base1 to base4."""
    return key.startswith(("base1.", "base2.", "base3.", "base4."))


def _read(path: str | os.PathLike[str]) -> WeightsFile:
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no such file")
    try:
        return _read_tensors(path) if os.fspath(path).endswith(".safetensors") else _read_pickle(path)
    except PermissionError:
        raise WeightsError(f"{path}: no permission to read it") from None


def _read_tensors(path: str | os.PathLike[str]) -> WeightsFile:
    try:
        with safetensors.safe_open(path, "pt") as file:
            stated = (file.metadata() or {}).get(METADATA_KEY)
        facts = None if stated is None else json.loads(stated)
        # Not `load_file`, which leaves two integers of each tensor behind for good (safetensors 0.8.0).
        state = safetensors.torch.load(Path(path).read_bytes())
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # of many types, as a type that torch does not know
        told = isinstance(error, (safetensors.SafetensorError, json.JSONDecodeError))
        reason = f" ({shown(str(error))})" if told else ""
        raise WeightsError(f"{path}: not a safetensors file, or damaged{reason}") from error
    origin = facts.pop(ORIGIN_KEY, None) if isinstance(facts, dict) else None
    return WeightsFile(
        os.fspath(path),
        state,
        None if facts is None else checked_options(facts, os.fspath(path)),
        Origin() if origin is None else _checked_origin(origin, os.fspath(path)),
    )


def _read_pickle(path: str | os.PathLike[str]) -> WeightsFile:
    try:
        state = load_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(f"{path}: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise WeightsError(f"{path}: not a state dict, which maps names to tensors")
    if sum(value.nbytes for value in state.values()) > os.path.getsize(path):
        raise WeightsError(f"{path}: its tensors have more values than the file holds")
    return WeightsFile(os.fspath(path), state, None, Origin())


def _encoder_from_s3d(state: State) -> State:
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


# ---------------------------------------------------------------------------------------------------------------- fitting


def shapes(network: type[TASEDNet], options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of a variant's weights, found without memory for them.

    Raises
    ------
    ValueError
        If there is no such variant.
    """
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in network(**options).state_dict().items()}


def differences(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> list[str]:
    """What keeps tensors from being those that are wanted, in words; nothing if they are."""
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in wanted]
    misshapen = [
        f"{key} {tuple(state[key].shape)} for {shape}"
        for key, shape in wanted.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    return [
        f"{len(keys)} {what} ({_shortened(keys)})"
        for what, keys in (("missing", missing), ("unexpected", extra), ("of another shape", misshapen))
        if keys
    ]


def variant_of(network: type[TASEDNet], state: Mapping[str, Tensor]) -> Options | None:
    """The options of the variant whose weights these are, or None if there is no such variant.

    Clips of 4 and of 8 frames have the same weights; 8 is given.
    """
    width = _width(network, state)
    if width is None:
        return None
    head = {key: value.shape for key, value in state.items() if key.startswith("convtsp4.") and value.dim() == 5}
    if not head:
        return None
    frames = math.prod(shape[2] for shape in head.values() if shape[3:] == (1, 1))
    last = head[max(head, key=lambda key: int("0" + "".join(filter(str.isdecimal, key.split(".")[1]))))]
    decoders = [("tased", *rest) for rest in itertools.product(UPSAMPLINGS, (False, True))]
    decoders += [(decoder, "unpool", False) for decoder in DECODERS]
    for aggregation, (decoder, upsampling, denser) in itertools.product(AGGREGATIONS, decoders):
        options = {
            "clip_length": 8 * frames,
            "aggregation": aggregation,
            "upsampling": upsampling,
            "denser": denser,
            "maps": last[0],
            "width": width,
            "decoder": decoder,
        }
        try:
            if not differences(shapes(network, options), state):
                return options
        except (ValueError, RuntimeError):  # such as more maps than frames
            continue
    return None


def described(network: type[TASEDNet], options: Mapping[str, Any]) -> str:
    """A variant as Python has it, such as ``TASEDNet(clip_length=16)``, without what has its default."""
    defaults = inspect.signature(network).parameters
    return f"TASEDNet({', '.join(f'{k}={v!r}' for k, v in options.items() if v != defaults[k].default)})"


def _width(network: type[TASEDNet], state: Mapping[str, Tensor]) -> float | None:
    """The simplest width that gives every block of the encoder its channels."""
    least, most = 0.0, math.inf
    for key, shape in shapes(network, {}).items():
        if is_encoder_key(key) and key.endswith(("conv.weight", "conv_s.weight")):
            if key not in state or state[key].dim() == 0:
                return None
            channels = state[key].shape[0]
            if channels > GRAIN:
                least = max(least, (channels - GRAIN / 2) / shape[0])
            most = min(most, (channels + GRAIN / 2) / shape[0])
    for parts in (1, 2, 4, 8, 10, 100, 1000, 10**6):
        width = math.ceil(least * parts) / parts or 1 / parts
        if least <= width < most:
            return width
    return None


def _check_fit(path: str, net: TASEDNet, wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> None:
    complaints = differences(wanted, state)
    if not complaints:
        return
    variant = variant_of(type(net), state)
    would_fit = "" if variant is None else f"; it would fit {described(type(net), variant)}"
    raise WeightsError(
        f"{path}: does not fit {described(type(net), net.options)}: keys {', '.join(complaints)}{would_fit}"
    )


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:LISTED])) + (", …" if len(names) > LISTED else "")
