"""What is fuzzed: everything in the package that reads a file from a stranger, and the command line.

Each target lets the package's own functions read a case, all that take such a file; the last refusal counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch._dynamo  # which some calls import: ctrl-C may come in the middle of that, and half of it would stay
from hypothesis import strategies as st

from tased_net import TASEDNet, cli
from tased_net.commands import main as command
from tased_net.data import DataError, Scan, truth
from tased_net.data.seeking import open_file
from tased_net.evaluate import kept_record
from tased_net.images import SUFFIXES, ImagesReader
from tased_net.predictions import read_map
from tased_net.recipes import KEYS, RecipeError, load_recipe
from tased_net.scores import ScoresError, compare, read_means
from tased_net.submission import map_fault
from tased_net.train.folder import RunFolder, TrainingError
from tased_net.video import VideoError, VideoFrame, open_video, video_writer
from tased_net.weights import ARCHITECTURE, WeightsError, load_weights, read_weights

from . import absurd, corpus
from .cases import Draw, Finding, Refusal, Target
from .damage import damaged, damaged_archive, damaged_png

SHORT = 5  # seconds after which a command is told ctrl-C
FRAMES_READ = 200  # of a video

Reader = Callable[[Path], object]


def by_each(refusals: type[Exception] | tuple[type[Exception], ...], *readers: Reader) -> Reader:
    """Lets several functions read a file; raises the last refusal if there was one, after all have tried."""

    def read(path: Path) -> None:
        refused = None
        for reader in readers:
            try:
                reader(path)
            except refusals as error:
                if not (str(error).isprintable() and str(error)):
                    raise
                refused = error
        if refused is not None:
            raise refused

    return read


def file_of(draw: Draw, folder: Path, name: str, good: Sequence[bytes], others: Sequence[bytes] = ()) -> Path:
    """A damaged file of a name."""
    path = folder / name
    path.write_bytes(damaged(draw, draw.choice(good), others or good))
    return path


def text_of(draw: Draw, path: Path, share: int, good: Sequence[bytes]) -> Path:
    """A text file: one in so many is made up, the others are damaged."""
    if draw.one_in(share):
        path.write_bytes(draw.value.encode("utf-8", "surrogatepass"))
        return path
    return file_of(draw, path.parent, path.name, good)


# ---------------------------------------------------------------------------------------------------------------- weights


@lru_cache
def _net() -> TASEDNet:
    return corpus.network()


def make_checkpoint(draw: Draw, folder: Path) -> Path:
    few = corpus.checkpoints()
    good = draw.choice(few[:-1] if not draw.one_in(10) else few)
    path = folder / "weights.pt"
    archive = zipfile.is_zipfile(io.BytesIO(good)) and draw.random() < 0.7
    path.write_bytes(
        damaged_archive(draw, good) if archive else damaged(draw, good, [*few[:-1], *corpus.tensors()[:2]])
    )
    return path


def read_state(path: Path) -> object:
    run = RunFolder(path.parent)
    run.state = path
    return run.read_state()


def make_tensors(draw: Draw, folder: Path) -> Path:
    files = corpus.tensors()
    good = draw.choice(files if draw.one_in(10) else files[:2])
    path = folder / "model.safetensors"
    if draw.random() < 0.6:  # the header alone is damaged, its length right
        size = int.from_bytes(good[:8], "little")
        header = damaged(draw, good[8 : 8 + size])
        path.write_bytes(len(header).to_bytes(8, "little") + header + good[8 + size :])
    else:
        path.write_bytes(damaged(draw, good, [*files[:2], *corpus.checkpoints()[:2]]))
    return path


WHOLE = st.integers() | st.sampled_from([0, 1, -1, 4, 8, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30])
NUMBERS = WHOLE | st.floats() | st.sampled_from([0.02, 1e-300, 1e300])
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", "kl", "224x384", "²x²", "\x1b[2J", "\u202e", "a\nb", "x" * 5000, "9" * 5000]
)
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: PLAIN | st.sampled_from([8, 0.02, True, "updated", "unpool", "tased", "fcn"]) for name in ARCHITECTURE
        },
        "origin": JSON | st.fixed_dictionaries({}, optional={"size": PLAIN, "about": PLAIN}),
    },
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(
            ["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "U16", "F4", "C64"]
        )
        | TEXTS,
        "shape": st.lists(WHOLE | st.integers(0, 4), max_size=5),
        "data_offsets": st.lists(WHOLE | st.integers(0, 64), min_size=1, max_size=3),
    },
)
METADATA = st.one_of(
    st.tuples(st.just("options"), OPTIONS | JSON),
    st.tuples(st.just("text"), TEXTS),
    st.tuples(st.just("config"), OPTIONS | JSON | TEXTS),
    st.tuples(st.just("header"), st.dictionaries(TEXTS | st.just("__metadata__"), TENSOR | JSON, max_size=4)),
    st.tuples(
        st.just("dtypes"),
        st.dictionaries(TEXTS, st.sampled_from(list(safetensors.torch._TYPES)), min_size=1, max_size=4),
    ),
)


def make_metadata(draw: Draw, folder: Path) -> Path:
    kind, value = draw.value
    path = folder / "model.safetensors"
    state = {"count": torch.tensor([3])} if draw.one_in(2) else _net().state_dict()
    if kind == "config":
        path.write_bytes(safetensors.torch.save(state))
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    elif kind == "header":
        header = json.dumps(value).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    elif kind == "dtypes":
        path.write_bytes(_of_dtypes(value))
    else:
        text = value if kind == "text" else json.dumps(value)
        path.write_bytes(safetensors.torch.save(state, {"tased_net": text}))
    return path


def _of_dtypes(names: dict[str, str]) -> bytes:
    """Tensors of 16 bytes, of any type that the format has."""
    header, place = {}, 0
    for name, kind in names.items():
        count = 16 // torch.empty(0, dtype=safetensors.torch._TYPES[kind]).element_size()
        header[name] = {"dtype": kind, "shape": [count], "data_offsets": [place, place + 16]}
        place += 16
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(place)


def read_pretrained(path: Path) -> object:
    return TASEDNet.from_pretrained(path.parent if (path.parent / "config.json").exists() else path)


def load_seldom(path: Path) -> object:
    """Loads what is small enough to be looked at often: a misfit is compared with every variant, which takes a second."""
    return load_weights(_net(), path) if path.stat().st_size % 16 == 0 else None


# ---------------------------------------------------------------------------------------------------------------- recipes

VALUES = st.sampled_from(
    ["true", "nan", "-inf", "1e400", "0x_1", "1979-05-27", "9" * 5000, "'''", '"\\u0000"', "[1, 'a', {}]", ""]
)
LINE = st.one_of(
    st.tuples(st.sampled_from([*KEYS, "no_key", "batch "]), JSON.map(lambda value: json.dumps(value)) | VALUES).map(
        " = ".join
    ),
    TEXTS,
    st.sampled_from(["[a]", "[[a]]", "[a.b.c]", "a.b.c = 1", "batch = 1", "#", '"" = 1']),
)
RECIPE = st.lists(LINE, max_size=5).map("\n".join)


def make_recipe(draw: Draw, folder: Path) -> Path:
    return text_of(draw, folder / "recipe.toml", 2, corpus.recipes())


def read_recipe(path: Path) -> object:
    return load_recipe(str(path)).text()


# ------------------------------------------------------------------------------------------------------- images and videos


def make_images(draw: Draw, folder: Path) -> Path:
    suffix = draw.choice(list(corpus.images()))
    good = draw.choice(corpus.images()[suffix])
    others = [file for files in corpus.images().values() for file in files]
    path = folder / f"0001{draw.choice(SUFFIXES) if draw.one_in(10) else suffix}"
    if suffix == ".png" and draw.random() < 0.7:
        path.write_bytes(damaged_png(draw, good))
    else:
        path.write_bytes(damaged(draw, good, others))
    return path


def read_images(path: Path) -> None:
    with ImagesReader(path.parent) as reader:
        for frame in reader:
            _is_frame(frame.image)


def read_fault(path: Path) -> None:
    """What `tased pack` finds wrong with a map."""
    fault = map_fault(str(path), resize=True)
    if fault is not None:
        raise DataError(fault)


def _is_frame(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise Finding("wrong result", f"a frame of {image.dtype} {image.shape}")


def make_video(draw: Draw, folder: Path) -> Path:
    name = draw.choice(list(corpus.videos()))
    return file_of(draw, folder, name, [corpus.videos()[name]], [*corpus.videos().values(), corpus.sound()])


def read_video(path: Path) -> None:
    with open_video(path) as reader:
        for frame in islice(reader, FRAMES_READ):
            _is_frame(frame.image)


def read_any_order(path: Path) -> None:
    file = open_file(str(path))
    last = len(file.index) - 1
    for image in file.images([last, 0, last // 2]):
        _is_frame(image)


def read_sound(path: Path) -> None:
    frame = VideoFrame(corpus.pictures(1)[0], Fraction(0))
    with video_writer(Path("out.mp4"), Fraction(25), Fraction(1, 25), sound=str(path)) as write:
        write(frame)


# ------------------------------------------------------------------------------------------------------------------- data


def make_matrix(draw: Draw, folder: Path) -> Path:
    return file_of(draw, folder, "0001.mat", corpus.matrices())


def read_fixations(path: Path) -> None:
    points = truth.read_fixations(str(path))
    if points.dtype != np.bool_ or points.ndim != 2:
        raise Finding("wrong result", f"fixations of {points.dtype} {points.shape}")


def make_arrays(draw: Draw, folder: Path) -> Path:
    good = draw.choice(corpus.arrays())
    path = folder / "00000.npz"
    path.write_bytes(damaged_archive(draw, good) if draw.random() < 0.7 else damaged(draw, good, corpus.arrays()))
    return path


def read_arrays(path: Path) -> None:
    if kept_record(path, "k") is None:
        raise Refusal("is scored again")


TABLE = st.lists(
    st.lists(
        st.sampled_from(["video", "frames", "nss", "cc", "0601", "nan", "1e999", "-1", '"', "\0", ""]) | TEXTS,
        max_size=6,
    ).map(",".join),
    max_size=6,
).map("\n".join)


def make_table(draw: Draw, folder: Path) -> Path:
    return text_of(draw, folder / "videos.csv", 3, corpus.tables())


def read_table(path: Path) -> None:
    means = read_means(path)
    compare(means.values, means.values, means.metrics)


# A folder of a dataset: names of folders and files that mean something, or nothing.
PART = st.sampled_from(
    [
        "train",
        "val",
        "test",
        "video",
        "maps",
        "annotation",
        "fixation",
        "images",
        "0601",
        "a",
        "٣",
        "²",
        "..",
        "a\nb",
        "maps.png",
        "-",
    ]
)
FILE = st.sampled_from(
    [
        "0001.png",
        "0002.png",
        "1.mat",
        "99999999999.png",
        "a.mp4",
        "2.jpg",
        f"{'9' * 200}.png",
        "-1.png",
        "x_3.tif",
        "٣.png",
        ".png",
        "12.5.png",
    ]
)
LISTS = st.sampled_from(["0601", "a", "..", "", "#", "\udcff", "../x", "a" * 300])
TREE = st.tuples(
    st.sampled_from(["dhf1k", "hollywood2", "ucfsports", "folder"]),
    st.lists(st.tuples(st.lists(PART, max_size=4).map(tuple), FILE | TEXTS), min_size=1, max_size=8),
    st.dictionaries(
        st.sampled_from(["train.txt", "val.txt", "x.txt"]), st.lists(LISTS, max_size=3).map("\n".join), max_size=2
    ),
)


def make_tree(draw: Draw, folder: Path) -> tuple[Path, str]:
    dataset, files, lists = draw.value
    root = folder / "root"
    root.mkdir()
    for parts, name in files:
        name = name.replace("/", "_").replace("\0", "_").strip(".") or "x"
        place = root.joinpath(*(part for part in parts if part != ".."))
        with contextlib.suppress(OSError, UnicodeError):  # no name for a file, or one that another part of the path has
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(_content(Path(name).suffix))
    for name, text in lists.items():
        (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return root, dataset


def _content(suffix: str) -> bytes:
    if suffix in corpus.images():
        return corpus.images()[suffix][0]
    return {".mat": corpus.matrices()[0], ".mp4": corpus.videos()["a.mp4"]}.get(suffix, b"")


def read_tree(case: tuple[Path, str]) -> None:
    root, dataset = case
    scan = Scan(root, dataset)
    for split in (None, *scan.splits, "x"):
        with contextlib.suppress(DataError):
            for video in scan.open(split).videos:
                with contextlib.suppress(DataError):
                    next(iter(video.images([0])))
                    video.density(0)
                    video.fixations(0)
    for sentence in scan.open(None).problems:
        if not sentence.isprintable():
            raise Finding("no sentence", repr(sentence))


# ------------------------------------------------------------------------------------------------------------ command line


def run_command(arguments: Sequence[str]) -> None:
    """Runs the command; a refusal is its last line. What works too long is told ctrl-C."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.setitimer(signal.ITIMER_REAL, SHORT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status: Any = cli.main(arguments)
    except SystemExit as end:  # argparse's
        status = end.code or 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        torch.set_num_threads(1)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    text = "".join(texts)
    if status not in (0, 1, 2, 130):
        raise Finding("wrong status", f"{status!r}\n{text}")
    if "Traceback (most recent call last)" in text and "--debug" not in arguments:
        raise Finding("traceback", text)
    odd = sorted({character for character in text if not character.isprintable() and character not in "\n\r\t"})
    if odd:
        raise Finding("no sentence", f"control characters {odd}\n{text}")
    if status in (1, 2):
        sentence = (texts[1].strip().splitlines() or [""])[-1].expandtabs(1)
        for word in arguments:
            sentence = sentence.replace(word, "…") if len(word) > 1000 else sentence
        raise Refusal(sentence)


