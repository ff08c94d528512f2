"""Packages TASED-Net by AOTInductor, for main.cpp and any other program that has LibTorch but no Python."""

from __future__ import annotations

import argparse
import os

import torch

from tased_net import TASEDNet, load_weights


def package(net: TASEDNet, size: tuple[int, int], path: str | os.PathLike[str]) -> None:
    """Compiles the network for clips of one size in batches of any, and writes the package.

    Parameters
    ----------
    net
        In evaluation mode; the package takes its dtype and runs on its device.
    size
        H and W of the clips, (N, 3, T, H, W).
    path
        Of the package, *.pt2.
    """
    weight = next(net.parameters())
    clip = torch.zeros(2, 3, net.clip_length, *size, dtype=weight.dtype, device=weight.device)
    with torch.no_grad():
        program = torch.export.export(net, (clip,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    # Export takes a dynamic size for at least 2, and the package would refuse a single clip.
    options = {"aot_inductor.check_lowerbound": False}
    torch._inductor.aoti_compile_and_package(program, package_path=os.fspath(path), inductor_configs=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", help="the file to write, *.pt2")
    parser.add_argument("--weights", help="trained weights; without them the network keeps random ones")
    parser.add_argument("--size", type=int, nargs=2, default=(224, 384), metavar=("H", "W"), help="of a frame")
    parser.add_argument("--clip-length", type=int, default=32, help="frames of a clip")
    parser.add_argument("--width", type=float, default=1.0, help="scales the network's channels")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    net = TASEDNet(clip_length=options.clip_length, width=options.width)
    if options.weights is not None:
        load_weights(net, options.weights)
    net = net.to(options.device, getattr(torch, options.dtype)).to(memory_format=torch.channels_last_3d).eval()
    package(net, tuple(options.size), options.package)


if __name__ == "__main__":
    main()
