"""The command `tased`.

Results go to files, tables to stdout and messages to stderr. Exit status: 0 all done, 1 some videos failed, 2 the command line does not
make sense, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import __version__
from .decoders import DECODERS
from .heads import AGGREGATIONS, UPSAMPLINGS
from .info import table
from .predict import FORMATS, SIZE, predict_video
from .render import ALPHA
from .tased import MIN_SIDE, TASEDNet
from .video import READERS, VideoWarning
from .weights import (
    ARCHITECTURE,
    WeightsError,
    architecture,
    described,
    is_encoder_key,
    load_weights,
    read_weights,
    variant_of,
)

# What each precision means for the network's weights, and for its convolutions if that differs.
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
}


# Types of weights that `tased convert` writes.
DTYPES = {"same": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class UsageError(Exception):
    """A command line that cannot be carried out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", VideoWarning)
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            status: int = options.run(options)
            return status
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    except (UsageError, WeightsError) as error:
        if options.debug:
            raise
        _say(f"error: {error}")
        return 2


def predict(options: argparse.Namespace) -> int:
    """`tased predict`: returns 1 if a video failed, else 0."""
    targets = _targets(options.videos, options.output, options.format)
    net = _network(options)
    failures = 0
    for source, target in zip(options.videos, targets, strict=True):
        try:
            _refuse_to_overwrite(target, options)
            frames = predict_video(
                net,
                source,
                target,
                format=options.format,
                size=options.size,
                autocast=PRECISIONS[options.precision][1],
                reader=options.reader,
                alpha=options.alpha,
                fps=options.fps,
                progress=not options.quiet,
            )
        except Exception as error:
            if options.debug:
                raise
            failures += 1
            _say(f"error: {_sentence(error, source)}")
        else:
            if not options.quiet:
                _say(f"{target}: {frames} frames")
    if failures and len(targets) > 1:
        _say(f"{failures} of {len(targets)} videos failed")
    return 1 if failures else 0


def _targets(videos: Sequence[Path], output: Path, format: str) -> list[Path]:
    """Where each video's result goes; -o is a folder unless it ends in a file's suffix."""
    if output.suffix and not output.is_dir():
        if format == "maps":
            raise UsageError(f"-o {output}: maps are many files, name a folder")
        if len(videos) > 1:
            raise UsageError(f"-o {output}: {len(videos)} videos do not go into one file, name a folder")
        if output.suffix.lower() != ".mp4":
            raise UsageError(f"-o {output}: overlays are MP4 files, name one that ends in .mp4, or a folder")
        targets = [output]
    else:
        names = {"overlay": "{}_saliency.mp4", "maps": "{}"}
        targets = [output / names[format].format(video.stem) for video in videos]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"{target} would be the result of several videos: give them different names")
        if any(target.resolve() == video.resolve() for video in videos):
            raise UsageError(f"-o {output}: {target} is a video to read")
    return targets


def _refuse_to_overwrite(target: Path, options: argparse.Namespace) -> None:
    taken = any(target.glob("*.png")) if options.format == "maps" else target.exists()
    if taken and not options.overwrite:
        raise FileExistsError(f"{target} is there already: give --overwrite to replace it")


def info(options: argparse.Namespace) -> int:
    """`tased info`: prints the table of a variant."""
    for line in table(_variant(options), options.size):
        print(line)
    return 0


def convert(options: argparse.Namespace) -> int:
    """`tased convert`: writes a weights file anew, with its variant."""
    source, target = options.source, options.target
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: name a file that ends in .safetensors")
    if target.exists() and not options.overwrite:
        raise UsageError(f"{target} is there already: give --overwrite to replace it")
    state, stated = read_weights(source)
    if all(is_encoder_key(key) for key in state):
        raise WeightsError(f"{source}: holds the encoder only, which is no network to convert")
    found = stated or variant_of(TASEDNet, state)
    if found is None:
        raise WeightsError(f"{source}: fits no variant of TASEDNet")
    net = TASEDNet(**{**found, **_given(options)})
    load_weights(net, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    dtype = DTYPES[options.dtype] or next(value.dtype for value in state.values() if value.is_floating_point())
    net.save_pretrained(target, dtype=dtype)
    print(f"{target}: {described(TASEDNet, architecture(net.options))}")
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The variant's options that stand on the command line."""
    return {name: getattr(options, name) for name in ARCHITECTURE if getattr(options, name, None) is not None}


def _variant(options: argparse.Namespace) -> dict[str, Any]:
    """The variant that --weights states, if it does, with the options of the command line; checked."""
    stated = read_weights(options.weights)[1] if options.weights is not None else None
    variant = {**(stated or {}), **_given(options)}
    try:
        with torch.device("meta"):
            TASEDNet(**variant)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('clip_length', 'clip-length')}") from error
    return variant


