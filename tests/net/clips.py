"""Small videos, and the smallest network that predicts them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from tased_net.video import VideoFrame, video_writer

SMALL = ["--weights", "none", "--clip-length", "8", "--width", "0.02", "--size", "32x48"]


def make_clip(path: Path, frames: int = 10) -> Path:
    """Noise of 48x72 at 25 frames a second, another one for each number of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(frames)
    with video_writer(path, Fraction(25), Fraction(1, 25)) as write:
        for number in range(frames):
            write(VideoFrame(rng.integers(0, 256, (48, 72, 3), np.uint8), Fraction(number, 25)))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """All files in a folder, by their paths in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
