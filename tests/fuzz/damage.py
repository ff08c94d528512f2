"""How good files become bad ones: cut, bits flipped, numbers made absurd, parts moved, headers of another kind.

What a check sum guards is damaged behind it: chunks of PNG get a sum that fits, and members of archives are damaged before
they are packed.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

ABSURD = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)


def damaged(draw: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The file with one to four kinds of damage; `others` are files of which parts may be mixed in."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(_KINDS)(draw, data, others)
    return data


def damaged_png(draw: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A PNG with one chunk damaged, and its check sum right."""
    chunks = list(png_chunks(data))
    place = draw.randrange(len(chunks))
    kind, content = chunks[place]
    if kind == b"IDAT" and draw.random() < 0.5:
        content = zlib.compress(damaged(draw, zlib.decompress(content), others))
    else:
        content = damaged(draw, content, others)
    chunks[place] = (kind, content)
    if draw.random() < 0.2:
        chunks.insert(draw.randrange(len(chunks)), draw.choice(chunks))
    return png(chunks)


def damaged_archive(draw: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A ZIP archive with one member damaged, and its check sum right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = draw.randrange(len(members))
    if draw.random() < 0.7:  # the small ones say what the others are
        place = min(range(len(members)), key=lambda at: len(members[at][1]))
    name, content = members[place]
    members[place] = (name, damaged(draw, content, others))
    if draw.random() < 0.1:
        del members[draw.randrange(len(members))]
    return packed(members)


def packed(members: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP archive of these."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression, compresslevel=1)
    return stream.getvalue()


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and contents of a PNG's chunks."""
    chunks, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


# Kinds of damage.


def _place(draw: Random, data: bytes) -> int:
    """Somewhere in the file, half of the time near its start or end, where headers and directories are."""
    size = max(1, len(data))
    if draw.random() < 0.5:
        near = draw.randrange(min(512, size))
        return near if draw.random() < 0.7 else size - 1 - near
    return draw.randrange(size)


def _cut(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _flip(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 32)) if data else 0):
        changed[_place(draw, data)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _number(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    size, order = draw.choice((1, 2, 4, 4, 8)), draw.choice(("<", ">"))
    number = draw.choice(ABSURD) % 2 ** (8 * size)
    place = _place(draw, data)
    return data[:place] + number.to_bytes(size, "little" if order == "<" else "big") + data[place + size :]


def _blank(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    place, length = _place(draw, data), draw.choice((1, 4, 16, 256))
    filled = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
    return data[:place] + filled + data[place + length :]


def _drop(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + data[place + draw.choice((1, 2, 4, 16, 256)) :]


def _repeat(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    place, length = _place(draw, data), draw.choice((1, 4, 16, 256))
    return data[: place + length] + data[place : place + length] * draw.choice((1, 2, 50)) + data[place + length :]


def _insert(draw: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw.randbytes(draw.choice((1, 2, 4, 16, 256))) + data[place:]


def _mix(draw: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The beginning of one file and the end of another: a wrong header."""
    if not others:
        return data
    other = draw.choice(others)
    return other[: _place(draw, other)] + data[_place(draw, data) :]


_Damage = Callable[[Random, bytes, Sequence[bytes]], bytes]
_KINDS: tuple[_Damage, ...] = (_cut, _flip, _flip, _number, _number, _blank, _drop, _repeat, _insert, _mix)
