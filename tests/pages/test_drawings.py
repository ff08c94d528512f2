"""The drawings show what the operations and the network do, and the table of bytes what the model and PyTorch count."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

import tased_ext
from pages.blocks import ROOT, text_of

SPEC = importlib.util.spec_from_file_location("draw", ROOT / "scripts" / "draw.py")
assert SPEC is not None
draw = importlib.util.module_from_spec(SPEC)
sys.modules["draw"] = draw
SPEC.loader.exec_module(draw)

ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in text_of("docs/operations.md").splitlines()]
BYTES = {row[0].strip("`"): row[1:] for row in ROWS if len(row) == 6 and row[0].startswith("`")}
ELEMENTS = 192 * 4 * 56 * 96  # of the plane at i2


@pytest.mark.parametrize("name", draw.DRAWINGS)
def test_a_drawing_is_what_its_program_draws(name: str) -> None:
    """`python scripts/draw.py` draws it anew."""
    drawn = str(draw.DRAWINGS[name]())
    ElementTree.fromstring(drawn)
    assert (draw.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawn


def test_every_drawing_is_shown() -> None:
    shown = re.findall(r"drawings/(\w+)\.svg", text_of("docs/operations.md") + text_of("docs/network.md"))
    assert sorted(shown) == sorted(draw.DRAWINGS) == sorted(file.stem for file in draw.FOLDER.iterdir())


@pytest.mark.parametrize("operation", ["aux_pool", "aux_max_pool", "max_unpool", "aux_pool_unpool"])
def test_bytes_moved_are_those_of_the_model(operation: str) -> None:
    ours, stock, fewer = BYTES[operation][:3]
    section = text_of("docs/cuda-model.md").partition("## i2: 192x16x56x96, float32")[2].partition("\n## ")[0]
    (row,) = re.findall(rf"^\| `{operation}` \|(.*)\|$", section, re.MULTILINE)
    cells = [cell.strip() for cell in row.split("|")]
    for said, megabytes in ((ours, cells[0]), (stock, cells[5])):
        assert float(said) == pytest.approx(float(megabytes) * 1e6 / ELEMENTS, abs=0.02)
    assert fewer == cells[6]


def kept(function: Callable[[], Tensor], *maps: Tensor) -> int:
    """Bytes that `function` keeps for backward, besides the maps."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()  # held until the count is done, so that no address is given out twice
    del result
    return sum(size for place, size in found.items() if place not in {map.untyped_storage().data_ptr() for map in maps})


def test_bytes_kept_are_those_that_autograd_saves() -> None:
    window, stock_window = (3, 2, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))
    z = torch.randn(1, 8, 16, 56, 96, requires_grad=True)
    x = torch.randn(1, 8, 4, 28, 48, requires_grad=True)
    frames, plane, unpool = (
        nn.MaxPool3d((4, 1, 1)),
        nn.MaxPool3d(*stock_window, return_indices=True),
        nn.MaxUnpool3d(*stock_window),
    )
    with torch.no_grad():
        indices, switches = plane(frames(z))[1], tased_ext.aux_pool(z, 4, *window)
    shape = (1, 8, 4, 56, 96)
    pairs = {
        "aux_max_pool": (lambda: tased_ext.aux_max_pool(z, 4, *window)[0], lambda: plane(frames(z))[0]),
        "max_unpool": (
            lambda: tased_ext.max_unpool(x, switches, *window, output_size=shape),
            lambda: unpool(x, indices, output_size=shape),
        ),
        "aux_pool_unpool": (
            lambda: tased_ext.aux_pool_unpool(z, x, 4, *window),
            lambda: unpool(x, plane(frames(z.detach()))[1], output_size=shape),
        ),
        "max_pool3d": (
            lambda: tased_ext.max_pool3d(z, (4, 3, 3), (4, 2, 2), (0, 1, 1)),
            lambda: nn.functional.max_pool3d(z, (4, 3, 3), (4, 2, 2), (0, 1, 1)),
        ),
    }
    for operation, calls in pairs.items():
        assert [str(kept(call, x, z) // x.numel()) for call in calls] == BYTES[operation][3:]
    assert BYTES["aux_pool"][3:] == ["0", "0"]  # bytes have no gradient
