"""A decoded frame of any format brought to 8-bit RGB as a BT.709 display shows it.

swscale converts what is BT.709 or BT.601 already. HDR (PQ and HLG, ITU-R BT.2100) and wide gamuts go through linear light here:
the tone curve is the EETF of ITU-R BT.2390, from a display of 1000 cd/m² to the 203 cd/m² at which BT.2408 puts diffuse
white, applied to a pixel's largest component, so that hues stay. Colours outside of BT.709 are clipped.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from numpy.typing import NDArray
from torch import Tensor

from .frames import RGB

PEAK, WHITE = 1000.0, 203.0  # cd/m² of the HDR display that is assumed, and of what becomes SDR's white
SDR_GAMMA = 2.4  # ITU-R BT.1886

BT709, BT601, BT2020 = 1, 5, 9  # matrices, by their numbers in ISO/IEC 23091-2
MATRICES = (0, 1, 4, 5, 6, 7, 9)  # that swscale knows
HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
WIDE = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE432)

Floats = NDArray[np.float64]

# x and y of red, green and blue, ITU-R BT.709, BT.2020 and SMPTE EG 432; white is D65 in all.
PRIMARIES = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
D65 = (0.3127, 0.3290)

STEPS = 2**12  # of the tables; codes of 16 bits are cut to it, light is taken to the power that spreads it evenly


def to_rgb(frame: av.VideoFrame, width: int, height: int) -> RGB:
    """The frame as uint8 RGB (height, width, 3).

    A matrix that is not stated, or none that is known, is BT.709's in frames of HD size and BT.601's in smaller ones, as players
    take it. What is transparent lies over black.

    Raises
    ------
    av.error.FFmpegError
        If swscale does not know the frame's format.
    """
    transfer, primaries = frame.color_trc, frame.color_primaries
    frame.colorspace = _matrix(frame)
    frame.color_trc, frame.color_primaries = ColorTrc.UNSPECIFIED, ColorPrimaries.UNSPECIFIED  # or swscale refuses some
    source: dict[str, Any] = {"width": width, "height": height}
    if frame.format.name.startswith("yuvj"):
        source["src_color_range"] = ColorRange.JPEG
    if transfer in HDR or primaries in WIDE:
        codes = frame.to_ndarray(format="rgb48le", **source)
        return _displayed(codes, transfer, primaries if primaries in WIDE else ColorPrimaries.BT2020)
    if any(component.is_alpha for component in frame.format.components):
        rgba = frame.to_ndarray(format="rgba", **source).astype(np.uint16)
        return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
    return frame.to_ndarray(format="rgb24", **source).astype(np.uint8, copy=False)


def _matrix(frame: av.VideoFrame) -> int:
    if frame.colorspace in MATRICES or frame.format.is_rgb:
        return frame.colorspace
    if frame.color_trc in HDR:
        return BT2020
    return BT709 if frame.width >= 1280 or frame.height > 576 else BT601


def _displayed(codes: NDArray[Any], transfer: int, primaries: int) -> RGB:
    """uint16 R'G'B' (H, W, 3) of an HDR or wide-gamut video as a BT.709 display is to show it."""
    light_of, matrix, encoded, gain = _tables(transfer, primaries)
    light = light_of[torch.from_numpy(codes.astype(np.int32) >> 4)]  # of the display's peak
    if transfer == ColorTrc.ARIB_STD_B67:  # HLG states the scene's light, and the display's follows from it (BT.2100)
        luminance = light @ torch.tensor([0.2627, 0.6780, 0.0593])
        light = light * luminance.pow(0.2)[..., None]
    if transfer in HDR:
        light = light * _looked_up(gain, light.amax(dim=2).sqrt())[..., None]
    return _looked_up(encoded, light @ matrix).numpy()


def _looked_up(table: Tensor, light: Tensor) -> Tensor:
    """The table's values at the square roots of its steps."""
    return table[(light.clamp(0, 1).sqrt() * (STEPS - 1) + 0.5).int()]


@lru_cache
def _tables(transfer: int, primaries: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Light by code; the matrix to BT.709; 8-bit codes by the root of light; the tone curve's gain by light's fourth root."""
    steps = np.linspace(0, 1, STEPS)
    if transfer == ColorTrc.SMPTE2084:
        light = np.minimum(_pq_to_light(steps) / PEAK, 1)
    elif transfer == ColorTrc.ARIB_STD_B67:
        light = _hlg_to_light(steps)
    else:
        light = steps**SDR_GAMMA
    encoded = (255 * steps ** (2 / SDR_GAMMA)).round().astype(np.uint8)
    bright = np.maximum(steps**4, 1e-9)
    gain = _tone_mapped(bright * PEAK) / WHITE / bright
    matrix = np.linalg.solve(_to_xyz(ColorPrimaries.BT709), _to_xyz(primaries)).T
    tables = (light.astype(np.float32), matrix.astype(np.float32), encoded, gain.astype(np.float32))
    light_of, to_bt709, codes, gains = map(torch.from_numpy, tables)
    return light_of, to_bt709, codes, gains


def _to_xyz(primaries: int) -> Floats:
    """Linear RGB to CIE XYZ (SMPTE RP 177)."""
    colours = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[ColorPrimaries(primaries)]]).T
    x, y = D65
    return colours * np.linalg.solve(colours, np.array([x / y, 1, (1 - x - y) / y]))


# SMPTE ST 2084
M1, M2 = 2610 / 16384, 2523 / 4096 * 128
C1, C2, C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_to_light(code: Floats) -> Floats:
    """cd/m² of a PQ code from 0 to 1."""
    root = code ** (1 / M2)
    return 10000 * (np.maximum(root - C1, 0) / (C2 - C3 * root)) ** (1 / M1)


def _light_to_pq(light: Floats | float) -> Floats:
    root = (np.asarray(light) / 10000) ** M1
    return ((C1 + C2 * root) / (1 + C3 * root)) ** M2


def _hlg_to_light(code: Floats) -> Floats:
    """The scene's light, from 0 to 1, of an HLG code (BT.2100)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _tone_mapped(light: Floats) -> Floats:
    """cd/m² up to `PEAK` brought to `WHITE` (BT.2390, EETF): as they are up to a knee, then along a Hermite spline."""
    peak = _light_to_pq(PEAK)
    white = _light_to_pq(WHITE) / peak
    code = _light_to_pq(light) / peak
    knee = 1.5 * white - 0.5
    t = (code - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return _pq_to_light(np.where(code < knee, code, spline) * peak)