@lru_cache
def _parsers() -> dict[str, argparse.ArgumentParser]:
    commands = argparse.ArgumentParser().add_subparsers()
    for module in command.COMMANDS:
        module.add(commands)
    return dict(commands.choices)


SMALL = ["--clip-length", "4", "--width", "0.02", "--size", "32x48"]
CHEAP: dict[str, list[str]] = {
    "predict": ["../in/clip.mp4", "-o", "out", "--weights", "none", *SMALL],
    "train": [
        *("--data", "../in/data", "--dataset", "folder", "-o", "out", *SMALL, "--steps", "1", "--batch", "1"),
        *("--accumulate", "1", "--workers", "0", "--validation-clips", "1", "--device", "cpu"),
    ],
    "info": SMALL,
    "convert": ["../in/net.safetensors", "out.safetensors"],
    "data": ["../in/data", "--dataset", "folder"],
    "synth": ["-o", "out", "--videos", "1", "--size", "36x64", "--frames", "2-3", "--workers", "1"],
    "evaluate": ["../in/maps", "--data", "../in/data", "--dataset", "folder", "-o", "out", "--workers", "0"],
    "compare": ["../in/a.csv", "../in/b.csv"],
    "pack": ["../in/maps", "--data", "../in/data", "-o", "out.zip"],
}
# With other values these do what they are told: start processes by the thousand, compile for minutes, write elsewhere.
COSTLY = {
    "--workers": ["0", "-1", "x", ""],
    "--output": ["out", "out/a b", "out.zip", "out.mp4", "/dev/null", "../in/a.csv"],
    "--width": ["0.02", "0.05", "0", "-1", "nan", "inf", "1e300", "x"],
    "--compile": ["auto", "never", "x"],
    "--cluster": ["rax", ""],
    "--videos": ["0", "2", "x"],
}
PATHS = [
    "../in/clip.mp4",
    "../in/net.safetensors",
    "../in/data",
    "../in/a.csv",
    "../in",
    "/dev/null",
    ".",
    "",
    "missing",
    "out",
    "a" * 300,
]
WORDS = [
    "-1",
    "0",
    "1",
    "2",
    "4",
    "8",
    "17x17",
    "0x0",
    "32x48",
    "1e400",
    "nan",
    "-inf",
    "9" * 5000,
    "²",
    "٣",
    "a,b",
    "cpu",
    "none",
    "\x1b[2J",
]


