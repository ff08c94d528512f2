"""The things of a synthetic clip, drawn: people, riders, vehicles, animals, signs, shapes, and what may stand before them.

A kind is a function that draws a thing on a `Canvas`, at a phase of its movement from 0 to 1 where it has one (a step, a turn of
the pedals, a wing beat). `make_sprite` draws all phases with the same colours and proportions, and shades them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .textures import Colour, Rng, colour, noise, pattern, shifted, softened

Point = tuple[float, float]

MAX_DRAWN = 1400  # pixels; a canvas is drawn no taller than this
OVERSAMPLING = 2
PHASES = 8

# How much the spots of a thing draw gaze, w of the rules: any spot, and more near the middle where a design says nothing else.
ANY_SPOT, MIDDLE, MIDDLE_RADIUS = 0.15, 1.0, 0.3


class Canvas:
    """A transparent picture of height 1 and width `width`, x to the right and y down, that shapes are drawn on.

    `attractors` are the spots that draw gaze, as (x, y, radius, weight).
    """

    def __init__(self, height: int, width: float) -> None:
        self.scale = min(height * OVERSAMPLING, MAX_DRAWN)
        self.image = Image.new("RGBA", (max(4, round(width * self.scale)), self.scale))
        self.draw = ImageDraw.Draw(self.image)
        self.width = width
        self.attractors: list[tuple[float, float, float, float]] = []

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill)

    def disc(self, centre: Point, radius: float, fill: Colour, tall: float = 1.0) -> None:
        """A disc, or an ellipse that is `tall` times as high as it is wide."""
        (x, y), r = centre, radius
        box = (x - r, y - r * tall, x + r, y + r * tall)
        self.draw.ellipse([value * self.scale for value in box], fill)

    def ring(self, centre: Point, radius: float, width: float, fill: Colour) -> None:
        (x, y), r = centre, radius
        box = (x - r, y - r, x + r, y + r)
        self.draw.ellipse([value * self.scale for value in box], None, fill, max(1, round(width * self.scale)))

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour, rounded: float = 0.0) -> None:
        box = [value * self.scale for value in (left, top, right, bottom)]
        self.draw.rounded_rectangle(box, rounded * self.scale, fill)

    def limb(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line of some width with round joints and ends."""
        self.draw.line([(x * self.scale, y * self.scale) for x, y in points], fill, max(1, round(width * self.scale)))
        for point in points:
            self.disc(point, width / 2, fill)

    def attract(self, centre: Point, radius: float, weight: float) -> None:
        self.attractors.append((*centre, radius, weight))

    def picture(self, height: int) -> Tensor:
        """Premultiplied RGBA from 0 to 1, float32 (4, height, w)."""
        small = self.image.resize((max(4, round(self.width * height)), height), Image.Resampling.BOX)
        picture = np.asarray(small, np.float32).transpose(2, 0, 1) / 255
        picture[:3] *= picture[3:]
        return torch.from_numpy(picture)

    def attraction(self, height: int, width: int) -> Tensor:
        """How much each spot draws gaze, float32 (height, width): a little anywhere, more near an attractor."""
        y, x = torch.meshgrid(
            (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width * self.width, indexing="ij"
        )
        total = torch.full((height, width), ANY_SPOT)
        middle = (self.width / 2, 0.5, MIDDLE_RADIUS * min(1, self.width), MIDDLE)
        for left, top, radius, weight in self.attractors or [middle]:
            total += weight * torch.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * radius**2))
        return total


Drawing = Callable[[Canvas, float], None]
Design = Callable[[Rng], tuple[float, Drawing]]  # gives the width, in heights, and what draws a phase


@dataclass(frozen=True)
class Kind:
    """A kind of thing.

    Attributes
    ----------
    design
        Chooses colours and proportions; gives the width in heights, and the function that draws a phase.
    interest
        How much it draws gaze: k of the rules.
    rest
        How much of that it has without moving: b of the rules.
    phases
        Pictures of its movement.
    stride
        Heights that it goes forward in one round of its phases; 0 for a movement that goes on in place.
    size
        Its height as part of a person's; occluders are of any size.
    speed
        Least and greatest speed, in its own heights a second.
    """

    design: Design
    interest: float = 1.0
    phases: int = 1
    stride: float = 0.0
    size: float = 1.0
    speed: tuple[float, float] = (0.3, 2.0)
    rest: float = 0.15