def _network(options: argparse.Namespace) -> TASEDNet:
    """The network that the options describe, with its weights, ready to predict."""
    try:
        device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {options.device}: {str(error).splitlines()[0]}") from error
    variant = _variant(options)
    torch.manual_seed(options.seed)
    net = TASEDNet(**variant)
    untrained = f"untrained, with random weights (seed {options.seed}): its maps say nothing about where people look"
    if options.weights is None:
        _say(f"no --weights given: the network is {untrained}")
    elif load_weights(net, options.weights) == "encoder":
        _say(f"{options.weights} holds the encoder only: the prediction network is {untrained}")
    dtype = PRECISIONS[options.precision][0]
    return net.to(device, dtype).to(memory_format=torch.channels_last_3d).eval()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tased", description="Video saliency with TASED-Net: where do people look?")
    parser.add_argument("--version", action="version", version=f"tased {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    predicting = commands.add_parser(
        "predict",
        help="write the saliency of videos",
        description="Predicts a saliency map for every frame of each video.",
        epilog="""examples:
  tased predict street.mp4 -o street_saliency.mp4 --weights TASED_updated.pt
  tased predict clips/*.avi -o results --format maps --weights TASED_updated.pt
  tased predict skate_60fps.mp4 -o out --fps 30 --weights tased.safetensors

Exit status: 0 all done, 1 some videos failed, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = predicting.add_argument
    add("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder, or a .mp4 file for one overlay")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="released weights (.pt) or .safetensors, which may state its variant; without: untrained weights",
    )
    add(
        "--format",
        choices=FORMATS,
        default="overlay",
        help="overlay: OUT/NAME_saliency.mp4, heat over the video (default); "
        "maps: OUT/NAME/0001.png and on, 8-bit grey maps of the network's size",
    )
    add("--overwrite", action="store_true", help="replace results that are there already")
    add(
        "--alpha",
        type=_number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        default=ALPHA,
        help="opacity of the heat where saliency is highest (default: %(default)s)",
    )
    _add_size(predicting)
    add(
        "--fps",
        type=_number("a positive number", lambda value: 0 < value < math.inf),
        help="frames a second that the network sees, 30 for the released weights: every n-th frame of a faster video; "
        "there is a map for every frame all the same (default: the video's own)",
    )
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)")
    add("--precision", choices=tuple(PRECISIONS), default="float32", help="type to compute in (default: %(default)s)")
    add("--reader", choices=tuple(READERS), default="pyav", help="what decodes the videos (default: %(default)s)")
    add("--seed", type=int, default=0, help="of untrained weights (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    _add_variant(predicting)
    _add_debug(predicting)
    predicting.set_defaults(run=predict)

    informing = commands.add_parser(
        "info",
        help="print what a variant of the network costs",
        description="Prints a table of the network's stages for one clip: output shape, parameters, multiply-adds of the "
        "convolutions, and bytes of all maps in float32.",
    )
    informing.add_argument("--weights", type=Path, metavar="FILE", help="a .safetensors file that states its variant")
    _add_size(informing)
    _add_variant(informing)
    _add_debug(informing)
    informing.set_defaults(run=info)

    converting = commands.add_parser(
        "convert",
        help="write a weights file as .safetensors that states its variant",
        description="Reads released weights, a checkpoint or .safetensors, finds out which variant of the network they are, "
        "and writes them with it. Clips of 4 and of 8 frames have the same weights: give --clip-length 4 for 4.",
    )
    converting.add_argument("source", type=Path, metavar="IN", help="the file to read")
    converting.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    converting.add_argument(
        "--dtype", choices=tuple(DTYPES), default="same", help="type of the weights in OUT (default: %(default)s as IN)"
    )
    converting.add_argument("--overwrite", action="store_true", help="replace OUT if it is there already")
    converting.add_argument(
        "--clip-length", type=int, metavar="T", help="frames of a clip, where the file leaves it open"
    )
    _add_debug(converting)
    converting.set_defaults(run=convert)
    return parser


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=_size,
        default=SIZE,
        metavar="HxW",
        help="size that frames are resized to for the network (default: {}x{})".format(*SIZE),
    )


def _add_variant(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "variant of the network", "what the weights file states, and else as released: 32 frames, updated, unpool"
    )
    add = group.add_argument
    add("--clip-length", type=int, metavar="T", help="frames of a clip: 4 or a multiple of 8")
    add("--aggregation", choices=AGGREGATIONS, help="how the prediction network joins the frames")
    add("--upsampling", choices=UPSAMPLINGS, help="how it upsamples between its blocks")
    add("--denser", action="store_const", const=True, help="two more convolutions in each of its spatial blocks")
    add("--maps", type=int, metavar="K", help="maps of the clip's last K frames at once")
    add("--width", type=float, help="scales the channels of every block")
    add("--decoder", choices=("tased", *DECODERS), help="TASED-Net's own, or one that the paper compares with")


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show Python's traceback of an error")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"want HxW such as 224x384, both at least {MIN_SIDE}, got {text!r}")
    return int(height), int(width)


def _number(wanted: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """The type of an argument that is a number."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"want {wanted}, got {text!r}")
        return value

    return number


def _sentence(error: Exception, source: Path) -> str:
    """The error in one line that names the video."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if str(source) in line else f"{source}: {line}"


def _say(message: str) -> None:
    tqdm.write(f"tased: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
