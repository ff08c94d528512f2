"""The network as programs run it: compiled, exported, in lower precision, channels last."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.utils import run_and_get_code
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tased_net import TASEDNet

# Several versions of PyTorch use what they themselves deprecate in their compilers.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")

BACKENDS = ("fused", "torch")
LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def forget_compiled_graphs() -> None:
    torch._dynamo.reset()


def small_net(dtype: torch.dtype = torch.float32, **options: Any) -> TASEDNet:
    """A network whose batch norms do something, as those of a trained one do."""
    torch.manual_seed(0)
    net = TASEDNet(**{"clip_length": 8, "width": 0.02, **options})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            for value in (module.running_var, module.weight):
                assert value is not None
                nn.init.uniform_(value, 0.9, 1.1)
            for value in (module.running_mean, module.bias):
                assert value is not None
                nn.init.normal_(value, std=0.02)
    return net.to(dtype).eval()


def random_clip(net: TASEDNet, batch: int, size: tuple[int, int] = (33, 48), seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    return torch.rand(batch, 3, net.clip_length, *size, generator=generator, dtype=dtype) * 2 - 1


def assert_equal_to_rounding(actual: Tensor, expected: Tensor) -> None:
    """At every pixel; the switches, which are discontinuous, agree as well in float64."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------- compiling


def train_step(run: Callable[[Tensor], Tensor], net: TASEDNet, clip: Tensor) -> list[Tensor]:
    """The map, the gradients, and the batch norms' statistics of one step."""
    net.zero_grad()
    leaf = clip.clone().requires_grad_()
    torch._dynamo.mark_dynamic(leaf, 0)
    saliency = run(leaf)
    (saliency * torch.linspace(0, 1, saliency.shape[-1], dtype=saliency.dtype)).mean().backward()
    gradients = [leaf.grad, *(parameter.grad for parameter in net.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [saliency.detach(), *(g for g in gradients if g is not None), *net.buffers()]


# With frozen batch norms Inductor has 500 kernels to compile, not 1250.
@pytest.mark.parametrize(
    ("backend", "compiler", "frozen"),
    [("fused", "aot_eager", False), ("torch", "aot_eager", False), ("fused", "inductor", True)],
)
def test_one_graph_trains_on_any_batch(backend: str, compiler: str, frozen: bool) -> None:
    net = small_net(torch.float64, backend=backend).train(not frozen)
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, fullgraph=True, backend=compiler)
    for batch in (2, 3, 5):
        with nullcontext() if batch == 2 else torch._dynamo.config.patch(error_on_recompile=True):
            actual = train_step(compiled, net, random_clip(net, batch))
        for result, expected in zip(actual, train_step(eager, eager, random_clip(net, batch)), strict=True):
            # Gradients of a mean: relative to the largest, for those of weights before a batch norm are sums that cancel.
            scale = max(1.0, float(expected.abs().max()))
            assert_equal_to_rounding(result / scale, expected / scale)
    assert actual[1].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_compiled_graph_predicts_on_any_batch(backend: str) -> None:
    net = small_net(torch.float64, backend=backend)
    compiled = torch.compile(net, fullgraph=True)
    for batch in (2, 3, 5):
        clip = random_clip(net, batch)
        torch._dynamo.mark_dynamic(clip, 0)
        with torch.no_grad(), nullcontext() if batch == 2 else torch._dynamo.config.patch(error_on_recompile=True):
            assert_equal_to_rounding(compiled(clip), net(clip))


def test_a_folded_network_compiles_as_well() -> None:
    net = small_net(torch.float64)
    clip = random_clip(net, 2)
    with torch.no_grad():
        expected = net(clip)
        assert_equal_to_rounding(torch.compile(net.fuse(), fullgraph=True)(clip), expected)


# -------------------------------------------------------------------------------------------------------------- exporting


@pytest.mark.filterwarnings("default:The given buffer is not writable:UserWarning")  # torch 2.10 loads weights so
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exported_program_takes_any_batch_and_survives_saving(backend: str, tmp_path: Path) -> None:
    net = small_net(torch.float64, backend=backend)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        torch.export.save(
            torch.export.export(net, (random_clip(net, 2),), dynamic_shapes=shapes), tmp_path / "network.pt2"
        )
        program = torch.export.load(tmp_path / "network.pt2").module()
        for batch in (1, 2, 3):
            clip = random_clip(net, batch, seed=batch)
            assert_equal_to_rounding(program(clip), net(clip))


# -------------------------------------------------------------------------------------------------------- lower precision


def assert_near_float32(saliency: Tensor, expected: Tensor, other: Tensor) -> None:
    """Finite, and at the median pixel not half as far from float32's map as that of another clip is.

    Not at every pixel: where two values of a window nearly tie, rounding picks the other switch, and the map jumps there.
    """
    assert saliency.isfinite().all()
    assert not torch.equal(saliency.float(), expected)
    assert (saliency.float() - expected).abs().median() < 0.5 * (other - expected).abs().median()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_bfloat16_autocast_stays_near_float32(compiled: bool) -> None:
    net = small_net(clip_length=16, width=0.125)
    clip, other = (random_clip(net, 2, (64, 96), seed) for seed in (1, 2))
    run = torch.compile(net, fullgraph=True, backend="aot_eager") if compiled else net
    with torch.no_grad():
        expected, expected_of_other = net(clip), net(other)
        with torch.autocast("cpu", torch.bfloat16):
            saliency = run(clip)
    assert_near_float32(saliency, expected, expected_of_other)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST], ids=["contiguous", "channels_last"])
