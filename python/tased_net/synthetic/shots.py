"""What happens in a synthetic clip: shots, in each a camera, a world, and the things that move, stand or hide others in it.

Lengths are in heights of a frame, times in seconds. The world has the frame's coordinates (x to the right, y down) as the camera
sees it at rest: a camera at `centre` c with `zoom` z and `angle` a shows the point X at (aspect/2, 1/2) + z R(a) (X - c).
Everything that changes is an array over the shot's frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from .sprites import ANYWHERE, BYSTANDERS, KINDS, OCCLUDERS, ON_GROUND, Kind, Sprite, make_sprite
from .textures import Rng, View, background, noise, softened

Array = NDArray[np.float64]

CAMERAS = {"static": 0.22, "handheld": 0.3, "pan": 0.22, "follow": 0.16, "zoom": 0.1}
MOVERS = (0.03, 0.35, 0.31, 0.19, 0.12)  # probability of 0, 1, … things that move
STANDING = (0.35, 0.3, 0.2, 0.1, 0.05)  # the same of bystanders
TOP_SPEED = 1.6  # heights of a frame a second


@dataclass(frozen=True, eq=False)
class Camera:
    """Where the camera looks: centre (N, 2), zoom (N,), angle (N,) in radians."""

    centre: Array
    zoom: Array
    angle: Array
    aspect: float

    def project(self, place: Array, parallax: float = 1.0) -> Array:
        """Places in the frame of points of the world, (N, 2) both; what has a parallax above 1 is nearer, and faster."""
        x, y = np.moveaxis((place - self.centre) * parallax * self.zoom[:, None], -1, 0)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.stack((self.aspect / 2 + cos * x - sin * y, 0.5 + sin * x + cos * y), -1)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what the camera sees of the world."""
        corners = np.array([(x, y) for x in (-self.aspect / 2, self.aspect / 2) for y in (-0.5, 0.5)])
        cos, sin = np.cos(self.angle)[:, None], np.sin(self.angle)[:, None]
        x = self.centre[:, :1] + (cos * corners[:, 0] + sin * corners[:, 1]) / self.zoom[:, None]
        y = self.centre[:, 1:] + (cos * corners[:, 1] - sin * corners[:, 0]) / self.zoom[:, None]
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())


@dataclass(frozen=True, eq=False)
class Pose:
    """How a thing lies in the frames of a shot.

    Attributes
    ----------
    centre
        (N, 2), in heights of the frame.
    height
        (N,), in heights of the frame.
    turn
        (N, 2, 2), from the frame's axes to the thing's own: x to where it looks, y to its feet.
    """

    centre: Array
    height: Array
    turn: Array

    def to_thing(self, points: Array, frame: int) -> Array:
        """Points (n, 2) of a frame, seen from the thing: from its centre, in its heights."""
        result: Array = (points - self.centre[frame]) @ self._matrix(frame).T
        return result

    def to_frame(self, points: Array, frame: int) -> Array:
        """The way back."""
        result: Array = points @ np.linalg.inv(self._matrix(frame)).T + self.centre[frame]
        return result

    def _matrix(self, frame: int) -> Array:
        matrix: Array = self.turn[frame] / self.height[frame]
        return matrix


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing in a shot.

    Attributes
    ----------
    kind, sprite
        What it is and how it looks.
    place, height, angle, opacity
        Its centre (N, 2), height (N,), angle (N,) in radians and opacity (N,) in the world.
    phase
        The picture of the sprite that shows, int (N,).
    limbs
        Speed (N,) of the parts that move in place.
    facing
        1 if it looks right, -1 if left.
    parallax
        1 for what stands in the world, more for what is nearer to the camera.
    """

    kind: Kind
    sprite: Sprite
    place: Array
    height: Array
    angle: Array
    opacity: Array
    phase: NDArray[np.int64]
    limbs: Array
    facing: float = 1.0
    parallax: float = 1.0

    def pose(self, camera: Camera) -> Pose:
        """How it lies in the camera's frames."""
        angle = self.angle + camera.angle
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.stack((self.facing * cos, self.facing * sin, -sin, cos), -1).reshape(-1, 2, 2)
        return Pose(camera.project(self.place, self.parallax), self.height * camera.zoom, turn)


