"""The network's architecture, its two backends, and what "the same result" means for it."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from net.released import released
from tased_net import TASEDNet
from tased_net.decoders import DECODERS
from tased_net.heads import AGGREGATIONS, UPSAMPLINGS

CLIP_LENGTHS = (4, 8, 16, 24, 32, 48, 64)
# All ways to come back to the size of the clip.
CONSTRUCTIONS = [
    *({"upsampling": upsampling} for upsampling in UPSAMPLINGS),
    {"denser": True, "maps": 3},
    *({"decoder": decoder} for decoder in DECODERS),
]


def random_clip(net: TASEDNet, *size: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, net.clip_length, *size, generator=generator, dtype=dtype) * 2 - 1


def small_net(seed: int = 0, **options: Any) -> TASEDNet:
    torch.manual_seed(seed)
    return TASEDNet(**{"width": 0.125, **options})


def as_layout(net: TASEDNet, clip: Tensor, layout: torch.memory_format) -> tuple[TASEDNet, Tensor]:
    return net.to(memory_format=layout), clip.contiguous(memory_format=layout)


def parameters_in_millions(**options: Any) -> float:
    with torch.device("meta"):
        return sum(p.numel() for p in TASEDNet(**options).parameters()) / 1e6


# ----------------------------------------------------------------------------------------------------------- architecture


def test_state_dict_has_the_released_names_and_shapes() -> None:
    with torch.device("meta"):
        state = TASEDNet().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == released()


def test_parameter_counts_are_those_of_the_release_and_of_the_paper() -> None:
    assert parameters_in_millions() == pytest.approx(21.26, abs=0.005)
    assert parameters_in_millions(aggregation="late-two-step") == pytest.approx(21.2, abs=0.15)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_denser_grows_by_about_forty_percent(aggregation: str) -> None:
    ratio = parameters_in_millions(aggregation=aggregation, denser=True) / parameters_in_millions(
        aggregation=aggregation
    )
    assert 1.3 < ratio < 1.5


@pytest.mark.parametrize("clip_length", CLIP_LENGTHS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_every_variant_predicts_a_map(clip_length: int, aggregation: str, upsampling: str) -> None:
    net = small_net(clip_length=clip_length, aggregation=aggregation, upsampling=upsampling, width=0.02).eval()
    with torch.inference_mode():
        saliency = net(random_clip(net, 33, 48))
    assert saliency.shape == (1, 33, 48)
    assert saliency.min() > 0
    assert saliency.max() < 1


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("denser", [False, True])
@pytest.mark.parametrize("maps", [1, 3])
def test_options_go_together(aggregation: str, upsampling: str, denser: bool, maps: int) -> None:
    options = {"aggregation": aggregation, "upsampling": upsampling, "denser": denser, "maps": maps}
    net = small_net(clip_length=8, width=0.02, **options)
    saliency = net(random_clip(net, 33, 48, batch=2))
    (saliency * torch.linspace(0, 1, 48)).sum().backward()
    assert saliency.shape == ((2, 33, 48) if maps == 1 else (2, maps, 33, 48))
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("clip_length", CLIP_LENGTHS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_other_decoder_predicts_a_map(clip_length: int, aggregation: str, decoder: str) -> None:
    net = small_net(clip_length=clip_length, aggregation=aggregation, decoder=decoder, width=0.02).eval()
    with torch.inference_mode():
        saliency = net(random_clip(net, 33, 48))
    assert saliency.shape == (1, 33, 48)
    assert 0 <= saliency.min() < saliency.max() <= 1


@pytest.mark.parametrize(
    ("decoder", "millions"), [("tased", 21.26), ("fcn", 8.13), ("unet", 25.44), ("deeplab", 17.41)]
)
def test_parameters_of_the_decoders(decoder: str, millions: float) -> None:
    assert parameters_in_millions(decoder=decoder) == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("size", [(17, 17), (45, 67), (64, 96), (63, 97), (90, 160)])
@pytest.mark.parametrize("options", CONSTRUCTIONS, ids=str)
def test_any_size_that_survives_halving_five_times_comes_back(size: tuple[int, int], options: dict[str, Any]) -> None:
    net = small_net(clip_length=8, **options).eval()
    with torch.inference_mode():
        shape = net(random_clip(net, *size, batch=2)).shape
    assert shape == ((2, *size) if net.maps == 1 else (2, net.maps, *size))


def test_several_maps_come_in_a_dimension_of_their_own() -> None:
    net = small_net(clip_length=8, maps=3, denser=True).eval()
    with torch.inference_mode():
        assert net(random_clip(net, 33, 48, batch=2)).shape == (2, 3, 33, 48)


def test_width_rounds_channels_to_multiples_of_eight() -> None:
    net = small_net(width=0.3)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv3d)]
    assert {conv.out_channels % 8 for conv in convolutions if conv.out_channels not in (1, 4)} == {0}
    assert net.get_submodule("base2.0.branch2.0.conv").out_channels == 8  # 16 * 0.3, raised to the least
    assert net.get_submodule("base3.4.branch1.1.conv_s").out_channels == 96  # 320 * 0.3


def test_untrained_maps_are_neither_flat_nor_saturated() -> None:
    for seed in range(4):
        net = small_net(seed, width=0.5).eval()
        with torch.inference_mode():
            saliency = net(random_clip(net, 64, 96))
        assert 0.02 < saliency.std() / saliency.mean() < 2
        assert saliency.mean() < 0.9


def test_the_seed_decides_the_weights() -> None:
    one, same, other = small_net(0).state_dict(), small_net(0).state_dict(), small_net(1).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["base1.0.conv_s.weight"], other["base1.0.conv_s.weight"])


def test_networks_can_be_copied_and_pickled() -> None:
    net = small_net(clip_length=8).eval()
    clip = random_clip(net, 33, 48)
    buffer = io.BytesIO()
    pickle.dump(net, buffer)
    buffer.seek(0)
    with torch.inference_mode():
        expected = net(clip)
        assert torch.equal(copy.deepcopy(net)(clip), expected)
        assert torch.equal(pickle.load(buffer)(clip), expected)


@pytest.mark.parametrize(
    "options",
    [
        *CONSTRUCTIONS,
        *({"aggregation": aggregation} for aggregation in AGGREGATIONS),
        {"clip_length": 4, "aggregation": "late", "decoder": "fcn"},
        {"clip_length": 24, "aggregation": "early-two-step", "upsampling": "trp", "denser": True},
    ],
    ids=str,
)
def test_variants_export(options: dict[str, Any]) -> None:
    net = small_net(**{"clip_length": 16, "width": 0.02, **options}).eval()
    clip = random_clip(net, 33, 48)
    with torch.no_grad():
        exported = torch.export.export(net, (clip,)).module()
        assert torch.equal(exported(clip), net(clip))


# --------------------------------------------------------------------------------------------------------------- backends


def both_backends(**options: Any) -> tuple[TASEDNet, TASEDNet]:
    fused, stock = small_net(backend="fused", **options), small_net(backend="torch", **options)
    return fused, stock


@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last_3d], ids=["contiguous", "channels_last"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("clip_length", [4, 16, 32])
def test_backends_agree_bit_for_bit(layout: torch.memory_format, dtype: torch.dtype, clip_length: int) -> None:
    outputs = []
    for net in both_backends(clip_length=clip_length):
        net, clip = as_layout(net.eval().to(dtype), random_clip(net, 45, 67, batch=2).to(dtype), layout)
        with torch.inference_mode():
            outputs.append(net(clip))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("clip_length", CLIP_LENGTHS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("options", CONSTRUCTIONS, ids=str)
def test_backends_agree_bit_for_bit_in_every_variant(
    clip_length: int, aggregation: str, options: dict[str, Any]
) -> None:
    """Maps, and the gradients as stock unpooling has them."""
    results = []
    for net in both_backends(clip_length=clip_length, aggregation=aggregation, width=0.02, exact_grad=False, **options):
        saliency = net(random_clip(net, 33, 48, batch=2))
        (saliency * torch.linspace(0, 1, 48)).sum().backward()
        results.append([saliency, *(p.grad for p in net.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("exact_grad", [False, True])
def test_backends_train_alike(exact_grad: bool) -> None:
    """Twenty steps of SGD in float64 from the same seed."""
    trained = []
    for net in both_backends(clip_length=8, exact_grad=exact_grad):
        net = net.double()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        losses = []
        generator = torch.Generator().manual_seed(2)
        for _ in range(20):
            clip = torch.rand(2, 3, 8, 33, 48, generator=generator, dtype=torch.float64) * 2 - 1
            loss = (net(clip) - clip[:, 0, -1].clamp(0, 1)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        trained.append([torch.stack(losses), *net.state_dict().values()])
    assert all(torch.equal(one, other) for one, other in zip(*trained, strict=True))
    assert trained[0][0][-1] < trained[0][0][0]


def test_backends_agree_bit_for_bit_at_full_size() -> None:
    outputs = []
    for backend in ("fused", "torch"):
        net = small_net(width=1.0, backend=backend).eval()
        net, clip = as_layout(net, random_clip(net, 224, 384), torch.channels_last_3d)
        with torch.inference_mode():
            outputs.append(net(clip))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last_3d], ids=["contiguous", "channels_last"]
)
@pytest.mark.parametrize("options", CONSTRUCTIONS, ids=str)
@pytest.mark.parametrize("exact_grad", [False, True])
def test_gradients_agree_bit_for_bit(layout: torch.memory_format, options: dict[str, Any], exact_grad: bool) -> None:
    gradients = []
    for net in both_backends(clip_length=16, exact_grad=exact_grad, **options):
        net, clip = as_layout(net, random_clip(net, 45, 67, batch=2), layout)
        clip.requires_grad_()
        (net(clip) * torch.linspace(0, 1, 67)).sum().backward()
        gradients.append([t.grad for t in (clip, *net.parameters()) if t.grad is not None])
        assert len(gradients[-1]) == 1 + len(list(net.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert all(gradient.any() for gradient in gradients[0])


@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_exact_grad_decides_the_gradient_of_overwritten_values(backend: str) -> None:
    gradients = []
    for exact_grad in (True, False):
        net = small_net(clip_length=8, backend=backend, exact_grad=exact_grad).double()
        net(random_clip(net, 64, 96, dtype=torch.float64)).sum().backward()
        gradients.append(net.get_parameter("convtsp1.0.weight").grad)
    exact, stock = gradients
    assert exact is not None
    assert stock is not None
    assert not torch.allclose(exact, stock)


# -------------------------------------------------------------------------------------- one result in float64, however run


def test_layouts_threads_and_batches_agree_in_float64() -> None:
    net = small_net(clip_length=16).double().eval()
    clip = random_clip(net, 64, 96, batch=2, dtype=torch.float64)
    with torch.inference_mode():
        expected = net(clip)
        one_by_one = torch.cat([net(one[None]) for one in clip])
        torch.set_num_threads(2)
        two_threads = net(clip)
        net, clip = as_layout(net, clip, torch.channels_last_3d)
        channels_last = net(clip)
    for other in (one_by_one, two_threads, channels_last):
        torch.testing.assert_close(other, expected, rtol=0, atol=1e-6)


def with_statistics(net: TASEDNet) -> TASEDNet:
    """Batch norms that do something, as after training."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):
                values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    return net


