"""TASED-Net, a 3-D fully convolutional network for video saliency, on the fused pooling operations of tased_ext.

Examples
--------
>>> import tased_net
>>> net = tased_net.TASEDNet().eval()
>>> tased_net.load_weights(net, "TASED_updated.pt")  # doctest: +SKIP
>>> predictor = tased_net.Predictor(net)
>>> tased_net.render_video(predictor, "street.mp4", {"overlay": "street_saliency.mp4"})  # doctest: +SKIP
"""

from importlib import import_module

TYPE_CHECKING = False  # as that of typing, which would take time to load
if TYPE_CHECKING:
    from tased_ext import __version__

    from .predict import postprocess, render_video
    from .predictor import Predictor
    from .style import Style
    from .tased import TASEDNet
    from .video import VideoError, VideoWarning
    from .weights import WeightsError, load_weights
else:
    _PLACES = {
        "Predictor": ".predictor",
        "Style": ".style",
        "TASEDNet": ".tased",
        "VideoError": ".video",
        "VideoWarning": ".video",
        "WeightsError": ".weights",
        "__version__": "tased_ext",
        "load_weights": ".weights",
        "postprocess": ".predict",
        "render_video": ".predict",
    }

    def __getattr__(name: str) -> object:
        """Loads what is asked for, and PyTorch with it, when it is asked for: the command hears ctrl-C before that."""
        if name in _PLACES:
            value = globals()[name] = getattr(import_module(_PLACES[name], __name__), name)
            return value
        if not name.startswith("_"):
            try:
                return import_module(f".{name}", __name__)
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{name}":  # but what it needs
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PLACES})


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
