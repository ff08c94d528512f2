"""The command `tased`.

Results go to files and messages to stderr. Exit status: 0 all done, 1 some videos failed, 2 the command line does not
make sense, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from . import __version__
from .heads import AGGREGATIONS
from .predict import FORMATS, SIZE, predict_video
from .render import ALPHA
from .tased import MIN_SIDE, TASEDNet
from .video import READERS, VideoWarning
from .weights import WeightsError, load_weights

# What each precision means for the network's weights, and for its convolutions if that differs.
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
}


class UsageError(Exception):
    """A command line that cannot be carried out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", VideoWarning)
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            return predict(options)
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


def _network(options: argparse.Namespace) -> TASEDNet:
    """The network that the options describe, with its weights, ready to predict."""
    try:
        device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {options.device}: {str(error).splitlines()[0]}") from error
    torch.manual_seed(options.seed)
    try:
        net = TASEDNet(clip_length=options.clip_length, aggregation=options.aggregation, width=options.width)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('clip_length', 'clip-length')}") from error
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
    predict = commands.add_parser(
        "predict",
        help="write the saliency of videos",
        description="Predicts a saliency map for every frame of each video.",
        epilog="""examples:
  tased predict street.mp4 -o street_saliency.mp4 --weights TASED_updated.pt
  tased predict clips/*.avi -o results --format maps --weights TASED_updated.pt

Exit status: 0 all done, 1 some videos failed, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = predict.add_argument
    add("videos", nargs="+", type=Path, metavar="VIDEO", help="video files")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder, or a .mp4 file for one overlay")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="released weights (.pt) or .safetensors; without: untrained weights",
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
        type=_fraction,
        default=ALPHA,
        help="opacity of the heat where saliency is highest (default: %(default)s)",
    )
    add(
        "--size",
        type=_size,
        default=SIZE,
        metavar="HxW",
        help="size that frames are resized to for the network (default: {}x{})".format(*SIZE),
    )
    add("--clip-length", type=int, default=32, metavar="T", help="frames of a clip (default: %(default)s)")
    add(
        "--aggregation",
        choices=AGGREGATIONS,
        default="updated",
        help="variant of the prediction network (default: %(default)s)",
    )
    add("--width", type=float, default=1.0, help="scales the network's channels (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)")
    add("--precision", choices=tuple(PRECISIONS), default="float32", help="type to compute in (default: %(default)s)")
    add("--reader", choices=tuple(READERS), default="pyav", help="what decodes the videos (default: %(default)s)")
    add("--seed", type=int, default=0, help="of untrained weights (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    add("--debug", action="store_true", help="show Python's traceback of an error")
    return parser


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < MIN_SIDE:
        raise argparse.ArgumentTypeError(f"want HxW such as 224x384, both at least {MIN_SIDE}, got {text!r}")
    return int(height), int(width)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"want a number from 0 to 1, got {text!r}")
    return value


def _sentence(error: Exception, source: Path) -> str:
    """The error in one line that names the video."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if str(source) in line else f"{source}: {line}"


def _say(message: str) -> None:
    tqdm.write(f"tased: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