@pytest.mark.parametrize("options", CONSTRUCTIONS, ids=str)
def test_folding_batch_norms_agrees_in_float64(options: dict[str, Any]) -> None:
    net = with_statistics(small_net(clip_length=16, **options)).double().eval()
    clip = random_clip(net, 64, 96, dtype=torch.float64)
    with torch.inference_mode():
        expected = net(clip)
        actual = net.fuse()(clip)
    assert expected.std() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)
    assert not any(isinstance(module, torch.nn.BatchNorm3d) for module in net.modules())


def test_folding_batch_norms_in_float32_moves_few_pixels() -> None:
    """Rounding picks another switch here and there: no more pixels jump than when the batch is another one."""
    net = with_statistics(small_net(clip_length=16)).eval()
    clip = random_clip(net, 64, 96, batch=2)
    with torch.inference_mode():
        expected = net(clip)
        other_batch = torch.cat([net(one[None]) for one in clip])
        folded = net.fuse()(clip)
    difference = (folded - expected).abs()
    assert difference.median() < 1e-5
    jumped = (difference > 1e-3).float().mean()
    assert jumped < 0.01 + 2 * ((other_batch - expected).abs() > 1e-3).float().mean()


def test_training_networks_are_not_folded() -> None:
    with pytest.raises(RuntimeError, match=r"the network is in training mode: call net.eval\(\) before net.fuse\(\)"):
        small_net(clip_length=8).fuse()


