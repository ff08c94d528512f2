"""Where one looks in a synthetic clip: the rules (docs/synthetic.md), and observers who follow them.

All is computed on a coarse grid of the frame, so the truth does not depend on the size of the pictures. A frame's density is a
mixture: what is visible of each thing, the middle of the frame, any place at all, and after a cut what one looked at before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .shots import Array, Pose, Shot, Thing
from .textures import Rng

ROWS = 36  # of the grid

# The rules' constants in the order of docs/synthetic.md; times in seconds, lengths in heights of a frame.
LEAST_SHOWN = 0.02  # part of a thing that must show for it to draw attention
SIZE = 0.02  # part of the frame at which a thing has 1/sqrt(2) of its pull
CONTRAST, CONTRAST_LEAST = 0.15, 0.3
MOTION, MOTION_SPEED = 1.0, 0.15
ONSET, ONSET_TIME = 0.8, 0.5
HIDDEN, SEEN = 0.05, 0.3  # parts of a thing below and above which it is out of view, and has come into it
AWAY = 0.2  # for so long it must have been out of view, or at rest, to be new again
RESTING, MOVING = 0.03, 0.075  # speeds below and above which it is at rest, and moves
ONSET_OF_MOTION = 0.5  # as part of that of what comes into view
HABIT, HABIT_TIME = 0.5, 1.5
COMPETITION = 1.5
CENTRE, CENTRE_AFTER_CUT, CENTRE_TIME = 0.03, 0.25, 0.3
CENTRE_SPREAD = (0.13, 0.16)  # of the width, of the height
STRAY = 0.02
LAG = 0.2
LINGER = 0.15
GAZE_SPREAD = 0.03

# The observers' constants.
CHANGE = 0.8  # changes of mind a second, beside those that the rules bring
FIXATIONS = 2.5  # new spots on the same thing a second
SPOT_HIDDEN = 0.02  # part of what the thing's strongest spot draws, at which another spot is looked for
BLINK = 0.04  # part of the time that the eye is closed


@dataclass(frozen=True, eq=False)
class Sight:
    """What can be seen of a shot's things, on the grid.

    Attributes
    ----------
    focus
        float32 (things, N, rows, columns): what shows of each thing, weighted by how much its spots draw gaze.
    area
        (things, N): what shows, as part of the frame.
    shown
        (things, N): what shows, as part of the whole thing, each spot weighted as in `focus`.
    speed
        (things, N): against the background, in heights a second.
    contrast
        (things, N): difference of colour d, and of the background's unevenness s, as d / (d + d0 + s).
    """

    focus: NDArray[np.float32]
    area: Array
    shown: Array
    speed: Array
    contrast: Array


@dataclass(frozen=True, eq=False)
class Gaze:
    """Where one looks.

    Attributes
    ----------
    density
        float32 (N, rows, columns) on the grid; sums to 1 over a frame.
    shares
        A shot each: (things + 3, N) of attention; the last three are the middle, any place, and what was before the cut.
    points
        float64 (N, observers, 2): x and y in heights of a frame; NaN where an observer blinks or looks away.
    """

    density: NDArray[np.float32]
    shares: tuple[Array, ...]
    points: Array


def grid_shape(aspect: float) -> tuple[int, int]:
    """Rows and columns of the grid."""
    return ROWS, max(2, round(ROWS * aspect))


def watch(shots: Sequence[Shot], rng: Rng, observers: int) -> Gaze:
    """Lets observers look at the shots, one after the other.

    Parameters
    ----------
    shots
        Their frames have one aspect and one rate.
    rng
        Source of the observers' choices; the density does not depend on it.
    observers
        Their number.
    """
    aspect = shots[0].camera.aspect
    middle = _middle(aspect)
    before = middle
    densities, shares, points = [], [], []
    crowd = _Crowd(rng, observers, aspect)
    for shot in shots:
        sight = look(shot)
        share = attend(shot, sight)
        density = _density(sight, share, middle, before)
        points.append(crowd.follow(shot, sight, share))
        before = density[-1]
        densities.append(density)
        shares.append(share)
    return Gaze(np.concatenate(densities), tuple(shares), np.concatenate(points))


# ---------------------------------------------------------------------------------------------------------------- the rules


def look(shot: Shot) -> Sight:
    """What can be seen of a shot's things."""
    rows, columns = grid_shape(shot.camera.aspect)
    count, frames = len(shot.things), shot.frames
    focus = np.zeros((count, frames, rows, columns), np.float32)
    area, shown, speed, contrast = (np.zeros((count, frames)) for _ in range(4))
    through = torch.ones(frames, rows, columns)  # how much of what lies behind shows
    for index in reversed(range(count)):
        thing = shot.things[index]
        opaque, drawing = _on_grid(shot, thing, rows, columns)
        visible = drawing * through
        sprite = thing.sprite.focus[torch.from_numpy(thing.phase)]
        cells = (thing.height * shot.camera.zoom * rows) ** 2 * thing.sprite.width
        whole = sprite[:, 1].mean((1, 2)).numpy() * cells
        focus[index] = visible.numpy()
        area[index] = (opaque * through).sum((1, 2)).numpy() / (rows * columns)
        shown[index] = np.minimum(visible.sum((1, 2)).numpy() / np.maximum(whole, 1e-6), 1.0)
        speed[index] = _speed(shot, thing)
        contrast[index] = _contrast(shot, thing)
        through *= (1 - opaque).clamp(min=0)
    return Sight(focus, area, shown, speed, contrast)