def test_autocast_on_a_gpu_stays_near_float32(dtype: torch.dtype, layout: torch.memory_format) -> None:
    net = small_net(clip_length=16, width=0.125)
    clip, other = (random_clip(net, 2, (64, 96), seed).to("cuda").contiguous(memory_format=layout) for seed in (1, 2))
    net = net.to("cuda").to(memory_format=layout)
    with torch.no_grad():
        expected, expected_of_other = net(clip), net(other)
        with torch.autocast("cuda", dtype):
            saliency = net(clip)
    assert_near_float32(saliency, expected, expected_of_other)


# ---------------------------------------------------------------------------------------------------------- channels last


class LayoutWatch(TorchDispatchMode):
    """Counts, by operator, the 5-D maps that are copied or come out in memory that is not dense channels last.

    Every operator that autograd or the network calls passes here, those of the backward pass too. Views are no new maps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = 0
        self.changes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        results = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        copies = name in ("aten.clone", "aten.copy_", "aten.contiguous", "aten._to_copy")
        for x in tree_leaves(results):
            if not isinstance(x, Tensor) or x.dim() != 5 or (x.untyped_storage().data_ptr() in before and not copies):
                continue
            self.maps += 1
            if copies or not x.is_contiguous(memory_format=LAST):
                self.changes[name] += 1
        return results


def layout_changes(net: TASEDNet, training: bool) -> Counter[str]:
    # On one thread, PyTorch's own convolutions leave the layout where they are 1 x 1 in space.
    torch.set_num_threads(2)
    net = net.to(memory_format=LAST).train(training)
    clip = random_clip(net, 2, (45, 67)).contiguous(memory_format=LAST)
    with LayoutWatch() as watch, torch.set_grad_enabled(training):
        saliency = net(clip.requires_grad_(training))
        if training:
            saliency.backward(torch.linspace(0, 1, saliency.numel()).view_as(saliency))
    assert watch.maps > 150
    return watch.changes


@pytest.mark.parametrize("upsampling", ["unpool", "tri"])
@pytest.mark.parametrize("training", [False, True], ids=["prediction", "training"])
def test_maps_stay_channels_last_from_end_to_end(upsampling: str, training: bool) -> None:
    """Counted: clones, copies and conversions of maps, and maps that an operator returns in another layout; none."""
    net = small_net(clip_length=16, width=0.125, upsampling=upsampling)
    assert layout_changes(net, training) == Counter()


def test_the_count_sees_the_layout_changes_of_stock_unpooling() -> None:
    """PyTorch's own unpooling answers contiguously, three times, and the stock backend converts that back."""
    net = small_net(clip_length=16, width=0.125, backend="torch")
    assert layout_changes(net, training=False) == Counter({"aten.max_unpool3d": 3, "aten.clone": 3})