@pytest.mark.parametrize("options", CONSTRUCTIONS, ids=str)
def test_recomputed_activations_change_no_bit(options: dict[str, Any]) -> None:
    results, kept = [], []
    for recomputed in (False, True):
        net = small_net(clip_length=16, **options).checkpoint_activations(recomputed)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.nbytes) or x, lambda x: x):
            saliency = net(random_clip(net, 64, 96, batch=2))
        (saliency * torch.linspace(0, 1, 96)).sum().backward()
        results.append([saliency, *(p.grad for p in net.parameters()), *net.buffers()])
        kept.append(sum(sizes))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert kept[1] < kept[0] / 2


# -------------------------------------------------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_length": 12}, r"clip_length must be 4 or a multiple of 8, got 12"),
        ({"clip_length": 0}, r"clip_length must be 4 or a multiple of 8, got 0"),
        ({"aggregation": "early"}, r"aggregation must be one of 'updated', .*, got 'early'"),
        ({"upsampling": "bilinear"}, r"upsampling must be one of 'unpool', .*, got 'bilinear'"),
        ({"backend": "cudnn"}, r"backend must be one of 'fused', 'torch', got 'cudnn'"),
        ({"maps": 0}, r"maps must be from 1 to clip_length = 32, got 0"),
        ({"maps": 33}, r"maps must be from 1 to clip_length = 32, got 33"),
        ({"width": 0}, r"width must be a positive number of at most 64, got 0"),
        ({"width": 65}, r"width must be a positive number of at most 64, got 65"),
        ({"decoder": "segnet"}, r"decoder must be one of 'tased', 'fcn', 'unet', 'deeplab', got 'segnet'"),
        ({"decoder": "fcn", "denser": True}, r"denser is a choice of decoder='tased': leave it out with decoder='fcn'"),
        ({"decoder": "unet", "upsampling": "tri"}, r"upsampling is a choice of decoder='tased': .* decoder='unet'"),
        ({"width": float("nan")}, r"width must be a positive number of at most 64, got nan"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASEDNet(**options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 32, 32), r"clip must be \(N, 3, T, H, W\), got shape \(3, 8, 32, 32\)"),
        ((1, 8, 3, 32, 32), r"clip must be \(N, 3, T, H, W\), got shape \(1, 8, 3, 32, 32\)"),
        ((1, 3, 7, 32, 32), r"clip must have 8 frames \(clip_length\), got 7"),
        ((1, 3, 8, 16, 32), r"clip must be at least 17 pixels high and wide, got \(16, 32\)"),
    ],
)
def test_clips_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_net(clip_length=8)(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_clips_of_another_dtype_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"clip must be torch.float32 as the network's weights are, got {dtype}"):
        small_net(clip_length=8)(torch.zeros(1, 3, 8, 32, 32, dtype=dtype))


def test_the_representation_names_the_variant() -> None:
    net = small_net(clip_length=16, aggregation="late")
    assert "clip_length=16, aggregation='late', upsampling='unpool'" in repr(net)