def _option(action: argparse.Action) -> st.SearchStrategy[list[str]]:
    """An option with values that fit, or do not."""
    values = st.sampled_from(WORDS) | st.sampled_from(PATHS) | TEXTS | WHOLE.map(str)
    if action.choices:
        values = st.sampled_from(list(map(str, action.choices))) | values
    name = action.option_strings[-1] if action.option_strings else None
    if name in COSTLY:
        values = st.sampled_from(COSTLY[name])
    count = st.just(0) if action.nargs == 0 else st.just(1) if action.nargs is None else st.integers(0, 3)
    given = count.flatmap(lambda count: st.lists(values, min_size=count, max_size=count))
    return given if name is None else given.map(lambda values: [name, *values])


def _command_lines() -> st.SearchStrategy[list[str]]:
    lines = []
    for name, parser in _parsers().items():
        options = [
            _option(action)
            for action in parser._actions
            if "--debug" not in action.option_strings and action.dest != "compile"
        ]
        flat = st.lists(st.one_of(options), max_size=3).map(lambda parts: [word for part in parts for word in part])
        lines.append(
            st.tuples(st.booleans(), flat).map(
                lambda case, name=name: [name, *(CHEAP[name] if case[0] else []), *case[1]]
            )
        )
        lines.append(flat.map(lambda words, name=name: [name, *CHEAP[name], *words]))
    return st.one_of(*lines, st.lists(TEXTS, max_size=3))