def moving_kernels(module: nn.Module, clip: Tensor) -> list[str]:
    """Inductor's kernels that only move maps: without arithmetic, their names hold no ReLU and no sigmoid."""
    torch.set_num_threads(2)
    # A graph from a cache would show no code.
    fresh = (
        torch._inductor.config.patch(fx_graph_cache=False),
        torch._functorch.config.patch(enable_autograd_cache=False),
    )
    with torch.no_grad(), fresh[0], fresh[1]:
        result, (code,) = run_and_get_code(torch.compile(module, fullgraph=True), clip)
        assert (result - module(clip)).abs().median() < 1e-6
    kernels = re.findall(r"^(cpp_fused\w*) = async_compile", code, flags=re.MULTILINE)
    assert kernels
    return [
        name for name in kernels if not re.search(r"relu|sigmoid", name) or re.search(r"clone|copy|contiguous", name)
    ]


def test_no_operation_makes_inductor_move_a_map() -> None:
    """Counted: kernels of the compiled network that compute nothing, or that name a copy; see `moving_kernels`.

    PyTorch makes one by itself, in front of the last convolution, whose one output channel has no layout of its own.
    """
    net = small_net(clip_length=16, width=0.125).to(memory_format=LAST)
    moving = moving_kernels(net, random_clip(net, 2, (45, 67)).contiguous(memory_format=LAST))
    assert [re.sub(r"_\d+$", "", name) for name in moving] in ([], ["cpp_fused_convolution"])


class Contiguous(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.tased_ext.max_pool3d(x, 1, 1, 0, 1, 1, 1, 1, 0, 0, False, False)[0].contiguous()


def test_the_count_of_kernels_sees_a_forced_layout() -> None:
    blocks = nn.Sequential(nn.Conv3d(8, 8, 3), nn.ReLU(), Contiguous(), nn.Conv3d(8, 8, 3), nn.ReLU())
    maps = torch.rand(2, 8, 6, 12, 14).contiguous(memory_format=LAST)
    assert moving_kernels(blocks.to(memory_format=LAST), maps)


# ------------------------------------------------------------------------------------------------------------- bad clips

BAD_CLIPS = {
    "rank": torch.zeros(3, 8, 32, 32),
    "channels": torch.zeros(1, 8, 3, 32, 32),
    "frames": torch.zeros(1, 3, 7, 32, 32),
    "size": torch.zeros(1, 3, 8, 16, 32),
    "dtype": torch.zeros(1, 3, 8, 32, 32, dtype=torch.float64),
}


@pytest.mark.parametrize("compiler", ["eager", "inductor"])
@pytest.mark.parametrize("fullgraph", [False, True], ids=["graph_breaks", "fullgraph"])
@pytest.mark.parametrize("dynamic", [None, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("bad", BAD_CLIPS)
def test_a_compiled_network_refuses_a_clip_in_the_words_of_an_eager_one(
    bad: str, dynamic: bool | None, fullgraph: bool, compiler: str
) -> None:
    net = small_net()
    with pytest.raises((TypeError, ValueError), match=r"^clip must ") as eager:
        net(BAD_CLIPS[bad])
    with pytest.raises(type(eager.value), match=f"^{re.escape(str(eager.value))}$"):
        torch.compile(net, fullgraph=fullgraph, dynamic=dynamic, backend=compiler)(BAD_CLIPS[bad].requires_grad_())


def test_a_network_that_was_compiled_before_refuses_alike() -> None:
    net = small_net()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    compiled(random_clip(net, 1))
    for clip in (random_clip(net, 1, (16, 48)), random_clip(net, 1)[:, :, :7]):
        with pytest.raises(ValueError, match=r"^clip must (have 8 frames|be at least 17 pixels)"):
            compiled(clip)
    assert compiled(random_clip(net, 1)).shape == (1, 33, 48)


@pytest.mark.parametrize("bad", BAD_CLIPS)
def test_exporting_with_a_bad_clip_raises_at_once(bad: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^clip must "):
        torch.export.export(small_net(), (BAD_CLIPS[bad],))
