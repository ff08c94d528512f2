"""`tased predict`: the saliency of videos."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..chunks import Chunks
from ..errors import first_line
from ..frames import VideoError
from ..jobs import Job, JobError, Task, clear, sources_in, tasks_for
from ..locks import HeldError
from ..predict import render_video
from ..predictor import Predictor
from ..render import ALPHA, COLORMAP
from ..sources import STDIN, is_url
from ..style import NORMALIZATIONS, SMOOTHING, Style
from ..video import READERS, open_video
from ..weights import architecture, described
from ..writers import WRITERS
from .progress import Progress, progress_for
from .shared import (
    Commands,
    PageFormatter,
    UsageError,
    add_computing,
    add_debug,
    add_size,
    add_variant,
    add_weights,
    devices,
    network,
    number,
    reason,
    say,
    seed,
    weights_name,
)

LOG = ".tased-predict{}.jsonl"  # beside the results, while a job is not done


def add(commands: Commands) -> None:
    """Adds `tased predict`."""
    parser = commands.add_parser(
        "predict",
        help="write the saliency of videos",
        usage="%(prog)s VIDEO [VIDEO ...] -o OUT [--weights FILE]\n                     [--format FORMAT ...] [options]",
        description="Predicts a saliency map for every frame of each video, once, and writes it in any number of formats. "
        "What is stopped by ctrl-C, a kill or a power cut leaves no half-written file, and the same command goes on.",
        epilog="""formats, and what they write of street.mp4 into the folder OUT:
  overlay        street_saliency.mp4       heat over the video (default)
  heatmap        street_heatmap.mp4        the maps in colours
  side-by-side   street_side-by-side.mp4   video, heatmap and overlay
  maps           street/0001.png …         8-bit grey, of the network's size
  npz            street_maps.npz           raw maps and times, for numpy
  gif            street_saliency.gif       a short preview
  webp           street_saliency.webp      the same, smaller
  contact-sheet  street_contact-sheet.png  eight moments on one page
  report         street_report.html        a web page: overlay, maps, plots