@dataclass(frozen=True, eq=False)
class Shot:
    """A shot: `things` from the farthest to the nearest, before a background.

    Attributes
    ----------
    rate
        Frames a second.
    world, view
        The painted background (3, h, w), and which part of the world it is.
    sway
        (h, w) of any size over the view: how far its spots sway, as leaves or water do, in heights.
    light
        Exposure (N,).
    shadow
        Light (h, w) that falls through clouds or leaves, at any resolution; it drifts over the frame from left to right.
    vignette, grain
        How much darker the corners are, and the standard deviation of the sensor's noise.
    """

    rate: float
    camera: Camera
    things: tuple[Thing, ...]
    world: Tensor
    view: View
    sway: Tensor | None
    light: Array
    shadow: Tensor | None
    vignette: float
    grain: float

    @property
    def frames(self) -> int:
        return len(self.light)


def make_shot(seed: np.random.SeedSequence, frames: int, rate: float, size: tuple[int, int], rows: int) -> Shot:
    """Makes up a shot.

    Parameters
    ----------
    seed
        What it follows from. What happens does not depend on `size`.
    frames
        Their number, at least 2.
    rate
        Frames a second.
    size
        Height and width of the frames in pixels.
    rows
        Of the grid of attention.
    """
    plot, paint, *looks = (np.random.default_rng(child) for child in seed.spawn(34))
    return _Director(plot, paint, looks, frames, rate, size, rows).shot()


@dataclass
class _Plan:
    """A thing before it is drawn; `depth` orders them, near ones last."""

    kind: Kind
    place: Array
    height: Array
    angle: Array
    opacity: Array
    travelled: Array  # in its heights
    facing: float
    depth: float
    parallax: float
    blur: float  # sigma in heights of a frame
    rounds: float  # of a movement in place, a second


