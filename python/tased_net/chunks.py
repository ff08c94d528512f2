"""How many windows are computed at a time: as many as was settled, and fewer from where memory has not sufficed.

The size of chunks moves the last bits of maps. So what was taken in place of what was settled is kept, place by place, and a run
that goes on computes each chunk as the stopped one did.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


class Chunks:
    """The sizes of a video's chunks.

    Parameters
    ----------
    sizes
        Windows at a time, by the place from which on they hold; one is for place 0. Places number a video's windows in the order
        in which they are computed.
    changed
        Called with a place and a size where another size was taken than `sizes` has, before maps from there on are given.

    Examples
    --------
    >>> chunks = Chunks({0: 8, 100: 4}, changed=print)
    >>> chunks.at(99), chunks.at(100)
    (8, 4)
    >>> chunks.lower(2)
    >>> chunks.at(0), chunks.at(100)
    (2, 2)
    >>> chunks.computed(40, 2)
    40 2
    >>> chunks.sizes
    {0: 8, 100: 4, 40: 2}
    """

    def __init__(
        self, sizes: Mapping[int, int], changed: Callable[[int, int], object] = lambda place, size: None
    ) -> None:
        self.sizes = dict(sizes)
        self._changed, self._most = changed, sys.maxsize

    def at(self, place: int) -> int:
        """The size of the chunk that begins at a place."""
        return min(self._settled(place), self._most)

    def lower(self, size: int) -> None:
        """Memory has not sufficed for more than `size` windows: wherever a chunk begins from now on, it has no more."""
        self._most = min(self._most, size)

    def computed(self, place: int, size: int) -> None:
        """Takes note of the size that a chunk was computed with; in the order of places."""
        if self._settled(place) != size:
            self.sizes[place] = size
            self._changed(place, size)

    def _settled(self, place: int) -> int:
        # A copy, as `computed` may add a place while another thread asks.
        return self.sizes[max(begin for begin in list(self.sizes) if begin <= place)]
