"""TASED-Net, a 3-D fully convolutional network for video saliency, on the fused pooling operations of tased_ext.

Examples
--------
>>> import tased_net
>>> net = tased_net.TASEDNet().eval()
>>> tased_net.load_weights(net, "TASED_updated.pt")  # doctest: +SKIP
>>> tased_net.predict_video(net, "street.mp4", "street_saliency.mp4")  # doctest: +SKIP
"""

from tased_ext import __version__

from .predict import postprocess, predict_video
from .predictor import Predictor
from .tased import TASEDNet
from .video import VideoError, VideoWarning
from .weights import WeightsError, load_weights

__all__ = [
    "Predictor",
    "TASEDNet",
    "VideoError",
    "VideoWarning",
    "WeightsError",
    "__version__",
    "load_weights",
    "postprocess",
    "predict_video",
]
