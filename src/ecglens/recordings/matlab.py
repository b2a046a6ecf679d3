"""MATLAB files of versions 4 to 7: plain arrays, text, and a struct of these. No other part of the format is read.

Our own, because scipy.io.loadmat ends the whole process (segmentation fault) on some damaged files.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.errors import EcglensError

# Version 4: number formats by the tens digit of the kind; version 5: by the type of an element
_KINDS4 = ("<f8", "<f4", "<i4", "<i2", "<u2", "u1")
_TYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_TYPES |= {16: "u1", 17: "<u2"}  # UTF-8, UTF-16
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR, _NUMERIC = 2, 4, range(6, 16)
_LARGEST = 2**31  # bytes that a compressed part may become
_DEEPEST = 4


def mat_arrays(path: Path) -> dict[str, Any]:
    """What the file holds by name: arrays (MATLAB's shape), text as str, a struct of one element as dict of these.

    Complex, sparse, cell and object arrays are left out. Raises EcglensError where the file is none, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EcglensError(f"{path.name} cannot be read in {path.parent} ({error.strerror})") from None
    if content[:19] == b"MATLAB 7.3 MAT-file":
        raise EcglensError(f"{path.name} is a MATLAB 7.3 file; expected version 7 or older; save it with -v7")
    try:
        found = _version5(content) if content[124:128] == b"\x00\x01IM" else _version4(content)
    except (ValueError, IndexError, OverflowError, MemoryError, struct.error, zlib.error) as error:
        reason = " ".join(str(error).split())[:60]
        raise EcglensError(f"{path.name} is not a MATLAB file, or damaged ({reason}); fetch it again") from None
    return found


def _version4(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(content):
        kind, rows, columns, imaginary, length = struct.unpack_from("<5i", content, at)
        # thousands: byte order (0 little); tens: numbers; ones: 0 plain
        if kind % 10 or kind // 100 or imaginary or min(rows, columns) < 0 or not 0 < length < 256:
            raise ValueError("no plain array of version 4, and no head of version 5")
        name = content[at + 20 : at + 20 + length].rstrip(b"\0").decode("latin-1")
        values = np.frombuffer(content, _KINDS4[kind // 10], rows * columns, at + 20 + length)
        found[name] = values.reshape(columns, rows).T
        at += 20 + length + values.nbytes
    return found


def _version5(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 128
    while at + 8 <= len(content):
        kind, body, at = _element(content, at)
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            kind, body, _ = _element(unpacker.decompress(body, _LARGEST), 0)
        if kind == _MATRIX:
            name, value = _matrix(body, 0)
            if value is not None:
                found[name] = value
    return found


def _element(content: bytes, at: int) -> tuple[int, bytes, int]:
    """(type, bytes, where the next begins)."""
    kind, size = struct.unpack_from("<II", content, at)
    if kind >> 16:  # small: type and size in four bytes, then at most four of data
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise ValueError(f"a small part of {size} bytes")
        return kind, content[at + 4 : at + 4 + size], at + 8
    body = content[at + 8 : at + 8 + size]
    if len(body) < size:
        raise ValueError("cut short")
    return kind, body, at + 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)


def _matrix(body: bytes, depth: int) -> tuple[str, Any]:
    """(name, value) of one array; the value is None where it is of a kind that is not read."""
    if depth > _DEEPEST:
        raise ValueError("structs within structs")
    if not body:
        return "", np.zeros((0, 0))
    _, flags, at = _element(body, 0)
    kind, shape_bytes, at = _element(body, at)
    shape = [int(n) for n in np.frombuffer(shape_bytes, _TYPES.get(kind, "<i4"))]
    _, name, at = _element(body, at)
    what = struct.unpack_from("<I", flags)[0]
    if min(shape, default=-1) < 0:
        raise ValueError("a shape that is none")
    value: Any = None
    if what & 0xFF == _STRUCT:
        value = _struct(body, at, depth) if math.prod(shape) == 1 else None
    elif what & 0xFF in (_CHAR, *_NUMERIC) and not what & 0x0800:
        kind, data, _ = _element(body, at)
        if kind not in _TYPES:
            raise ValueError(f"numbers of type {kind}")
        values = np.frombuffer(data, _TYPES[kind])
        if what & 0xFF == _CHAR:
            value = "".join(chr(number) for number in values.tolist())
        else:
            if values.size != math.prod(shape):
                raise ValueError(f"{values.size} numbers for a shape of {shape}")
            value = values.reshape(shape, order="F")
    return name.decode("latin-1"), value


def _struct(body: bytes, at: int, depth: int) -> dict[str, Any]:
    _, length_bytes, at = _element(body, at)
    length = struct.unpack_from("<i", length_bytes)[0]
    _, names, at = _element(body, at)
    if not 0 < length <= 64:
        raise ValueError(f"names of {length} letters")
    fields: dict[str, Any] = {}
    for start in range(0, len(names), length):
        _, field, at = _element(body, at)
        fields[names[start : start + length].split(b"\0")[0].decode("latin-1")] = _matrix(field, depth + 1)[1]
    return fields