class _Director:
    """Decides what happens in one shot."""

    def __init__(
        self, plot: Rng, paint: Rng, looks: list[Rng], frames: int, rate: float, size: tuple[int, int], rows: int
    ) -> None:
        self.rng, self.paint, self.looks = plot, paint, looks
        self.frames, self.rate, self.size, self.rows = frames, rate, size, rows
        self.time = np.arange(frames) / rate
        self.aspect = size[1] / size[0]
        rng = plot
        self.grounded = rng.random() < 0.65
        self.horizon = rng.uniform(0.2, 0.62)
        # A person's height over that by which the feet are below the horizon.
        self.steepness = 0.5 / (rng.uniform(0.78, 1.0) - self.horizon)
        self.largest = rng.uniform(0.35, 1.2)  # height of a person who is nearest
        self.soft = rng.uniform(0.003, 0.02) if rng.random() < 0.5 else 0.0

    def shot(self) -> Shot:
        rng = self.rng
        kind = self._one_of(CAMERAS)
        self.camera = self._camera(kind)
        movers = [self._mover(first=index == 0) for index in range(rng.choice(len(MOVERS), p=MOVERS))]
        if kind == "follow" and movers:
            self.camera = self._following(movers[0])
            movers[1:] = [self._mover() for _ in movers[1:]]
        others = [self._bystander() for _ in range(rng.choice(len(STANDING), p=STANDING))]
        hiding = [self._occluder() for _ in range(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1)))]
        plans = sorted([*movers, *others, *hiding], key=lambda plan: plan.depth)
        grade = self._grade()
        things = tuple(self._drawn(plan, look, grade) for plan, look in zip(plans, self.looks, strict=False))
        world, view, sway = self._world(grade)
        drift = 0.12 * self._wobble(1.5) if rng.random() < 0.3 else np.zeros(self.frames)
        flicker = rng.uniform(0, 0.012) * rng.standard_normal(self.frames)
        exposure = rng.uniform(0.3, 0.6) / max(float(world.mean()), 0.05)
        light = np.clip(exposure, 0.6, 2.0) * (1 + drift + flicker)
        vignette, grain = rng.uniform(0, 0.35), math.exp(rng.uniform(math.log(0.002), math.log(0.025)))
        shadow = None
        if rng.random() < 0.2:
            clouds = noise(self.paint, 24, 128, slope=rng.uniform(1.0, 2.0))[0]
            shadow = 1 - rng.uniform(0.15, 0.5) * torch.sigmoid(3 * clouds)
        return Shot(self.rate, self.camera, things, world, view, sway, light, shadow, vignette, grain)

    # ---------------------------------------------------------------------------------------------------------- camera

    def _camera(self, kind: str) -> Camera:
        rng, time = self.rng, self.time
        centre = np.tile([self.aspect / 2, 0.5], (self.frames, 1))
        zoom, angle = np.full(self.frames, rng.uniform(0.9, 1.15)), np.zeros(self.frames)
        if kind == "handheld" or (kind != "static" and rng.random() < 0.5):
            size = math.exp(rng.uniform(math.log(0.002), math.log(0.014)))
            for axis in (0, 1):
                centre[:, axis] += size * (self._wobble(0.12) + 2 * self._wobble(0.6))
            angle += 0.4 * size * self._wobble(0.3)
        if kind == "pan":
            speed = math.exp(rng.uniform(math.log(0.08), math.log(0.9)))
            length = min(speed * time[-1], 2.2)
            way = length * self._ease() * rng.choice([-1, 1])
            tilt = rng.normal(0, 0.15) if rng.random() < 0.8 else rng.uniform(-1.2, 1.2)
            centre += (way - way.mean())[:, None] * [math.cos(tilt), 0.6 * math.sin(tilt)]
        if kind == "zoom":
            zoom = zoom * np.exp(rng.uniform(-0.5, 0.5) * self._ease())
            angle += rng.normal(0, 0.06) * self._ease()
        return Camera(centre, zoom, angle, self.aspect)

    def _following(self, plan: _Plan) -> Camera:
        """The camera goes with a thing, a little late."""
        sigma = self.rng.uniform(0.15, 0.5) * self.rate
        path = gaussian_filter1d(plan.place, sigma, axis=0, mode="nearest")
        anchor = self.frames // 2
        aside = path[anchor] - self.camera.centre[anchor]
        path = path - np.clip(aside, -0.25, 0.25)
        start, end = path.min(0), path.max(0)
        reach = np.minimum(1.0, (2.6, 0.6) / np.maximum(end - start, 1e-6))  # the world is not endless
        path = path[anchor] + (path - path[anchor]) * reach
        shake = self.camera.centre - (self.aspect / 2, 0.5)
        return Camera(path + shake, self.camera.zoom, self.camera.angle, self.aspect)

    def _ease(self) -> Array:
        """From 0 to 1, with a start and a stop at random times."""
        start, end = np.sort(self.rng.uniform(-0.3, 1.3, 2)) * self.time[-1]
        way = np.clip((self.time - start) / max(end - start, 0.5), 0, 1)
        return way * way * (3 - 2 * way)

    def _wobble(self, period: float) -> Array:
        """Smooth noise of mean 0 and standard deviation about 1 that changes in some `period` seconds."""
        sigma = max(period * self.rate, 0.5)
        pad = math.ceil(4 * sigma)
        white = self.rng.standard_normal(self.frames + 2 * pad)
        smooth = gaussian_filter1d(white, sigma)[pad : pad + self.frames]
        return smooth * math.sqrt(2 * math.sqrt(math.pi) * sigma)

    # ---------------------------------------------------------------------------------------------------------- things

    def _mover(self, first: bool = False) -> _Plan:
        """A thing that moves against the background, or gestures, or comes up out of nothing."""
        rng = self.rng
        name = self._one_of(ON_GROUND if self.grounded and rng.random() < 0.75 else ANYWHERE)
        kind = KINDS[name]
        floating = not self.grounded or name not in ON_GROUND
        anchor = int(rng.uniform(0.1, 0.9) * self.frames)
        person = self._person_height() if not floating else 0.0
        height = person * kind.size if not floating else self._free_height(kind)
        speed = min(height * math.exp(rng.uniform(*np.log(np.maximum(kind.speed, 0.02)))), TOP_SPEED)
        facing = float(rng.choice([-1, 1]))
        pace = self._pace()
        way = np.cumsum(pace) * speed / self.rate
        way -= way[anchor]
        place = self._in_frame(anchor, 0.2 if first else 0.25)
        heights, angle, opacity = np.full(self.frames, height), np.zeros(self.frames), np.ones(self.frames)
        if not floating:
            feet = np.full(self.frames, self.horizon + person / self.steepness)
            if rng.random() < 0.3:  # comes nearer or goes away
                growth = np.exp(np.clip(rng.uniform(-0.5, 0.5) * way / max(speed, 0.05), -1.2, 0.9))
                heights = height * growth
                feet = self.horizon + person * growth / self.steepness
                way = way * rng.uniform(0.1, 0.6)
            path = np.stack((place[0] + facing * way, feet - heights / 2), -1)
        else:
            path, angle, heights = self._free_path(kind, place, way, speed, facing, heights)
        if rng.random() < 0.2:
            opacity = self._shown(anchor)
        travelled = np.cumsum(np.linalg.norm(np.diff(path, axis=0, prepend=path[:1]), axis=1)) / heights
        blur = rng.uniform(0.003, 0.015) if rng.random() < 0.15 else 0.0
        rounds = rng.uniform(0.3, 1.3) if not kind.stride else 0.0
        depth = person if not floating else rng.uniform(0, 1.2)
        return _Plan(kind, path, heights, angle, opacity, travelled, facing, depth, 1.0, blur, rounds)

    def _free_path(
        self, kind: Kind, start: Array, way: Array, speed: float, facing: float, heights: Array
    ) -> tuple[Array, Array, Array]:
        """The path, angle and heights of a thing that no ground holds."""
        rng = self.rng
        level = kind.phases > 1 and kind is not KINDS["ball"]  # has an up and a down
        course = rng.normal(0, 0.25) if level else rng.uniform(-np.pi / 2, np.pi / 2)
        angle = np.zeros(self.frames)
        if not level and rng.random() < 0.4:
            angle = rng.normal(0, 2.0) * (self.time - self.time[-1] / 2)
        form = rng.choice(["line", "curve", "swing", "wander", "nearer"])
        if form == "swing":
            period, reach = rng.uniform(0.8, 3), rng.uniform(0.06, 0.4)
            swing = reach * np.sin(2 * np.pi * self.time / period + rng.uniform(0, 6))
            return start + swing[:, None] * [math.cos(course), math.sin(course)], angle, heights
        if form == "wander":
            amount = min(0.4, speed)
            steps = np.stack((self._wobble(0.5), 0.6 * self._wobble(0.5)), -1) * amount
            return start + np.cumsum(steps, 0) / self.rate - np.mean(np.cumsum(steps, 0) / self.rate, 0), angle, heights
        if form == "nearer":
            heights = heights * np.exp(np.clip(rng.uniform(-0.8, 0.8) * way / max(speed, 0.05), -1.3, 0.9))
            way = way * 0.3
        bend = rng.normal(0, 1.0 / (0.2 + speed)) if form == "curve" else 0.0
        turn = course + bend * way
        step = np.diff(way, prepend=way[:1])
        path = np.cumsum(np.stack((facing * step * np.cos(turn), step * np.sin(turn)), -1), 0)
        anchor = int(np.argmin(np.abs(way)))
        return start + path - path[anchor], angle, heights

    def _bystander(self) -> _Plan:
        """A thing that stands in the world: it moves in the frame as the camera moves it, and no otherwise."""
        rng = self.rng
        name = self._one_of(BYSTANDERS)
        kind = KINDS[name]
        left, top, right, bottom = self.camera.extent()
        x = rng.uniform(left, right)
        if self.grounded and name not in ("sign", "shape"):
            person = self._person_height()
            height, depth = person * kind.size, person
            y = self.horizon + person / self.steepness - height / 2
        else:
            height, depth = self._free_height(kind), rng.uniform(-0.3, 0.9)
            low = min(bottom, self.horizon) if self.grounded else bottom
            y = rng.uniform(top, max(top, low))  # a camera may see nothing above the horizon
        still = np.zeros(self.frames)
        place = np.tile([x, y], (self.frames, 1))
        angle = still + (rng.normal(0, 0.3) if name in ("sign", "shape") else 0.0)
        travelled = still + rng.uniform(0, 1)
        return _Plan(
            kind,
            place,
            still + height,
            angle,
            still + 1,
            travelled,
            float(rng.choice([-1, 1])),
            depth,
            1.0,
            self.soft * (depth < 0.4),
            0.0,
        )

    def _occluder(self) -> _Plan:
        """A part of the world before the things: a pole, a railing, a bush."""
        rng = self.rng
        name = str(rng.choice(OCCLUDERS))
        parallax = rng.uniform(1.0, 1.8)
        height = {"pole": rng.uniform(1.3, 2.5), "fence": rng.uniform(0.25, 0.6), "bush": rng.uniform(0.25, 0.7)}[name]
        when = rng.integers(self.frames)
        x = self.camera.centre[when, 0] + rng.normal(0, 0.3) * self.aspect / parallax
        low = {"pole": rng.uniform(0.4, 0.6), "fence": rng.uniform(0.6, 1.0), "bush": rng.uniform(0.7, 1.05)}[name]
        y = self.camera.centre[when, 1] + (low - 0.5) / parallax
        still = np.zeros(self.frames)
        blur = rng.uniform(0.0, 0.05) * (parallax - 0.8)
        place = np.tile([x, y], (self.frames, 1))
        return _Plan(
            KINDS[name], place, still + height, still, still + 1, still, 1.0, 2 + parallax, parallax, blur, 0.0
        )

    def _one_of(self, chances: dict[str, float]) -> str:
        return str(self.rng.choice(list(chances), p=list(chances.values())))

    def _person_height(self) -> float:
        return math.exp(self.rng.uniform(math.log(0.18), math.log(self.largest)))

    def _free_height(self, kind: Kind) -> float:
        smallest = 0.35 if kind is KINDS["bust"] else 0.13
        return math.exp(self.rng.uniform(math.log(smallest), math.log(0.8))) * min(1.0, 1.5 * kind.size)

    def _in_frame(self, frame: int, spread: float) -> Array:
        """A place in the world that is seen at that frame, rather in the middle."""
        aside = np.clip(self.rng.normal(0, spread, 2), -0.42, 0.42) * (self.aspect, 1.0)
        return self.camera.centre[frame] + aside / self.camera.zoom[frame]

    def _pace(self) -> Array:
        """Speed over time, as part of the usual one."""
        rng, time = self.rng, self.time
        edge, soft = rng.uniform(0.2, 0.8) * time[-1], rng.uniform(0.05, 0.25)
        gate = 1 / (1 + np.exp(np.clip((time - edge) / soft, -50, 50)))
        form = rng.choice(["steady", "faster", "stops", "starts", "stop and go"], p=[0.4, 0.15, 0.15, 0.15, 0.15])
        if form == "faster":
            return np.clip(1 + rng.uniform(-0.4, 0.8) * (time - edge), 0.1, 2.5)
        if form == "stop and go":
            return np.clip(0.5 + self._wobble(0.5), 0, 1.5)
        return {"steady": np.ones_like(time), "stops": gate, "starts": 1 - gate}[form]

    def _shown(self, anchor: int) -> Array:
        """Opacity of a thing that comes up out of nothing, and may vanish again."""
        start = min(self.rng.uniform(0, 0.7) * self.time[-1], self.time[anchor])
        end = start + self.rng.uniform(0.8, 6.0)
        fade = self.rng.uniform(0.04, 0.3)
        return np.clip((self.time - start) / fade, 0, 1) * np.clip((end - self.time) / fade, 0, 1)

    # -------------------------------------------------------------------------------------------------------- painting

    def _grade(self) -> Tensor:
        """How the camera sees colours: saturation and a tint, (3, 3)."""
        rng = self.rng
        saturation = 0.0 if rng.random() < 0.07 else rng.uniform(0.3, 1.0)
        grey = np.full((3, 3), 1 / 3)
        tint = np.diag(1 + rng.normal(0, 0.04, 3))
        return torch.from_numpy((tint @ (saturation * np.eye(3) + (1 - saturation) * grey)).astype(np.float32))

    def _drawn(self, plan: _Plan, look: Rng, grade: Tensor) -> Thing:
        apparent = plan.height * self.camera.zoom
        visible = self._visible(plan)
        largest = float(apparent[visible].max()) if visible.any() else 0.02
        usual = float(np.median(apparent[visible])) if visible.any() else 0.02
        sprite = make_sprite(
            plan.kind, look, largest * self.size[0], usual * self.rows, grade, min(plan.blur / usual, 0.08)
        )
        rounds = plan.travelled / plan.kind.stride if plan.kind.stride else plan.rounds * self.time
        phase = np.floor((rounds % 1.0) * plan.kind.phases).astype(np.int64) % plan.kind.phases
        facing = 1.0 if plan.kind is KINDS["sign"] else plan.facing  # letters are not mirrored
        limbs = 0.35 * plan.rounds * plan.height * (plan.kind.phases > 1)
        return Thing(
            plan.kind,
            sprite,
            plan.place,
            plan.height,
            plan.angle,
            plan.opacity,
            phase,
            limbs,
            facing,
            plan.parallax,
        )

    def _visible(self, plan: _Plan) -> NDArray[np.bool_]:
        """At which frames some of a thing may be in view."""
        reach = plan.height * self.camera.zoom * 1.7
        x, y = self.camera.project(plan.place, plan.parallax).T
        inside: NDArray[np.bool_] = (x > -reach) & (x < self.aspect + reach) & (y > -reach) & (y < 1 + reach)
        return inside

    def _world(self, grade: Tensor) -> tuple[Tensor, View, Tensor | None]:
        left, top, right, bottom = self.camera.extent()
        margin = 0.06
        scale = self.size[0] * float(np.exp(np.log(self.camera.zoom).mean()))
        shape = (math.ceil((bottom - top + 2 * margin) * scale), math.ceil((right - left + 2 * margin) * scale))
        view = View(left - margin, top - margin, shape, scale)
        world = background(self.paint, view, self.horizon if self.grounded else None)
        world = torch.einsum("dc,chw->dhw", grade, softened(world, max(self.soft * scale, 0.45)))
        world = world.mean() + self.rng.uniform(0.85, 1.5) * (world - world.mean())
        sway = None
        if self.rng.random() < 0.3:
            field = noise(self.paint, 32, max(4, round(32 * shape[1] / shape[0])), slope=1.5)[0]
            sway = float(self.rng.uniform(0.003, 0.012)) * (field + 0.3).clamp(0, 1)
        return world.clamp(0, 1), view, sway