def make_arguments(draw: Draw, folder: Path) -> list[str]:
    make_inputs(folder)
    return [word.replace("\0", "0") for word in draw.value]


def make_inputs(folder: Path, video: str = "clip.mp4", part: str = "street") -> None:
    """A video, weights, a dataset with maps, predictions and tables, for commands to read."""
    (folder / video).write_bytes(corpus.videos()["a.mp4"])
    (folder / "net.safetensors").write_bytes(corpus.tensors()[-1])
    for name in ("a.csv", "b.csv"):
        (folder / name).write_bytes(corpus.tables()[0])
    for place in (folder / "data" / part / "images", folder / "data" / part / "maps", folder / "maps" / part):
        place.mkdir(parents=True)
        for number in (1, 2):
            (place / f"000{number}.png").write_bytes(corpus.images()[".png"][1])
    points = folder / "data" / part / "fixation"
    points.mkdir()
    for number in (1, 2):
        (points / f"000{number}.mat").write_bytes(corpus.matrices()[0])


# ------------------------------------------------------------------------------------------------------------------ names

NASTY = [
    *(
        "a b",
        " ",
        "-",
        "--help",
        "-o",
        "--",
        "a\nb",
        "a\tb",
        "\x1b[31mred\x1b[0m",
        "\x07",
        "\u202etxt",
        "\u2028",
        "é",
        "e\u0301",
        "\udcff",
    ),
    *(
        "$(touch pwned)",
        "`touch pwned`",
        ";touch pwned",
        "|touch pwned",
        "& touch pwned",
        "$HOME",
        "~",
        "'",
        '"',
        "a'b\"c",
        "\\",
        "a\\b",
    ),
    *(
        "..\\..\\x",
        "*",
        "?",
        "[a]",
        "{0}",
        "{}",
        "%s",
        "%d",
        "%04d",
        "%2e%2e",
        "$x^$",
        "$\\frac",
        "<script>alert(1)</script>",
        "&amp;",
        "#",
    ),
    *(
        "concat:a",
        "pipe:",
        "file:",
        "http:",
        "data:",
        "a:b",
        "...",
        "..a",
        ".hidden",
        "0001",
        "²",
        "٣",
        "synthetic",
        "none",
        "nul",
        "1" * 200,
    ),
    *("ünï çødé", "日本語", "🙂", "a,b", "=1+1", "\N{BOM}x"),
]
NAME = (
    (st.sampled_from(NASTY) | st.text(min_size=1, max_size=12))
    .map(lambda text: text.replace("/", "_").replace("\0", "_"))
    .filter(lambda text: text not in (".", ".."))
)


