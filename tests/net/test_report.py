"""The report: what it measures, that it stands alone, and that it lives in a browser."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from net.browser import PROGRAM, Browser
from net.test_writers import INFO, SIZE, raw_map, scenes
from tased_net.report import ReportWriter, measures
from tased_net.style import Style
from tased_net.video import VideoInfo, open_video

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (apt-get install chromium)")

FACTS = {"weights": "TASED_updated.pt", "Variant": "32 frames, updated"}
WIDE = 960


def report(folder: Path, info: VideoInfo = INFO, facts: dict[str, str] = FACTS, count: int = 50) -> Path:
    target, style = folder / "street_report.html", Style(smooth=2.0)
    with ReportWriter(target, replace(info, expected_frames=count), style, facts) as writer:
        for number, (frame, raw) in enumerate(scenes(count, 270, WIDE)):
            frame = replace(frame, time=frame.time + 7)  # a video need not begin at 0
            writer.write(number, frame, raw, style.shown(raw))
    return target


# --------------------------------------------------------------------------------------------------------------- measures


def test_a_single_bright_pixel_has_a_place_no_spread_and_no_entropy() -> None:
    saliency = np.zeros((20, 40), np.float32)
    saliency[4, 29] = 0.3
    result = measures(saliency)
    assert (result.x, result.y) == (pytest.approx(73.75), pytest.approx(22.5))
    assert (result.spread, result.entropy) == (pytest.approx(0, abs=1e-4), 0)


def test_an_even_map_has_the_spread_of_its_rectangle_and_all_entropy_there_is() -> None:
    result = measures(np.full((20, 40), 0.3, np.float32))
    assert result.entropy == pytest.approx(math.log2(800))
    assert result.spread == pytest.approx(100 * math.sqrt((40**2 - 1 + 20**2 - 1) / 12) / 40)


def test_two_equal_pixels_have_one_bit_and_spread_by_half_their_distance() -> None:
    saliency = np.zeros((20, 40), np.float32)
    saliency[4, [5, 25]] = 0.5
    result = measures(saliency)
    assert (result.entropy, result.spread) == (pytest.approx(1), pytest.approx(100 * 10 / 40))


def test_a_map_of_zeros_has_no_measures() -> None:
    result = measures(np.zeros((20, 40), np.float32))
    assert all(map(math.isnan, (result.x, result.y, result.spread, result.entropy)))


# --------------------------------------------------------------------------------------------------------- what is in it


class Parsed(html.parser.HTMLParser):
    """The page's texts, and its addresses, which must all be in itself."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.data: dict[str, Any] = {}
        self._json = False
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._json = tag == "script" and ("id", "data") in attributes
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "data", "poster")]

    def handle_data(self, text: str) -> None:
        if self._json:
            self.data = json.loads(text)
            self._json = False
        else:
            self.texts.append(text.strip())


def test_the_page_holds_all_in_itself(tmp_path: Path) -> None:
    file = report(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    page = Parsed(file)
    assert len(page.addresses) == 1 + 2 * 10  # the video, and ten moments with a frame and a map each
    assert all(address.startswith("data:") for address in page.addresses)
    assert "url(" not in file.read_text()
    for address in page.addresses[1:]:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as image:
            assert image.size == (200, 56)
    (tmp_path / "a.mp4").write_bytes(base64.b64decode(page.addresses[0].split(",")[1]))
    with open_video(tmp_path / "a.mp4") as video:
        frames = list(video)
    assert frames[0].image.shape == (180, 640, 3)
    assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(50)]


def test_the_numbers_are_the_measures_of_every_frame(tmp_path: Path) -> None:
    data = Parsed(report(tmp_path)).data
    assert data["times"] == [pytest.approx(number / 25) for number in range(50)]
    assert data["duration"] == 2
    expected = [measures(Style(smooth=2.0).shown(raw_map(number))) for number in range(50)]
    for name in ("x", "y", "spread", "entropy"):
        assert data[name] == pytest.approx([getattr(one, name) for one in expected], abs=1e-3)


def test_the_facts_are_in_a_table(tmp_path: Path) -> None:
    texts = Parsed(report(tmp_path)).texts
    facts = dict(pairwise(texts))
    assert facts["Source"] == "street.mp4"
    assert facts["Frames"] == "50, 2.0 s"
    assert facts["Rate"] == "25 frames a second"
    assert facts["Height x width"] == "270x960, maps 32x48"
    assert facts["Weights"] == "TASED_updated.pt"
    assert facts["Smoothing"] == "sigma 2 px at 224x384"


def test_maps_of_zeros_leave_gaps(tmp_path: Path) -> None:
    style = Style()
    with ReportWriter(tmp_path / "a.html", INFO, style) as writer:
        for number, (frame, raw) in enumerate(scenes(6)):
            raw = raw if number != 3 else np.zeros(SIZE, np.float32)
            writer.write(number, frame, raw, style.shown(raw))
    page = (tmp_path / "a.html").read_text()
    assert Parsed(tmp_path / "a.html").data["x"][3] is None
    assert re.findall(r'class="line" style="stroke:var\(--x\)" d="([^"]*)"', page)[0].count("M") == 2
    assert "nan" not in page.lower().split("base64")[0]


