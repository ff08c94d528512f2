"""Weights files: the released layouts load, anything else is refused in one sentence and leaves the network alone."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import tased_net
from net.released import encoder, released
from tased_net import Predictor, TASEDNet, WeightsError, load_weights
from tased_net.weights import Origin, read_weights

State = dict[str, Tensor]

# S3D counts its layers in one row, with a pool at 4, 7 and 13.
S3D_NUMBERS = {
    **{f"base1.{i}.": f"base.{i}." for i in range(4)},
    **{f"base2.{i}.": f"base.{i + 5}." for i in range(2)},
    **{f"base3.{i}.": f"base.{i + 8}." for i in range(5)},
    **{f"base4.{i}.": f"base.{i + 14}." for i in range(2)},
}


def made_up(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) if shape else torch.tensor(7) for name, shape in shapes.items()
    }


def s3d_name(name: str) -> str:
    stage = next(prefix for prefix in S3D_NUMBERS if name.startswith(prefix))
    return S3D_NUMBERS[stage] + name.removeprefix(stage)


def small_net() -> TASEDNet:
    torch.manual_seed(0)
    return TASEDNet(clip_length=8, width=0.125)


def assert_equal(state: State, expected: State) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


@pytest.fixture(scope="module")
def net() -> TASEDNet:
    return TASEDNet()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True])
def test_released_files_load_as_they_are(net: TASEDNet, tmp_path: Path, prefix: str, legacy: bool) -> None:
    state = made_up(released())
    file = tmp_path / "TASED_updated.pt"
    torch.save({prefix + name: value for name, value in state.items()}, file, _use_new_zipfile_serialization=not legacy)
    assert load_weights(net, file) == "network"
    assert_equal(net.state_dict(), state)


def test_safetensors_load(net: TASEDNet, tmp_path: Path) -> None:
    state = made_up(released())
    safetensors.torch.save_file(state, tmp_path / "tased.safetensors")
    assert load_weights(net, tmp_path / "tased.safetensors") == "network"
    assert_equal(net.state_dict(), state)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_s3d_files_load_into_the_encoder(net: TASEDNet, tmp_path: Path, prefix: str) -> None:
    state = made_up(encoder())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    s3d = {prefix + s3d_name(name): value for name, value in state.items()}
    s3d |= {f"{prefix}fc.0.weight": torch.zeros(400, 1024, 1, 1, 1), f"{prefix}fc.0.bias": torch.zeros(400)}
    torch.save(s3d, tmp_path / "S3D_kinetics400.pt")
    assert load_weights(net, tmp_path / "S3D_kinetics400.pt") == "encoder"
    assert_equal(net.state_dict(), before | state)


def test_parameters_keep_their_dtype_and_layout(tmp_path: Path) -> None:
    torch.save(small_net().state_dict(), tmp_path / "w.pt")
    net = small_net().double().to(memory_format=torch.channels_last_3d)
    load_weights(net, tmp_path / "w.pt")
    weight = net.get_submodule("convtsp2.0").weight
    assert isinstance(weight, Tensor)
    assert weight.dtype == torch.float64
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_files_of_old_pytorch_without_batch_counters_load(tmp_path: Path) -> None:
    state = small_net().state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pt")
    assert load_weights(small_net(), tmp_path / "w.pt") == "network"


def test_a_key_stands_for_the_tensors_and_not_for_their_file(tmp_path: Path) -> None:
    state = dict(small_net().state_dict())
    torch.save(state, tmp_path / "a.pt")
    safetensors.torch.save_file(state, tmp_path / "b.safetensors")
    safetensors.torch.save_file({name: value.half() for name, value in state.items()}, tmp_path / "c.safetensors")
    state["convtsp4.13.bias"] = state["convtsp4.13.bias"].nextafter(torch.tensor(9.0))
    torch.save(state, tmp_path / "d.pt")
    a, b, c, d = (read_weights(file).key() for file in sorted(tmp_path.iterdir()))
    assert a == b
    assert len({a, c, d}) == 3


# --------------------------------------------------------------------------------------------------------------- refusals


def refusal(file: Path) -> str:
    """The message of the refusal, after making sure that the network was left alone."""
    net = small_net()
    with pytest.raises(WeightsError) as caught:
        load_weights(net, file)
    assert_equal(net.state_dict(), small_net().state_dict())
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message


def without(state: State, *names: str) -> State:
    return {name: value for name, value in state.items() if name not in names}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.pt")


def test_missing_unexpected_and_misshapen_keys_are_listed(tmp_path: Path) -> None:
    state = without(small_net().state_dict(), "base1.0.bn_s.weight", "convtsp4.13.bias")
    state["extra.weight"] = torch.zeros(1)
    state["convtsp4.13.weight"] = torch.zeros(2, 4, 1, 1, 1)
    torch.save(state, tmp_path / "w.pt")
    message = refusal(tmp_path / "w.pt")
    assert "does not fit TASEDNet(clip_length=8, width=0.125): keys" in message
    assert "2 missing (base1.0.bn_s.weight, convtsp4.13.bias)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "1 of another shape (convtsp4.13.weight (2, 4, 1, 1, 1) for (1, 4, 1, 1, 1))" in message


def test_long_lists_of_keys_are_cut_short(tmp_path: Path) -> None:
    torch.save(TASEDNet(clip_length=8).state_dict(), tmp_path / "w.pt")
    message = refusal(tmp_path / "w.pt")
    assert len(message) < 600
    assert ", …)" in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "TASEDNet()"),
        ({"clip_length": 8, "width": 0.125, "aggregation": "late-two-step"}, None),
        ({"clip_length": 64, "width": 0.25, "upsampling": "trp", "denser": True, "maps": 5}, None),
        ({"clip_length": 24, "width": 0.3, "aggregation": "late", "decoder": "deeplab"}, None),
        ({"width": 0.77, "aggregation": "early-two-step", "decoder": "fcn"}, None),
        ({"clip_length": 4, "width": 0.125, "maps": 2}, "TASEDNet(clip_length=8, maps=2, width=0.125)"),
    ],
    ids=str,
)
def test_the_variant_that_a_file_would_fit_is_named(tmp_path: Path, options: dict[str, Any], said: str | None) -> None:
    torch.save(TASEDNet(**options).state_dict(), tmp_path / "w.pt")
    message = refusal(tmp_path / "w.pt")
    would_fit = message.partition("; it would fit ")[2]
    assert would_fit
    if said is not None:
        assert would_fit == said
    named = eval(would_fit, {"TASEDNet": TASEDNet})
    if said is None:
        assert {name: named.options[name] for name in options} == options
    assert load_weights(named, tmp_path / "w.pt") == "network"


def test_weights_of_no_variant_name_none(tmp_path: Path) -> None:
    state = TASEDNet(clip_length=8, width=0.25).state_dict()
    state["base2.0.branch0.0.conv.weight"] = torch.zeros(40, 48, 1, 1, 1)
    torch.save(state, tmp_path / "w.pt")
    assert "it would fit" not in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    state = small_net().state_dict()
    state["convtsp2.0.weight"][0, 0] = value
    torch.save(state, tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt").endswith("holds NaN or infinity in 1 tensors (convtsp2.0.weight)")


def test_loading_puts_the_batch_norms_of_a_fused_network_back(tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in small_net().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    net = small_net().eval().fuse()
    assert load_weights(net, tmp_path / "w.pt") == "network"
    assert_equal(net.state_dict(), state)
    assert not any(module.training for module in net.modules())


def test_an_encoder_for_a_fused_network_is_refused(tmp_path: Path) -> None:
    state = {s3d_name(key): value for key, value in small_net().state_dict().items() if key.startswith("base")}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds the encoder only, but the network is fused: load it before"):
        load_weights(small_net().eval().fuse(), tmp_path / "w.pt")


def test_an_s3d_file_with_unknown_layers_is_refused(tmp_path: Path) -> None:
    encoder = {name: value for name, value in small_net().state_dict().items() if name.startswith("base")}
    state = {s3d_name(name): value for name, value in encoder.items()} | {"base.16.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pt")
    assert "1 unexpected (base.16.weight)" in refusal(tmp_path / "w.pt")


class Payload:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("bare_pickle", [False, True])
def test_a_file_that_carries_code_is_refused_and_not_run(tmp_path: Path, bare_pickle: bool) -> None:
    file, mark = tmp_path / "w.pt", tmp_path / "the code ran"
    state = {**small_net().state_dict(), "extra": Payload(mark)}
    if bare_pickle:
        file.write_bytes(pickle.dumps({"extra": Payload(mark)}, protocol=2))
    else:
        torch.save(state, file)
    assert "could run code" in refusal(file)
    assert not mark.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(small_net(), tmp_path / "w.pt")
    assert "export its state_dict" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {1: torch.zeros(1)}, torch.zeros(1)])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert "not a state dict" in refusal(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "half", "zeros"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, damage: str) -> None:
    file = tmp_path / f"w{suffix}"
    state = small_net().state_dict()
    safetensors.torch.save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    whole = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "text": b"hello, these are no weights\n" * 99,
            "half": whole[: len(whole) // 2],
            "zeros": bytes(999),
        }[damage]
    )
    assert "or damaged" in refusal(file)


# ------------------------------------------------------------------------------------------------------------------ origin


def test_a_file_states_where_its_weights_come_from(tmp_path: Path) -> None:
    net = small_net()
    assert (net.origin, Predictor(net).size) == (Origin(), (224, 384))
    net.origin = Origin((48, 64), "learned from a zoo, in Zürich")
    net.save_pretrained(tmp_path / "zoo.safetensors")
    net.save_pretrained(tmp_path / "zoo")
    for found in (tmp_path / "zoo.safetensors", tmp_path / "zoo"):
        assert TASEDNet.from_pretrained(found).origin == net.origin
    other = small_net()
    load_weights(other, tmp_path / "zoo.safetensors")
    assert (other.origin, Predictor(other).size, Predictor(other, size=(32, 32)).size) == (
        net.origin,
        (48, 64),
        (32, 32),
    )


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ('["zoo"]', "what it states of its origin must be a size and a text, got ['zoo']"),
        ('{"licence": "none"}', "what it states of its origin must be a size and a text, got {'licence': 'none'}"),
        ('{"size": "8x9"}', "the size of its origin: want HxW such as 224x384, both at least 17, got '8x9'"),
        ('{"about": "\\u001b[2J"}', "what it says about its origin is no line of at most 300 characters"),
        (json.dumps({"about": "a" * 301}), "what it says about its origin is no line of at most 300 characters"),
        ('{"about"', "not a safetensors file, or damaged"),
    ],
)
def test_an_origin_that_is_none_is_refused(stated: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file(dict(small_net().state_dict()), file, {"tased_net": f'{{"origin": {stated}}}'})
    with pytest.raises(WeightsError, match=f"^{re.escape(f'{file}: {sentence}')}"):
        load_weights(small_net(), file)


@pytest.mark.parametrize("about", ["two\nlines", "a" * 301])
def test_no_file_is_written_that_would_not_be_read(about: str, tmp_path: Path) -> None:
    net = small_net()
    net.origin = Origin(about=about)
    with pytest.raises(WeightsError, match="what it says about its origin is no line of at most 300 characters"):
        net.save_pretrained(tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_lack_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file(dict(small_net().state_dict()), file)

    def refuse(path: Path) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MemoryError):
        read_weights(file)


def test_weights_that_come_with_the_package() -> None:
    net = TASEDNet.from_pretrained("synthetic")
    assert net.origin.size == (112, 192)
    assert "no human gaze" in (net.origin.about or "")
    other = TASEDNet(clip_length=16, width=0.25)
    assert load_weights(other, "synthetic") == "network"
    assert_equal(other.state_dict(), net.state_dict())
    file = Path(tased_net.__file__).with_name("synthetic.safetensors")
    assert file.stat().st_size < 4_000_000
    state = read_weights(file).state
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