def _named(name: str, folder: Path) -> dict[str, list[str]]:
    """Commands by what they do with a name that stands for a file, a folder, or something else."""
    small = ["--weights", "none", *SMALL, "--quiet"]
    data = ["--data", "../in/data", "--dataset", "folder"]
    return {
        "video": ["predict", f"../in/{name}.mp4", "-o", "out", *small, "--format", "overlay", "maps", "report"],
        "plain video": ["predict", f"./{name}.mp4", "-o", "out", *small, "--format", "npz", "contact-sheet"],
        "bare video": ["predict", f"{name}.mp4", "-o", "out", *small],
        "images": ["predict", f"../in/data/{name}/images", "-o", "out", *small, "--format", "maps"],
        "pattern": ["predict", f"../in/data/{name}/images/*.png", "-o", "out", *small, "--format", "maps"],
        "url": ["predict", (folder / f"{name}.mp4").as_uri(), "-o", "out", *small, "--format", "maps"],
        "bare url": ["predict", f"file://{folder}/{name}", "-o", "out", *small, "--format", "maps"],
        "output": ["predict", "../in/clip.mp4", "-o", f"out/{name}", *small, "--format", "overlay", "report"],
        "output file": ["predict", "../in/clip.mp4", "-o", f"out/{name}.mp4", *small],
        "json": ["predict", f"../in/{name}.mp4", "-o", "out", *small[:-1], "--json"],
        "weights": ["info", "--weights", f"../in/{name}.safetensors"],
        "converted": ["convert", "../in/net.safetensors", f"out/{name}.safetensors"],
        "about": ["convert", "../in/net.safetensors", "out.safetensors", "--about", name],
        "data": ["data", "../in/data", "--dataset", "folder", "--split", name],
        "videos": ["data", "../in/data", "--dataset", "folder"],
        "evaluated": ["evaluate", "../in/maps", *data, "-o", f"out/{name}", "--quiet"],
        "titled": ["evaluate", f"../in/{name}", *data, "-o", "out", "--quiet"],
        "compared": ["compare", f"../in/{name}.csv", "../in/a.csv"],
        "method": [
            "pack",
            "../in/maps",
            "--data",
            "../in/dhf1k",
            "--split",
            "val",
            "-o",
            "out.zip",
            "--method",
            name,
            "--resize",
            "--quiet",
        ],
        "packed": [
            "pack",
            f"../in/{name}",
            "--data",
            "../in/dhf1k",
            "--split",
            "val",
            "-o",
            f"out/{name}.zip",
            "--resize",
            "--quiet",
        ],
        "synthetic": [
            "synth",
            "-o",
            f"out/{name}",
            "--videos",
            "1",
            "--size",
            "36x64",
            "--frames",
            "2-3",
            "--workers",
            "1",
            "--quiet",
        ],
        "run": ["train", *CHEAP["train"][:4], "-o", f"out/{name}", *CHEAP["train"][6:], "--quiet"],
        "recipe": ["train", "--recipe", f"../in/{name}.toml", *CHEAP["train"], "--quiet"],
        "colours": ["predict", "../in/clip.mp4", "-o", "out", *small, "--colormap", name],
    }


