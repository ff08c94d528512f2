"""How raw maps become what is shown: smoothing, normalisation and colours; and a store for maps that wait for a video's end."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .render import ALPHA, COLORMAP, Map

if TYPE_CHECKING:
    from typing_extensions import Self

SMOOTHING = 7.0  # sigma of the release's Gaussian
REFERENCE = (224, 384)  # height and width of the map that sigmas are stated for

NORMALIZATIONS = ("frame", "video", "none")
SUGGESTED = ("inferno", "magma", "viridis", "cividis", "turbo", "hot", "jet", "gray")


@dataclass(frozen=True)
class Style:
    """How maps are shown.

    Attributes
    ----------
    alpha
        Opacity of an overlay where saliency is highest, from 0 to 1.
    colormap
        Name of a matplotlib colour map.
    smooth
        Sigma of the Gaussian, in pixels of a map of 224x384; it goes with the map's size. 0 leaves maps as they are.
    normalize
        What maps are divided by: "frame" their own largest value, "video" that of the whole video, "none" nothing.

    Raises
    ------
    ValueError
        If one of them makes no sense.

    Examples
    --------
    >>> Style(smooth=0).shown(np.array([[0.1, 0.2]], np.float32))
    array([[0.5, 1. ]], dtype=float32)
    """

    alpha: float = ALPHA
    colormap: str = COLORMAP
    smooth: float = SMOOTHING
    normalize: str = "frame"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {self.alpha}")
        if not 0 <= self.smooth < np.inf:
            raise ValueError(f"smooth must be a number of pixels, 0 or more, got {self.smooth}")
        if self.normalize not in NORMALIZATIONS:
            known = ", ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"normalize must be one of {known}, got {self.normalize!r}")
        if self.colormap not in matplotlib.colormaps:
            near = difflib.get_close_matches(self.colormap, matplotlib.colormaps, n=3) or SUGGESTED
            message = f"colormap must be one of matplotlib's, such as {', '.join(near)}; got {self.colormap!r}"
            raise ValueError(message)

    def smoothed(self, raw: NDArray[Any]) -> Map:
        """The map (h, w) after the Gaussian, as float32."""
        height, width = raw.shape
        sigma = (self.smooth * height / REFERENCE[0], self.smooth * width / REFERENCE[1])
        single = np.asarray(raw, np.float32)
        return gaussian_filter(single, sigma) if self.smooth else single

    def shown(self, raw: NDArray[Any], peak: float | None = None) -> Map:
        """The network's map (h, w) as it is shown, float32 from 0 to 1.

        `peak` is the largest value of the whole video's smoothed maps, which normalize="video" needs (`Spool.peak`): a ValueError
        without it.
        """
        smooth = self.smoothed(raw)
        if self.normalize == "video" and peak is None:
            raise ValueError("normalize='video' needs the peak of the whole video")
        most = {"frame": smooth.max(), "video": peak, "none": 1.0}[self.normalize]
        return (smooth / np.maximum(np.float32(most), np.finfo(np.float32).tiny)).clip(0, 1)


class Spool:
    """A file in which a video's raw maps wait until its largest value is known, which normalize="video" needs.

    Maps are appended as they come and replayed at the end, so that memory stays the same for any length; `close`
    removes the file.

    Parameters
    ----------
    path
        The file, beside the result.
    size
        Height and width of the maps.
    style
        Its smoothing comes before the peak is taken.

    Examples
    --------
    ::

        with Spool(folder / ".maps.part", (224, 384), style) as spool:
            for raw in maps:
                spool.append(raw)
            for number, (raw, shown) in enumerate(spool.replay()):
                writer.write(number, frame, raw, shown)
    """

    def __init__(self, path: str | os.PathLike[str], size: tuple[int, int], style: Style) -> None:
        self.peak = 0.0
        self._path, self._size, self._style = Path(path), size, style
        self._file = self._path.open("w+b")
        self._bytes = 4 * size[0] * size[1]

    def append(self, raw: NDArray[Any]) -> None:
        """Stores a map, as float32; a ValueError if it has another size."""
        if raw.shape != self._size:
            raise ValueError(f"maps here are {self._size}, got {raw.shape}")
        self._file.write(np.ascontiguousarray(raw, np.float32).tobytes())
        self.peak = max(self.peak, float(self._style.smoothed(raw).max()))

    def replay(self) -> Iterator[tuple[Map, Map]]:
        """All maps in order, each as it was and as it is shown."""
        self._file.seek(0)
        while data := self._file.read(self._bytes):
            raw = np.frombuffer(data, np.float32).reshape(self._size)
            yield raw, self._style.shown(raw, self.peak)

    def close(self) -> None:
        """Removes the file."""
        try:
            self._file.close()  # which writes what is still in its buffer, and fails where the disk is full
        finally:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