def _on_grid(shot: Shot, thing: Thing, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Opacity and drawing power of a thing in each cell, float32 (N, rows, columns) both, whatever stands before it."""
    sprite, pose = thing.sprite, thing.pose(shot.camera)
    # From cells to the sprite's coordinates, which go from -1 to 1.
    matrix = pose.turn / pose.height[:, None, None] * 2
    matrix = np.concatenate((matrix, -(matrix * pose.centre[:, None]).sum(-1, keepdims=True)), -1)
    matrix[:, 0] *= 1 / sprite.width
    cell, wide = 1 / rows, shot.camera.aspect / columns
    x, y = (np.arange(columns) + 0.5) * wide, (np.arange(rows) + 0.5) * cell
    grid = np.empty((shot.frames, rows, columns, 2), np.float32)
    for axis in (0, 1):
        a, b, c = matrix[:, axis].T.astype(np.float32)
        grid[..., axis] = (a[:, None] * x.astype(np.float32))[:, None] + (
            b[:, None] * y.astype(np.float32) + c[:, None]
        )[..., None]
    pictures = sprite.focus[torch.from_numpy(thing.phase)]
    cells = F.grid_sample(pictures, torch.from_numpy(grid), "bilinear", "zeros", align_corners=False)
    cells *= torch.from_numpy(thing.opacity.astype(np.float32))[:, None, None, None]
    return cells[:, 0], cells[:, 1]


def _speed(shot: Shot, thing: Thing) -> Array:
    """Speed against the background in the frame, with that of growing or shrinking and of limbs."""
    way = np.linalg.norm(np.gradient(thing.place, axis=0), axis=1)
    growth = np.abs(np.gradient(thing.height)) / 2
    return shot.camera.zoom * ((way + growth) * shot.rate + thing.limbs)


def _contrast(shot: Shot, thing: Thing) -> Array:
    """How far a thing's colour is from that of the world around it."""
    view = shot.view
    size = [max(2, round(side / view.scale * 12)) for side in view.shape]
    world = torch.cat((shot.world, (shot.world**2).mean(0, keepdim=True)))
    coarse = F.interpolate(world[None], size, mode="area")
    x = 2 * (thing.place[:, 0] - view.left) * view.scale / view.shape[1] - 1
    y = 2 * (thing.place[:, 1] - view.top) * view.scale / view.shape[0] - 1
    grid = torch.from_numpy(np.stack((x, y), -1).astype(np.float32))[None, None]
    around = F.grid_sample(coarse, grid, "bilinear", "border", align_corners=False)[0, :, 0].numpy().astype(np.float64)
    distance = np.sqrt(((around[:3] - thing.sprite.mean[:, None]) ** 2).mean(0))
    unevenness = np.sqrt(np.maximum(around[3] - (around[:3] ** 2).mean(0), 0))
    return distance / (distance + CONTRAST + unevenness)


def attend(shot: Shot, sight: Sight) -> Array:
    """The share of attention of each thing, the middle, any place, and what was before the cut, (things + 3, N)."""
    count, frames, step = len(shot.things), shot.frames, 1 / shot.rate
    interest = np.array([thing.kind.interest for thing in shot.things])[:, None]
    size = np.sqrt(sight.area / (sight.area + SIZE))
    colour = CONTRAST_LEAST + (1 - CONTRAST_LEAST) * sight.contrast
    motion = sight.speed / (sight.speed + MOTION_SPEED)
    there = sight.shown > LEAST_SHOWN
    rest = np.array([thing.kind.rest for thing in shot.things])[:, None]
    pull = interest * size * colour * (rest + MOTION * motion + ONSET * _novelty(sight, step)) * there
    after_cut = np.arange(frames) * step
    middle = CENTRE + CENTRE_AFTER_CUT * np.exp(-after_cut / CENTRE_TIME)
    habit, share = np.zeros(count), np.zeros(count + 2)
    result = np.zeros((count + 3, frames))
    for frame in range(frames):
        wanted = np.append((pull[:, frame] * (1 - HABIT * habit)) ** COMPETITION, (middle[frame], STRAY))
        wanted /= wanted.sum()
        share = wanted if frame == 0 else share + (1 - math.exp(-step / LAG)) * (wanted - share)
        share[:count] *= there[:, frame]
        share = share / share.sum()
        habit += (1 - math.exp(-step / HABIT_TIME)) * (share[:count] - habit)
        result[:-1, frame] = share
    before = np.exp(-after_cut / LINGER)
    return np.concatenate((result[:-1] * (1 - before), before[None]))


def _novelty(sight: Sight, step: float) -> Array:
    """1 when a thing comes into view, comes back, or (half) begins to move; fades from there."""
    result = np.zeros_like(sight.shown)
    fade = math.exp(-step / ONSET_TIME)
    hidden = np.full(len(result), np.inf)
    rest = np.zeros(len(result))
    level = np.zeros(len(result))
    for frame in range(result.shape[1]):
        level = level * fade
        comes = (hidden >= AWAY) & (sight.shown[:, frame] > SEEN)
        moving = sight.speed[:, frame] > MOVING
        starts = (rest >= AWAY) & moving
        level[starts] = np.maximum(level[starts], ONSET_OF_MOTION)
        level[comes] = 1.0
        hidden[comes] = 0.0
        gone = sight.shown[:, frame] < HIDDEN
        hidden = np.where(gone, hidden + step, np.where(hidden >= AWAY, hidden, 0.0))
        rest = np.where(sight.speed[:, frame] < RESTING, rest + step, np.where(moving, 0.0, rest))
        result[:, frame] = level
    return result


def _middle(aspect: float) -> NDArray[np.float32]:
    """The density of the middle of the frame."""
    rows, columns = grid_shape(aspect)
    y = np.exp(-(((np.arange(rows) + 0.5) / rows - 0.5) ** 2) / (2 * CENTRE_SPREAD[1] ** 2))
    x = np.exp(-(((np.arange(columns) + 0.5) / columns - 0.5) ** 2) / (2 * CENTRE_SPREAD[0] ** 2))
    return (np.outer(y, x) / np.outer(y, x).sum()).astype(np.float32)


def _density(
    sight: Sight, share: Array, middle: NDArray[np.float32], before: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mixture in every frame."""
    total = sight.focus.sum((2, 3))
    weight = (share[:-3] / np.maximum(total, 1e-6)).astype(np.float32)
    things = np.einsum("in,inyx->nyx", weight, sight.focus)
    sigma = GAZE_SPREAD * ROWS
    spread = gaussian_filter(things, (0, sigma, sigma), mode="nearest")
    base = (
        share[-3, :, None, None] * middle + share[-2, :, None, None] / middle.size + share[-1, :, None, None] * before
    )
    density = spread + base
    result: NDArray[np.float32] = (density / density.sum((1, 2), keepdims=True)).astype(np.float32)
    return result


# ------------------------------------------------------------------------------------------------------------ the observers


class _Crowd:
    """Observers, each of whom looks at a spot and stays with it for a while; together they are spread as the rules say."""

    def __init__(self, rng: Rng, observers: int, aspect: float) -> None:
        self.rng, self.aspect = rng, aspect
        self.place = rng.normal((aspect / 2, 0.5), (CENTRE_SPREAD[0] * aspect, CENTRE_SPREAD[1]), (observers, 2))

    def follow(self, shot: Shot, sight: Sight, share: Array) -> Array:
        """The observers' places in each frame of a shot, (N, observers, 2)."""
        rng, count, observers = self.rng, len(shot.things), len(self.place)
        poses = [thing.pose(shot.camera) for thing in shot.things]
        result = np.full((shot.frames, observers, 2), np.nan)
        target = np.full(observers, count + 2)
        spot, aside = self.place.copy(), np.zeros((observers, 2))
        last = np.eye(count + 3)[-1]
        step = 1 / shot.rate
        for frame in range(shot.frames):
            now = share[:, frame] / share[:, frame].sum()
            again = rng.random(observers) < 1 - math.exp(-CHANGE * step)
            gains = np.maximum(now - last, 0)
            leaves = rng.random(observers) > np.minimum(now / np.maximum(last, 1e-12), 1)[target]
            choice = rng.random(observers)
            fresh = again | (leaves & (gains.sum() > 0))
            target = np.where(again, _pick(now, choice), np.where(fresh, _pick(gains, choice), target))
            fresh &= target < count + 2  # what was before the cut stays where it was
            fresh |= (rng.random(observers) < 1 - math.exp(-FIXATIONS * step)) & (target < count)
            for index in range(count):
                mine = target == index
                if mine.any():
                    self._look_at(poses[index], frame, sight.focus[index, frame], mine, fresh, spot, aside)
            for observer in np.flatnonzero(fresh & (target >= count)):
                middle = target[observer] == count
                scale = (CENTRE_SPREAD[0] * self.aspect, CENTRE_SPREAD[1])
                centre = rng.normal((self.aspect / 2, 0.5), scale)
                spot[observer] = self.place[observer] = centre if middle else rng.random(2) * (self.aspect, 1)
            result[frame] = self.place
            result[frame, rng.random(observers) < BLINK] = np.nan
            last = now
        outside = (result < 0) | (result >= (self.aspect, 1))
        result[outside.any(-1)] = np.nan
        return result

    def _look_at(
        self,
        pose: Pose,
        frame: int,
        focus: NDArray[np.float32],
        mine: NDArray[np.bool_],
        fresh: NDArray[np.bool_],
        spot: Array,
        aside: Array,
    ) -> None:
        """Moves the observers of one thing along with it, or to a new spot on it where the old one is hidden."""
        rows, columns = focus.shape
        here = pose.to_frame(spot[mine], frame)
        row = np.floor(here[:, 1] * rows).astype(int)
        column = np.floor(here[:, 0] / self.aspect * columns).astype(int)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        power = focus[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)] * inside
        who = np.flatnonzero(mine)
        anew = who[fresh[mine] | (power <= SPOT_HIDDEN * focus.max())]
        if len(anew):
            cell = _pick(focus.ravel().astype(np.float64), self.rng.random(len(anew)))
            jitter = self.rng.random((len(anew), 2))
            x = (cell % columns + jitter[:, 0]) / columns * self.aspect
            y = (cell // columns + jitter[:, 1]) / rows
            spot[anew] = pose.to_thing(np.stack((x, y), -1), frame)
            aside[anew] = self.rng.normal(0, GAZE_SPREAD, (len(anew), 2))
        self.place[mine] = pose.to_frame(spot[mine], frame) + aside[mine]


def _pick(weights: Array, uniform: Array) -> NDArray[np.int64]:
    """Indices drawn in proportion to weights, by uniform numbers from 0 to 1."""
    total = np.cumsum(weights)
    return np.minimum(np.searchsorted(total, uniform * total[-1], side="right"), len(weights) - 1)
