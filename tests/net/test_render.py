"""Pictures: heat over frames, and contact sheets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tased_net.render import contact_sheet, overlay
from tased_net.video import RGB, VideoFrame


def noise(count: int, height: int = 40, width: int = 60) -> list[RGB]:
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


def test_the_overlay_leaves_a_frame_alone_where_nothing_is_salient() -> None:
    (image,) = noise(1)
    saliency = np.zeros((8, 12), np.float32)
    saliency[:, 8:] = 1
    result = overlay(image, saliency)
    assert np.array_equal(result[:, :30], image[:, :30])
    assert not np.array_equal(result[:, -10:], image[:, -10:])
    assert np.array_equal(overlay(image, saliency, alpha=0), image)


def test_the_overlay_ends_in_the_colour_map_s_last_colour() -> None:
    (image,) = noise(1)
    result = overlay(image, np.ones((8, 12), np.float32), alpha=1)
    assert (result == (252, 254, 164)).all()  # inferno's


def test_the_contact_sheet_shows_frames_maps_and_overlays_side_by_side() -> None:
    frames = [VideoFrame(np.full((40, 60, 3), value, np.uint8), Fraction(value, 25)) for value in (50, 150)]
    saliency = np.zeros((8, 12), np.float32)
    sheet = contact_sheet([(frame, saliency) for frame in frames], "title")
    rows = [row for row in range(sheet.shape[0]) if (sheet[row] == 150).all(axis=1).sum() >= 100]
    tile = 416 * 277
    assert len(rows) > 250  # frame and overlay, which are equal here, of the second scene
    assert (sheet == 50).all(axis=2).sum() > 1.9 * tile  # of the first, without its time
    assert (sheet == (0, 0, 3)).all(axis=2).sum() >= 2 * tile  # inferno's darkest, the maps
