"""`tased predict`: the saliency of videos."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from ..predict import FORMATS, predict_video
from ..predictor import PRECISIONS, Predictor
from ..render import ALPHA
from ..video import READERS
from .shared import Commands, UsageError, add_debug, add_size, add_variant, device, network, number, say


def add(commands: Commands) -> None:
    """Adds `tased predict`."""
    parser = commands.add_parser(
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
    add = parser.add_argument
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
        type=number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        default=ALPHA,
        help="opacity of the heat where saliency is highest (default: %(default)s)",
    )
    add_size(parser)
    add(
        "--fps",
        type=number("a positive number", lambda value: 0 < value < math.inf),
        help="frames a second that the network sees, 30 for the released weights: every n-th frame of a faster video; "
        "there is a map for every frame all the same (default: the video's own)",
    )
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one, else cpu)")
    add("--precision", choices=tuple(PRECISIONS), default="float32", help="type to compute in (default: %(default)s)")
    add("--reader", choices=tuple(READERS), default="pyav", help="what decodes the videos (default: %(default)s)")
    add("--seed", type=int, default=0, help="of untrained weights (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased predict`: returns 1 if a video failed, else 0."""
    targets = _targets(options.videos, options.output, options.format)
    where = device(options)
    predictor = Predictor(network(options), size=options.size, device=where, precision=options.precision)
    failures = 0
    for source, target in zip(options.videos, targets, strict=True):
        try:
            _refuse_to_overwrite(target, options)
            frames = predict_video(
                predictor,
                source,
                target,
                format=options.format,
                reader=options.reader,
                alpha=options.alpha,
                fps=options.fps,
                progress=not options.quiet,
            )
        except Exception as error:
            if options.debug:
                raise
            failures += 1
            say(f"error: {_sentence(error, source)}")
        else:
            if not options.quiet:
                say(f"{target}: {frames} frames")
    if failures and len(targets) > 1:
        say(f"{failures} of {len(targets)} videos failed")
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


def _sentence(error: Exception, source: Path) -> str:
    """The error in one line that names the video."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if str(source) in line else f"{source}: {line}"
