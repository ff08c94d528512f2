"""TASED-Net: S3D's encoder, and a prediction network that decodes in space while it joins the frames into one map.

Encoder maps meet the decoder at three sites: z2, z1 and z0 are the maps before the pools that shrink space by 2; their
switches tell the decoder where to put its values back (auxiliary pooling, paper section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .backends import BACKENDS
from .decoders import DECODERS
from .fusion import fold
from .heads import AGGREGATIONS, UPSAMPLINGS, build, prediction_network, upsamplings
from .init import initialise
from .pretrained import Pretrained
from .s3d import s3d_stages
from .sizes import MIN_SIDE
from .texts import shown_value
from .weights import Origin

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_CLIP_LENGTH, MAX_WIDTH = 2**14, 64  # no machine has memory for more


class TASEDNet(Pretrained, nn.Module):
    """Temporally-Aggregating Spatial Encoder-Decoder network for video saliency (Min and Corso, ICCV 2019).

    Parameters
    ----------
    clip_length
        Frames T of a clip: 4 or a multiple of 8. The paper's best is 32.
    aggregation
        How the prediction network joins the frames: "updated" (the weights released later), "late-two-step" (the
        paper's), "early-two-step" or "late" (its comparisons: section 3.4, table 1).
    upsampling
        "unpool" (auxiliary pooling and max-unpooling), "tri" (trilinear interpolation) or "trp" (transposed
        convolution): table 4.
    denser
        Two more transposed convolutions in each spatial decoding block (section 4.5).
    maps
        How many maps to predict at once, those of the clip's last frames (section 4.5).
    width
        Scales the channels of every block; 1 is the paper's.
    backend
        "fused" pools with tased_ext, "torch" with PyTorch's own layers. On one thread they agree bit for bit.
    exact_grad
        Whether unpooling has its true gradient, or gives overwritten values one too, as `torch.nn.MaxUnpool3d` does.
    decoder
        "tased", or what section 4.4 compares it with: "fcn", "unet" or "deeplab", in their plainest form and widths of
        ours, under the same head. `upsampling` and `denser` are choices of TASED-Net's own decoder.

    Raises
    ------
    ValueError
        If an option has a value that is not listed above, or does not go with another.

    Notes
    -----
    Weights are drawn from torch's random generator, so `torch.manual_seed` decides them; `load_weights` replaces them.

    Examples
    --------
    >>> import torch
    >>> from tased_net import TASEDNet
    >>> net = TASEDNet(clip_length=8, width=0.125).eval()
    >>> with torch.inference_mode():
    ...     net(torch.rand(2, 3, 8, 64, 96) * 2 - 1).shape
    torch.Size([2, 64, 96])
    """

    def __init__(
        self,
        clip_length: int = 32,
        aggregation: str = "updated",
        upsampling: str = "unpool",
        denser: bool = False,
        maps: int = 1,
        width: float = 1.0,
        backend: str = "fused",
        exact_grad: bool = True,
        decoder: str = "tased",
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "clip_length": clip_length,
            "aggregation": aggregation,
            "upsampling": upsampling,
            "denser": denser,
            "maps": maps,
            "width": width,
            "backend": backend,
            "exact_grad": exact_grad,
            "decoder": decoder,
        }
        _check_options(**self.options)
        self.clip_length, self.maps = clip_length, maps
        self.origin = Origin()  # of the weights, as far as it is known
        self.fused = False
        self.checkpointing = False
        pools = BACKENDS[backend]
        frames = max(1, clip_length // 8)  # of the encoded clip

        (self.base1, self.base2, self.base3, self.base4), channels = s3d_stages(width, pools)
        self.pool1 = pools.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.pool2 = pools.MaxPool3d(3, stride=2, padding=1)
        self.pool3 = pools.AuxMaxPool(clip_length // 4 // frames, 2)

        _, quarter, eighth, sixteenth, deep = channels
        blocks = prediction_network(aggregation, frames, channels, maps, denser)
        unpooled = []
        if decoder == "tased":
            self.convtsp1 = build(blocks["convtsp1"], deep)
            self.convtsp2 = build(blocks["convtsp2"], sixteenth)
            self.convtsp3 = build(blocks["convtsp3"], eighth)
            self.convtsp4 = build(blocks["convtsp4"], quarter)
            self.upsample1, self.upsample2, self.upsample3 = upsamplings(
                upsampling, pools, (sixteenth, eighth, quarter), clip_length // 2 // frames, exact_grad
            )
            if upsampling == "unpool":
                unpooled = [self.convtsp2, self.convtsp3, self.convtsp4]
        else:
            temporal = (clip_length // 4 // frames, clip_length // 2 // frames, clip_length // 2 // frames)
            self.decoder = DECODERS[decoder](channels, temporal, width, pools)
            self.convtsp4 = build(blocks["convtsp4"], self.decoder.channels)
        initialise(self, unpooled, self.convtsp4)

    def forward(self, clip: Tensor) -> Tensor:
        """Saliency of the clip's last frame.

        Parameters
        ----------
        clip
            (N, 3, T, H, W), RGB from -1 to 1, in the network's dtype; H and W at least 17.

        Returns
        -------
        Tensor
            (N, H, W) from 0 to 1; with `maps` = k > 1, (N, k, H, W), the clip's last k frames in their order.

        Raises
        ------
        ValueError, TypeError
            If the clip's shape or dtype is another one.
        """
        dtype = next(self.parameters()).dtype
        error = _error(clip, self.clip_length, dtype)
        if error is not None:
            if torch.compiler.is_dynamo_compiling():
                return _refuse(clip.detach(), self.clip_length, dtype)
            raise error
        z2 = self._run(self.base1, clip)
        z1 = self._run(self.base2, self.pool1(z2))
        return self.decode(z2, z1, (clip.shape[-2], clip.shape[-1]))

    def decode(self, z2: Tensor, z1: Tensor, size: tuple[int, int]) -> Tensor:
        """The maps of a clip of which the first half of the encoder has been done.

        Parameters
        ----------
        z2, z1
            The maps after base1, (N, 192, T/2, H/4, W/4) at width 1, and after base2, (N, 480, T/2, H/8, W/8).
        size
            H and W of the clip.

        Returns
        -------
        Tensor
            As `forward`.
        """
        z0 = self._run(self.base3, self.pool2(z1))
        pooled, switches = self.pool3(z0)
        y = self._run(self.base4, pooled)
        if self.options["decoder"] == "tased":
            y = self._run(self.convtsp1, y)
            y = self._run(self.convtsp2, self.upsample1(y, z0, switches))
            y = self._run(self.convtsp3, self.upsample2(y, z1))
            y = self.upsample3(y, z2)
        else:
            y = self._run(self.decoder, y, z0, z1, z2)
        y = self._run(self.convtsp4, y)
        y = y[..., : size[0], : size[1]].squeeze(2)  # the last doublings overshoot by up to 3
        return torch.sigmoid(y.squeeze(1) if self.maps == 1 else y)

    def fuse(self) -> Self:
        """Folds every batch norm into the convolution before it, in place: fewer passes over the maps, for prediction.

        The same network up to rounding: in float64 equal to 1e-6 at every pixel. Where two values of a pooling window
        nearly tie, rounding can pick the other one, so that in float32 single pixels differ by more. Loading weights
        (`load_weights`) puts the batch norms back.

        Raises
        ------
        RuntimeError
            If the network is in training mode, in which batch norms are more than a factor and an offset.
        """
        if self.training:
            raise RuntimeError("the network is in training mode: call net.eval() before net.fuse()")
        fold(self)
        self.fused = True
        return self

    def checkpoint_activations(self, enabled: bool = True) -> Self:
        """Decides whether training keeps the maps within layers or computes them again for backward.

        Gradients and batch statistics stay the same bit for bit; a step takes more time and far less memory
        (docs/network.md has a table). Has no effect where no gradient is computed.
        """
        self.checkpointing = enabled
        return self

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if not (self.checkpointing and torch.is_grad_enabled()):
            y: Tensor = block(*inputs)
            return y
        if block in (self.base1, self.base2, self.base3, self.base4):  # the encoder's maps are large: layer by layer
            (y,) = inputs
            for layer in block.children():
                y = _run_again(layer, y)
            return y
        return _run_again(block, *inputs)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


def _error(clip: Tensor, clip_length: int, dtype: torch.dtype) -> Exception | None:
    if clip.dim() != 5 or clip.shape[1] != 3:
        return ValueError(f"clip must be (N, 3, T, H, W), got shape {tuple(clip.shape)}")
    if clip.shape[2] != clip_length:
        return ValueError(f"clip must have {clip_length} frames (clip_length), got {clip.shape[2]}")
    if min(clip.shape[-2:]) < MIN_SIDE:
        return ValueError(f"clip must be at least {MIN_SIDE} pixels high and wide, got {tuple(clip.shape[-2:])}")
    if clip.dtype != dtype and not torch.is_autocast_enabled(clip.device.type):
        return TypeError(f"clip must be {dtype} as the network's weights are, got {clip.dtype}")
    return None


# An error that is raised while torch.compile traces becomes one of its own. It traces this call instead, and the compiled graph
# raises the error, with the sizes of the clip where the trace knows only symbols.
@torch.library.custom_op("tased_net::refuse", mutates_args=())
def _refuse(clip: Tensor, clip_length: int, dtype: torch.dtype) -> Tensor:
    error = _error(clip, clip_length, dtype)
    assert error is not None
    raise error


@_refuse.register_fake
def _(clip: Tensor, clip_length: int, dtype: torch.dtype) -> Tensor:
    return clip.new_empty(())


def _run_again(block: nn.Module, *inputs: Tensor) -> Tensor:
    """Runs a block now, and once more when backward needs what it made."""
    return checkpoint(
        block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _without_statistics(block))
    )


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """Leaves the running statistics of the block's batch norms as they are: the batch was counted the first time."""
    counting = [(bn, bn.momentum) for bn in block.modules() if isinstance(bn, nn.BatchNorm3d)]
    for bn, _ in counting:
        bn.momentum = 0.0
    try:
        yield
    finally:
        for bn, momentum in counting:
            bn.momentum = momentum
            if bn.training and bn.num_batches_tracked is not None:
                bn.num_batches_tracked.sub_(1)


def _check_options(
    *,
    clip_length: int,
    aggregation: str,
    upsampling: str,
    denser: bool,
    maps: int,
    width: float,
    backend: str,
    exact_grad: bool,
    decoder: str,
) -> None:
    if clip_length != 4 and (clip_length < 8 or clip_length % 8):
        raise ValueError(f"clip_length must be 4 or a multiple of 8, got {clip_length}")
    if clip_length > MAX_CLIP_LENGTH:
        raise ValueError(f"clip_length must be at most {MAX_CLIP_LENGTH}, got {clip_length}")
    for name, value, known in (
        ("aggregation", aggregation, AGGREGATIONS),
        ("upsampling", upsampling, UPSAMPLINGS),
        ("backend", backend, tuple(BACKENDS)),
        ("decoder", decoder, ("tased", *DECODERS)),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {shown_value(value)}")
    for name, own in (("upsampling", upsampling == "unpool"), ("denser", not denser)):
        if decoder != "tased" and not own:
            raise ValueError(f"{name} is a choice of decoder='tased': leave it out with decoder={decoder!r}")
    if not 1 <= maps <= clip_length:
        raise ValueError(f"maps must be from 1 to clip_length = {clip_length}, got {maps}")
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"width must be a positive number of at most {MAX_WIDTH}, got {width}")
