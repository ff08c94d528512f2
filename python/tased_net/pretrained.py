"""Networks from files and to files that state their variant: `TASEDNet.from_pretrained` and `save_pretrained`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from .texts import read_text, shown
from .weights import (
    BUNDLED,
    WeightsError,
    architecture,
    checked_options,
    differences,
    read_weights,
    shapes,
    write_weights,
)
from .writing import whole_file

if TYPE_CHECKING:
    from typing_extensions import Self

    from .tased import TASEDNet

MOST_BYTES = 2**16  # of a config
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # of a folder, as on the Hugging Face Hub


class Pretrained:
    """What a network with `options` needs to be saved whole, and to be built from what was saved."""

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], **options: Any) -> Self:
        """Builds the network that a file describes, with its weights, in evaluation mode.

        Parameters
        ----------
        source
            A ``.safetensors`` file that states its variant, as `save_pretrained`, training and ``tased convert`` write it;
            a folder of ``config.json`` and ``model.safetensors``; or a repository of such files on the Hugging Face Hub,
            ``owner/name``, which needs the package huggingface_hub (``pip install tased-net[hub]``); or "synthetic", the
            weights that come with the package.
        options
            Those that do not change the weights, `backend` and `exact_grad`; and, for the Hub, `revision`, `cache_dir`,
            `token` and `local_files_only`.

        Returns
        -------
        TASEDNet
            In float32, whatever the type of the weights in the file.

        Raises
        ------
        WeightsError
            If the source is missing, damaged, does not say its variant, or does not fit it.
        TypeError
            If an option is another one.

        Examples
        --------
        >>> from tased_net import TASEDNet
        >>> TASEDNet.from_pretrained("tased.safetensors")
        Traceback (most recent call last):
        tased_net.weights.WeightsError: tased.safetensors: no such file or folder
        """
        hub = {name: options.pop(name) for name in _HUB_OPTIONS if name in options}
        unknown = sorted(options.keys() - {"backend", "exact_grad"})
        if unknown:
            raise TypeError(f"from_pretrained takes no {unknown[0]!r}: the file decides the variant")
        config, weights = _files(source, hub)
        _, state, stated, origin = read_weights(weights)
        if config is not None:
            stated = checked_options(_read_json(config), os.fspath(config))
        if stated is None:
            raise WeightsError(
                f"{weights}: does not say which variant of the network it is: use `tased convert`, or load_weights"
            )
        network = cast("type[TASEDNet]", cls)
        try:
            complaints = differences(shapes(network, stated), state)
        except (ValueError, RuntimeError, OverflowError) as error:
            raise WeightsError(f"{config or weights}: {shown(str(error).splitlines()[0], 300)}") from error
        if complaints:
            raise WeightsError(f"{weights}: is not what it says, keys {', '.join(complaints)}")
        net = network(**stated, **options)
        net.load_state_dict(state, strict=False)  # old files lack num_batches_tracked
        net.origin = origin
        return cast("Self", net.eval())

    def save_pretrained(self, target: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> None:
        """Writes the network, so that `from_pretrained` needs nothing else.

        Parameters
        ----------
        target
            A file that ends in ``.safetensors``, or a folder for ``config.json`` and ``model.safetensors``.
        dtype
            Type of the weights in the file, such as torch.float16; None for that of the network.

        Raises
        ------
        WeightsError
            If the network is fused or the target cannot be written. What was there before is left as it was.
        """
        net = cast("TASEDNet", self)
        target = Path(target)
        if target.suffix == ".safetensors":
            return write_weights(net, target, dtype)
        try:
            target.mkdir(parents=True, exist_ok=True)
            write_weights(net, target / WEIGHTS, dtype)
            with whole_file(target / CONFIG) as beside:
                beside.write_text(json.dumps(architecture(net.options), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise WeightsError(f"{target}: cannot be written ({error})") from error


_HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only")


def _files(source: str | os.PathLike[str], hub: dict[str, Any]) -> tuple[Path | None, Path]:
    """The config, if it is apart, and the weights."""
    path = BUNDLED.get(os.fspath(source), Path(source))
    if path.is_dir():
        for name in (CONFIG, WEIGHTS):
            if not (path / name).is_file():
                raise WeightsError(f"{path}: has no {name}")
        return path / CONFIG, path / WEIGHTS
    if path.is_file() or path.suffix == ".safetensors" or os.fspath(source).count("/") != 1:
        if not path.is_file():
            raise WeightsError(f"{source}: no such file or folder")
        if path.suffix != ".safetensors":
            raise WeightsError(f"{source}: not a .safetensors file: use `tased convert`, or load_weights")
        return None, path
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise WeightsError(
            f"{source}: no such folder, and the Hugging Face Hub needs a package: pip install huggingface_hub"
        ) from None
    try:
        config, weights = (Path(hf_hub_download(os.fspath(source), name, **hub)) for name in (CONFIG, WEIGHTS))
    except Exception as error:  # of many types: no network, no such repository, not allowed
        raise WeightsError(f"{source}: no such folder, nor on the Hub ({str(error).splitlines()[0]})") from error
    return config, weights


def _read_json(path: Path) -> object:
    try:
        return json.loads(read_text(path, MOST_BYTES))
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets
        raise WeightsError(f"{path}: not JSON, or damaged ({shown(str(error))})") from error