examples:
  tased predict street.mp4 -o street_saliency.mp4 --weights TASED_updated.pt
  tased predict clips/*.avi -o results --weights TASED_updated.pt --format maps
  tased predict street.mp4 -o out --format overlay npz --report
  tased predict 'frames/*.png' -o out              # images in quotes: one video
  tased predict http://host/live.m3u8 -o out       # whatever FFmpeg opens
  ffmpeg -i in.mov -c copy -f matroska - | tased predict - -o out
  tased predict skate_60fps.mp4 -o out --fps 30    # learned at 30 a second
  torchrun --nproc-per-node 4 -m tased_net.cli predict clips -o results

Exit status: 0 all done, 1 some videos failed, 2 usage, 130 stopped by ctrl-C.""",
        formatter_class=PageFormatter,
    )
    add = parser.add_argument
    add(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, folders of videos or of the images of one, patterns of either in quotes, URLs, or - for a stream "
        "on standard input",
    )
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder, or the file for a single result")
    add_weights(parser)
    add(
        "--format",
        nargs="+",
        choices=tuple(WRITERS),
        default=["overlay"],
        metavar="FORMAT",
        help=f"what to write, one or several of {', '.join(WRITERS)} (default: overlay); see below",
    )
    add("--report", action="store_true", help="write the report as well, as --format report does")
    add("--overwrite", action="store_true", help="replace results that are there already")
    looks = parser.add_argument_group("looks")
    looks.add_argument(
        "--alpha",
        type=number("a number from 0 to 1", lambda value: 0 <= value <= 1),
        default=ALPHA,
        help="opacity of the heat where saliency is highest, 0 to 1 (default: %(default)s)",
    )
    looks.add_argument(
        "--colormap", default=COLORMAP, metavar="NAME", help="a colour map of matplotlib (default: %(default)s)"
    )
    looks.add_argument(
        "--smooth",
        type=number("a number of pixels, 0 or more", lambda value: 0 <= value < math.inf),
        default=SMOOTHING,
        metavar="SIGMA",
        help="Gaussian over each map, in pixels of a map of 224x384, 0 for none (default: %(default)g, as the authors' code)",
    )
    looks.add_argument(
        "--normalize",
        choices=NORMALIZATIONS,
        default="frame",
        help="what maps are divided by: their own maximum, that of the whole video, or nothing (default: %(default)s)",
    )
    computing = parser.add_argument_group("computing")
    _add_size_and_time(computing)
    add_computing(computing)
    computing.add_argument(
        "--compile",
        choices=("auto", "always", "never"),
        default="auto",
        help="torch.compile, which may take minutes first: auto where it pays, always, or never (default: %(default)s)",
    )
    computing.add_argument(
        "--memory",
        type=number("a positive number of GiB", lambda value: 0 < value < math.inf),
        metavar="GIB",
        help="memory to use at most, on each device (default: all that is free)",
    )
    computing.add_argument(
        "--cluster",
        metavar="ray[:ADDRESS]",
        help="share the videos between the machines of a Ray cluster, or without ADDRESS between processes of this one; "
        "needs pip install tased-net[cluster]",
    )
    add("--reader", choices=tuple(READERS), default="pyav", help="what decodes video files (default: %(default)s)")
    add("--seed", type=seed, default=0, metavar="N", help="seed of random weights (default: %(default)s)")
    add("--quiet", action="store_true", help="say nothing but warnings and errors, on stderr")
    add("--json", action="store_true", help="say what happens in lines of JSON, on stdout")
    add_variant(parser)
    add_debug(parser)
    parser.set_defaults(run=run, when_stopped=": the same command goes on")


def _add_size_and_time(group: Any) -> None:
    add_size(group)
    group.add_argument(
        "--fps",
        metavar="R",
        type=number("a positive number", lambda value: 0 < value < math.inf),
        help="frames a second that the network sees, 30 for the released weights; every frame of the video has its map all the "
        "same (default: the video's own rate)",
    )


def run(options: argparse.Namespace) -> int:
    """`tased predict`: returns 1 if a video failed, else 0."""
    formats = list(dict.fromkeys([*options.format, *(["report"] if options.report else [])]))
    try:
        style = Style(options.alpha, options.colormap, options.smooth, options.normalize)
        tasks = tasks_for(sources_in(options.videos, options.output), options.output, formats)
    except (JobError, ValueError) as error:
        raise UsageError(str(error)) from error
    if options.cluster is not None and options.cluster.partition(":")[0] != "ray":
        raise UsageError(f"--cluster {options.cluster}: want ray, or ray:ADDRESS")
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    tasks = tasks[rank::ranks]
    if not tasks:
        return 0
    worker = Worker(options, style)
    settings = {
        "weights": worker.weights_key,
        "variant": architecture(worker.predictor.net.options),
        "size": list(worker.predictor.size),
        "precision": options.precision,
        "fps": options.fps,
        "reader": options.reader,
        "formats": formats,
        "style": asdict(style),
        "device": worker.predictor.devices[0].type,
        "memory": options.memory,
        "compile": options.compile,
        "versions": [__version__, torch.__version__],
    }
    folder = options.output if tasks_in_folder(options.output, tasks) else options.output.parent
    log, whole = folder / LOG.format("" if folder == options.output else f"-{options.output.name}"), None
    if ranks > 1:
        log, whole = log.with_stem(f"{log.stem}-{rank}"), log
    try:
        job = Job(log, settings, worker.decided(tasks), anew=options.overwrite, whole=whole)
    except (JobError, HeldError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"-o {options.output}: cannot be written to ({error.strerror})") from error
    with job:
        worker.decide(job.decided)
        return _work(job, tasks, worker, options)


def tasks_in_folder(output: Path, tasks: Sequence[Task]) -> bool:
    """Whether results go into `output` rather than being it."""
    return all(target != output for task in tasks for target in task.targets.values())


def _work(job: Job, tasks: Sequence[Task], worker: Worker, options: argparse.Namespace) -> int:
    failures: dict[str, str] = {}
    left = [task for task in tasks if not job.has_done(task)]
    if len(left) < len(tasks) and not options.quiet:
        say(f"going on: {len(tasks) - len(left)} of {len(tasks)} videos are done")
    progress = progress_for(options.quiet, options.json)(len(left), _expected_frames(left, worker))
    done_elsewhere = _cluster(options, left, job, worker)
    for task, outcome in done_elsewhere if done_elsewhere is not None else _here(left, job, worker, options, progress):
        if isinstance(outcome, int):
            outcome = _finished(task, outcome, job)
        if isinstance(outcome, int):
            progress.finish(task.name, list(task.targets.values()), outcome)
        else:
            failures[task.name] = outcome if task.name in outcome else f"{task.name}: {outcome}"
            progress.fail(task.name, failures[task.name])
    progress.end(failures)
    if not failures or not any(task.taken() for task in tasks if task.name in job.begun):
        job.remove()
    else:
        say("the same command tries again what failed, and leaves what is done")
    return 1 if failures else 0


def _finished(task: Task, frames: int, job: Job) -> int | str:
    """A video's number of frames, once it is noted that it is done, or what went wrong with that."""
    try:
        job.finish(task)
    except OSError as error:
        return reason(error, job.path)
    return frames


def _here(
    tasks: Iterable[Task], job: Job, worker: Worker, options: argparse.Namespace, progress: Progress
) -> Iterator[tuple[Task, int | str]]:
    """Does the tasks one after the other; each with its number of frames, or what went wrong."""
    for task in tasks:
        try:
            _begin(task, job, options.overwrite)
            progress.begin(task.name, worker.expected_frames(task))
            sizes = Chunks(job.chunks[task.name], partial(job.change_chunk, task))
            yield task, worker(task, progress.tick, sizes)
        except Exception as error:
            if options.debug:
                raise
            yield task, first_line(error)


def _begin(task: Task, job: Job, overwrite: bool) -> None:
    """Makes the place for a task's results, unless it was begun before."""
    if job.has_begun(task):
        return
    taken = task.taken()
    if taken and not overwrite and task.name not in job.begun:
        raise FileExistsError(f"{taken[0]} is there already: give --overwrite to replace it")
    clear(task)
    job.begin(task)


def _cluster(
    options: argparse.Namespace, tasks: Sequence[Task], job: Job, worker: Worker
) -> Iterator[tuple[Task, int | str]] | None:
    if options.cluster is None:
        return None
    address = options.cluster.partition(":")[2]
    try:
        from ..cluster import on_ray
    except ImportError as error:
        raise UsageError("--cluster ray needs a package: pip install tased-net[cluster]") from error

    def begun() -> Iterator[tuple[Task, str | None]]:
        for task in tasks:
            try:
                _begin(task, job, options.overwrite)
            except OSError as error:
                yield task, first_line(error)
            else:
                yield task, None

    return on_ray(begun(), partial(Worker, options, worker.style, job.decided), address or None)


class Worker:
    """Predicts videos as a command line says.

    Parameters
    ----------
    options
        Of the command line.
    style
        Of what is shown.
    decided
        What was settled for the whole job, if it was.

    Attributes
    ----------
    predictor
        The network.
    weights_key
        What tells its weights from others.
    """

    def __init__(self, options: argparse.Namespace, style: Style, decided: Mapping[str, Any] | None = None) -> None:
        self.options, self.style = options, style
        self._lengths: dict[str, int | None] = {}
        net, self.weights_key = network(options)
        try:
            self.predictor = Predictor(
                net,
                size=options.size,
                device=devices(options),
                precision=options.precision,
                compile={"auto": "auto", "always": True, "never": False}[options.compile],  # type: ignore[arg-type]
                memory_limit=None if options.memory is None else int(options.memory * 2**30),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.facts = {
            "weights": ", ".join(filter(None, (weights_name(options), net.origin.about))),
            "variant": described(type(net), architecture(net.options)),
            "precision": options.precision,
        }
        if decided is not None:
            self.decide(decided)

    def decided(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """What is to be settled for the whole job, since it moves the last bits of its results."""
        frames = [self.expected_frames(task) or 0 for task in tasks]
        return {
            "chunk": self.predictor.chunk,
            "compile": self.predictor.repays_compiling(sum(frames), 1 if self.options.fps is None else 2),
            "threads": torch.get_num_threads(),
        }

    def decide(self, decided: Mapping[str, Any]) -> None:
        """Takes over what was settled when the job began."""
        self.predictor.chunk, self.predictor.compile = decided["chunk"], decided["compile"]
        torch.set_num_threads(decided["threads"])

    def expected_frames(self, task: Task) -> int | None:
        """How many frames a video has as far as its header knows; None also where it cannot be opened, or only once."""
        if task.source not in self._lengths:
            self._lengths[task.source] = _length(task.source)
        return self._lengths[task.source]

    def __call__(
        self, task: Task, tick: Callable[[int], object] = lambda count: None, chunks: Chunks | None = None
    ) -> int:
        """Predicts a video, from where it was left; returns its number of frames."""
        clear(task, maps=False)
        return render_video(
            self.predictor,
            task.source,
            task.targets,
            style=self.style,
            reader=self.options.reader,
            fps=self.options.fps,
            facts=self.facts,
            resume=True,
            tick=tick,
            chunks=chunks,
        )


def _expected_frames(tasks: Sequence[Task], worker: Worker) -> int | None:
    frames = [worker.expected_frames(task) for task in tasks]
    return sum(count for count in frames if count) if all(frames) else None


def _length(source: str) -> int | None:
    if source == STDIN or is_url(source) or Path(source).is_fifo():
        return None
    try:
        with open_video(source) as video:
            return video.expected_frames
    except VideoError:
        return None
