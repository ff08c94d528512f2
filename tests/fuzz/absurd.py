"""Files of an absurd size, depth or content: small themselves, and to be refused before what they announce is taken."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from . import corpus
from .damage import packed, png, png_chunks

Make = Callable[[Path], Any]

HUGE = 384 << 20  # bytes that a bomb unpacks to: more than a case may take


def file(name: str, content: bytes | Callable[[], bytes]) -> Make:
    """A case that is one file."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path

    return make


def hollow(name: str, size: int = 10 << 30, start: bytes = b"") -> Make:
    """A case that is a file of many bytes, none of which takes a place on the disk."""

    def make(folder: Path) -> Path:
        path = folder / name
        with path.open("wb") as stream:
            stream.write(start)
            stream.truncate(size)
        return path

    return make


@lru_cache
def zeros() -> bytes:
    """Very many zeros, compressed by zlib."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(HUGE >> 20)) + packer.flush()


# ---------------------------------------------------------------------------------------------------------------- weights


def checkpoint(content: object) -> bytes:
    return corpus.saved(content)


def repickled(change: Callable[[bytes], bytes], content: object = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint whose pickle is changed."""
    with zipfile.ZipFile(io.BytesIO(checkpoint({"a": torch.ones(4)} if content is None else content))) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    return packed([(name, change(data) if name.endswith("data.pkl") else data) for name, data in members], compression)


def legacy(numel: int) -> bytes:
    """A checkpoint in the format of old, whose storage claims a number of values."""
    data = corpus.saved({"a": torch.ones(0x5A5B)}, _use_new_zipfile_serialization=False)
    place = data.index(b"M" + struct.pack("<H", 0x5A5B))
    claimed = b"\x8a\x08" + struct.pack("<q", numel)
    return data[:place] + claimed + data[place + 3 :]


