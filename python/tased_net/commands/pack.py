"""`tased pack`: a submission to the DHF1K benchmark."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..data import DataError, open_dataset
from ..predictions import MapFolder
from ..submission import check, pack
from ..words import counted
from .evaluate import refused
from .shared import Commands, UsageError, add_debug, reason, say


def add(commands: Commands) -> None:
    """Adds `tased pack`."""
    parser = commands.add_parser(
        "pack",
        help="make a submission to the DHF1K benchmark",
        description="Checks that the maps in PRED/NAME/0001.png and on are those of DHF1K's test split, all of 640x360, and "
        "packs them as the benchmark wants them: METHOD/NAME/0001.png in one archive.",
        epilog="Exit status: 0 packed, 1 the maps are not what the benchmark wants or a file cannot be written, 2 usage, "
        "130 stopped by ctrl-C.",
    )
    add = parser.add_argument
    add("pred", type=Path, metavar="PRED", help="folder of predicted maps, a folder a video")
    add(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="DHF1K's folder with all of the split, for its number of frames",
    )
    add("-o", "--output", type=Path, metavar="OUT.zip", help="the archive (default: METHOD.zip)")
    add("--method", metavar="METHOD", help="name of the folder in the archive (default: that of PRED)")
    add("--split", choices=("test", "val"), default="test", help="val to try it out (default: %(default)s)")
    add("--resize", action="store_true", help="bring maps of another size or kind to 8-bit grey PNG of 640x360")
    add("--overwrite", action="store_true", help="replace the archive if it is there already")
    add("--quiet", action="store_true", help="no progress bar, no word of success")
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased pack`: returns 1 if the maps are not what the benchmark wants."""
    method = options.method or os.path.basename(os.path.realpath(options.pred))
    if method in ("", ".", "..") or not method.isprintable() or set(method) & set('/\\:*?"<>|'):
        raise UsageError(
            f"--method {method}: want the name of a folder that every system can unpack, such as TASED-Net"
        )
    output = options.output or Path(f"{method}.zip")
    if output.suffix != ".zip":
        raise UsageError(f"-o {output}: name a file that ends in .zip")
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output} is there already: give --overwrite to replace it")
    try:
        progress = not options.quiet
        split = open_dataset(options.data, "dhf1k", options.split, strict=True, progress=progress)
        maps = MapFolder(options.pred, split)
        faults = check(split, maps, resize=options.resize, progress=progress)
        if faults:
            return refused(faults, "error: this is no submission ({}): mend it")
        output.parent.mkdir(parents=True, exist_ok=True)
        count = pack(output, split, maps, method, resize=options.resize, progress=progress)
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if options.debug:
            raise
        say(f"error: {reason(error, output)}")
        return 1
    if not options.quiet:
        say(f"{output}: {counted(count, 'map')} of {counted(len(split.videos), 'video')}")
    return 0
