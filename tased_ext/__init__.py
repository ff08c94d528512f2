"""Auxiliary pooling and max-unpooling of TASED-Net (ICCV 2019) as single operations, for any 3-D model.

>>> import torch, tased_ext
>>> unpool = tased_ext.AuxPoolUnpool(temporal=4, kernel_size=3, stride=2, padding=1)
>>> unpool(torch.randn(1, 8, 16, 56, 96), torch.randn(1, 8, 4, 28, 48)).shape
torch.Size([1, 8, 4, 56, 96])
"""

from ._info import __version__, build_info
from .functional import (
    aux_max_pool,
    aux_pool,
    aux_pool_unpool,
    indices_to_switches,
    max_pool3d,
    max_unpool,
    switches_to_indices,
)
from .modules import AuxMaxPool, AuxPool, AuxPoolUnpool, MaxPool3d, MaxUnpool

__all__ = [
    "AuxMaxPool",
    "AuxPool",
    "AuxPoolUnpool",
    "MaxPool3d",
    "MaxUnpool",
    "__version__",
    "aux_max_pool",
    "aux_pool",
    "aux_pool_unpool",
    "build_info",
    "indices_to_switches",
    "max_pool3d",
    "max_unpool",
    "switches_to_indices",
]