def make_name(draw: Draw, folder: Path) -> list[str]:
    name = draw.value
    make_inputs(folder, part=name)
    for place, content in (
        (folder / f"{name}.mp4", corpus.videos()["a.mp4"]),
        (folder / name, corpus.videos()["a.mp4"]),
        (folder.parent / "here" / f"{name}.mp4", corpus.videos()["a.mp4"]),
        (folder / f"{name}.safetensors", corpus.tensors()[-1]),
        (folder / f"{name}.csv", corpus.tables()[0]),
        (folder / f"{name}.toml", b"seed = 1\n"),
    ):
        if not place.exists():
            place.write_bytes(content)
    kinds = _named(name, folder)
    kind = draw.choice(list(kinds))
    if kind in ("titled", "packed") and (folder / name).is_file():
        (folder / name).unlink()
        (folder / "maps").rename(folder / name)
    _make_dhf1k(folder)
    return kinds[kind]


def _make_dhf1k(folder: Path) -> None:
    """One video of DHF1K's, and maps of it."""
    frames = folder / "dhf1k" / "video" / "0601"
    frames.mkdir(parents=True)
    maps = [path for path in folder.iterdir() if path.is_dir() and path.name not in ("data", "dhf1k")]
    places = [frames, folder / "dhf1k" / "annotation" / "0601" / "maps", *(place / "0601" for place in maps)]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        for number in (1, 2):
            (place / f"000{number}.png").write_bytes(corpus.images()[".png"][1])


