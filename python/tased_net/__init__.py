"""TASED-Net, a 3-D fully convolutional network for video saliency, on the fused pooling operations of tased_ext.

Examples
--------
>>> import tased_net
>>> net = tased_net.TASEDNet().eval()
>>> tased_net.load_weights(net, "TASED_updated.pt")  # doctest: +SKIP
>>> predictor = tased_net.Predictor(net)
>>> tased_net.render_video(predictor, "street.mp4", {"overlay": "street_saliency.mp4"})  # doctest: +SKIP
"""

from tased_ext import __version__

from .predict import postprocess, render_video
from .predictor import Predictor
from .style import Style
from .tased import TASEDNet
from .video import VideoError, VideoWarning
from .weights import WeightsError, load_weights

__all__ = [
    "Predictor",
    "Style",
    "TASEDNet",
    "VideoError",
    "VideoWarning",
    "WeightsError",
    "__version__",
    "load_weights",
    "postprocess",
    "render_video",
]
