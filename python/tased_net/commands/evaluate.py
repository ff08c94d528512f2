"""`tased evaluate`: predicted maps, or a network's, scored on a dataset."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..data import DATASETS, DataError, Split, open_dataset
from ..evaluate import Evaluation, evaluate
from ..locks import NAME, HeldError, Lock
from ..metrics import SPLITS
from ..predictions import Faults, MapFolder, NetworkMaps, read_map
from ..predictor import Predictor
from ..published import table
from ..score_plots import draw_frames, plot_time, plot_videos
from ..scores import LEVEL, RESAMPLES, ScoresError, write_frames, write_videos
from ..scoring import OTHER_FRAMES
from ..sharing import cores
from ..texts import printable
from ..words import plural
from ..writing import whole_file
from .shared import (
    Commands,
    PageFormatter,
    UsageError,
    add_computing,
    add_debug,
    add_size,
    add_variant,
    devices,
    network,
    reason,
    say,
    seed,
)

FILES = ("scores.json", "videos.csv", "frames.csv", "videos.png", "time.png", "frames.png")
PARTIAL = ".partial"  # the folder of videos that are done, in OUT
MANY = 1000  # frames from which workers are worth their start
DEFAULT_SPLITS = {"dhf1k": "val", "hollywood2": "test", "ucfsports": "test"}
REFUSED = "error: the predictions are not those of the split ({}): mend them, or give --allow-missing"


def add(commands: Commands) -> None:
    """Adds `tased evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="score predicted maps on a dataset",
        usage="%(prog)s [PRED] --data ROOT --dataset DATASET [-o OUT]\n                      [--weights FILE] [options]",
        description="Scores the maps in PRED/NAME/0001.png and on, or those that the network of --weights predicts, against "
        "the fixations and density maps of a dataset, by the metrics of the MIT and DHF1K benchmarks. A run that was stopped "
        "is taken up again by the same command.",
        epilog="""It writes scores.json, videos.csv, frames.csv, and the plots videos.png, time.png and frames.png.

examples:
  tased evaluate maps --data DHF1K --dataset dhf1k
  tased evaluate --weights tased.safetensors --data UCF --dataset ucfsports
  torchrun --nproc-per-node 4 -m tased_net.cli evaluate maps --data DHF1K \\
    --dataset dhf1k        # four processes share the videos

Exit status: 0 all done, 1 predictions are missing or a file cannot be read or written, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=PageFormatter,
    )
    add = parser.add_argument
    add("pred", nargs="?", type=Path, metavar="PRED", help="folder of predicted maps, a folder a video")
    add("--data", type=Path, required=True, metavar="ROOT", help="the dataset's folder")
    add("--dataset", choices=tuple(DATASETS), required=True, help="its layout")
    add(
        "--split", help="part of the dataset (default: val of dhf1k, test of hollywood2 and ucfsports, all of a folder)"
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder for the results (default: PRED_scores, or FILE_scores with --weights)",
    )
    add(
        "--weights",
        metavar="FILE",
        help="predict with these weights, in place of PRED; synthetic for those that come with the package, none for random ones",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes that read and score (default: one a core if frames are many)",
    )
    add(
        "--draw",
        action="store_true",
        help="draw as the benchmark does, one jitter for AUC-J and "
        f"{SPLITS} splits for s-AUC, in place of their exact means",
    )
    add("--seed", type=seed, default=0, metavar="N", help="seed of all that is drawn (default: %(default)s)")
    add("--baseline", type=Path, metavar="FILE", help="also score the information gain over this map, an image")
    add(
        "--allow-missing", action="store_true", help="score what is there, though predictions are missing or unreadable"
    )
    add("--strict", action="store_true", help="refuse a dataset that is not complete")
    add("--overwrite", action="store_true", help="replace results that are there already")
    add_computing(parser, "with --weights: ")
    add("--quiet", action="store_true", help="no progress bar, no table")
    add_size(parser)
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`tased evaluate`: returns 1 if predictions or a file are at fault, else 0."""
    if (options.pred is None) == (options.weights is None):
        raise UsageError("name a folder of predicted maps, or --weights to predict them: one of the two")
    if options.workers is not None and options.workers < 0:
        raise UsageError(f"--workers must not be negative, got {options.workers}")
    source: Path = options.pred or Path(options.weights)
    if source.name in ("", ".."):
        source = source.resolve()
    output = options.output or source.with_name(f"{source.stem if options.weights else source.name}_scores")
    # Then results that are there are of this run, which was stopped as it wrote them.
    begun = os.path.isdir(output / PARTIAL)
    if not (options.overwrite or begun) and any(os.path.exists(output / name) for name in FILES):
        raise UsageError(f"{output} holds results already: give --overwrite to replace them, or another -o")
    split_name = options.split or DEFAULT_SPLITS.get(options.dataset)
    first = int(os.environ.get("RANK", "0")) == 0
    try:
        bar = first and not options.quiet
        split = open_dataset(options.data, options.dataset, split_name, strict=options.strict, progress=bar)
        for problem in split.problems if first else ():
            say(f"warning: {problem}")
        baseline = None if options.baseline is None else read_map(options.baseline)
        predictions = _predictions(options, split)
        if predictions.faults and not options.allow_missing:
            return refused(predictions.faults, REFUSED) if first else 1
        with Lock(output / NAME) if first else nullcontext():
            evaluation = evaluate(
                split,
                predictions,
                seed=options.seed,
                draw=options.draw,
                baseline=baseline,
                workers=_workers(split) if options.workers is None else options.workers,
                partial=output / PARTIAL,
                progress=not options.quiet,
            )
            if evaluation is None:
                return 0
            if evaluation.faults and not options.allow_missing:
                return refused(evaluation.faults, REFUSED)
            _write(output, evaluation, split, source, options)
            shutil.rmtree(output / PARTIAL, ignore_errors=True)
    except (DataError, ScoresError, HeldError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        if options.debug:
            raise
        say(f"error: {reason(error, output)}; what is done is kept")
        return 1
    except BrokenExecutor as error:
        if options.debug:
            raise
        say(f"error: a worker died, for lack of memory maybe ({error}): try fewer --workers; what is done is kept")
        return 1
    except KeyboardInterrupt:
        say("the same command goes on from here")
        raise
    if not options.quiet:
        _show(evaluation, split, printable(source.name), options)
        say(f"{output}: {', '.join(FILES)}")
    return 0


def _workers(split: Split) -> int:
    """One a core, of which torchrun's processes have a share each, where frames are many."""
    few = sum(video.length for video in split.videos) < MANY
    return 0 if few else max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _predictions(options: argparse.Namespace, split: Split) -> MapFolder | NetworkMaps:
    if options.pred is not None:
        return MapFolder(options.pred, split)
    net, key = network(options)
    predictor = Predictor(net, size=options.size, device=devices(options), precision=options.precision)
    return NetworkMaps(predictor, f"{key} {net.options}")


def refused(faults: Faults, sentence: str) -> int:
    """Lists faults, says the sentence with their counts, and returns the exit status."""
    for line in faults.lines():
        say(line)
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in faults.counts().items() if count)
    say(sentence.format(counts))
    return 1


def _write(output: Path, evaluation: Evaluation, split: Split, source: Path, options: argparse.Namespace) -> None:
    scores = evaluation.scores
    title = f"{printable(source.name)} on {DATASETS[split.name].title}{f', {split.split}' if split.split else ''}"
    write_frames(output / "frames.csv", scores)
    write_videos(output / "videos.csv", scores)
    plot_videos(output / "videos.png", scores, title)
    plot_time(output / "time.png", scores, title)
    draw_frames(output / "frames.png", split, scores.metrics, evaluation.examples, title)
    with whole_file(output / "scores.json") as beside:
        beside.write_text(json.dumps(_facts(evaluation, split, source, options), indent=1) + "\n", encoding="utf-8")


def _facts(evaluation: Evaluation, split: Split, source: Path, options: argparse.Namespace) -> dict[str, Any]:
    scores = evaluation.scores
    interval = scores.interval(seed=options.seed)
    found = {}
    for column, (metric, mean) in enumerate(zip(scores.metrics, scores.mean().tolist(), strict=True)):
        ends = None if interval is None else [float(end[column]) for end in interval]
        found[metric] = {"mean": mean, "interval": ends, "mean_over_videos": float(scores.by_video()[:, column].mean())}
    return {
        "predictions": str(source),
        "dataset": split.name,
        "split": split.split,
        "videos": len(scores.videos),
        "frames": scores.frames,
        "scores": found,
        "left_out": evaluation.left_out,
        "constant_predictions": evaluation.constant,
        "faults": {"counts": evaluation.faults.counts(), **asdict(evaluation.faults)},
        "settings": {
            "seed": options.seed,
            "draw": options.draw,
            "other_frames": OTHER_FRAMES,
            "interval": {"level": LEVEL, "bootstrap_samples": RESAMPLES, "over": "videos"},
            "baseline": None if options.baseline is None else str(options.baseline),
        },
        "tased_net": __version__,
    }


def _show(evaluation: Evaluation, split: Split, name: str, options: argparse.Namespace) -> None:
    for line in table(evaluation.scores, split.name, split.split, name, options.seed):
        print(line)
    notes = [
        f"1 frame {reason} is left out" if count == 1 else f"{count} frames {reason} are left out"
        for reason, count in evaluation.left_out.items()
    ]
    if evaluation.constant:
        notes.append(
            f"{evaluation.constant} predicted map{plural(evaluation.constant)} constant, which scores as chance does"
        )
    notes += [f"{count} {kind.replace('_', ' ')}" for kind, count in evaluation.faults.counts().items() if count]
    for note in notes:
        say(f"note: {note}")