def compressed_storage() -> bytes:
    """A checkpoint whose storage is compressed zeros."""
    with zipfile.ZipFile(io.BytesIO(checkpoint({"a": torch.ones(0x5A5B)}))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, data in members.items():
        if name.endswith("data.pkl"):
            members[name] = data.replace(b"M" + struct.pack("<H", 0x5A5B), b"J" + struct.pack("<i", HUGE // 4))
        elif name.endswith("data/0"):
            members[name] = bytes(HUGE)
    return packed(list(members.items()), zipfile.ZIP_DEFLATED)


def hash_bomb() -> bytes:
    """A key whose hash is that of 2**60 tuples."""
    doubled = b"".join(b"q" + bytes([at]) + b"h" + bytes([at]) + b"\x86" for at in range(1, 61))
    return repickled(lambda _: b"\x80\x02}" + b"K\x01" + doubled + b"K\x01s.")


def nested(depth: int = 100_000) -> bytes:
    return repickled(lambda _: b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")


def shared_storage() -> bytes:
    """A megabyte that 20,000 tensors share."""
    values = torch.zeros(1 << 18)
    return checkpoint(OrderedDict((f"a{number}", values) for number in range(20_000)))


CHECKPOINTS: Mapping[str, Make] = {
    "a tensor of 10**12 values in a storage of one": file(
        "a.pt", lambda: checkpoint({"a": torch.zeros(1).expand(10**6, 10**6)})
    ),
    "a tensor of 10**9 values in a storage of one": file(
        "a.pt", lambda: checkpoint({"a": torch.zeros(1).expand(10**9)})
    ),
    "a storage of 2**40 values that are not there": file("a.pt", lambda: legacy(2**40)),
    "a storage of 2**28 values that are not there": file("a.pt", lambda: legacy(2**28)),
    "a storage of a negative size": file("a.pt", lambda: legacy(-1)),
    "a storage of compressed zeros": file("a.pt", compressed_storage),
    "a pickle of compressed zeros": file(
        "a.pt", lambda: repickled(lambda _: bytes(HUGE), compression=zipfile.ZIP_DEFLATED)
    ),
    "a megabyte that 20,000 tensors share": file("a.pt", shared_storage),
    "a key that takes ages to hash": file("a.pt", hash_bomb),
    "lists in lists, 100,000 deep": file("a.pt", nested),
    "a sparse tensor": file("a.pt", lambda: checkpoint({"a": torch.zeros(10**6, 10**6, layout=torch.sparse_coo)})),
    "a tensor without data": file("a.pt", lambda: checkpoint({"a": torch.zeros(10**6, 10**6, device="meta")})),
    "a quantized tensor": file(
        "a.pt", lambda: checkpoint({"a": torch.ones(4), "b": torch.ones(4, dtype=torch.float8_e4m3fn)})
    ),
    "complex numbers": file("a.pt", lambda: checkpoint({"base1.0.conv.weight": torch.ones(4, dtype=torch.complex64)})),
    "a bytearray of 2**40 bytes": file(
        "a.pt", lambda: repickled(lambda _: b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".")
    ),
    "a text of 4 GB": file("a.pt", lambda: repickled(lambda _: b"\x80\x02X" + b"\xff" * 4 + b".")),
    "a name of a million characters": file("a.pt", lambda: checkpoint({"a" * 10**6: torch.ones(1)})),
    "names with control characters": file("a.pt", lambda: checkpoint({"\x1b[2J\n\u202e": torch.ones(1)})),
    "an empty file": file("a.pt", b""),
    "a bare pickle": file("a.pt", pickle.dumps({"a": 1})),
}


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with a header that says what it likes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claim(*shape: int, dtype: str = "F32", offsets: Sequence[int] = (0, 4)) -> bytes:
    return tensors({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, bytes(64))


TENSORS: Mapping[str, Make] = {
    "a header of 2**63 bytes": file("a.safetensors", tensors({}, length=2**63)),
    "a header of 99 MB that are not there": file("a.safetensors", tensors({}, length=99_000_000)),
    "terabytes": file("a.safetensors", claim(10**6, 10**6, offsets=(0, 4 * 10**12))),
    "a shape whose product wraps to 1": file("a.safetensors", claim(2**32 + 1, 2**32 - 1)),
    "a shape of 2**64 - 1": file("a.safetensors", claim(2**64 - 1)),
    "offsets that go backwards": file("a.safetensors", claim(1, offsets=(4, 0))),
    "a header of brackets": file("a.safetensors", tensors(b"[" * 10**6)),
    "a million dimensions": file("a.safetensors", claim(*[1] * 10**6)),
    "two tensors of one name": file(
        "a.safetensors", tensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":1}', b"1")
    ),
    "8-bit floats": file("a.safetensors", lambda: safetensors.torch.save({"a": torch.ones(4).to(torch.float8_e4m3fn)})),
    "complex numbers": file(
        "a.safetensors", lambda: safetensors.torch.save({"a": torch.ones(4, dtype=torch.complex64)})
    ),
    "a name with control characters": file(
        "a.safetensors", lambda: safetensors.torch.save({"\x1b[2J\n": torch.ones(4)})
    ),
    "10,000 tensors": file(
        "a.safetensors", lambda: safetensors.torch.save({f"a{n}": torch.ones(1) for n in range(10_000)})
    ),
}


def stating(text: str) -> Make:
    return file("a.safetensors", lambda: safetensors.torch.save(corpus.network().state_dict(), {"tased_net": text}))


METADATA: Mapping[str, Make] = {
    "brackets": stating("[" * 10**6),
    "braces": stating('{"a":' * 10**5),
    "a number of a million digits": stating('{"clip_length": ' + "9" * 10**6 + "}"),
    "a clip of 2**62 frames": stating(json.dumps({"clip_length": 2**62, "width": 0.02})),
    "a clip of 80,000,000 frames": stating(json.dumps({"clip_length": 80_000_000, "width": 0.02})),
    "all maps of a clip of 2**40 frames": stating(json.dumps({"clip_length": 2**40, "maps": 2**40, "width": 0.02})),
    "a width of 64": stating('{"width": 64}'),
    "a width of 1e300": stating('{"width": 1e300}'),
    "a width that is no number": stating('{"width": NaN}'),
    "a size of 10**9 squared": stating(json.dumps({**corpus.VARIANT, "origin": {"size": "1000000000x1000000000"}})),
    "an origin with control characters": stating(json.dumps({"origin": {"about": "\x1b[2J"}})),
    "a value of a million characters": stating(json.dumps({"decoder": "a" * 10**6})),
    "an option of a million characters": stating(json.dumps({"a" * 10**6: 1})),
    "an option with control characters": stating(json.dumps({"\x1b[2J\n": 1})),
}

# ------------------------------------------------------------------------------------------------------------------ texts

RECIPES: Mapping[str, Make] = {
    "brackets": file("a.toml", b"drops = " + b"[" * 10**5),
    "tables in tables": file("a.toml", b"a = " + b"{a = " * 10**5),
    "a dotted key of 100,000 parts": file("a.toml", b"a." * 10**5 + b"a = 1"),
    "a number of a million digits": file("a.toml", b"batch = " + b"9" * 10**6),
    "a hexadecimal number of a million digits": file("a.toml", b"batch = 0x" + b"f" * 10**6),
    "a text of a million characters": file("a.toml", b'loss = "' + b"a" * 10**6 + b'"'),
    "a key of a million characters": file("a.toml", b"a" * 10**6 + b" = 1"),
    "a key with control characters": file("a.toml", b'"\\u001b[2J\\n" = 1'),
    "a mix of a million parts": file("a.toml", b'loss = "' + b"kl+" * 10**6 + b'kl"'),
    "a seed of 2**64": file("a.toml", b"seed = 18446744073709551616"),
    "ten gigabytes": hollow("a.toml"),
    "UTF-16": file("a.toml", "batch = 1".encode("utf-16")),
    "a folder": lambda folder: folder,
}

TABLES: Mapping[str, Make] = {
    "ten gigabytes": hollow("a.csv"),
    "a field of a million characters": file("a.csv", b"video,nss\n" + b"a" * 10**6 + b",1\nb,1\n"),
    "an open quote": file("a.csv", b'video,nss\n"' + b"a\n" * 10**5),
    "a number of a million digits": file("a.csv", b"video,nss\na," + b"9" * 10**6 + b"\nb,1\n"),
    "a count of a million digits": file("a.csv", b"video,frames,nss\na," + b"9" * 10**6 + b",1\nb,1,1\n"),
    "a million columns": file("a.csv", b"video,nss" + b",nss" * 10**6 + b"\na,1\nb,1\n"),
    "zero bytes": file("a.csv", b"video,nss\n\0,1\nb,\0\n"),
}

# ----------------------------------------------------------------------------------------------------------------- images


def png_of(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 2,
    data: bytes = b"",
    extra: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png([(b"IHDR", header), *extra, (b"IDAT", data or zlib.compress(bytes(999))), (b"IEND", b"")])


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(corpus.images()[".jpg"][0])
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp_of(width: int, height: int) -> bytes:
    data = bytearray(corpus.images()[".bmp"][0])
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A TIFF of (tag, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes(64)


def tiff_of(width: int, height: int) -> bytes:
    return tiff(
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 128),
        (278, 4, 1, height),
        (279, 4, 1, 64),
    )


def webp_of(width: int, height: int) -> bytes:
    data = bytearray(corpus.images()[".webp"][0])
    place = data.index(b"\x9d\x01\x2a") + 3
    data[place : place + 4] = struct.pack("<HH", width, height)
    return bytes(data)


IMAGES: Mapping[str, Make] = {
    "PNG of 100000x100000": file("1.png", png_of(100_000, 100_000)),
    "PNG of 2**31 - 1 squared": file("1.png", png_of(2**31 - 1, 2**31 - 1)),
    "PNG of 9000x9000": file("1.png", png_of(9000, 9000)),
    "PNG of one row": file("1.png", png_of(2**31 - 1, 1)),
    "PNG of no size": file("1.png", png_of(0, 0)),
    "PNG whose pixels are many more": file("1.png", lambda: png_of(32, 32, data=zeros())),
    "PNG with a compressed text": file("1.png", lambda: png_of(32, 32, extra=[(b"zTXt", b"a\0\0" + zeros())])),
    "PNG with a compressed profile": file("1.png", lambda: png_of(32, 32, extra=[(b"iCCP", b"a\0\0" + zeros())])),
    "PNG with 100,000 texts": file("1.png", lambda: png_of(32, 32, extra=[(b"tEXt", b"a\0b")] * 10**5)),
    "PNG of a million chunks of pixels": file(
        "1.png", lambda: png([*png_chunks(png_of(32, 32))[:1], *[(b"IDAT", b"")] * 10**6])
    ),
    "APNG of 2**31 frames": file("1.png", lambda: png_of(32, 32, extra=[(b"acTL", struct.pack(">II", 2**31 - 1, 0))])),
    "JPEG of 65535x65535": file("1.jpg", lambda: jpeg_of(65535, 65535)),
    "BMP of 2**31 - 1 squared": file("1.bmp", lambda: bmp_of(2**31 - 1, 2**31 - 1)),
    "BMP of a negative size": file("1.bmp", lambda: bmp_of(-(2**31), -(2**31))),
    "TIFF of 2**31 squared": file("1.tif", tiff_of(2**31, 2**31)),
    "TIFF with a tag of 2**32 - 1 values": file(
        "1.tif", tiff((256, 4, 1, 32), (257, 4, 1, 32), (273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8))
    ),
    "WebP of 16383x16383": file("1.webp", lambda: webp_of(16383, 16383)),
    "PostScript": file(
        "1.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(pwned) (w) file closefile\n%%EOF\n"
    ),
    "a GIF called PNG": file("1.png", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(9)),
    "a FITS file called TIFF": file("1.tif", b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800)),
    "a pipe": lambda folder: _pipe(folder / "1.png"),
}


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


# ----------------------------------------------------------------------------------------------------------------- videos


def patched(name: str, mark: bytes, offset: int, change: bytes) -> Callable[[], bytes]:
    """A good video with some bytes beside a mark changed."""

    def made() -> bytes:
        data = bytearray(corpus.videos()[name])
        place = data.index(mark) + offset
        data[place : place + len(change)] = change
        return bytes(data)

    return made


VIDEOS: Mapping[str, Make] = {
    "AVI of 65535x65535": file("a.avi", patched("g.avi", b"strf", 12, struct.pack("<ii", 65535, 65535))),
    "AVI of 2**31 - 1 squared": file("a.avi", patched("g.avi", b"strf", 12, struct.pack("<ii", 2**31 - 1, 2**31 - 1))),
    "MP4 of 65535x65535": file("a.mp4", patched("a.mp4", b"avc1", 28, struct.pack(">HH", 65535, 65535))),
    "MP4 with 2**32 - 1 samples": file("a.mp4", patched("a.mp4", b"stsz", 12, struct.pack(">I", 2**32 - 1))),
    "MP4 with 2**32 - 1 samples of a size": file(
        "a.mp4", patched("a.mp4", b"stsz", 8, struct.pack(">II", 1, 2**32 - 1))
    ),
    "MP4 with 2**32 - 1 times": file("a.mp4", patched("a.mp4", b"stts", 8, b"\xff" * 12)),
    "MP4 of a box of 2**63 bytes": file("a.mp4", b"\0\0\0\1moov" + struct.pack(">Q", 2**63 - 1)),
    "MP4 of boxes in boxes": file(
        "a.mp4", b"".join(struct.pack(">I", (10**4 - at) * 8) + b"moov" for at in range(10**4))
    ),
    "Y4M of 65535x65535": file("a.y4m", b"YUV4MPEG2 W65535 H65535 F25:1 C420\nFRAME\n" + bytes(99)),
    "Y4M at 2**31 frames a second": file("a.y4m", b"YUV4MPEG2 W32 H32 F2147483647:1 C420\nFRAME\n" + bytes(1536)),
    "GIF of 65535x65535": file(
        "a.gif",
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\0\0,\0\0\0\0"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\2\2L\1\0;",
    ),
    "MKV of a segment of 2**56 bytes": file("a.mkv", patched("b.mkv", b"\x18\x53\x80\x67", 4, b"\x01" + b"\xff" * 7)),
    "a list of other files": file("a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\nfile a.mp4\n"),
    "a playlist of itself": file("a.mp4", b"#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n"),
    "a playlist of a URL": file(
        "a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    ),
    "a session description": file(
        "a.sdp", b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
    "a subtitle": file("a.mkv", b"1\n00:00:00,000 --> 99:00:00,000\n<font size=99999>x</font>\n" * 999),
    "ten gigabytes of nothing": hollow("a.mp4"),
    "ten gigabytes behind a header": hollow("a.mpg", start=b"\0\0\1\xba" + b"\x44" * 10),
    "a picture of 100000x100000": file("a.png", png_of(100_000, 100_000)),
}

# ------------------------------------------------------------------------------------------------------------------- data


def element(kind: int, data: bytes) -> bytes:
    """A data element of MATLAB's format."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matlab(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements)


def matrix(
    rows: int, columns: int, data: bytes = b"\1" * 16, *, kind: int = 9, name: bytes = b"I", flags: int = 0
) -> bytes:
    """A MATLAB matrix that claims a size; `kind` is its class."""
    return element(
        14,
        element(6, struct.pack("<II", kind | flags << 8, 2**31 - 1 if kind == 5 else 0))
        + element(5, struct.pack("<ii", rows, columns))
        + element(1, name)
        + element(2, data),
    )


def zipped(content: bytes) -> bytes:
    data = zlib.compress(content)
    return struct.pack("<II", 15, len(data)) + data


def cells(depth: int) -> bytes:
    content = matrix(4, 4)
    for _ in range(depth):
        content = element(
            14, element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"a") + content
        )
    return content


MATRICES: Mapping[str, Make] = {
    "a matrix of 2**31 - 1 squared": file("1.mat", matlab(matrix(2**31 - 1, 2**31 - 1))),
    "a matrix of 60000x60000": file("1.mat", matlab(matrix(60_000, 60_000))),
    "a matrix of 8000x8000 that is not there": file("1.mat", matlab(matrix(8000, 8000))),
    "a matrix of a negative size": file("1.mat", matlab(matrix(-4, -4))),
    "a matrix of half a gigabyte of zeros": file("1.mat", lambda: matlab(struct.pack("<II", 15, 2**31) + zeros())),
    "zeros behind a matrix": file(
        "1.mat", lambda: matlab(zipped(matrix(4, 4)), struct.pack("<II", 15, 10**6) + zeros())
    ),
    "a matrix in a matrix of half a gigabyte": file(
        "1.mat", lambda: matlab(zipped(struct.pack("<II", 14, 2**31) + matrix(4, 4)))
    ),
    "compressed in compressed": file("1.mat", matlab(zipped(zipped(zipped(matrix(4, 4)))))),
    "cells in cells": file("1.mat", lambda: matlab(cells(5000))),
    "a sparse matrix of 2**31 - 1 values": file("1.mat", matlab(matrix(9, 9, kind=5))),
    "a name of 2**31 bytes": file(
        "1.mat", matlab(element(14, element(6, bytes(8)) + element(5, bytes(8)) + struct.pack("<II", 1, 2**31)))
    ),
    "version 4, 2**31 - 1 squared": file(
        "1.mat", struct.pack("<iiiii", 0, 2**31 - 1, 2**31 - 1, 0, 2) + b"I\0" + bytes(64)
    ),
    "version 4, a name of 2**31 - 1 bytes": file(
        "1.mat", struct.pack("<iiiii", 0, 2, 2, 0, 2**31 - 1) + b"I\0" + bytes(64)
    ),
    "10,000 matrices": file("1.mat", lambda: matlab(*[matrix(4, 4, name=b"a%d" % n) for n in range(10_000)])),
    "a matrix whose name has control characters": file(
        "1.mat", matlab(matrix(4, 4, name=b"\x1b[2J"), matrix(4, 4, name=b"\n"))
    ),
    "an object": file("1.mat", lambda: corpus.matrix({"I": np.array([[{"a": 1}]], object)}, {})),
    "an empty file": file("1.mat", b""),
    "ten gigabytes": hollow("1.mat", start=matlab()),
}


def npy(shape: object, dtype: str = "<f8", data: bytes = b"") -> bytes:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + data


def kept(name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The good archive with one of its members replaced."""
    with zipfile.ZipFile(io.BytesIO(corpus.arrays()[0])) as archive:
        members = [(member, archive.read(member)) for member in archive.namelist() if member != f"{name}.npy"]
    return packed([*members, (f"{name}.npy", content)], compression)


ARRAYS: Mapping[str, Make] = {
    "a shape of 10**12": file("a.npz", lambda: kept("values", npy((10**6, 10**6)))),
    "a shape of 2**28 that is not there": file("a.npz", lambda: kept("values", npy((2**28,)))),
    "a shape whose product wraps": file("a.npz", lambda: kept("values", npy((2**32, 2**32)))),
    "a negative shape": file("a.npz", lambda: kept("values", npy((-1, 6)))),
    "a type of 2**30 bytes": file("a.npz", lambda: kept("words", npy((), f"<U{2**28}"))),
    "half a gigabyte of zeros": file(
        "a.npz", lambda: kept("values", npy((HUGE // 8,)) + bytes(HUGE), zipfile.ZIP_DEFLATED)
    ),
    "a text of half a gigabyte": file(
        "a.npz", lambda: kept("words", npy((), f"<U{HUGE // 4}") + bytes(HUGE), zipfile.ZIP_DEFLATED)
    ),
    "a pickle": file("a.npz", lambda: kept("values", npy((1,), "|O") + pickle.dumps([1]))),
    "a header of 2**32 - 1 bytes": file("a.npz", lambda: kept("values", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{}")),
    "brackets": file("a.npz", lambda: kept("words", np_text("[" * 10**6))),
    "a header of brackets": file("a.npz", lambda: kept("values", npy_header("(" * 9000))),
    "other things than are wanted": file("a.npz", lambda: kept("words", np_text('{"key": "k", "left_out": 5}'))),
    "ten gigabytes": hollow("a.npz"),
}


def np_text(text: str) -> bytes:
    return npy((), f"<U{len(text)}", text.encode("utf-32-le"))


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode()


def tree(dataset: str, files: Mapping[str, bytes | None]) -> Make:
    """A folder of files, None for ten gigabytes of nothing."""

    def make(folder: Path) -> tuple[Path, str]:
        for name, content in files.items():
            path = folder / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                hollow(path.name)(path.parent)
            else:
                path.write_bytes(content)
        return folder / "root", dataset

    return make


def _linked(folder: Path) -> tuple[Path, str]:
    """A folder that is in itself."""
    root, dataset = tree("folder", {"a/images/1.png": b""})(folder)
    (root / "train").symlink_to(root)
    (root / "a" / "video").symlink_to(root)
    return root, dataset


FOLDERS: Mapping[str, Make] = {
    "frame 99999999999": tree("dhf1k", {"video/0601/99999999999.png": b""}),
    "frames 1 and 99999999999": tree("folder", {"a/images/1.png": b"", "a/images/99999999999.png": b""}),
    "a map of frame 10**12": tree("folder", {"a/images/1.png": b"", f"a/maps/{10**12}.png": b""}),
    "a number of 200 digits": tree("folder", {f"a/images/{'9' * 200}.png": b"", "a/images/1.png": b""}),
    "a list of ten gigabytes": tree("folder", {"a/images/1.png": b"", "train.txt": None}),
    "a folder in itself": _linked,
    "a folder of folders": tree("folder", {"/".join(["train"] * 500) + "/1.png": b""}),
}
