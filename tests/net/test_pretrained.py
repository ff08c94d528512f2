"""Networks saved with their variant come back as they were; what is not one is refused in one sentence."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from tased_net import TASEDNet, WeightsError

VARIANTS: list[dict[str, Any]] = [
    {"clip_length": 8, "width": 0.125},
    {"clip_length": 4, "width": 0.02, "maps": 2, "denser": True},
    {"clip_length": 24, "width": 0.05, "aggregation": "late", "upsampling": "trp"},
    {"clip_length": 16, "width": 0.05, "aggregation": "early-two-step", "decoder": "unet"},
]


def seeded(**options: Any) -> TASEDNet:
    torch.manual_seed(0)
    return TASEDNet(**options)


def assert_same_network(net: TASEDNet, expected: TASEDNet) -> None:
    assert net.options == expected.options
    state = expected.state_dict()
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not net.training


@pytest.mark.parametrize("target", ["net.safetensors", "folder"])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_network_comes_back_as_it_was(tmp_path: Path, options: dict[str, Any], target: str) -> None:
    net = seeded(**options).to(memory_format=torch.channels_last_3d)
    net.save_pretrained(tmp_path / target)
    assert_same_network(TASEDNet.from_pretrained(tmp_path / target), net)


def test_a_folder_has_the_files_of_the_hub(tmp_path: Path) -> None:
    seeded(clip_length=8, width=0.02).save_pretrained(tmp_path / "net")
    assert sorted(file.name for file in (tmp_path / "net").iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    assert config["clip_length"] == 8
    assert "backend" not in config
    assert stat.S_IMODE((tmp_path / "net" / "model.safetensors").stat().st_mode) & 0o400


def test_backend_and_exact_grad_are_the_reader_s_choice(tmp_path: Path) -> None:
    seeded(clip_length=8, width=0.02).save_pretrained(tmp_path / "net.safetensors")
    net = TASEDNet.from_pretrained(tmp_path / "net.safetensors", backend="torch", exact_grad=False)
    assert (net.options["backend"], net.options["exact_grad"]) == ("torch", False)
    with pytest.raises(TypeError, match="from_pretrained takes no 'width': the file decides the variant"):
        TASEDNet.from_pretrained(tmp_path / "net.safetensors", width=0.5)


def test_weights_can_be_halved_in_the_file(tmp_path: Path) -> None:
    net = seeded(clip_length=8, width=0.05)
    net.save_pretrained(tmp_path / "half.safetensors", dtype=torch.float16)
    net.save_pretrained(tmp_path / "full.safetensors")
    half, full = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full"))
    assert half < 0.6 * full
    back = TASEDNet.from_pretrained(tmp_path / "half.safetensors")
    weight = back.get_parameter("convtsp1.0.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, net.get_parameter("convtsp1.0.weight").half().float())


def test_the_hub_is_asked_for_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = seeded(clip_length=8, width=0.02)
    net.save_pretrained(tmp_path)
    asked = []

    def download(repository: str, name: str, **options: Any) -> str:
        asked.append((repository, name, options))
        return str(tmp_path / name)

    hub = ModuleType("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", download, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert_same_network(TASEDNet.from_pretrained("someone/tased", revision="v1"), net)
    assert asked == [("someone/tased", name, {"revision": "v1"}) for name in ("config.json", "model.safetensors")]


def test_without_the_hub_s_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"^someone/tased: no such folder, and .* pip install huggingface_hub$"):
        TASEDNet.from_pretrained("someone/tased")


def test_a_failed_download_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, name: str) -> str:
        raise OSError("no route to host\nand more")

    hub = ModuleType("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", download, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(WeightsError, match=r"^someone/tased: no such folder, nor on the Hub \(no route to host\)$"):
        TASEDNet.from_pretrained("someone/tased")


# --------------------------------------------------------------------------------------------------------------- refusals


def refusal(source: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        TASEDNet.from_pretrained(source)
    message = str(caught.value)
    assert message.startswith(str(source))
    assert "\n" not in message
    return message.removeprefix(str(source))


def saved(path: Path, stated: object) -> Path:
    """A network whose file states other options than its own."""
    state = seeded(clip_length=8, width=0.02).state_dict()
    metadata = None if stated is None else {"tased_net": stated if isinstance(stated, str) else json.dumps(stated)}
    safetensors.torch.save_file(state, path, metadata)
    return path


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (None, ": does not say which variant of the network it is: use `tased convert`, or load_weights"),
        ("{not json", ": not a safetensors file, or damaged (Expecting property name"),
        ([8], ": the network's options must be a JSON object, got list"),
        ({"clip_length": "8"}, ": clip_length must be of type int, got '8'"),
        ({"clip_length": True}, ": clip_length must be of type int, got True"),
        ({"depth": 8}, ": 'depth' is no option of TASEDNet"),
        ({"clip_length": 12}, ": clip_length must be 4 or a multiple of 8, got 12"),
        ({"clip_length": 8, "width": 0.5}, ": is not what it says, keys "),
        ({"clip_length": 8, "width": 1e300}, ": width must be a positive number of at most 64, got 1e+300"),
        ({"clip_length": 8, "width": 64}, ": is not what it says, keys "),
        ({"clip_length": 8 * 10**12, "width": 0.02}, ": clip_length must be at most 16384"),
    ],
    ids=str,
)
def test_what_a_file_states_is_checked_before_memory_is_taken(tmp_path: Path, stated: object, sentence: str) -> None:
    assert refusal(saved(tmp_path / "w.safetensors", stated)).startswith(sentence)


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "w.safetensors") == ": no such file or folder"
    (tmp_path / "net").mkdir()
    assert refusal(tmp_path / "net") == ": has no config.json"
    (tmp_path / "net" / "config.json").write_text("{}")
    assert refusal(tmp_path / "net") == ": has no model.safetensors"
    torch.save(seeded(clip_length=8, width=0.02).state_dict(), tmp_path / "w.pt")
    assert refusal(tmp_path / "w.pt") == ": not a .safetensors file: use `tased convert`, or load_weights"


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b'{"width": null}'])
def test_a_broken_config_is_named(tmp_path: Path, content: bytes) -> None:
    seeded(clip_length=8, width=0.02).save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "config.json").write_bytes(content)
    assert refusal(tmp_path / "net").startswith("/config.json: ")


def test_a_fused_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a fused network has no batch norms to save"):
        seeded(clip_length=8, width=0.02).eval().fuse().save_pretrained(tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    net = seeded(clip_length=8, width=0.02)
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "nowhere" / "w.safetensors", tmp_path / "file"):
        with pytest.raises(WeightsError, match=rf"^{target}: cannot be written \("):
            net.save_pretrained(target)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
