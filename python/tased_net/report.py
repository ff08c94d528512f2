"""A page about a video's saliency: the overlay to play, maps and measures over time, all in one HTML file."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from importlib import resources
from pathlib import Path
from string import Template
from typing import ClassVar

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from .frames import RGB, VideoFrame, VideoInfo
from .output import EvenSample, FileWriter
from .render import Map, heat, overlay, reduced
from .style import Style
from .words import clock, counted
from .writing import video_writer, whole_file

WIDTH = 640  # pixels of the overlay at most
QUALITY = 24  # of its encoding
MOMENTS, MOMENT_WIDTH = 10, 200  # the strip's pictures

# The plots' coordinates.
VIEW = (1000, 150)
LEFT, RIGHT, TOP, BOTTOM = 44.0, 990.0, 8.0, 122.0
MAX_POINTS = 2000  # of a line


@dataclass(frozen=True)
class Measures:
    """What a map (h, w) says in four numbers; NaN where it is zero everywhere.

    Attributes
    ----------
    x, y
        The place of its largest value, from the left and the top in % of the width and the height.
    spread
        Standard deviation of the map, taken as a density, around its centroid, in % of the width.
    entropy
        Of that density, in bits: from 0 for a point to log2(h w) for a map that is the same everywhere.
    """

    x: float
    y: float
    spread: float
    entropy: float


def measures(saliency: Map) -> Measures:
    """Where a map peaks, how wide it is and how undecided."""
    height, width = saliency.shape
    total = saliency.sum(dtype=np.float64)
    if total <= 0:
        return Measures(*[math.nan] * 4)
    row, column = divmod(int(saliency.argmax()), width)
    density = saliency / total
    rows, columns = np.arange(height), np.arange(width)
    across, down = density.sum(axis=0), density.sum(axis=1)
    variance = across @ columns**2 - (across @ columns) ** 2 + down @ rows**2 - (down @ rows) ** 2
    positive = density[density > 0]
    entropy = -float(positive @ np.log2(positive))
    spread = 100 * math.sqrt(max(variance, 0)) / width
    return Measures(100 * (column + 0.5) / width, 100 * (row + 0.5) / height, spread, max(entropy, 0.0))


class ReportWriter(FileWriter):
    """One HTML page that needs nothing else: overlay video, pictures and plots are in it.

    The overlay is at most 640 pixels wide and carries the video's sound. Names and facts are escaped, and the page forbids the
    browser to load anything from elsewhere.

    Parameters
    ----------
    facts
        Rows for the table of facts, such as weights and variant, beside those that the writer knows itself.
    """

    suffix: ClassVar[str] = "_report.html"

    def __init__(self, target: Path, video: VideoInfo, style: Style, facts: Mapping[str, str] | None = None) -> None:
        super().__init__(target, video, style)
        self._facts = dict(facts or {})
        self._path = self._open.enter_context(whole_file(target))
        self._overlay = target.with_name(f"{target.name}.overlay")  # hidden until it is whole
        self._open.callback(self._overlay.unlink, missing_ok=True)
        self._encoding = self._open.enter_context(ExitStack())
        encoder = video_writer(self._overlay, video.rate, video.time_base, sound=video.sound, quality=QUALITY)
        self._put = self._encoding.enter_context(encoder)
        self._moments: EvenSample[tuple[Fraction, RGB, RGB]] = EvenSample(4 * MOMENTS, video.expected_frames)
        self._times: list[Fraction] = []
        self._measures: list[Measures] = []
        self._sizes = ("", "")

    def write(self, number: int, frame: VideoFrame, raw: Map, shown: Map) -> None:
        small = reduced(frame.image, WIDTH, frame.pixel_aspect)
        picture = overlay(small, shown, self.style.alpha, self.style.colormap)
        self._put(replace(frame, image=picture, pixel_aspect=Fraction(1)))
        self._moments.offer(lambda: (frame.time, *self._moment(small, shown)))
        self._times.append(frame.time)
        self._measures.append(measures(shown))
        self._sizes = (_size(frame.image), _size(raw))

    def _moment(self, image: RGB, shown: Map) -> tuple[RGB, RGB]:
        image = reduced(image, MOMENT_WIDTH)
        return image, heat(shown, image.shape[:2], self.style.colormap)

    def _finish(self) -> None:
        self._encoding.close()
        start = self._times[0]
        times = [float(time - start) for time in self._times]
        duration = times[-1] + float(1 / self.video.rate)
        name = Path(self.video.source).name
        parts = {
            "title": html.escape(name),
            "subtitle": f"Where people look, as TASED-Net predicts it, over {counted(len(times), 'frame')} and {_clock(duration)}",
            "facts": _rows(self._all_facts(duration)),
            "strip": self._strip(start, duration),
            "plots": self._plots(times, duration),
            "data": self._data(times, duration),
        }
        page = resources.files(__package__).joinpath("report.html").read_text("utf-8")
        before, after = (Template(half).substitute(parts) for half in page.split("$video"))
        with (
            self._path.open("w", encoding="ascii", errors="xmlcharrefreplace") as file,
            self._overlay.open("rb") as encoded,
        ):
            file.write(before)
            while part := encoded.read(3 * 2**18):  # of whole groups of three bytes, as base64 joins them
                file.write(base64.b64encode(part).decode())
            file.write(after)

    def _all_facts(self, duration: float) -> dict[str, str]:
        frames, maps = self._sizes
        style = self.style
        return {
            "Source": self.video.source,
            "Frames": f"{len(self._times)}, {_clock(duration)}",
            "Rate": f"{float(self.video.rate):.4g} frames a second",
            "Height x width": f"{frames}, maps {maps}",
            **self._facts,
            "Smoothing": f"sigma {style.smooth:g} px at 224x384" if style.smooth else "none",
            "Normalized": {"frame": "each map", "video": "over the video", "none": "no"}[style.normalize],
            "Colours": f"{style.colormap}, opacity {style.alpha:g}",
        }

    def _strip(self, start: Fraction, duration: float) -> str:
        moments = self._moments.pick(MOMENTS)
        parts = []
        for index, (time, image, saliency) in enumerate(moments):
            at = float(time - start)
            pictures = "".join(f'<img alt="" src="{_webp(picture)}">' for picture in (image, saliency))
            parts.append(
                f'<button type="button" data-time="{at:.4f}" data-from="{index * duration / len(moments):.4f}" '
                f'aria-label="go to {_clock(at)}">{pictures}{_clock(at)}</button>'
            )
        return "".join(parts)

    def _plots(self, times: Sequence[float], duration: float) -> str:
        most = math.log2(math.prod(map(int, self._sizes[1].split("x"))))
        columns = self._columns()
        return "".join(
            _plot(title, note, unit, digits, {name: columns[name] for name in names}, times, duration, limits)
            for title, note, unit, digits, names, limits in (
                ("Peak position", "from the left and from the top", "%", 0, ("x", "y"), (0.0, 100.0)),
                ("Spread", "standard deviation around the centroid, of the width", "%", 1, ("spread",), None),
                ("Entropy", f"of the map as a density, at most {most:.1f}", "bits", 2, ("entropy",), None),
            )
        )

    def _columns(self) -> dict[str, list[float]]:
        return {field.name: [getattr(one, field.name) for one in self._measures] for field in fields(Measures)}

    def _data(self, times: Sequence[float], duration: float) -> str:
        data: dict[str, object] = {
            name: [None if math.isnan(value) else round(value, 3) for value in values]
            for name, values in self._columns().items()
        }
        data |= {"times": [round(time, 4) for time in times], "duration": duration}
        data |= {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
        return json.dumps(data, separators=(",", ":"))


# ------------------------------------------------------------------------------------------------------------------ parts


def _size(image: RGB | Map) -> str:
    return "x".join(map(str, image.shape[:2]))


def _clock(seconds: float) -> str:
    """1:02:03, 2:03 or 2.5 s."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _rows(facts: Mapping[str, str]) -> str:
    return "".join(
        f"<tr><th>{html.escape(name[:1].upper() + name[1:])}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )


def _webp(image: RGB) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _plot(
    title: str,
    note: str,
    unit: str,
    digits: int,
    lines: Mapping[str, Sequence[float]],
    times: Sequence[float],
    duration: float,
    limits: tuple[float, float] | None,
) -> str:
    """A heading with the values of now, and the lines over time as SVG with a cursor."""
    known = [value for values in lines.values() for value in values if not math.isnan(value)] or [0.0]
    ticks = MaxNLocator(4).tick_values(*(limits or (min(known), max(known))))
    low, high = limits or (float(ticks[0]), float(ticks[-1]))

    def right(time: float) -> float:
        return LEFT + (RIGHT - LEFT) * time / duration

    def down(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    parts = []
    for tick in ticks:
        if low <= tick <= high:
            parts.append(f'<path class="grid" d="M{LEFT:g} {down(tick):.1f}H{RIGHT:g}"/>')
            parts.append(f'<text x="{LEFT - 8:g}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in MaxNLocator(8, steps=[1, 2, 3, 5, 6, 10]).tick_values(0, duration):
        if 0 <= tick <= duration:
            parts.append(
                f'<text x="{right(tick):.1f}" y="{BOTTOM + 20:g}" text-anchor="middle">{_tick(tick, duration)}</text>'
            )
    every = math.ceil(len(times) / MAX_POINTS)
    for name, values in lines.items():
        points = [(right(time), value) for time, value in zip(times[::every], values[::every], strict=True)]
        parts.append(f'<path class="line" style="stroke:var(--{name})" d="{_path(points, down)}"/>')
    parts.append(f'<line class="cursor" x1="{LEFT:g}" x2="{LEFT:g}" y1="{TOP:g}" y2="{BOTTOM:g}"/>')
    parts += [f'<circle class="dot" r="4.5" style="fill:var(--{name})" data-of="{name}"/>' for name in lines]
    now = "".join(
        f'<span style="color:var(--{name})">{name + " " if len(lines) > 1 else ""}'
        f'<b><output data-of="{name}" data-digits="{digits}"></output></b> {unit}</span>'
        for name in lines
    )
    return (
        f'<div class="plot"><div class="head"><h2>{title}</h2><p>{note}</p><div class="values">{now}</div></div>'
        f'<div class="chart"><svg viewBox="0 0 {VIEW[0]} {VIEW[1]}" data-range="{low:g} {high:g}" role="img" aria-label="{title} over time">'
        f"{''.join(parts)}</svg></div></div>"
    )


def _tick(time: float, duration: float) -> str:
    return _clock(time) if duration >= 60 and time >= 60 else f"{time:g} s"


def _path(points: Sequence[tuple[float, float]], down: Callable[[float], float]) -> str:
    """SVG's commands for a line through the points, with gaps where there is no value."""
    parts, pen = [], "M"
    for x, value in points:
        if math.isnan(value):
            pen = "M"
        else:
            parts.append(f"{pen}{x:.1f} {down(value):.1f}")
            pen = "L"
    return "".join(parts)
