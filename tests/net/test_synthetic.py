"""Synthetic clips: the same for the same seed, in DHF1K's layout, with attention as the rules say; files that are whole."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tased_net import cli
from tased_net.synthetic import Clip, dataset, render
from tased_net.synthetic.attention import ROWS, Gaze, _novelty, _on_grid, attend, look, watch
from tased_net.synthetic.picture import Renderer, sensor_noise
from tased_net.synthetic.shots import Camera, Shot, Thing
from tased_net.synthetic.sprites import KINDS, make_sprite
from tased_net.synthetic.textures import View, background
from tased_net.video import PyAVReader

PAGE = (Path(__file__).parents[2] / "docs" / "synthetic.md").read_text(encoding="utf-8")
SMALL = (36, 64)
RATE, FRAMES = 25, 50
ASPECT = 16 / 9


def tased(*arguments: object) -> int:
    return cli.main(["synth", *map(str, arguments)])


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def nss(prediction: NDArray[Any], fixations: NDArray[np.bool_]) -> float:
    return float(((prediction - prediction.mean()) / max(prediction.std(), 1e-9))[fixations].mean())


# ------------------------------------------------------------------------------------------------------------ determinism


def test_a_clip_depends_on_its_seed_and_number_only() -> None:
    first, second = (render(3, 7, SMALL, (40, 60)) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.densities, second.densities)
    assert np.array_equal(first.truths, second.truths)
    assert np.array_equal(first.fixations, second.fixations)
    for other in (render(3, 8, SMALL, (40, 60)), render(4, 7, SMALL, (40, 60))):
        assert not np.array_equal(first.images[:30], other.images[:30])
        assert not np.array_equal(first.fixations[:30], other.fixations[:30])


def test_the_number_of_threads_changes_nothing() -> None:
    size = (180, 320)  # large enough for torch to share the work
    one = render(0, 2, size, (40, 40), span=(20, 23))
    torch.set_num_threads(2)
    two = render(0, 2, size, (40, 40), span=(20, 23))
    assert torch.get_num_threads() == 2
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.densities, two.densities)
    assert np.array_equal(one.truths, two.truths)


def test_a_span_is_a_part_of_the_clip() -> None:
    whole, part = render(0, 3, SMALL, (40, 60)), render(0, 3, SMALL, (40, 60), span=(11, 19))
    assert np.array_equal(part.images, whole.images[11:19])
    assert np.array_equal(part.densities, whole.densities[11:19])
    assert np.array_equal(part.fixations, whole.fixations[11:19])


def test_any_frame_of_a_clip_can_be_had_on_its_own() -> None:
    scene, clip = render(1, 601, SMALL, (40, 60)), Clip(1, 601, SMALL, (40, 60))
    assert np.array_equal(clip.image(30), scene.images[30])
    assert np.array_equal(clip.density(30), scene.densities[30])
    assert np.array_equal(clip.fixations(30), scene.fixations[30])


def test_the_same_happens_at_another_size() -> None:
    small, large = (Clip(0, 6, size, (40, 60)) for size in (SMALL, (108, 192)))
    assert (small.length, small.rate) == (large.length, large.rate)
    for little, big in zip(small.shots, large.shots, strict=True):
        assert [thing.kind for thing in little.things] == [thing.kind for thing in big.things]
        assert all(np.array_equal(a.place, b.place) for a, b in zip(little.things, big.things, strict=True))
    shrunk = np.asarray(Image.fromarray(large.image(20)).resize(SMALL[::-1], Image.Resampling.BOX), np.float64)
    assert np.corrcoef(shrunk.ravel(), small.image(20).ravel())[0, 1] > 0.7
    likeness = [np.corrcoef(small.gaze.density[i].ravel(), large.gaze.density[i].ravel())[0, 1] for i in range(40)]
    assert np.mean(likeness) > 0.9


def test_lengths_rates_and_shots_vary() -> None:
    clips = [Clip(1, number, (32, 32), (60, 180)) for number in range(12)]
    assert len({clip.length for clip in clips}) > 6
    assert all(60 <= clip.length <= 180 for clip in clips)
    assert len({clip.rate for clip in clips}) > 1
    assert {clip.rate for clip in clips} <= {Fraction(rate) for rate in (24, 25, 30, 50, 60)}
    assert {len(clip.shots) for clip in clips} >= {1, 2}
    assert all(sum(shot.frames for shot in clip.shots) == clip.length for clip in clips)


def test_a_bystander_finds_a_place_where_the_camera_sees_nothing_above_the_horizon() -> None:
    (shot,) = Clip(1, 299, (112, 192)).shots
    top = shot.camera.extent()[1]
    places = [thing.place[:, 1] for thing in shot.things if thing.kind is KINDS["sign"]]
    assert top > 0.4  # the horizon is at 0.21
    assert len(places) == 2
    assert all((place == top).all() for place in places)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1, 1), "seed and number must not be negative, got -1 and 1"),
        ((0, 1, (36, 63)), "size must be even and at least 32x32, got 36x63"),
        ((0, 1, (16, 64)), "size must be even and at least 32x32, got 16x64"),
        ((0, 1, SMALL, (9, 5)), "frames must be MIN-MAX with 2 <= MIN <= MAX, got 9-5"),
        ((0, 1, SMALL, (9, 9), (5, 10)), "span must lie in the clip's frames 0 to 9, got 5 to 10"),
    ],
)
def test_a_clip_that_cannot_be_is_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        render(*arguments)


# -------------------------------------------------------------------------------------------------------------- the rules

STILL = np.zeros(FRAMES)
TIME = np.arange(FRAMES) / RATE


def camera(pan: float = 0.0) -> Camera:
    """One that goes to the right by `pan` heights a second."""
    centre = np.stack((ASPECT / 2 + pan * (TIME - TIME[-1] / 2), STILL + 0.5), -1)
    return Camera(centre, STILL + 1, STILL, ASPECT)


def thing(
    x: float,
    speed: float | NDArray[Any] = 0.0,
    kind: str = "ball",
    *,
    y: float = 0.5,
    height: float = 0.2,
    opacity: NDArray[Any] | float = 1.0,
) -> Thing:
    """One that is at `x` at the middle of the shot and goes to the right."""
    way = np.cumsum(STILL + speed) / RATE
    place = np.stack((x + way - way[FRAMES // 2], STILL + y), -1)
    sprite = make_sprite(KINDS[kind], np.random.default_rng(1), height * 72, height * ROWS, torch.eye(3))
    return Thing(
        KINDS[kind], sprite, place, STILL + height, STILL, STILL + opacity, np.zeros(FRAMES, np.int64), STILL, 1.0
    )


def shot(*things: Thing, pan: float = 0.0, grey: float = 0.5) -> Shot:
    """The things before a plain background."""
    view = View(-2, -0.5, (144, 400), 72)
    world = torch.full((3, *view.shape), grey)
    return Shot(RATE, camera(pan), things, world, view, None, STILL + 1, None, 0.0, 0.0)


def shares(*things: Thing, pan: float = 0.0, grey: float = 0.5) -> NDArray[Any]:
    scene = shot(*things, pan=pan, grey=grey)
    return attend(scene, look(scene))


def test_shares_are_parts_of_attention() -> None:
    share = shares(thing(0.4, 0.3), thing(1.0), thing(1.2, -0.2))
    assert share.shape == (6, FRAMES)
    assert (share >= 0).all()
    assert np.allclose(share.sum(0), 1)


def test_shares_are_those_of_the_documented_formulas() -> None:
    """docs/synthetic.md once more, in plain steps."""
    scene = shot(thing(0.6, 0.3), thing(1.0, 0.0, "walker", height=0.4), thing(1.4, -0.2, "car"), pan=0.2)
    sight, found = look(scene), attend(scene, look(scene))
    kinds = {"ball": (0.9, 0.15), "walker": (1.5, 0.35), "car": (1.0, 0.15)}
    habit, shares_now = [0.0] * 3, [0.0] * 5
    for frame in range(FRAMES):
        t = frame / RATE
        wanted = []
        for index, name in enumerate(kinds):
            k, b = kinds[name]
            area, v = sight.area[index, frame], sight.speed[index, frame]
            novelty = math.exp(-t / 0.5)  # all are there from the start
            pull = k * math.sqrt(area / (area + 0.02)) * (0.3 + 0.7 * sight.contrast[index, frame])
            pull *= (b + v / (v + 0.15) + 0.8 * novelty) * (1 - 0.5 * habit[index])
            wanted.append(pull**1.5)
        wanted += [0.03 + 0.25 * math.exp(-t / 0.3), 0.02]
        wanted = [value / sum(wanted) for value in wanted]
        follow, tire = (1 - math.exp(-1 / RATE / time) for time in (0.2, 1.5))
        shares_now = [s + follow * (w - s) for s, w in zip(shares_now, wanted, strict=True)] if frame else wanted
        habit = [h + tire * (s - h) for h, s in zip(habit, shares_now, strict=False)]
        before = math.exp(-t / 0.15)
        expected = [s * (1 - before) for s in shares_now] + [before]
        assert np.allclose(found[:, frame], expected, atol=1e-9)
    assert sight.speed[:, 25] == pytest.approx((0.3, 0, 0.2), abs=1e-9)


def test_what_moves_draws_more_than_what_the_camera_moves() -> None:
    for pan in (0.0, 0.4):
        mover, bystander = shares(thing(0.7, 0.4), thing(1.1, 0.0), pan=pan)[:2, 25:]
        assert (mover > 5 * bystander).all()


def test_a_thing_that_the_camera_follows_moves_all_the_same() -> None:
    followed, bystander = shares(thing(0.9, 0.4, y=0.3), thing(0.9, 0.0, y=0.7), pan=0.4)[:2, 25:]
    assert (followed > 5 * bystander).all()


def test_what_comes_up_draws_gaze_and_loses_it() -> None:
    new = shares(thing(0.5, opacity=(TIME > 0.6).astype(float)), thing(1.2))[0]
    assert (new[TIME <= 0.6] == 0).all()
    assert new[TIME <= 0.9].max() > 0.35
    assert new[-1] < 0.8 * new.max()


def test_what_stops_loses_attention() -> None:
    stopping = shares(thing(0.9, np.where(TIME < 0.8, 0.6, 0.0)), thing(0.3))[0]
    moving = stopping[(TIME > 0.5) & (TIME < 0.8)].mean()
    assert stopping[-1] < 0.6 * moving
    tail = stopping[TIME > 0.9]
    assert (np.diff(tail) < 1e-6).all()


def test_what_begins_to_move_gains() -> None:
    starting, other = shares(thing(0.9, np.where(TIME < 1, 0.0, 0.5)), thing(0.4))[:2]
    assert starting[TIME < 1][-1] < 3 * other[TIME < 1][-1]
    assert starting[-1] > 5 * other[-1]


def test_what_is_hidden_draws_nothing() -> None:
    wall = thing(0.9, kind="pole", height=4.0)
    for before in (thing(0.9, 0.0, height=0.08), thing(0.9, 0.02, height=0.08)):
        scene = shot(before, wall)
        share = attend(scene, look(scene))
        assert (share[0] == 0).all()
        assert (share[1] == 0).all()  # and what hides it, neither: it is a part of the background
    open_to_view = shares(wall, thing(0.9, 0.02, height=0.08))
    assert (open_to_view[1, 1:] > 0.02).all()  # at first, one still looks at the middle


@pytest.mark.parametrize("edge", [0.0, 0.25])
def test_what_shows_of_a_half_hidden_thing_is_weighted_by_what_its_spots_draw(edge: float) -> None:
    size, tall = 0.6, 4.0
    pole = thing(0.0, kind="pole", height=tall)
    pole.place[:, 0] = 0.9 + edge * size + tall * pole.sprite.width / 2
    scene = shot(thing(0.9, height=size, opacity=0.8), pole)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 401), np.linspace(-0.5, 0.5, 401))
    ball = np.hypot(x, y) < 0.48
    w = 0.15 + np.exp(-(x**2 + y**2) / (2 * 0.3**2))
    expected = 0.8 * (w * (ball & (x < edge))).sum() / (w * ball).sum()
    assert look(scene).shown[0] == pytest.approx(expected, abs=0.01)
    plain = 0.8 * (ball & (x < edge)).sum() / ball.sum()
    assert edge == 0 or abs(expected - plain) > 0.02


def test_what_creeps_has_not_begun_to_move() -> None:
    """From rest to v = 0.05, between rest (0.03) and movement (0.075); and on from there."""
    speed = np.select([TIME < 0.8, TIME < 1.4], [0.0, 0.05], 0.1)
    sight = look(shot(thing(0.9, speed)))
    assert sight.speed[0, [10, 28, 48]] == pytest.approx((0, 0.05, 0.1))
    starts = int(np.argmax(sight.speed[0] > 0.075))
    expected = np.exp(-TIME / 0.5)  # it was there from the start
    expected[starts:] = np.maximum(expected[starts], 0.5) * np.exp(-(TIME[starts:] - TIME[starts]) / 0.5)
    assert 1.3 < TIME[starts] < 1.5
    assert np.allclose(_novelty(sight, 1 / RATE)[0], expected, atol=1e-9)


def test_the_nearer_one_hides_the_farther_one() -> None:
    scene = shot(thing(0.9, height=0.2), thing(0.9, height=0.4))
    sight = look(scene)
    assert sight.shown[0].max() < 0.05
    assert sight.shown[1].min() > 0.9


def test_what_comes_back_from_behind_something_is_new() -> None:
    way = thing(0.9, 0.5, height=0.1)
    scene = shot(way, thing(0.9, kind="pole", height=4.0))
    share = attend(scene, look(scene))[0]
    hidden = np.flatnonzero(share == 0)
    assert len(hidden) > RATE * 0.2
    before = share[hidden[0] - 10 : hidden[0] - 4].mean()
    after = share[hidden[-1] + 5 : hidden[-1] + 15].max()
    assert after > before


def test_the_page_states_the_interest_of_each_kind() -> None:
    words = {"faces": "bust", "riders": "rider", "walkers": "walker", "people who stand": "stander", "animals": "beast"}
    for word, name in words.items():
        assert f"{word} {KINDS[name].interest:g} and {KINDS[name].rest:g}" in PAGE
    for word, names in {
        "vehicles and birds": ("car", "van", "bird"),
        "balls": ("ball",),
        "shapes and signs": ("shape", "sign"),
    }.items():
        for name in names:
            assert KINDS[name].rest == 0.15
            assert f"{word} {KINDS[name].interest:g}" in PAGE


def test_contrast_size_and_kind_draw_attention() -> None:
    late = slice(25, None)
    ball = thing(0.9, 0.1).sprite.mean.mean()
    plain, clear = (shares(thing(0.9, 0.1), grey=grey)[0, late].mean() for grey in (ball, 1.0 if ball < 0.5 else 0.0))
    assert clear > 1.05 * plain
    small, large = shares(thing(0.4, 0.1, height=0.08), thing(1.2, 0.1, height=0.3))[:2, late]
    assert (large > small).all()
    person, shape = shares(thing(0.4, 0.0, "walker"), thing(1.2, 0.0, "shape"))[:2, late]
    assert (person > 2 * shape).all()


def test_people_are_looked_at_in_the_face() -> None:
    gaze = watch([shot(thing(0.9, 0.0, "bust", height=0.8))], np.random.default_rng(0), 30)
    density = gaze.density[-10:].mean(0)
    top = np.unravel_index(density.argmax(), density.shape)[0]
    assert 0.1 + 0.8 * 0.1 < (top + 0.5) / ROWS < 0.1 + 0.8 * 0.55


def test_attention_comes_late_and_gaze_stays_after_a_cut() -> None:
    appearing = shares(thing(0.5, opacity=(TIME >= 0.6).astype(float)), thing(1.2))[0]
    first = int(np.argmax(TIME >= 0.6))
    assert 0 < appearing[first] < 0.4 * appearing[first:].max()
    left, right = thing(0.2, 0.3), thing(1.6, -0.3)
    gaze = watch([shot(left), shot(right)], np.random.default_rng(0), 30)
    middle = gaze.density.shape[2] // 2
    on_left = gaze.density[:, :, :middle].sum((1, 2))
    assert on_left[FRAMES - 1] > 0.8
    assert on_left[FRAMES] == pytest.approx(on_left[FRAMES - 1], abs=1e-3)  # the cut has just come
    assert on_left[-1] < 0.2


def test_without_things_one_looks_at_the_middle() -> None:
    gaze = watch([shot()], np.random.default_rng(0), 40)
    rows, columns = np.unravel_index(gaze.density[-1].argmax(), gaze.density[-1].shape)
    assert abs((rows + 0.5) / ROWS - 0.5) < 0.03
    assert abs((columns + 0.5) / gaze.density.shape[2] - 0.5) < 0.03


def observed(gaze: Gaze) -> NDArray[Any]:
    """Density of all the observers of all frames on the grid."""
    points = gaze.points[~np.isnan(gaze.points[..., 0])]
    _, rows, columns = gaze.density.shape
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], (rows, columns), ((0, 1), (0, ASPECT)))
    return counts / counts.sum()


def test_observers_are_spread_as_the_density_says_and_stay_a_while() -> None:
    gaze = watch([shot(thing(0.5, 0.1), thing(1.3, -0.1, "rider", height=0.4))], np.random.default_rng(0), 3000)
    expected, found = gaze.density.mean(0), gaussian_filter(observed(gaze), 0.7)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.97
    expected_left = gaze.density[:, :, : gaze.density.shape[2] // 2].sum((1, 2))
    left = np.nanmean(np.where(np.isnan(gaze.points[..., 0]), np.nan, gaze.points[..., 0] < ASPECT / 2), 1)
    assert np.abs(left - expected_left).max() < 0.06
    steps = np.linalg.norm(np.diff(gaze.points, axis=0), axis=-1)
    assert 0.8 < np.nanmean(steps < 0.03) < 0.97


def test_fixations_follow_the_truth_and_no_shortcut_does() -> None:
    scores: dict[str, list[float]] = {"truth": [], "middle": [], "difference": []}
    y, x = np.mgrid[: SMALL[0], : SMALL[1]]
    middle = np.exp(-((y - SMALL[0] / 2) ** 2 / 100 + (x - SMALL[1] / 2) ** 2 / 320))
    for number in range(12):
        clip = Clip(5, number, SMALL, (40, 80))
        for index in range(5, clip.length, 12):
            fixations = clip.fixations(index)
            before, now = (clip.image(i).astype(np.float64).mean(-1) for i in (index - 1, index))
            scores["truth"].append(nss(clip.truth(index), fixations))
            scores["middle"].append(nss(middle, fixations))
            scores["difference"].append(nss(gaussian_filter(np.abs(now - before), 1), fixations))
    mean = {name: np.mean(values) for name, values in scores.items()}
    assert mean["truth"] > 2
    assert mean["truth"] > 1.8 * mean["difference"]
    assert mean["truth"] > 2 * mean["middle"]


# --------------------------------------------------------------------------------------------------------------- pictures


def test_frames_show_the_things_where_they_are() -> None:
    scene = shot(thing(0.5, 0.3), pan=0.2)
    size = (72, 128)
    empty = Renderer(shot(pan=0.2), size, sensor_noise(np.random.SeedSequence(0), size), 0)
    full = Renderer(scene, size, sensor_noise(np.random.SeedSequence(0), size), 0)
    for index in (0, 20, 49):
        there = np.abs(full.frame(index).astype(int) - empty.frame(index)).sum(-1)
        rows, columns = np.nonzero(there > 10)
        x, y = scene.camera.project(scene.things[0].place)[index] * size[0]
        assert abs(columns.mean() + 0.5 - x) < 1.5
        assert abs(rows.mean() + 0.5 - y) < 1.5


def test_a_thing_that_is_turned_and_looks_left_lies_alike_in_the_picture_and_on_the_grid() -> None:
    scene = shot(thing(0.9, 0.2, "walker", height=0.5), pan=0.1)
    tilted = Camera(scene.camera.centre, STILL + 1.2, STILL - 0.2, ASPECT)
    walker = replace(scene.things[0], angle=STILL + 0.8, facing=-1.0)
    pose, index = walker.pose(tilted), 10
    centre, size, angle = tilted.project(walker.place)[index], 0.5 * 1.2, 0.8 - 0.2
    ahead, head = np.array([[-math.cos(angle), -math.sin(angle)], [math.sin(angle), -math.cos(angle)]])
    own = np.array([[0.5, 0.0], [0.0, -0.5]])
    assert np.allclose(pose.to_frame(own, index), centre + size / 2 * np.stack((ahead, head)), atol=1e-12)
    assert np.allclose(pose.to_thing(pose.to_frame(own, index), index), own, atol=1e-12)

    def opacity(facing: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """On the grid, and in the picture: what a white world adds to a black one."""
        thing = replace(walker, facing=facing)
        black, white = (replace(scene, camera=tilted, things=(thing,), world=scene.world * 0 + grey) for grey in (0, 1))
        noise = sensor_noise(np.random.SeedSequence(0), (144, 256))
        frames = [Renderer(each, (144, 256), noise, 0).frame(index).mean(-1) / 255 for each in (black, white)]
        cells = (1 - (frames[1] - frames[0])).reshape(ROWS, 4, 64, 4).mean((1, 3))
        return _on_grid(black, thing, ROWS, 64)[0][index].numpy(), cells

    (grid, picture), (other, mirrored) = opacity(-1.0), opacity(1.0)
    assert np.corrcoef(grid.ravel(), picture.ravel())[0, 1] > 0.97
    assert np.corrcoef(other.ravel(), mirrored.ravel())[0, 1] > 0.97
    assert np.corrcoef(grid.ravel(), mirrored.ravel())[0, 1] < 0.9


def test_a_bystander_moves_as_the_world_does() -> None:
    camera_moves = camera(0.5)
    still, point = thing(0.9).place, np.tile([0.9, 0.2], (FRAMES, 1))
    ways = [np.diff(camera_moves.project(place), axis=0) for place in (still, point)]
    assert np.allclose(*ways)
    assert np.allclose(ways[0][:, 0], -0.5 / RATE)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_can_be_drawn_in_every_phase(name: str) -> None:
    sprite = make_sprite(KINDS[name], np.random.default_rng(0), 40, 12, torch.eye(3))
    picture = sprite.levels[0]
    assert picture.shape[:2] == (KINDS[name].phases, 4)
    assert (picture[:, 3].amax((1, 2)) > 0.9).all()
    assert (picture[:, :3] <= picture[:, 3:] + 1e-6).all()
    assert picture.min() >= 0
    assert sprite.focus.amin() >= 0
    if KINDS[name].phases == 8:
        assert all(not torch.equal(picture[0], picture[phase]) for phase in range(1, 8))


@pytest.mark.parametrize("horizon", [None, 0.4])
def test_backgrounds_are_of_many_kinds_and_fill_the_view(horizon: float | None) -> None:
    view = View(-0.5, -0.2, (40, 90), 30)
    pictures = [background(np.random.default_rng(seed), view, horizon) for seed in range(12)]
    assert all(picture.shape == (3, 40, 90) for picture in pictures)
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in pictures)
    assert all(picture.std() > 0.005 for picture in pictures)


# ------------------------------------------------------------------------------------------------------------------ files


def test_videos_are_in_the_layout_of_dhf1k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "new" / "root"
    options = ["--size", "36x64", "--frames", "30-40", "--seed", 2, "--workers", 1]
    assert tased("-o", root, "--videos", 2, "--split", "val", *options) == 0
    assert "2 videos written" in capsys.readouterr().err
    assert sorted(path.name for path in (root / "video").iterdir()) == ["601.AVI", "602.AVI"]
    assert sorted(path.name for path in (root / "annotation").iterdir()) == ["0601", "0602"]
    for number in (601, 602):
        clip = Clip(2, number, SMALL, (30, 40))
        with PyAVReader(root / "video" / f"{number}.AVI") as video:
            assert video.rate == clip.rate
            frames = [frame.image for frame in video]
        assert len(frames) == clip.length
        error = np.abs(frames[7].astype(int).mean(-1) - clip.image(7).mean(-1)).mean()
        assert error < 8
        annotation = root / "annotation" / f"{number:04d}"
        names = [f"{index:04d}.png" for index in range(1, clip.length + 1)]
        assert sorted(path.name for path in (annotation / "maps").iterdir()) == names
        assert sorted(path.name for path in (annotation / "fixation").iterdir()) == names
        density = np.asarray(Image.open(annotation / "maps" / "0008.png"))
        assert np.array_equal(density, np.round(clip.density(7) * 255))
        assert (density.shape, density.dtype, density.max()) == (SMALL, np.uint8, 255)
        fixations = np.asarray(Image.open(annotation / "fixation" / "0008.png"))
        assert np.array_equal(fixations, clip.fixations(7) * 255)
        assert 10 <= (fixations > 0).sum() <= 40


def test_maps_can_be_what_the_rules_say(tmp_path: Path) -> None:
    settings = dataset.Settings(0, SMALL, (20, 20), "rules")
    dataset.write_dataset(tmp_path, [5], settings)
    density = np.asarray(Image.open(tmp_path / "annotation" / "0005" / "maps" / "0020.png"))
    assert np.array_equal(density, np.round(Clip(0, 5, SMALL, (20, 20)).truth(19) * 255))


def test_workers_write_the_same_bytes_and_any_order_does(tmp_path: Path) -> None:
    settings = dataset.Settings(0, SMALL, (20, 30))
    assert dataset.write_dataset(tmp_path / "one", [3, 1, 2], settings) == 3
    assert dataset.write_dataset(tmp_path / "two", [1, 2, 3], settings, workers=2) == 3
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert one == two
    assert len(one) > 100


class StopsAfter:
    """A flag that is set after some frames."""

    def __init__(self, frames: int) -> None:
        self.left = frames

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_stopped_video_leaves_nothing_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--videos", 3, "--size", "36x64", "--frames", "20-30", "--workers", 1]
    assert tased("-o", tmp_path / "whole", *options) == 0
    fixations, calls = Clip.fixations, iter(range(1000))

    def interrupted(clip: Clip, index: int) -> NDArray[np.bool_]:
        if next(calls) == 40:
            raise KeyboardInterrupt
        return fixations(clip, index)

    monkeypatch.setattr(Clip, "fixations", interrupted)
    root = tmp_path / "stopped"
    capsys.readouterr()
    assert tased("-o", root, *options) == 130
    assert capsys.readouterr().err.endswith("tased: stopped\n")
    assert [path.name for path in (root / "video").iterdir()] == ["001.AVI"]
    assert [path.name for path in (root / "annotation").iterdir()] == ["0001"]
    monkeypatch.undo()
    old = (root / "video" / "001.AVI").stat().st_mtime_ns
    assert tased("-o", root, *options) == 0
    assert "2 videos written, 1 was there already" in capsys.readouterr().err
    assert (root / "video" / "001.AVI").stat().st_mtime_ns == old
    assert files_of(root) == files_of(tmp_path / "whole")


def test_a_flag_stops_a_worker_in_the_midst_of_a_video(tmp_path: Path) -> None:
    with pytest.raises(dataset._Stopped):
        dataset.write_video(tmp_path, 1, dataset.Settings(0, SMALL, (20, 20)), StopsAfter(7))
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_workers_too(number: int, tmp_path: Path) -> None:
    arguments = ["synth", "-o", str(tmp_path), "--videos", "50", "--workers", "2", "--size", "36x64"]
    command = subprocess.Popen(
        [sys.executable, "-m", "tased_net.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("video/*.AVI")) and time.monotonic() < deadline:
        time.sleep(0.02)
    command.send_signal(number)
    _, message = command.communicate(timeout=120)
    assert command.returncode == 130
    assert message.endswith("tased: stopped\n")
    assert "Traceback" not in message
    videos = sorted(path.name for path in (tmp_path / "video").iterdir())
    assert 1 <= len(videos) < 50
    assert [f"{int(name[:3]):04d}" for name in videos] == sorted(p.name for p in (tmp_path / "annotation").iterdir())


def test_workers_compute_with_a_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, dataset._start_worker, (context.Event(),)) as pool:
        assert pool.submit(torch.get_num_threads).result(timeout=120) == 1


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, calls = Image.Image.save, iter(range(1000))

    def full(image: Image.Image, path: Path, *arguments: Any, **options: Any) -> None:
        if next(calls) == 70:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(image, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    options = ["--videos", 3, "--size", "36x64", "--frames", "20-20", "--workers", 1, "--quiet"]
    assert tased("-o", tmp_path, *options) == 1
    message = capsys.readouterr().err
    assert "No space left on device: whole videos stay, and the same command goes on with the rest" in message
    assert message.count("\n") == 1
    assert [path.name for path in (tmp_path / "video").iterdir()] == ["001.AVI"]
    assert [path.name for path in (tmp_path / "annotation").iterdir()] == ["0001"]
    calls = iter(range(1000))
    options += ["--overwrite", "--seed", 1]  # with which the same command begins again at the first video
    assert tased("-o", tmp_path, *options) == 1
    sentence = "whole videos stay, and the same command without --overwrite writes those that are missing"
    assert f"No space left on device: {sentence}" in capsys.readouterr().err
    first = (tmp_path / "video" / "001.AVI").stat().st_mtime_ns
    options.remove("--overwrite")
    monkeypatch.setattr(Image.Image, "save", save)
    assert tased("-o", tmp_path, *options) == 0
    assert len(list((tmp_path / "video").iterdir())) == 3
    assert (tmp_path / "video" / "001.AVI").stat().st_mtime_ns == first


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_encoder_that_cannot_write_is_an_os_error(tmp_path: Path) -> None:
    link = tmp_path / "full.avi"
    link.symlink_to("/dev/full")
    clip = Clip(0, 1, (64, 96), (20, 20))

    def write_all() -> None:
        with dataset._avi(link, clip) as write:
            for image in clip.images():
                write(image)

    with pytest.raises(OSError, match="No space left on device"):
        write_all()


def test_a_folder_of_other_clips_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--size", "36x64", "--frames", "20-20", "--workers", 1, "--quiet"]
    assert tased("-o", tmp_path / "a", "--videos", 2, *options) == 0
    before = files_of(tmp_path / "a")
    assert tased("-o", tmp_path / "a", "--videos", 3, "--seed", 1, *options) == 2
    assert "holds videos with seed 0, not 1: name another folder" in capsys.readouterr().err
    assert tased("-o", tmp_path / "a", "--videos", 1, "--seed", 1, "--overwrite", *options) == 2
    assert files_of(tmp_path / "a") == before
    assert tased("-o", tmp_path / "a", "--videos", 2, "--seed", 1, "--overwrite", *options) == 0
    assert json.loads((tmp_path / "a" / "synthetic.json").read_text())["seed"] == 1
    assert files_of(tmp_path / "a").keys() == before.keys()
    assert files_of(tmp_path / "a") != before

    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "write_video", stopped)
        assert tased("-o", tmp_path / "a", "--videos", 2, "--overwrite", *options) == 130
    assert json.loads((tmp_path / "a" / "synthetic.json").read_text())["seed"] == 0
    assert not list((tmp_path / "a" / "video").iterdir())  # none that the file would be untrue of
    assert tased("-o", tmp_path / "a", "--videos", 2, *options) == 0
    assert files_of(tmp_path / "a") == before
    capsys.readouterr()
    (tmp_path / "a" / "synthetic.json").unlink()  # as if it were the real dataset
    assert tased("-o", tmp_path / "a", "--videos", 2, "--overwrite", *options) == 2
    assert "holds videos that are not `tased synth`'s: name another folder" in capsys.readouterr().err
    (tmp_path / "a" / "synthetic.json").write_text("[1]")  # or another program's
    assert tased("-o", tmp_path / "a", "--videos", 2, *options) == 2
    assert "holds videos that are not `tased synth`'s: name another folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert tased("-o", tmp_path / "file", *options) == 2
    assert "is a file, name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--videos", "601"], "--split train has the videos 1 to 600, not 1 to 601"),
        (["--split", "val", "--first", "600"], "--split val has the videos 601 to 700, not 600 to 619"),
        (["--size", "35x64"], "size must be even and at least 32x32, got 35x64"),
        (["--frames", "9-3"], "frames must be MIN-MAX with 2 <= MIN <= MAX, got 9-3"),
        (["--seed", "-1"], "seed and number must not be negative, got -1 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert tased("-o", tmp_path / "out", *arguments) == 2
    assert f"tased: error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_error_of_the_program_is_not_told_as_one_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> None:
        raise ValueError("high - low < 0")

    monkeypatch.setattr(dataset, "Clip", wrong)
    with pytest.raises(ValueError, match="high - low < 0"):
        tased("-o", tmp_path, "--videos", 1, "--quiet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--videos", "none"], "argument --videos: want a number of at least 1, got 'none'"),
        (["--size", "36"], "argument --size: want HxW such as 360x640, got '36'"),
        (["--frames", "20"], "argument --frames: want MIN-MAX such as 100-300, got '20'"),
    ],
)
def test_arguments_of_another_form_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        tased("-o", "out", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