def run_named(arguments: Sequence[str]) -> None:
    run_command(arguments)
    for archive in Path().glob("out/*.zip"):
        check_archive(archive)
    if Path("out.zip").exists():
        check_archive(Path("out.zip"))


def check_archive(path: Path) -> None:
    """Whether an archive that we made is one that any program may unpack anywhere."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = name.replace("\\", "/").split("/")
            if len(parts) != 3 or any(
                part in ("", ".", "..") or ":" in part or not part.isprintable() for part in parts
            ):
                raise Finding("unsafe archive", repr(name))


# ---------------------------------------------------------------------------------------------------------------- targets

TARGETS = (
    Target(
        "weights",
        make_checkpoint,
        by_each((WeightsError, TrainingError), read_weights, load_seldom, read_state),
        (WeightsError, TrainingError),
        absurd.CHECKPOINTS,
        weight=15,
    ),
    Target(
        "safetensors",
        make_tensors,
        by_each(WeightsError, read_weights, load_seldom, read_pretrained),
        (WeightsError,),
        absurd.TENSORS,
    ),
    Target(
        "metadata",
        make_metadata,
        by_each(WeightsError, read_weights, read_pretrained),
        (WeightsError,),
        absurd.METADATA,
        METADATA,
    ),
    Target("recipe", make_recipe, read_recipe, (RecipeError,), absurd.RECIPES, RECIPE),
    Target(
        "images",
        make_images,
        by_each(
            (VideoError, DataError),
            read_images,
            lambda path: truth.frame_size(str(path)),
            lambda path: truth.truth_size(str(path)),
            lambda path: truth.read_density(str(path)),
            lambda path: read_fixations(path),
            read_map,
            read_fault,
        ),
        (VideoError, DataError),
        absurd.IMAGES,
        weight=15,
    ),
    Target(
        "videos",
        make_video,
        by_each((VideoError, DataError), read_video, read_any_order, read_sound),
        (VideoError, DataError),
        absurd.VIDEOS,
        weight=20,
    ),
    Target(
        "matrices",
        make_matrix,
        by_each(DataError, read_fixations, lambda path: truth.truth_size(str(path))),
        (DataError,),
        absurd.MATRICES,
        weight=15,
    ),
    Target("arrays", make_arrays, read_arrays, (Refusal,), absurd.ARRAYS, weight=5),
    Target("tables", make_table, read_table, (ScoresError,), absurd.TABLES, TABLE, weight=5),
    Target("folders", make_tree, read_tree, (DataError,), absurd.FOLDERS, TREE),
    Target("arguments", make_arguments, run_command, (Refusal,), {}, _command_lines()),
    Target("names", make_name, run_named, (Refusal,), {}, NAME, weight=5),
)
