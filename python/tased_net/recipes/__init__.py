"""Recipes: what a training run is made of, as a small TOML file that the command line overrides.

`Recipe` lists the keys with their defaults, the paper's protocol. The files beside this module are recipes that go by name.
A key on the command line is the same word with dashes, so that one table describes both.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__
from ..data import DATASETS
from ..decoders import DECODERS
from ..heads import AGGREGATIONS, UPSAMPLINGS
from ..losses import MIXES, Loss
from ..sizes import MIN_SIDE, read_size
from ..tased import MAX_WIDTH
from ..texts import read_text, shown, shown_value
from ..weights import ARCHITECTURE

if sys.version_info >= (3, 11) or TYPE_CHECKING:
    import tomllib
else:
    import tomli as tomllib

NAMED = tuple(sorted(file.stem for file in Path(__file__).parent.glob("*.toml")))
# What each precision means for the network's weights, and for its convolutions if that differs.
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
    "float16": (torch.float32, torch.float16),
}
PLATEAU = "plateau"
MOST_BYTES = 2**16  # of a recipe
OPTIMIZERS = ("sgd", "adamw")


class RecipeError(ValueError):
    """A recipe that is missing, is no TOML, has a key or value that makes no sense, or cannot be carried out as it is."""


@dataclass(frozen=True)
class Kind:
    """What values a key takes: in words, from the words of a command line, and whether a value of a file is one."""

    wanted: str
    read: Callable[[str], Any]
    fits: Callable[[Any], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int) -> Kind:
    return Kind(f"a whole number of at least {least}", int, lambda value: _is_whole(value) and value >= least)


def _number(wanted: str, fits: Callable[[float], bool]) -> Kind:
    return Kind(wanted, float, lambda value: _is_number(value) and fits(value))


def _one_of(*names: str) -> Kind:
    return Kind(f"one of {', '.join(names)}", str, lambda value: value in names)


def _is_text(value: object) -> bool:
    """Whether it is a text that a recipe can have: names of files may hold bytes that no file of text can."""
    return isinstance(value, str) and value != "" and not any("\ud800" <= one <= "\udfff" for one in value)


def _is_size(value: object) -> bool:
    try:
        read_size(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_mix(value: object) -> bool:
    try:
        Loss(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _are_drops(value: object) -> bool:
    if not isinstance(value, (list, tuple)):
        return value == PLATEAU
    return all(_is_whole(step) and step > 0 for step in value) and list(value) == sorted(set(value))


def _read_drops(text: str) -> str | list[int]:
    return text if text == PLATEAU else [int(step) for step in text.split(",") if step]


FLAG = Kind("true or false", bool, lambda value: isinstance(value, bool))
TEXT = Kind("a text in UTF-8", str, _is_text)
NOT_NEGATIVE = _number("a number of at least 0", lambda value: value >= 0)
POSITIVE = _number("a positive number", lambda value: value > 0)
SHARE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)
UP_TO_ONE = _number("a number above 0, at most 1", lambda value: 0 < value <= 1)
SEED = Kind("a whole number from 0 to 2**63 - 1", int, lambda value: _is_whole(value) and 0 <= value < 2**63)
SIZE = Kind(f"HxW such as 224x384, both at least {MIN_SIDE}", str, _is_size)
MIX = Kind(MIXES, str, _is_mix)
DROPS = Kind("steps in rising order such as 750,950, or plateau", _read_drops, _are_drops)
CLIP_LENGTH = Kind(
    "4 or a multiple of 8", int, lambda value: _is_whole(value) and (value == 4 or value > 0 == value % 8)
)


def _key(default: Any, kind: Kind, help: str, *, free: bool = False) -> Any:
    """A key of the recipe; those that are `free` do not change what a run computes, and may change when it is resumed."""
    return field(default=default, metadata={"kind": kind, "help": help, "free": free})


@dataclass(frozen=True)
class Recipe:
    """All that decides what a run computes, and a few keys that do not. Without arguments: the paper's protocol.

    Keys of the network that are None are what the weights file states, and else as released.

    Examples
    --------
    >>> Recipe().drops_before(750), Recipe().drops_before(751)
    (0, 1)
    """

    data: str | None = _key(None, TEXT, "folder of the dataset", free=True)
    dataset: str | None = _key(None, _one_of(*DATASETS), f"its layout: {', '.join(DATASETS)}")
    train_split: str | None = _key(None, TEXT, "what to train on (default: the dataset's training split)")
    validation_split: str | None = _key(None, TEXT, "what to validate on (default: the dataset's validation split)")
    weights: str | None = _key(None, TEXT, "weights of a whole network to begin with, as for another dataset")
    encoder_weights: str = _key("none", TEXT, "weights of the encoder to begin with, S3D's of Kinetics; or none")

    clip_length: int | None = _key(None, CLIP_LENGTH, "frames of a clip")
    aggregation: str | None = _key(None, _one_of(*AGGREGATIONS), "how the prediction network joins the frames")
    upsampling: str | None = _key(None, _one_of(*UPSAMPLINGS), "how it upsamples between its blocks")
    denser: bool | None = _key(None, FLAG, "two more convolutions in each of its spatial blocks")
    maps: int | None = _key(None, _whole(1), "maps of the clip's last frames to predict at once")
    width: float | None = _key(
        None,
        _number(f"a positive number of at most {MAX_WIDTH}", lambda value: 0 < value <= MAX_WIDTH),
        "scales the channels of every block",
    )
    decoder: str | None = _key(None, _one_of("tased", *DECODERS), "TASED-Net's own, or one of the paper's comparisons")
    size: str = _key("224x384", SIZE, "height and width that frames are resized to")

    batch: int = _key(8, _whole(1), "clips that go through the network at a time")
    accumulate: int = _key(5, _whole(1), "batches of a step, shared among the processes")
    steps: int = _key(1000, _whole(1), "how many steps to train", free=True)
    loss: str = _key("kl", MIX, MIXES)
    optimizer: str = _key("sgd", _one_of(*OPTIMIZERS), "sgd, or adamw, which wants rates of about 0.001")
    lr: float = _key(0.1, NOT_NEGATIVE, "learning rate of the prediction network before it drops")
    encoder_lr: float = _key(1e-3, NOT_NEGATIVE, "learning rate of the encoder")
    momentum: float = _key(0.9, SHARE, "momentum of SGD, or AdamW's first beta")
    weight_decay: float = _key(2e-7, NOT_NEGATIVE, "weight decay")
    drops: str | tuple[int, ...] = _key(
        (750, 950), DROPS, "steps after which lr drops, or plateau: when validation stalls"
    )
    drop_factor: float = _key(0.1, UP_TO_ONE, "what lr is multiplied with at a drop")
    drop_encoder: bool = _key(False, FLAG, "encoder_lr drops as well, as fits an encoder that begins at random")
    patience: int = _key(3, _whole(1), "validations without a lower loss that make a plateau")
    bn_momentum: float = _key(1e-3, UP_TO_ONE, "weight of a batch in the running statistics of batch norms")
    clip_gradient: float | None = _key(None, POSITIVE, "norm that gradients are clipped to (default: they are not)")
    ema: float = _key(0.0, SHARE, "decay of the moving average of the weights that is validated and written; 0: none")
    sync_bn: bool = _key(False, FLAG, "batch norms that see the batches of all GPUs at once")

    precision: str = _key("float32", _one_of(*PRECISIONS), "type to compute in; of the 16-bit types, the convolutions")
    compile: bool = _key(False, FLAG, "torch.compile the network")
    checkpoint: bool = _key(False, FLAG, "compute activations again for backward: less memory, more time")
    seed: int = _key(0, SEED, "decides the first weights, the clips and the flips")
    overfit: int = _key(0, _whole(0), "train on N fixed clips, unflipped, and validate on them: a check; 0: off")

    validate_every: int = _key(50, _whole(1), "steps from one validation to the next")
    validation_clips: int = _key(2000, _whole(1), "clips to validate on, spread evenly over the split")
    save_every: int = _key(50, _whole(1), "steps from one saved state to the next", free=True)
    workers: int = _key(4, _whole(0), "processes that load clips, for each GPU", free=True)
    max_skipped: int = _key(50, _whole(0), "clips that may turn out unreadable before the run ends", free=True)

    @property
    def height_width(self) -> tuple[int, int]:
        """The size of frames as two numbers."""
        return read_size(self.size)

    def drops_before(self, step: int) -> int:
        """How many of the drops at fixed steps have come before a step, from 1."""
        assert not isinstance(self.drops, str)
        return sum(step > drop for drop in self.drops)

    def text(self) -> str:
        """The recipe as TOML, without keys that are None."""
        lines = [f"# Written by tased train {__version__}; --recipe takes it."]
        for key in fields(self):
            value = getattr(self, key.name)
            if value is not None:
                value = list(value) if isinstance(value, tuple) else value
                lines.append(f"{key.name} = {json.dumps(value, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"


KEYS = {key.name: key for key in fields(Recipe)}


def load_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Reads a recipe.

    Parameters
    ----------
    name
        A file, or one of `NAMED`.
    changes
        Keys and values that take the place of the file's.

    Raises
    ------
    RecipeError
        If there is no such file, or it is not TOML, or a key or a value makes no sense; the sentence says what would.
    """
    path = Path(name)
    if name in NAMED and not path.is_file():
        path = Path(__file__).with_name(f"{name}.toml")
    try:
        values = tomllib.loads(read_text(path, MOST_BYTES))
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise RecipeError(f"{path}: not a TOML file ({shown(str(error))})") from error
    except OSError as error:
        raise RecipeError(
            f"{name}: no such recipe ({error.strerror}); name a .toml file, or one of {', '.join(NAMED)}"
        ) from error
    return Recipe(**{**checked(values, f"{path}: "), **checked(changes or {}, "")})


def checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of keys that a file states, every key known and every value of its kind.

    Raises
    ------
    RecipeError
        If one is not; the sentence begins with `where`.
    """
    right = {}
    for name, value in values.items():
        if name not in KEYS:
            near = difflib.get_close_matches(name, KEYS, 1)
            cure = f"did you mean {near[0]!r}?" if near else "take it out"
            raise RecipeError(f"{where}{shown_value(name)} is no key of a recipe: {cure}")
        kind: Kind = KEYS[name].metadata["kind"]
        if not kind.fits(value):
            raise RecipeError(f"{where}{name} must be {kind.wanted}, got {shown_value(value)}")
        if isinstance(value, list):
            value = tuple(value)
        elif kind.read is float:
            value = float(value)
        right[name] = value
    return right


def network_options(recipe: Recipe) -> dict[str, Any]:
    """The options of the network that a recipe states."""
    return {name: getattr(recipe, name) for name in ARCHITECTURE if getattr(recipe, name) is not None}


def conflicts(begun: Recipe, wanted: Recipe) -> list[str]:
    """The keys in which a recipe departs from that of a run in a way that a resumed run may not."""
    kept = {**{name: getattr(wanted, name) for name in KEYS}, **network_options(begun), **network_options(wanted)}
    return [name for name, key in KEYS.items() if not key.metadata["free"] and getattr(begun, name) != kept[name]]
