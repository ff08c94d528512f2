"""Good files of every kind that the package reads, made by code: small ones, so that damage meets what matters."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import safetensors.torch
import scipy.io
import scipy.sparse
import torch
from PIL import Image

from tased_net import TASEDNet
from tased_net.recipes import Recipe

HEIGHT, WIDTH, FRAMES = 32, 48, 6
VARIANT: dict[str, Any] = {"clip_length": 4, "width": 0.02}


def pictures(count: int = FRAMES) -> list[np.ndarray]:
    """RGB frames of noise on a slope."""
    noise = np.random.default_rng(0).integers(0, 60, (count, HEIGHT, WIDTH, 3))
    slope = np.linspace(0, 190, WIDTH)[None, None, :, None]
    return list((noise + slope).astype(np.uint8))


@lru_cache
def network() -> TASEDNet:
    """The smallest network."""
    torch.manual_seed(0)
    return TASEDNet(**VARIANT)


@lru_cache
def checkpoints() -> tuple[bytes, ...]:
    """PyTorch files: a network's in three formats, and a few small tensors of each kind."""
    state = network().state_dict()
    few = {
        "module.base1.0.conv.weight": torch.ones(8, 3, 1, 3, 3),
        "shared": torch.arange(12.0).reshape(3, 4).t(),
        "half": torch.zeros(5, dtype=torch.float16),
        "count": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }
    s3d = {"base.0.conv_s.weight": torch.ones(8, 3, 1, 7, 7), "fc.0.weight": torch.ones(4)}
    state_of_run = {"format": 1, "net": few, "step": 3, "drops": [1, 2], "rng": torch.zeros(9, dtype=torch.uint8)}
    return (
        saved(few),
        saved(few, _use_new_zipfile_serialization=False),
        saved(s3d),
        saved(state_of_run),
        saved(state),
    )


