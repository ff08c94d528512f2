"""Matrices of numbers in MATLAB files of level 4 and 5, as datasets keep their fixations.

SciPy's reader, which is compiled code, follows what a damaged file says out of its memory. Of the format a small part is
wanted, full and sparse matrices of real numbers: it is read here, every length checked before anything is read by it, and
compressed data is unpacked no further than the matrix goes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..frames import MAX_PIXELS
from ..texts import shown
from .errors import DataError

Points = NDArray[np.bool_]  # (H, W)

# "MAT-File Level 5 File Format" (MathWorks): types of stored data, of elements, and classes of matrices.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_UINT32, _INT32, _INT8, _MATRIX, _COMPRESSED = 6, 5, 1, 14, 15
_SPARSE, _NUMERIC = 5, range(6, 16)
_COMPLEX = 0x08
_HEADER = 128  # bytes
_LONGEST_NAME, _MOST_DIMENSIONS = 256, 32

# Level 4: types by their digit, and kinds of matrices.
_TYPES_4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_FULL_4, _SPARSE_4 = 0, 2

_PIECE = 2**16  # bytes of compressed data that are read at a time


class _Damaged(Exception):
    """What is in the file is not what the format says."""


class _Newer(Exception):
    """A file of MATLAB 7.3, which is HDF5."""


def read_points(path: str | os.PathLike[str]) -> Points:
    """Where the one matrix of a file, or the one called I (as in DHF1K), is not zero.

    Raises
    ------
    DataError
        If there is no such matrix, it is larger than a frame, or the file is damaged or of another kind.
    OSError
        If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            matrices = [matrix for matrix in _matrices(file) if len(matrix.shape) == 2 and min(matrix.shape) > 1]
            matrix = _wanted(matrices)
            if matrix is None:
                names = ", ".join(sorted({matrix.name for matrix in matrices}))
                raise DataError(f"{path}: want one matrix, or one called I, found {shown(names) or 'none'}")
            rows, columns = matrix.shape
            if rows * columns > MAX_PIXELS:
                raise DataError(f"{path}: {rows} x {columns} pixels are too many for a frame")
            return matrix.points()
    except _Newer:
        raise DataError(f"{path}: a MATLAB 7.3 file, which is not read: save it with -v7") from None
    except (_Damaged, struct.error, zlib.error) as error:
        raise DataError(f"{path}: damaged, or not what its name says") from error


def _wanted(matrices: list[_Matrix]) -> _Matrix | None:
    named = [matrix for matrix in matrices if matrix.name == "I"]
    return named[-1] if named else matrices[0] if len(matrices) == 1 else None


@dataclass(frozen=True)
class _Matrix:
    """A matrix of real numbers, full or sparse: what its header says, and how to find out where it is not zero."""

    name: str
    shape: tuple[int, ...]
    points: Callable[[], Points]


def _matrices(file: IO[bytes]) -> Iterator[_Matrix]:
    start = file.read(_HEADER)
    if len(start) >= 4 and 0 in start[:4]:  # level 5 begins with words
        return _matrices_4(file)
    if len(start) < _HEADER or start[126:] not in (b"IM", b"MI"):
        raise _Damaged
    order = "<" if start[126:] == b"IM" else ">"
    (version,) = struct.unpack_from(f"{order}H", start, 124)
    if version >> 8 == 2:
        raise _Newer
    return _matrices_5(file, order)


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


# ---------------------------------------------------------------------------------------------------------------- level 5


class _Elements:
    """The data elements of a part of a file, one after the other, unpacked if it is compressed."""

    def __init__(self, file: IO[bytes], order: str, place: int) -> None:
        file.seek(place)
        self._file, self._order = file, order
        kind, self._left = struct.unpack(f"{order}II", _read(file, 8))
        self._unpacker = zlib.decompressobj() if kind == _COMPRESSED else None
        if self._unpacker is not None:
            kind, _ = struct.unpack(f"{order}II", self._take(8))
        self.is_matrix = kind == _MATRIX

    def next(self, most: int) -> tuple[int, bytes]:
        """Type and data of the next element, which is refused if it has more than `most` bytes."""
        tag = self._take(8)
        first, length = struct.unpack(f"{self._order}II", tag)
        if first >> 16:  # a small one, all in its tag
            kind, length = first & 0xFFFF, first >> 16
            if length > min(4, most):
                raise _Damaged
            return kind, tag[4 : 4 + length]
        if length > most:
            raise _Damaged
        data = self._take(length)
        self._take(-length % 8)
        return first, data

    def numbers(self, least: int, most: int) -> NDArray[Any]:
        """The numbers of the next element, of which there must be `least` to `most`."""
        kind, data = self.next(8 * most)
        return _numbers(data, _TYPES.get(kind), self._order, least)

    def _take(self, length: int) -> bytes:
        if self._unpacker is None:
            self._left -= length
            if self._left < 0:
                raise _Damaged
            return _read(self._file, length)
        parts: list[bytes] = []
        while length:
            packed = self._unpacker.unconsumed_tail
            if not packed:
                packed = _read(self._file, min(_PIECE, self._left))
                self._left -= len(packed)
            part = self._unpacker.decompress(packed, length)
            if not part and (self._unpacker.eof or not packed):
                raise _Damaged
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def _matrices_5(file: IO[bytes], order: str) -> Iterator[_Matrix]:
    place, end = _HEADER, _size(file)
    if place == end:
        raise _Damaged
    while place < end:
        file.seek(place)
        kind, length = struct.unpack(f"{order}II", _read(file, 8))
        if kind not in (_MATRIX, _COMPRESSED) or place + 8 + length > end:
            raise _Damaged
        _, header = _opened_5(file, order, place)
        if header is not None:
            yield _Matrix(header.name, header.shape, partial(_points_5, file, order, place))
        place += 8 + length


