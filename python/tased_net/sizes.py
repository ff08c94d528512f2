"""Sizes of frames as people write them: height x width, such as 224x384."""

from __future__ import annotations

MIN_SIDE = 17  # the least H and W that leave a pixel after halving five times


def read_size(text: str) -> tuple[int, int]:
    """Height and width from ``HxW``.

    Raises
    ------
    ValueError
        If it is anything else, or too small for the network.

    Examples
    --------
    >>> read_size("224x384")
    (224, 384)
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()) or min(int(height), int(width)) < MIN_SIDE:
        raise ValueError(f"want HxW such as 224x384, both at least {MIN_SIDE}, got {text!r}")
    return int(height), int(width)


def written(size: tuple[int, int]) -> str:
    """``HxW`` of a height and width."""
    return f"{size[0]}x{size[1]}"