def saved(content: object, **options: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


@lru_cache
def tensors() -> tuple[bytes, ...]:
    """safetensors files: a network's with its variant, and a few small tensors."""
    few = {
        "base1.0.conv.weight": torch.ones(8, 3, 1, 3, 3),
        "count": torch.tensor([3]),
        "half": torch.ones(2, 2).half(),
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "net.safetensors"
        network().save_pretrained(file)
        whole = file.read_bytes()
    return safetensors.torch.save(few), safetensors.torch.save(few, {"tased_net": '{"clip_length": 4}'}), whole


@lru_cache
def recipes() -> tuple[bytes, ...]:
    """Recipes in TOML: the paper's whole, and a few keys."""
    return Recipe().text().encode(), b'# mine\nbatch = 2\ndrops = [10, 20]\nloss = "kl+cc*0.5"\n[nested]\na = {b = 1}\n'


@lru_cache
def images() -> dict[str, tuple[bytes, ...]]:
    """Images by suffix, in the modes and with the extras that occur."""
    rgb = Image.fromarray(pictures(1)[0])
    grey = rgb.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = rgb.quantize(16)
    return {
        ".png": (
            _drawn(rgb, "PNG", exif=exif),
            _drawn(grey, "PNG"),
            _drawn(deep, "PNG"),
            _drawn(palette, "PNG", transparency=3),
            _drawn(rgb.convert("RGBA"), "PNG"),
            _drawn(grey.convert("1"), "PNG"),
            _drawn(rgb, "PNG", save_all=True, append_images=[rgb]),
        ),
        ".jpg": (
            _drawn(rgb, "JPEG", exif=exif),
            _drawn(grey, "JPEG", progressive=True),
            _drawn(rgb.convert("CMYK"), "JPEG"),
        ),
        ".bmp": (_drawn(rgb, "BMP"), _drawn(palette, "BMP"), _drawn(grey.convert("1"), "BMP")),
        ".tif": (
            _drawn(rgb, "TIFF"),
            _drawn(deep, "TIFF", compression="tiff_lzw"),
            _drawn(grey, "TIFF", compression="tiff_adobe_deflate"),
            _drawn(rgb, "TIFF", compression="jpeg"),
            _drawn(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        ),
        ".webp": (
            _drawn(rgb, "WEBP"),
            _drawn(rgb, "WEBP", lossless=True),
            _drawn(rgb, "WEBP", save_all=True, append_images=[rgb]),
        ),
    }


def _drawn(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


# Container, codec, format of pixels, with sound.
VIDEOS = (
    ("a.mp4", "libx264", "yuv420p", True),
    ("b.mkv", "libx264", "yuv420p", False),
    ("c.avi", "mpeg4", "yuv420p", True),
    ("d.webm", "libvpx", "yuv420p", False),
    ("e.mov", "mjpeg", "yuvj422p", False),
    ("f.mpg", "mpeg2video", "yuv420p", False),
    ("g.avi", "rawvideo", "bgr24", False),
    ("h.mkv", "ffv1", "yuv444p16le", True),
    ("i.ts", "libx264", "yuv420p", False),
    ("j.wmv", "wmv2", "yuv420p", False),
    ("k.webm", "libvpx-vp9", "yuva420p", False),
    ("l.flv", "flv", "yuv420p", False),
)


@lru_cache
def videos() -> dict[str, bytes]:
    """Videos by name."""
    with TemporaryDirectory() as folder:
        return {name: _encoded(Path(folder) / name, codec, pixels, sound) for name, codec, pixels, sound in VIDEOS}


def _encoded(path: Path, codec: str, pixels: str, sound: bool) -> bytes:
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a video"
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.codec_context.thread_count = 1
        heard: Any = (
            container.add_stream("mp2" if path.suffix == ".avi" else "aac", rate=48000, layout="mono")
            if sound
            else None
        )
        for image in pictures():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
        if heard is not None:
            silence = av.AudioFrame(format=heard.format.name, layout="mono", samples=heard.frame_size or 1024)
            silence.sample_rate, silence.pts = 48000, 0
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(heard.encode(silence))
            container.mux(heard.encode(None))
    return path.read_bytes()


@lru_cache
def matrices() -> tuple[bytes, ...]:
    """MATLAB files of versions 4 and 5: plain, compressed, sparse, in several types, beside other variables."""
    points = (np.asarray(Image.fromarray(pictures(1)[0]).convert("L")) > 180).astype(np.uint8)
    makers: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({"I": points}, {"do_compression": True}),
        ({"I": points}, {}),
        ({"I": points.astype(float)}, {"format": "4"}),
        ({"fixLocs": points.astype(bool), "count": 2, "title": "a text"}, {}),
        ({"map": scipy.sparse.csc_matrix(points.astype(float))}, {"do_compression": True}),
        ({"map": scipy.sparse.csc_matrix(points.astype(float))}, {"format": "4"}),
        ({"I": points.astype(np.int16), "cell": np.array([[1, "a"]], object), "struct": {"a": points}}, {}),
        ({"I": points.astype(np.float32)}, {"long_field_names": True}),
    )
    return tuple(matrix(content, options) for content, options in makers)


def matrix(content: dict[str, Any], options: dict[str, Any]) -> bytes:
    """What scipy.io.savemat writes."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, **options)
    return stream.getvalue()


@lru_cache
def arrays() -> tuple[bytes, ...]:
    """numpy's archives, as `tased evaluate` keeps what it has done."""
    maker: Callable[..., None] = np.savez
    streams = io.BytesIO(), io.BytesIO()
    content = {
        "words": '{"key": "k", "name": "v", "left_out": {"is blank": 1}, "constant": 0, "unreadable": []}',
        "frames": np.arange(3),
        "values": np.ones((3, 6)),
        "best_map": np.zeros((9, 9), np.uint8),
        "best_frame": 1,
        "best_values": np.ones(6),
    }
    maker(streams[0], **content)
    np.savez_compressed(streams[1], **content)
    return streams[0].getvalue(), streams[1].getvalue()


@lru_cache
def tables() -> tuple[bytes, ...]:
    """Tables of scores."""
    head, names = "video,frames,nss,cc,kl_divergence\n", ("0601", "0602", "street, wet")
    return (
        (head + "".join(f'"{name}",{at + 3},{at}.5,0.{at},1.0\n' for at, name in enumerate(names))).encode(),
        ("video,frame,nss\n" + "".join(f"0601,{at},1.5\n" for at in range(5))).encode(),
    )


@lru_cache
def sound() -> bytes:
    """A sound without a video."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<400h", *range(400)))
    return stream.getvalue()


def make_all() -> None:
    """Makes every file, so that processes that are forked have them."""
    for maker in (checkpoints, tensors, recipes, images, videos, matrices, arrays, tables, sound):
        maker()