# ------------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("report")
    with Browser(folder / "profile") as browser:
        browser.open(report(folder))
        yield browser


NOW = """
const now = () => ({
    time: video.currentTime,
    cursors: [...document.querySelectorAll(".cursor")].map(line => Number(line.getAttribute("x1"))),
    values: [...document.querySelectorAll("output")].map(place => place.textContent),
    moment: moments.findIndex(moment => moment.classList.contains("now")),
});
const once = name => new Promise(done => video.addEventListener(name, done, {once: true}));
if (video.readyState < 2) await once("loadeddata");
"""


def values_at(frame: int) -> list[str]:
    one = measures(Style(smooth=2.0).shown(raw_map(frame)))
    return [f"{one.x:.0f}", f"{one.y:.0f}", f"{one.spread:.1f}", f"{one.entropy:.2f}"]


def place_at(time: float) -> float:
    return 44 + (990 - 44) * time / 2


@needs_browser
def test_the_video_plays_and_the_cursor_follows(browser: Browser) -> None:
    played = browser.run(
        f"""{NOW} video.muted = true; video.currentTime = 0; await video.play();
        await new Promise(done => setTimeout(done, 400)); video.pause(); await new Promise(requestAnimationFrame);
        return {{...now(), width: video.videoWidth, length: video.duration}};"""
    )
    assert (played["width"], played["length"]) == (640, pytest.approx(2, abs=0.01))
    assert played["time"] > 0.05
    assert played["cursors"] == pytest.approx([place_at(played["time"])] * 3, abs=5)


@needs_browser
def test_seeking_shows_the_values_of_that_frame(browser: Browser) -> None:
    seen = browser.run(f'{NOW} const seeked = once("seeked"); video.currentTime = 1.21; await seeked; return now();')
    assert seen["cursors"] == pytest.approx([place_at(1.21)] * 3, abs=0.1)
    assert seen["values"] == values_at(30)
    assert seen["moment"] == 6


@needs_browser
def test_a_moment_or_a_place_in_a_plot_is_gone_to_by_a_click(browser: Browser) -> None:
    seen = browser.run(f'{NOW} const seeked = once("seeked"); moments[3].click(); await seeked; return now();')
    assert seen["moment"] == 3
    assert 0.6 <= seen["time"] < 0.8
    seen = browser.run(
        f"""{NOW} const box = plots[1].getBoundingClientRect(), seeked = once("seeked");
        const x = box.left + box.width * (44 + 946 / 4) / 1000;
        plots[1].dispatchEvent(new PointerEvent("pointermove", {{clientX: x, clientY: box.top + 9, buttons: 1}}));
        await seeked; return now();"""
    )
    assert seen["time"] == pytest.approx(0.5, abs=0.01)


@needs_browser
def test_nothing_is_loaded_from_elsewhere_and_nothing_goes_wrong(browser: Browser) -> None:
    blocked = browser.run('try { await fetch("http://127.0.0.1:9/"); } catch (error) { return error.name; }')
    assert blocked == "TypeError"
    asked = [
        one["params"]["request"]["url"] for one in browser.events if one.get("method") == "Network.requestWillBeSent"
    ]
    assert all(url.split(":")[0] in ("file", "data") for url in asked if "127.0.0.1:9" not in url)
    assert not [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]


@needs_browser
def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    evil = (
        '<script>document.title="taken"</script><img src=x onerror=\'document.title="taken"\'>$video${title}&amp;".mp4'
    )
    file = report(tmp_path, replace(INFO, source=evil), {evil: evil}, count=3)
    with Browser(tmp_path / "profile") as browser:
        browser.open(file)
        seen = browser.run(
            """return [document.title, document.querySelector("h1").textContent,
            ...[...document.querySelectorAll("th, td")].map(cell => cell.textContent)];"""
        )
    assert seen[0] == f"{Path(evil).name}: saliency"
    assert seen[1] == Path(evil).name
    assert seen.count(evil) == 3


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_can_be_read_in_light_and_dark_and_fits_a_phone(tmp_path: Path, dark: bool) -> None:
    def luminance(colour: str) -> float:
        red, green, blue = ((int(part) / 255) ** 2.2 for part in re.findall(r"\d+", colour)[:3])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    with Browser(tmp_path / "profile", dark=dark) as browser:
        browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        browser.open(report(tmp_path, count=3))
        colours, overflow = browser.run(
            """const style = node => getComputedStyle(node);
            const card = style(document.querySelector("section:last-of-type")).backgroundColor;
            const texts = [...document.querySelectorAll("h2, p, td, th, .values span, svg text, button")];
            const of = node => node instanceof SVGElement ? style(node).fill : style(node).color;
            return [[card, ...texts.map(of)], document.documentElement.scrollWidth - innerWidth];"""
        )
    card, *texts = map(luminance, colours)
    assert (card < 0.1) == dark
    assert len(texts) > 40
    for text in texts:
        assert (max(card, text) + 0.05) / (min(card, text) + 0.05) >= 4  # WCAG's contrast
    assert overflow <= 0
