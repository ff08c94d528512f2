"""Draws docs/drawings: what pooling and unpooling do, and the network. The operations and the network give every number.

python scripts/draw.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from tased_ext import aux_max_pool, max_unpool
from tased_ext.reference import max_pool3d
from tased_net.info import stages

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "drawings"

STYLE = """
svg { --paper: #ffffff; --ink: #20242e; --soft: #636b7a; --line: #b9bfca; --cell: #f2f3f7;
  --cool: #5e35b1; --cool-soft: #e4dbf8; --warm: #c2410c; --warm-soft: #ffdfcc; }
@media (prefers-color-scheme: dark) { svg { --paper: #1f222b; --ink: #e9ebf0; --soft: #a3abba; --line: #4b5261;
  --cell: #2b2f3a; --cool: #b79cf7; --cool-soft: #43366b; --warm: #fb9a66; --warm-soft: #6b3a20; } }
.paper { fill: var(--paper); } .cell { fill: var(--cell); stroke: var(--line); } .none { fill: none; stroke: var(--line); }
.cool { fill: var(--cool-soft); stroke: var(--line); } .warm { fill: var(--warm-soft); stroke: var(--line); }
.cool-window { fill: none; stroke: var(--cool); stroke-width: 2.5; }
.warm-window { fill: none; stroke: var(--warm); stroke-width: 2.5; }
.arrow { fill: none; stroke: var(--soft); stroke-width: 1.5; marker-end: url(#tip); }
.switches { fill: none; stroke: var(--cool); stroke-width: 1.5; stroke-dasharray: 5 4; marker-end: url(#cool-tip); }
.outside { fill: none; stroke: var(--line); stroke-dasharray: 3 3; }
text { font: 13px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; dominant-baseline: central; }
.name { font-weight: 600; } .note { fill: var(--soft); font-size: 12px; } .left { text-anchor: start; }
.cool-text { fill: var(--cool); font-size: 12px; } .faint { fill: var(--soft); }
#tip path { fill: var(--soft); } #cool-tip path { fill: var(--cool); }
"""
TIP = '<marker id="{}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>'


class Drawing:
    """A picture that brings its paper along, so that it can be read on a light page and on a dark one."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, kind: str = "cell", round: float = 0) -> None:
        self.parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round:g}"/>'
        )

    def text(self, x: float, y: float, words: object, kind: str = "") -> None:
        kind = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text{kind} x="{x:g}" y="{y:g}">{escape(str(words))}</text>')

    def path(self, steps: str, kind: str = "arrow") -> None:
        self.parts.append(f'<path class="{kind}" d="{steps}"/>')

    def grid(
        self,
        x: float,
        y: float,
        values: Tensor,
        cell: float,
        kinds: Mapping[tuple[int, int], str] | None = None,
        others: str = "cell",
    ) -> None:
        """The values of a plane in their cells; `kinds` tells how those at some places look."""
        for row, line in enumerate(values.tolist()):
            for column, value in enumerate(line):
                self.box(x + column * cell, y + row * cell, cell, cell, (kinds or {}).get((row, column), others))
                self.text(x + (column + 0.5) * cell, y + (row + 0.5) * cell, f"{value:g}")

    def window(self, x: float, y: float, cell: float, place: Sequence[int], size: int = 2, kind: str = "cool") -> None:
        """The frame of a window of `size` x `size` positions that begins at `place`."""
        row, column = place
        self.box(x + column * cell + 1, y + row * cell + 1, size * cell - 2, size * cell - 2, f"{kind}-window", 3)

    def __str__(self) -> str:
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                f"<defs>{TIP.format('tip')}{TIP.format('cool-tip')}</defs>",
                f'<rect class="paper" width="{self.width}" height="{self.height}" rx="8"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def pooling() -> Drawing:
    """Auxiliary pooling of four frames, and unpooling at its switches: kernel and stride 2, nothing overlaps."""
    z = torch.tensor(
        [
            [[1, 0, 2, 1], [3, 2, 0, 4], [0, 1, 3, 0], [2, 5, 1, 1]],
            [[2, 6, 1, 0], [0, 1, 5, 2], [1, 4, 0, 2], [0, 3, 2, 6]],
            [[0, 3, 8, 1], [1, 0, 2, 3], [7, 0, 1, 1], [1, 2, 0, 3]],
            [[1, 2, 0, 3], [4, 1, 1, 0], [2, 3, 5, 2], [1, 0, 4, 0]],
        ]
    )[None].float()  # (C, T, H, W)
    x = torch.tensor([[5.0, 6.0], [7.0, 8.0]])[None, None]
    p = max_pool3d(z, (4, 1, 1))[0, 0]
    values, switches = aux_max_pool(z, temporal=4, kernel_size=2)
    y = max_unpool(x, switches, kernel_size=2)[0, 0]
    places = [
        (2 * i + int(s) // 2, 2 * j + int(s) % 2) for i, row in enumerate(switches[0, 0]) for j, s in enumerate(row)
    ]
    assert [p[place] for place in places] == values.flatten().tolist()

    cell, small = 28, 24
    drawing = Drawing(
        520, 540, "Auxiliary pooling of four frames to switches, and unpooling of a decoder's map at them"
    )
    drawing.text(20, 22, "z: an encoder's map, four frames", "name left")
    for frame in range(4):
        left = 20 + 124 * frame
        first = [place for place in places if z[0, :, place[0], place[1]].argmax() == frame]
        drawing.grid(left, 40, z[0, frame], small, dict.fromkeys(first, "cool"))
        drawing.text(left + 2 * small, 40 + 4 * small + 14, f"frame {frame}", "note")
    drawing.path("M 76 166 V 206")
    drawing.text(90, 186, "P1: the maximum over time at each position", "note left")
    for left, title in ((20, "p"), (204, "s: switches"), (388, "x: the decoder's")):
        drawing.text(left + 56, 222, title, "name")
    drawing.grid(20, 238, p, cell, dict.fromkeys(places, "cool"))
    for i in (0, 2):
        for j in (0, 2):
            drawing.window(20, 238, cell, (i, j))
    drawing.path("M 140 294 H 196")
    drawing.text(168, 280, "P2", "note")
    drawing.grid(204, 238, switches[0, 0], 2 * cell, others="cool")
    drawing.grid(388, 238, x[0, 0], 2 * cell, others="warm")
    drawing.text(20, 370, "P2: the maximum's place in its window, 2 · row + column", "note left")
    drawing.path("M 260 382 V 436 H 196")
    drawing.path("M 444 358 V 456 H 196")
    drawing.grid(76, 402, y, cell, dict.fromkeys(places, "warm"), "none")
    drawing.text(48, 458, "y", "name")
    drawing.text(210, 484, "Us: each value goes to where the encoder's", "note left")
    drawing.text(210, 502, "maximum was; all else is zero.", "note left")
    return drawing


def windows() -> Drawing:
    """What a switch counts, inside the plane and at its border: kernel 3, stride 2, padding 1."""
    z = torch.tensor([[4, 1, 0, 2, 1], [0, 3, 2, 1, 5], [1, 0, 2, 9, 0], [2, 6, 1, 3, 0], [1, 0, 2, 7, 1]])
    switches = aux_max_pool(z[None, None].float(), temporal=1, kernel_size=3, stride=2, padding=1)[1][0, 0]
    cell = 30
    drawing = Drawing(560, 280, "A switch is the row-major place of the maximum inside its window")
    left, top = 20 + cell, 46 + cell
    drawing.text(20, 22, "3x3 at stride 2, padding 1", "name left")
    for row in range(-1, 5):
        for column in range(-1, 5):
            if row < 0 or column < 0:
                drawing.box(left + column * cell, top + row * cell, cell, cell, "outside")
    first, middle = int(switches[0, 0]), int(switches[1, 1])
    places = {(first // 3 - 1, first % 3 - 1): "warm", (1 + middle // 3, 1 + middle % 3): "cool"}
    drawing.grid(left, top, z, cell, places)
    drawing.window(left, top, cell, (-1, -1), 3, "warm")
    drawing.window(left, top, cell, (1, 1), 3, "cool")
    drawing.text(260, 22, "what they remember", "name left")
    corner = "The window at the corner:\nfive of its positions are\npadding. They are counted,\nbut never win."
    inside = "The window in the middle:\nits maximum is in row 1,\ncolumn 2 of the window,\nand 3 · 1 + 2 = 5."
    for y, kind, switch, words in ((46, "warm", first, corner), (166, "cool", middle, inside)):
        for offset in range(9):
            row, column = divmod(offset, 3)
            drawing.box(260 + column * cell, y + row * cell, cell, cell, kind if offset == switch else "none")
            drawing.text(
                260 + (column + 0.5) * cell, y + (row + 0.5) * cell, offset, "" if offset == switch else "faint"
            )
        drawing.text(364, y + 12, f"switch {switch}", "name left")
        for number, line in enumerate(words.splitlines()):
            drawing.text(364, y + 34 + 18 * number, line, "note left")
    return drawing


def overlap() -> Drawing:
    """Two windows whose maximum is the same position: kernel 3, stride 2."""
    p = torch.zeros(1, 1, 3, 5)
    p[..., 1, 2] = 9
    switches = aux_max_pool(p, temporal=1, kernel_size=3, stride=2)[1]
    gradients = []
    for exact_grad in (True, False):
        x = torch.tensor([5.0, 6.0]).view(1, 1, 1, 2).requires_grad_()
        y = max_unpool(x, switches, 3, stride=2, exact_grad=exact_grad)
        gradients.append(torch.autograd.grad(y.sum(), x)[0].flatten().tolist())
    cell = 30
    drawing = Drawing(560, 200, "Two overlapping windows choose one position: the last one's value stays")
    drawing.text(20, 22, "p", "name left")
    drawing.grid(20, 40, p[0, 0], cell, {(1, 2): "cool"})
    drawing.window(20, 40, cell, (0, 0), 3, "warm")
    drawing.window(20, 40, cell, (0, 2), 3, "cool")
    drawing.text(200, 22, "s", "name left")
    drawing.grid(200, 40 + cell, switches[0, 0], cell, {(0, 0): "warm", (0, 1): "cool"})
    drawing.text(280, 22, "x", "name left")
    drawing.grid(280, 40 + cell, x.detach()[0, 0], cell, {(0, 0): "warm", (0, 1): "cool"})
    drawing.text(360, 22, "y", "name left")
    drawing.grid(360, 40, y.detach()[0, 0], cell, {(1, 2): "cool"}, "none")
    exact, stock = (", ".join(f"{value:g}" for value in values) for values in gradients)
    drawing.text(
        20, 156, "Both windows found the 9. The last one in row-major order wins, so 5 is not in y:", "note left"
    )
    drawing.text(
        20, 176, f"the gradient of y's sum to x is {exact}. Stock layers say {stock} (exact_grad=False).", "note left"
    )
    return drawing


def network() -> Drawing:
    """TASED-Net at T = 32, 224x384: what the encoder gives, and what the decoder makes of it."""
    shapes = {stage.name: "x".join(map(str, stage.output)) for stage in stages({}, (224, 384))}
    drawing = Drawing(560, 700, "TASED-Net: encoder, auxiliary pooling, decoder")
    left, right, wide, tall = 20, 340, 200, 46

    def stage(x: float, y: float, name: str, shape: str, kind: str) -> None:
        drawing.box(x, y, wide, tall, kind, 6)
        drawing.text(x + wide / 2, y + 15, name, "name")
        drawing.text(x + wide / 2, y + 33, shape, "note")

    drawing.text(left + wide / 2, 24, "encoder: S3D", "name")
    drawing.text(right + wide / 2, 24, "prediction network", "name")
    stage(left, 44, "clip", "3x32x224x384", "cell")
    stage(right, 44, "map of the last frame", "224x384, sigmoid", "cell")
    rows = (120, 270, 420, 570)
    for number, y in enumerate(rows, start=1):
        name = f"base{number}"
        stage(left, y, name, shapes[name], "cool")
        middle = left + wide / 2
        drawing.path(f"M {middle:g} {rows[number - 2] + tall if number > 1 else 90} V {y - 2}")
        if number > 1:
            pooled = f"pool{number - 1}"
            drawing.text(middle + 10, y - 52, f"{pooled}:", "note left")
            drawing.text(middle + 10, y - 36, shapes[pooled], "note left")
    drawing.path(f"M {left + wide} {rows[3] + 23} H {right - 2}")
    stage(right, rows[3], "convtsp1", shapes["convtsp1"], "warm")
    middle = right + wide / 2
    above = rows[3]
    for number, (y, switches, temporal) in enumerate(((420, "i0", 2), (270, "i1", 4), (120, "i2", 4)), start=1):
        drawing.path(f"M {middle:g} {above} V {y + tall + 58}")
        stage(right, y + 56, f"unpool {number}", shapes[f"upsample{number}"], "cool")
        drawing.path(f"M {middle:g} {y + 56} V {y + tall + 2}")
        stage(
            right,
            y,
            f"convtsp{number + 1}",
            shapes[f"convtsp{number + 1}"] if number < 3 else "two doublings, two time steps",
            "warm",
        )
        drawing.path(f"M {left + wide} {y + 23} H 276 V {y + 79} H {right - 2}", "switches")
        drawing.text(282, y + 36, switches, "cool-text left")
        drawing.text(282, y + 54, f"{temporal} : 1", "cool-text left")
        above = y
    drawing.path(f"M {middle:g} {above} V 92")
    drawing.text(left, 654, "Shapes are channels x frames x rows x columns. Dashed: switches, one byte", "note left")
    drawing.text(
        left, 672, "a window, all that skips a level; 4 : 1 means that one stands for four frames.", "note left"
    )
    return drawing


DRAWINGS = {"pooling": pooling, "windows": windows, "overlap": overlap, "network": network}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(str(draw()), encoding="utf-8")
