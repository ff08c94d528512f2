"""Datasets of videos with the places that people looked at: DHF1K, Hollywood-2, UCF-Sports, and folders of one's own.

Examples
--------
>>> from tased_net.data import Clips, open_dataset
>>> split = open_dataset("DHF1K", "dhf1k", split="val")  # doctest: +SKIP
>>> [video.name for video in split.videos][:2]  # doctest: +SKIP
['0601', '0602']
>>> sample = Clips(split, clip_length=32, size=(224, 384))[0]  # doctest: +SKIP
"""

from .clips import Clips, Place, Sample
from .dataset import Scan, open_dataset
from .errors import DataError
from .layouts import DATASETS
from .videos import Split, Video

__all__ = ["DATASETS", "Clips", "DataError", "Place", "Sample", "Scan", "Split", "Video", "open_dataset"]