@dataclass(frozen=True, eq=False)
class Sprite:
    """The pictures of a thing.

    Attributes
    ----------
    levels
        Premultiplied RGBA from 0 to 1, each float32 (phases, 4, h, w) of half the size of the one before.
    extent
        Width and height of these pictures, in heights of the thing: a transparent margin belongs to them.
    focus
        float32 (phases, 2, h, w) without margin, small: opacity, and opacity times how much each spot draws gaze.
    width
        Of the thing, in its heights.
    mean
        Its colour on average, (3,).
    """

    levels: tuple[Tensor, ...]
    extent: tuple[float, float]
    focus: Tensor
    width: float
    mean: NDArray[np.float32]


def make_sprite(kind: Kind, rng: Rng, pixels: float, cells: float, grade: Tensor, blur: float = 0.0) -> Sprite:
    """Draws a thing.

    Parameters
    ----------
    kind
        What it is.
    rng
        Source of its looks.
    pixels
        Its greatest height in the picture.
    cells
        Its usual height on the grid of attention.
    grade
        What its colours are multiplied by, (3, 3).
    blur
        Sigma of its blur as part of its height: it is out of focus.
    """
    width, draw = kind.design(rng)
    height = int(np.clip(math.ceil(pixels), 6, MAX_DRAWN // OVERSAMPLING))
    rows = int(np.clip(round(1.5 * cells), 5, 48))
    margin = 1 + math.ceil(2.5 * blur * height)
    shade = None
    levels, focus = [], []
    for phase in range(kind.phases):
        canvas = Canvas(height, width)
        draw(canvas, phase / kind.phases)
        picture = canvas.picture(height)
        if shade is None:
            shade = _shade(rng, picture.shape[1], picture.shape[2])
        graded = torch.einsum("dc,chw->dhw", grade, picture[:3] * shade)
        picture[:3] = torch.minimum(graded.clamp(min=0), picture[3:])
        coarse = F.interpolate(picture[None, 3:], (rows, max(3, round(rows * width))), mode="area")[0, 0]
        focus.append(torch.stack((coarse, coarse * canvas.attraction(*coarse.shape))))
        framed = F.pad(picture, (margin,) * 4)
        levels.append(softened(framed, blur * height))
    pyramid = [torch.stack(levels)]
    rgba = pyramid[0].sum((0, 2, 3))
    extent = (pyramid[0].shape[3] / height, pyramid[0].shape[2] / height)
    while min(pyramid[-1].shape[2:]) >= 12:
        pyramid.append(F.interpolate(pyramid[-1], scale_factor=0.5, mode="area"))
    mean = (rgba[:3] / rgba[3].clamp(min=1e-6)).numpy()
    return Sprite(tuple(pyramid), extent, torch.stack(focus), width, mean)


def _shade(rng: Rng, height: int, width: int) -> Tensor:
    """Light from one side, some unevenness, now and then a pattern: what colours are multiplied by, (height, width)."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.35)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    light = 1 + strength * (x * np.cos(angle) + y * np.sin(angle))
    light = light + rng.uniform(0.02, 0.1) * noise(rng, height, width, slope=rng.uniform(0.6, 1.5))[0]
    if rng.random() < 0.2:
        light = light + rng.uniform(0.1, 0.4) * pattern(rng, height, width)
    if rng.random() < 0.2:  # as rough as any background
        light = light + rng.uniform(0.2, 0.6) * noise(rng, height, width, slope=rng.uniform(0.3, 1.2))[0]
    return light.clamp(0.2, 1.8)


def _joint(start: Point, end: Point, first: float, second: float, side: float) -> Point:
    """The knee or elbow of a limb of two parts between two points."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    distance = min(max(math.hypot(dx, dy), 1e-6), (first + second) * 0.999)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    off = side * math.sqrt(max(first**2 - along**2, 0.0))
    ux, uy = dx / math.hypot(dx, dy), dy / math.hypot(dx, dy)
    return start[0] + along * ux - off * uy, start[1] + along * uy + off * ux


def _skin(rng: Rng) -> Colour:
    return colour(rng, (0.25, 0.6), (0.35, 0.95), (0.03, 0.09))


def _cloth(rng: Rng) -> Colour:
    return colour(rng, (0.0, rng.uniform(0.2, 0.95)), (0.05, 0.95))


# --------------------------------------------------------------------------------------------------------------- people


def _walker(rng: Rng) -> tuple[float, Drawing]:
    """A person from the side who walks or runs to the right."""
    skin, shirt, trousers, hair = (
        _skin(rng),
        _cloth(rng),
        _cloth(rng),
        colour(rng, (0.1, 0.7), (0.05, 0.5), (0.03, 0.12)),
    )
    girth, swing, lean = rng.uniform(0.8, 1.25), rng.uniform(0.35, 0.75), rng.uniform(-0.01, 0.07)
    bag, skirt = rng.random() < 0.3, rng.random() < 0.25
    bag_colour = _cloth(rng)

    def leg(canvas: Canvas, hip: Point, angle: float, bend: float, fill: Colour) -> None:
        knee = (hip[0] + 0.22 * math.sin(angle), hip[1] + 0.22 * math.cos(angle))
        foot = (knee[0] + 0.21 * math.sin(angle - bend), knee[1] + 0.21 * math.cos(angle - bend))
        canvas.limb([hip, knee], 0.095 * girth, fill)
        canvas.limb([knee, foot], 0.07 * girth, fill)
        canvas.limb([foot, (foot[0] + 0.06, foot[1] + 0.01)], 0.04, shifted(fill, -0.5))

    def arm(canvas: Canvas, shoulder: Point, angle: float, fill: Colour) -> None:
        elbow = (shoulder[0] + 0.15 * math.sin(angle), shoulder[1] + 0.15 * math.cos(angle))
        hand = (elbow[0] + 0.13 * math.sin(angle + 0.5), elbow[1] + 0.13 * math.cos(angle + 0.5))
        canvas.limb([shoulder, elbow, hand], 0.06 * girth, fill)
        canvas.disc(hand, 0.032, skin)

    def draw(canvas: Canvas, phase: float) -> None:
        turn = 2 * math.pi * phase
        bob = 0.012 * math.cos(2 * turn)
        hip, shoulder = (0.32, 0.54 + bob), (0.32 + lean, 0.24 + bob)
        arm(canvas, shoulder, -swing * math.sin(turn), shifted(shirt, -0.35))
        for offset, fill in ((math.pi, shifted(trousers, -0.3)), (0.0, trousers)):
            angle = swing * math.sin(turn + offset)
            leg(canvas, hip, angle, 0.15 + swing * max(0.0, math.cos(turn + offset)), fill)
        if skirt:
            canvas.polygon(
                [(hip[0] - 0.06, 0.48), (hip[0] + 0.07, 0.48), (hip[0] + 0.15, 0.72), (hip[0] - 0.14, 0.72)], shirt
            )
        canvas.limb([hip, shoulder], 0.15 * girth, shirt)
        if bag:
            canvas.disc((shoulder[0] - 0.1, shoulder[1] + 0.1), 0.07, bag_colour, 1.5)
        head = (shoulder[0] + 0.02, shoulder[1] - 0.14)
        canvas.limb([shoulder, head], 0.05, skin)
        canvas.disc(head, 0.062, skin, 1.2)
        canvas.disc((head[0] - 0.015, head[1] - 0.03), 0.06, hair, 0.8)
        arm(canvas, shoulder, swing * math.sin(turn), shirt)
        canvas.attract(head, 0.09, 2.5)
        canvas.attract((0.32, 0.4), 0.14, 1.0)

    return 0.66, draw


def _stander(rng: Rng) -> tuple[float, Drawing]:
    """A person from the front who stands and moves the arms."""
    skin, shirt, trousers, hair = (
        _skin(rng),
        _cloth(rng),
        _cloth(rng),
        colour(rng, (0.1, 0.7), (0.05, 0.5), (0.03, 0.12)),
    )
    girth, wave = rng.uniform(0.85, 1.25), rng.uniform(0.1, 1.3, 2)

    def draw(canvas: Canvas, phase: float) -> None:
        turn = 2 * math.pi * phase
        sway = 0.012 * math.sin(turn)
        for side in (-1, 1):
            hip = (0.3 + side * 0.055, 0.53)
            canvas.limb([hip, (0.3 + side * 0.07, 0.95)], 0.1 * girth, trousers)
            canvas.limb([(0.3 + side * 0.07, 0.96), (0.3 + side * 0.09, 0.965)], 0.05, shifted(trousers, -0.5))
        canvas.polygon([(0.2 + sway, 0.2), (0.4 + sway, 0.2), (0.38, 0.56), (0.22, 0.56)], shirt)
        for side, reach in zip((-1, 1), wave, strict=True):
            shoulder = (0.3 + sway + side * 0.11, 0.22)
            angle = side * (0.25 + reach * (1 + math.sin(turn + side)))
            elbow = (shoulder[0] + 0.15 * math.sin(angle), shoulder[1] + 0.15 * math.cos(angle))
            hand = (elbow[0] + 0.13 * math.sin(1.3 * angle), elbow[1] + 0.13 * math.cos(1.3 * angle))
            canvas.limb([shoulder, elbow, hand], 0.065 * girth, shirt)
            canvas.disc(hand, 0.034, skin)
        head = (0.3 + 1.5 * sway, 0.09)
        canvas.limb([(0.3 + sway, 0.2), head], 0.06, skin)
        _face(canvas, head, 0.065, skin, hair)
        canvas.attract(head, 0.09, 2.5)
        canvas.attract((0.3, 0.36), 0.14, 0.8)

    return 0.6, draw


def _face(canvas: Canvas, head: Point, radius: float, skin: Colour, hair: Colour) -> None:
    """A head from the front."""
    (x, y), r = head, radius
    canvas.disc((x, y - 0.25 * r), 1.08 * r, hair, 1.15)
    canvas.disc((x, y + 0.1 * r), 0.95 * r, skin, 1.2)
    canvas.polygon(
        [(x - r, y - 0.45 * r), (x + r, y - 0.45 * r), (x + 0.7 * r, y - 1.1 * r), (x - 0.7 * r, y - 1.1 * r)], hair
    )
    for side in (-1, 1):
        eye = (x + side * 0.38 * r, y)
        canvas.disc(eye, 0.17 * r, (235, 235, 230), 0.7)
        canvas.disc(eye, 0.09 * r, (25, 20, 20))
        canvas.limb([(eye[0] - 0.2 * r, y - 0.25 * r), (eye[0] + 0.2 * r, y - 0.27 * r)], 0.08 * r, shifted(hair, -0.2))
    canvas.limb([(x, y + 0.1 * r), (x + 0.08 * r, y + 0.45 * r)], 0.1 * r, shifted(skin, -0.2))
    canvas.limb([(x - 0.3 * r, y + 0.75 * r), (x + 0.3 * r, y + 0.75 * r)], 0.12 * r, shifted(skin, -0.5))


def _bust(rng: Rng) -> tuple[float, Drawing]:
    """Head and shoulders, near the camera, that nod and turn a little."""
    skin, shirt, hair = _skin(rng), _cloth(rng), colour(rng, (0.1, 0.7), (0.05, 0.5), (0.03, 0.12))
    tie, collar = _cloth(rng), rng.random() < 0.4
    radius = rng.uniform(0.17, 0.22)

    def draw(canvas: Canvas, phase: float) -> None:
        turn = 2 * math.pi * phase
        x, y = 0.55 + 0.02 * math.sin(turn), 0.3 + 0.012 * math.cos(turn)
        canvas.disc((0.55, 1.02), 0.5, shirt, 0.85)
        canvas.box(0.05, 0.9, 1.05, 1.0, shirt)
        canvas.limb([(0.55, 0.65), (x, y)], 0.2, shifted(skin, -0.15))
        if collar:
            canvas.polygon([(0.43, 0.58), (0.67, 0.58), (0.55, 0.85)], (230, 230, 235))
            canvas.polygon([(0.52, 0.62), (0.58, 0.62), (0.6, 1.0), (0.5, 1.0)], tie)
        _face(canvas, (x, y), radius, skin, hair)
        canvas.attract((x, y), 0.17, 3.0)
        canvas.attract((0.55, 0.8), 0.25, 0.3)

    return 1.1, draw


def _rider(rng: Rng) -> tuple[float, Drawing]:
    """A person on a bicycle or motorcycle who rides to the right."""
    motor = rng.random() < 0.25
    skin, shirt, trousers, helmet = _skin(rng), _cloth(rng), _cloth(rng), _cloth(rng)
    paint, tyre = _cloth(rng), colour(rng, (0.0, 0.2), (0.02, 0.3))
    wheel, girth = rng.uniform(0.19, 0.23), rng.uniform(0.85, 1.2)
    crouch = rng.uniform(0.0, 0.12)

    def draw(canvas: Canvas, phase: float) -> None:
        turn = 2 * math.pi * phase
        back, front, seat, bar = (0.27, 0.985 - wheel), (0.9, 0.985 - wheel), (0.42, 0.5), (0.8, 0.46)
        crank = (0.54, 0.985 - wheel)
        hip, shoulder = (0.43, 0.46), (0.63 + crouch, 0.21 + crouch / 2)
        feet = [
            (crank[0] + 0.075 * math.cos(turn + offset), crank[1] + 0.075 * math.sin(turn + offset) + 0.02)
            for offset in (math.pi, 0.0)
        ]
        knees = [_joint(hip, foot, 0.23, 0.24, -1) for foot in feet]
        canvas.limb([hip, knees[0], feet[0]], 0.075 * girth, shifted(trousers, -0.35))
        for hub in (back, front):
            canvas.ring(hub, wheel, 0.075 if motor else 0.026, tyre)
            for spoke in range(0 if motor else 6):
                angle = turn / 2 + math.pi * spoke / 6
                dx, dy = wheel * math.cos(angle), wheel * math.sin(angle)
                ends = [(hub[0] - dx, hub[1] - dy), (hub[0] + dx, hub[1] + dy)]
                canvas.draw.line([(x * canvas.scale, y * canvas.scale) for x, y in ends], (150, 150, 150), 1)
            canvas.disc(hub, 0.05 if motor else 0.02, (120, 120, 125))
        if motor:
            canvas.polygon([(0.3, 0.55), (0.75, 0.5), (0.82, 0.62), (0.68, 0.84), (0.42, 0.84)], paint)
            canvas.limb([(0.2, 0.54), (0.5, 0.55)], 0.07, tyre)
        else:
            for start, end in ((seat, crank), (crank, (0.78, 0.55)), (seat, (0.78, 0.53)), (back, crank), (back, seat)):
                canvas.limb([start, end], 0.028, paint)
        canvas.limb([bar, (0.78, 0.55), front], 0.03, shifted(paint, -0.3))
        canvas.limb([(seat[0] - 0.06, seat[1]), (seat[0] + 0.06, seat[1])], 0.03, tyre)
        canvas.limb([hip, shoulder], 0.15 * girth, shirt)
        canvas.limb([hip, knees[1], feet[1]], 0.08 * girth, trousers)
        canvas.limb([knees[1], feet[1]], 0.06 * girth, skin if rng_bare else trousers)
        canvas.limb([feet[1], (feet[1][0] + 0.05, feet[1][1] + 0.005)], 0.035, tyre)
        elbow = _joint(shoulder, bar, 0.17, 0.16, 1)
        canvas.limb([shoulder, elbow, bar], 0.055 * girth, shirt)
        canvas.disc(bar, 0.03, skin)
        head = (shoulder[0] + 0.075, shoulder[1] - 0.115)
        canvas.limb([shoulder, head], 0.06, skin)
        canvas.disc(head, 0.06, skin, 1.15)
        canvas.disc((head[0] - 0.005, head[1] - 0.03), 0.072, helmet, 0.75)
        canvas.attract(head, 0.09, 2.5)
        canvas.attract((0.55, 0.35), 0.15, 1.2)
        canvas.attract((0.58, 0.7), 0.25, 0.3)

    rng_bare = rng.random() < 0.5
    return 1.18, draw


# ------------------------------------------------------------------------------------------------- vehicles and animals


def _car(rng: Rng) -> tuple[float, Drawing]:
    """A car from the side, its front to the right."""
    paint, glass = colour(rng, (0.0, 0.9), (0.08, 0.95)), colour(rng, (0.0, 0.4), (0.08, 0.5), (0.5, 0.65))
    hood, roof = rng.uniform(0.35, 0.6), rng.uniform(0.85, 1.2)
    tail = rng.uniform(0.1, 0.45)

    def draw(canvas: Canvas, phase: float) -> None:
        left, right = 0.03, 2.37
        body = [(left, 0.5), (left + tail, 0.44), (right - hood - 0.25, 0.44), (right - 0.1, 0.52), (right, 0.62)]
        canvas.polygon([*body, (right, 0.82), (left, 0.82)], paint)
        a, b = left + tail, min(left + tail + roof + 0.35, right - hood)
        canvas.polygon([(a, 0.46), (a + 0.3, 0.05), (b - 0.35, 0.05), (b, 0.47)], paint)
        canvas.polygon([(a + 0.12, 0.43), (a + 0.34, 0.12), (b - 0.4, 0.12), (b - 0.12, 0.43)], glass)
        canvas.box((a + b) / 2 - 0.03, 0.08, (a + b) / 2 + 0.03, 0.5, paint)
        canvas.box(left, 0.74, right, 0.84, shifted(paint, -0.5))
        canvas.box(right - 0.14, 0.56, right - 0.02, 0.65, (250, 245, 215), 0.03)
        canvas.box(left, 0.54, left + 0.1, 0.64, (190, 25, 25), 0.02)
        _wheels(canvas, (0.48, 1.9), 0.8, 0.195, phase)
        canvas.attract((1.4, 0.4), 0.4, 1.0)

    return 2.4, draw


def _van(rng: Rng) -> tuple[float, Drawing]:
    """A van, bus, tram or lorry from the side, its front to the right."""
    width = rng.uniform(1.5, 2.8)
    paint, glass = colour(rng, (0.0, 0.9), (0.15, 0.95)), colour(rng, (0.0, 0.4), (0.08, 0.5), (0.5, 0.65))
    stripe, windows, lorry = _cloth(rng), int(rng.integers(1, 7)), rng.random() < 0.3

    def draw(canvas: Canvas, phase: float) -> None:
        if lorry:
            canvas.box(0.02, 0.03, width - 0.5, 0.8, stripe, 0.02)
            canvas.box(width - 0.48, 0.25, width - 0.03, 0.85, paint, 0.06)
            canvas.box(width - 0.3, 0.32, width - 0.06, 0.55, glass, 0.03)
            canvas.box(0.02, 0.78, width - 0.05, 0.86, (45, 45, 48))
        else:
            canvas.box(0.02, 0.04, width - 0.02, 0.88, paint, 0.09)
            pitch = (width - 0.25) / windows
            for index in range(windows):
                left = 0.08 + pitch * index
                canvas.box(left, 0.16, left + 0.86 * pitch, 0.45, glass, 0.03)
            canvas.box(width - 0.2, 0.14, width - 0.04, 0.5, glass, 0.03)
            canvas.box(0.02, 0.54, width - 0.02, 0.6, stripe)
        canvas.box(width - 0.1, 0.68, width - 0.03, 0.75, (250, 245, 215), 0.02)
        _wheels(canvas, (0.35, width - 0.4), 0.86, 0.125, phase)
        canvas.attract((width - 0.45, 0.4), 0.35, 1.0)
        canvas.attract((width / 2, 0.45), 0.4, 0.4)

    return width, draw


def _wheels(canvas: Canvas, places: Sequence[float], y: float, radius: float, phase: float) -> None:
    for x in places:
        canvas.disc((x, y), radius, (22, 22, 24))
        canvas.disc((x, y), 0.6 * radius, (150, 150, 155))
        for spoke in range(5):
            angle = 2 * math.pi * (spoke + phase) / 5
            end = (x + 0.55 * radius * math.cos(angle), y + 0.55 * radius * math.sin(angle))
            canvas.limb([(x, y), end], 0.12 * radius, (70, 70, 75))


def _beast(rng: Rng) -> tuple[float, Drawing]:
    """An animal on four legs that goes to the right."""
    fur, legs = colour(rng, (0.05, 0.6), (0.1, 0.9), (0.03, 0.13)), rng.uniform(0.35, 0.55)
    girth, neck, swing = rng.uniform(0.8, 1.3), rng.uniform(0.0, 0.15), rng.uniform(0.3, 0.6)
    spots = [
        (rng.uniform(0.4, 1.0), rng.uniform(0.35, 0.5), rng.uniform(0.02, 0.06)) for _ in range(rng.integers(0, 6))
    ]
    patch = shifted(fur, -0.5)

    def draw(canvas: Canvas, phase: float) -> None:
        turn = 2 * math.pi * phase
        back = 0.95 - legs
        for x, offset in ((0.4, 0.0), (0.46, math.pi), (0.98, 2.2), (1.04, 5.3)):
            angle = swing * math.sin(turn + offset)
            knee = (x + 0.5 * legs * math.sin(angle), back - 0.03 + 0.5 * legs * math.cos(angle))
            bend = angle - 0.5 * max(0.0, math.cos(turn + offset))
            foot = (knee[0] + 0.5 * legs * math.sin(bend), knee[1] + 0.5 * legs * math.cos(bend))
            canvas.limb([(x, back - 0.05), knee, foot], 0.075, shifted(fur, -0.3 if offset in (math.pi, 5.3) else 0))
        canvas.limb([(0.42, back - 0.1), (1.0, back - 0.12)], 0.26 * girth, fur)
        for x, y, radius in spots:
            canvas.disc((x, back - 0.5 + y), radius, patch)
        canvas.limb([(0.32, back - 0.16), (0.15, back - 0.25 - 0.05 * math.sin(turn))], 0.05, fur)
        head = (1.24, max(0.13, back - 0.32 - neck))
        canvas.limb([(1.02, back - 0.15), head], 0.15, fur)
        canvas.disc(head, 0.105, fur)
        canvas.limb([head, (head[0] + 0.13, head[1] + 0.05)], 0.09, shifted(fur, -0.15))
        canvas.polygon(
            [(head[0] - 0.09, head[1]), (head[0] - 0.03, head[1] - 0.12), (head[0] + 0.02, head[1] - 0.06)], patch
        )
        canvas.disc((head[0] + 0.04, head[1] - 0.03), 0.018, (15, 15, 15))
        canvas.attract(head, 0.14, 2.0)
        canvas.attract((0.7, back - 0.1), 0.25, 0.8)

    return 1.45, draw


def _bird(rng: Rng) -> tuple[float, Drawing]:
    """A bird that flies to the right."""
    body, wing = colour(rng, (0.0, 0.8), (0.05, 0.95)), colour(rng, (0.0, 0.7), (0.05, 0.95))
    span = rng.uniform(0.3, 0.42)

    def draw(canvas: Canvas, phase: float) -> None:
        beat = math.sin(2 * math.pi * phase)
        tip = 0.5 - span * beat
        canvas.polygon([(0.55, 0.48), (0.75, 0.48), (0.62, tip - 0.04), (0.5, tip)], shifted(wing, -0.3))
        canvas.disc((0.65, 0.52), 0.26, body, 0.38)
        canvas.polygon([(0.45, 0.5), (0.2, 0.42), (0.22, 0.58)], body)
        canvas.disc((0.93, 0.46), 0.085, body)
        canvas.polygon([(1.0, 0.44), (1.12, 0.48), (1.0, 0.5)], (220, 150, 40))
        canvas.polygon([(0.52, 0.5), (0.8, 0.5), (0.66, tip), (0.56, tip + 0.03)], wing)
        canvas.attract((0.8, 0.48), 0.25, 1.0)

    return 1.15, draw


# ------------------------------------------------------------------------------------------------------ shapes and signs


def _shape(rng: Rng) -> tuple[float, Drawing]:
    """A polygon, star or smooth blob, perhaps with another inside."""
    count, smooth = int(rng.integers(3, 9)), rng.random() < 0.5
    angles = np.linspace(0, 2 * np.pi, 60 if smooth else count, endpoint=False) + rng.uniform(0, 6)
    if smooth:
        waves = [rng.uniform(0, 0.35 / k) * np.sin(k * angles + rng.uniform(0, 6)) for k in range(2, 6)]
        radii = 0.3 * (1 + np.sum(waves, 0))
    else:
        radii = 0.45 * np.where(np.arange(count) % 2, rng.uniform(0.4, 1), 1.0)
    outer, inner = _cloth(rng), _cloth(rng)
    core = rng.uniform(0.0, 0.8)

    def draw(canvas: Canvas, phase: float) -> None:
        for scale, fill in ((1.0, outer), (core, inner)):
            points = zip(0.5 + scale * radii * np.cos(angles), 0.5 + scale * radii * np.sin(angles), strict=True)
            canvas.polygon([(float(x), float(y)) for x, y in points], fill)

    return 1.0, draw


def _ball(rng: Rng) -> tuple[float, Drawing]:
    """A ball with patches that rolls."""
    base, patch = colour(rng, (0.0, 0.9), (0.4, 1.0)), _cloth(rng)
    patches = [
        (rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.36), rng.uniform(0.05, 0.14)) for _ in range(rng.integers(1, 8))
    ]

    def draw(canvas: Canvas, phase: float) -> None:
        canvas.disc((0.5, 0.5), 0.48, base)
        for angle, distance, radius in patches:
            turned = angle + 2 * math.pi * phase
            reach = min(distance, 0.46 - radius)
            canvas.disc((0.5 + reach * math.cos(turned), 0.5 + reach * math.sin(turned)), radius, patch)

    return 1.0, draw


def _sign(rng: Rng) -> tuple[float, Drawing]:
    """Letters or figures, on a plate or without one."""
    letters = "".join(rng.choice(list("ABDEGHKMNOPRSTUXYZ023456789")) for _ in range(rng.integers(1, 6)))
    plate = rng.random() < 0.75
    width = 0.35 + 0.55 * len(letters)
    back, ink = colour(rng, (0.0, 1.0), (0.5, 1.0)), colour(rng, (0.0, 0.8), (0.0, 0.35))
    if rng.random() < 0.4:
        back, ink = ink, back

    def draw(canvas: Canvas, phase: float) -> None:
        if plate:
            canvas.box(0.02, 0.05, width - 0.02, 0.95, ink, 0.08)
            canvas.box(0.06, 0.09, width - 0.06, 0.91, back, 0.06)
        font = ImageFont.load_default(0.7 * canvas.scale)
        middle = (width / 2 * canvas.scale, 0.5 * canvas.scale)
        canvas.draw.text(middle, letters, ink, font, anchor="mm")
        canvas.attract((width / 2, 0.5), 0.3 * width, 1.0)

    return width, draw


# -------------------------------------------------------------------------------------------------------------- occluders


def _pole(rng: Rng) -> tuple[float, Drawing]:
    """A pole, pillar or trunk."""
    width, bark = rng.uniform(0.04, 0.2), colour(rng, (0.0, 0.5), (0.08, 0.6))

    def draw(canvas: Canvas, phase: float) -> None:
        canvas.box(0, 0, width, 1, bark)
        canvas.box(0.1 * width, 0, 0.3 * width, 1, shifted(bark, 0.25))

    return width, draw


def _fence(rng: Rng) -> tuple[float, Drawing]:
    """A railing: posts, bars, perhaps crosses between them."""
    width, bars = rng.uniform(2, 6), int(rng.integers(2, 9))
    crossed, paint, thick = rng.random() < 0.5, colour(rng, (0.0, 0.5), (0.08, 0.5)), rng.uniform(0.03, 0.07)

    def draw(canvas: Canvas, phase: float) -> None:
        pitch = (width - 2 * thick) / bars
        for index in range(bars + 1):
            x = thick + pitch * index
            canvas.limb([(x, thick), (x, 1)], thick, paint)
            if crossed and index < bars:
                canvas.limb([(x, 0.1), (x + pitch, 0.95)], 0.6 * thick, shifted(paint, 0.15))
                canvas.limb([(x, 0.95), (x + pitch, 0.1)], 0.6 * thick, shifted(paint, 0.15))
        for y in (0.08, 0.92):
            canvas.limb([(thick, y), (width - thick, y)], 0.8 * thick, paint)

    return width, draw


def _bush(rng: Rng) -> tuple[float, Drawing]:
    """Leaves in a heap."""
    width = rng.uniform(0.8, 2.0)
    count = 350
    radius, angle = np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    places = np.stack((width * (0.5 + 0.42 * radius * np.cos(angle)), 0.5 + 0.42 * radius * np.sin(angle)), 1)
    leaves = [colour(rng, (0.3, 0.7), (0.12, 0.5), (0.2, 0.4)) for _ in range(count)]
    sizes = rng.uniform(0.04, 0.1, count)

    def draw(canvas: Canvas, phase: float) -> None:
        for (x, y), fill, size in zip(places.tolist(), leaves, sizes.tolist(), strict=True):
            canvas.disc((x, y), size, fill, 0.7)

    return width, draw


KINDS = {
    "walker": Kind(_walker, 1.5, PHASES, 0.8, 1.0, (0.4, 1.6), 0.35),
    "stander": Kind(_stander, 1.4, PHASES, 0.0, 1.0, (0.0, 0.2), 0.35),
    "bust": Kind(_bust, 1.6, PHASES, 0.0, 0.6, (0.0, 0.5), 0.5),
    "rider": Kind(_rider, 1.6, PHASES, 1.6, 1.15, (0.8, 3.0), 0.35),
    "car": Kind(_car, 1.0, 2, 1.2, 0.85, (0.8, 5.0)),
    "van": Kind(_van, 1.0, 2, 0.8, 1.5, (0.5, 2.5)),
    "beast": Kind(_beast, 1.2, PHASES, 1.1, 0.6, (0.5, 3.0), 0.25),
    "bird": Kind(_bird, 1.0, PHASES, 0.0, 0.35, (1.0, 5.0)),
    "shape": Kind(_shape, 0.8),
    "ball": Kind(_ball, 0.9, PHASES, 3.0, 0.3, (1.0, 5.0)),
    "sign": Kind(_sign, 0.8, size=0.35),
    "pole": Kind(_pole, 0.0),
    "fence": Kind(_fence, 0.0),
    "bush": Kind(_bush, 0.0),
}

OCCLUDERS = ("pole", "fence", "bush")

# How often each is what moves, on a ground or anywhere, and what stands by.
ON_GROUND = {"walker": 0.32, "rider": 0.3, "car": 0.18, "van": 0.08, "beast": 0.12}
ANYWHERE = {
    "walker": 0.14,
    "rider": 0.14,
    "bust": 0.16,
    "stander": 0.1,
    "car": 0.1,
    "beast": 0.1,
    "bird": 0.08,
    "ball": 0.07,
    "shape": 0.06,
    "sign": 0.05,
}
BYSTANDERS = {"stander": 0.1, "car": 0.2, "van": 0.12, "beast": 0.04, "sign": 0.2, "shape": 0.24, "ball": 0.1}