def _points_5(file: IO[bytes], order: str, place: int) -> Points:
    elements, header = _opened_5(file, order, place)
    assert header is not None
    rows, columns = header.shape
    if not header.sparse:
        return _full(elements.numbers(rows * columns, rows * columns), rows, columns)
    most = min(header.stored, rows * columns) + 1
    rows_of = elements.numbers(0, most)
    starts = elements.numbers(columns + 1, columns + 1).astype(np.int64)
    count = int(starts[-1])
    if starts[0] != 0 or (np.diff(starts) < 0).any() or count > len(rows_of):
        raise _Damaged
    values = elements.numbers(count, most)[:count]
    return _scattered(rows_of[:count], np.repeat(np.arange(columns), np.diff(starts)), values, rows, columns)


@dataclass(frozen=True)
class _Header:
    """A matrix of real numbers; of a sparse one so many places are `stored`."""

    name: str
    shape: tuple[int, ...]
    sparse: bool
    stored: int


def _opened_5(file: IO[bytes], order: str, place: int) -> tuple[_Elements, _Header | None]:
    """The elements of a matrix that come after its header, and this, None where it is of something else."""
    elements = _Elements(file, order, place)
    if not elements.is_matrix:
        return elements, None
    kind, data = elements.next(8)
    if kind != _UINT32 or len(data) != 8:
        raise _Damaged
    flags, stored = struct.unpack(f"{order}II", data)
    number = flags & 0xFF
    if (number != _SPARSE and number not in _NUMERIC) or flags >> 8 & _COMPLEX:
        return elements, None
    kind, data = elements.next(4 * _MOST_DIMENSIONS)
    if kind != _INT32 or len(data) % 4:
        raise _Damaged
    shape = struct.unpack(f"{order}{len(data) // 4}i", data)
    kind, data = elements.next(_LONGEST_NAME)
    if kind != _INT8 or any(side < 0 for side in shape):
        raise _Damaged
    return elements, _Header(data.decode("latin-1"), shape, number == _SPARSE, stored)


# ---------------------------------------------------------------------------------------------------------------- level 4


def _matrices_4(file: IO[bytes]) -> Iterator[_Matrix]:
    place, end = 0, _size(file)
    while place < end:
        file.seek(place)
        head = _read(file, 20)
        order = "<" if 0 <= struct.unpack("<i", head[:4])[0] < 5000 else ">"
        code, rows, columns, imaginary, length = struct.unpack(f"{order}5i", head)
        type, kind = _TYPES_4.get(code // 10 % 10), code % 10
        if (
            not 0 <= code < 5000
            or type is None
            or kind > _SPARSE_4
            or min(rows, columns) < 0
            or not 0 < length <= _LONGEST_NAME
        ):
            raise _Damaged
        name = _read(file, length).split(b"\0")[0].decode("latin-1")
        data = place + 20 + length
        place = data + rows * columns * np.dtype(type).itemsize * (2 if imaginary else 1)
        if place > end:
            raise _Damaged
        numbers = partial(_numbers_4, file, data, rows * columns, type, order)
        if kind == _FULL_4 and not imaginary:
            yield _Matrix(name, (rows, columns), partial(_full_4, numbers, rows, columns))
        elif kind == _SPARSE_4 and columns == 3 and 0 < rows <= MAX_PIXELS:
            yield _sparse_4(name, numbers())


def _numbers_4(file: IO[bytes], data: int, count: int, type: str, order: str) -> NDArray[Any]:
    file.seek(data)
    return _numbers(_read(file, count * np.dtype(type).itemsize), type, order, count)


def _full_4(numbers: Callable[[], NDArray[Any]], rows: int, columns: int) -> Points:
    return _full(numbers(), rows, columns)


def _sparse_4(name: str, numbers: NDArray[Any]) -> _Matrix:
    """A matrix in triples of row, column and value, the last of which is its size."""
    triples = numbers.reshape(3, -1).astype(np.float64)
    rows, columns, _ = triples[:, -1].tolist()
    if not (0 <= rows < 2**31 and 0 <= columns < 2**31 and rows == int(rows) and columns == int(columns)):
        raise _Damaged
    row, column, value = triples[:, :-1]
    shape = int(rows), int(columns)
    return _Matrix(name, shape, partial(_scattered, row - 1, column - 1, value, *shape))


# ---------------------------------------------------------------------------------------------------------------- numbers


def _read(file: IO[bytes], length: int) -> bytes:
    """So many bytes and no fewer; a length that the file has not is refused before memory is taken for it."""
    if length > _size(file):
        raise _Damaged
    data = file.read(length)
    if len(data) < length:
        raise _Damaged
    return data


def _numbers(data: bytes, type: str | None, order: str, count: int) -> NDArray[Any]:
    if type is None or len(data) % np.dtype(type).itemsize or len(data) < count * np.dtype(type).itemsize:
        raise _Damaged
    return np.frombuffer(data, f"{order}{type}")


def _full(values: NDArray[Any], rows: int, columns: int) -> Points:
    if len(values) != rows * columns:
        raise _Damaged
    return np.ascontiguousarray((values != 0).reshape(rows, columns, order="F"))


def _scattered(row: NDArray[Any], column: NDArray[Any], values: NDArray[Any], rows: int, columns: int) -> Points:
    """Where values that are not zero lie, every place in the matrix."""
    points = np.zeros((rows, columns), np.bool_)
    for places, side in ((row, rows), (column, columns)):
        if not ((places >= 0) & (places < side)).all():
            raise _Damaged
    there = values != 0
    points[row[there].astype(np.int64), column[there].astype(np.int64)] = True
    return points
