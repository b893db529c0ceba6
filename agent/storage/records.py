"""State as bytes and back: a small JSON document that names arrays, and the arrays behind it, compressed.

A record is a head of fixed size, the document and the arrays; its checksum covers all of it. What is read may be
damaged or made up, so every length is held against what is there, and against a limit, before memory is taken; nothing
is ever evaluated.
"""

from __future__ import annotations

import errno
import json
import re
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bytes = bytes | memoryview

MAX_DOCUMENT = 16 << 20
"""Bytes of JSON of one record."""
MAX_PACKED = 64 << 20
"""Bytes that the compressed arrays of one record have together when they are expanded; others are stored as they are."""

_HEAD = struct.Struct("<4sIIQI")  # mark, document stored, document raw, arrays stored, CRC of all else
HEAD = _HEAD.size
_MARK = b"ckpt"
_DTYPE = re.compile(r"[<|][biufcSU]\d{1,5}")
_MOST = 1 << 40  # bytes of arrays
_WORTH = 64  # bytes below which compressing an array costs more than it saves


def strip(state: Any) -> tuple[Any, list[Array]]:
    """A copy of `state` with each array replaced by its number, and the arrays, which are not copied.

    Raises:
        TypeError: it holds an array of objects.
    """
    arrays: list[Array] = []
    return _strip(state, arrays), arrays


def pack(document: Any, arrays: list[Array]) -> list[Bytes]:
    """The record of what `strip` gave, in pieces to be written one after the other.

    Raises:
        OSError: it is larger than could be read back.
    """
    blobs: list[Bytes] = []
    described, room = [], MAX_PACKED
    for array in arrays:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        blob, packed = _compressed(array, room)
        room -= array.nbytes if packed else 0
        described.append([array.dtype.str, list(array.shape), len(blob), packed])
        blobs.append(blob)
    text = json.dumps([document, described], separators=(",", ":")).encode()
    if len(text) > MAX_DOCUMENT:
        raise OSError(errno.EFBIG, f"state with more than {MAX_DOCUMENT} bytes of JSON in one piece")
    short = zlib.compress(text, 1)
    stored = short if len(short) < len(text) else text
    lengths = (len(stored), len(text), sum(map(len, blobs)))
    crc = _crc(lengths, (stored, *blobs))
    return [_HEAD.pack(_MARK, *lengths, crc), stored, *blobs]


def length(head: bytes) -> int:
    """Bytes of the record that begins with `head`.

    Raises:
        ValueError: no record begins so, or one that is too large.
    """
    (stored, _, blobs), _ = _read_head(head)
    return HEAD + stored + blobs


def check(head: bytes, rest: Iterable[Bytes]) -> None:
    """Whether the bytes after the head are what was written.

    Raises:
        ValueError: they are not.
    """
    lengths, crc = _read_head(head)
    if _crc(lengths, rest) != crc:
        raise ValueError("the checksum of a record is wrong")


def unpack(record: bytes) -> Any:
    """The state in a record whose checksum was found right.

    Raises:
        KeyError, TypeError, ValueError, IndexError: something else made it.
    """
    try:
        return _join(*_read(record))
    except RecursionError as error:
        raise ValueError("a record is nested deeper than any that is written") from error


def _read(record: bytes) -> tuple[Any, list[Array]]:
    (stored, raw, _), _ = _read_head(record)
    view = memoryview(record)
    text = _expanded(view[HEAD : HEAD + stored], raw, stored != raw)
    document, described = json.loads(text.decode())
    arrays: list[Array] = []
    at, room = HEAD + stored, MAX_PACKED
    for dtype, shape, size, packed in described:
        if not (type(size) is int and 0 <= size <= len(record) - at):
            raise ValueError("an array is longer than its record")
        array = _array(view[at : at + size], str(dtype), shape, bool(packed), room)
        arrays.append(array)
        at, room = at + size, room - array.nbytes * bool(packed)
    return document, arrays


def _read_head(record: bytes) -> tuple[tuple[int, int, int], int]:
    if len(record) < HEAD:
        raise ValueError("a record is cut off")
    mark, stored, raw, blobs, crc = _HEAD.unpack_from(record)
    if mark != _MARK:
        raise ValueError("there is no record where one should be")
    if stored > raw or raw > MAX_DOCUMENT or blobs > _MOST:
        raise ValueError("a record is larger than any that is written")
    return (stored, raw, blobs), crc


def _crc(lengths: tuple[int, int, int], pieces: Iterable[Bytes]) -> int:
    crc = zlib.crc32(_HEAD.pack(_MARK, *lengths, 0))
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


def _compressed(array: Array, room: int) -> tuple[Bytes, bool]:
    """Bytes of one significance side by side: the high ones hardly differ. Raw where that gains nothing."""
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    if not _WORTH <= len(raw) <= room:
        return raw, False
    turned = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(-1, array.dtype.itemsize).T)
    packed = zlib.compress(turned.data, 1)  # copies, compressing and checksums leave the interpreter to the loop
    return (packed, True) if len(packed) < len(raw) * 0.95 else (raw, False)


def _array(blob: memoryview, dtype: str, shape: list[int], packed: bool, room: int) -> Array:
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"{dtype[:20]!r} is no type of array that is written")
    kind = np.dtype(dtype)
    size = kind.itemsize
    if len(shape) > 8:
        raise ValueError("an array of more than 8 dimensions")
    for axis in shape:
        if type(axis) is not int or axis < 0:
            raise ValueError("a shape that no array has")
        size *= axis
    if size > (room if packed else len(blob)):
        raise ValueError("arrays are larger than their record")
    content = _expanded(blob, size, packed)
    if packed and kind.itemsize > 1:
        turned = np.frombuffer(content, np.uint8).reshape(kind.itemsize, -1)
        return np.ascontiguousarray(turned.T).reshape(-1).view(kind).reshape(shape)
    return np.frombuffer(bytearray(content), kind).reshape(shape)


def _expanded(blob: memoryview, size: int, packed: bool) -> bytes:
    """`size` bytes; a stream that would give more is not followed further."""
    if not packed:
        content = bytes(blob)
    else:
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(blob, size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
    if len(content) != size:
        raise ValueError("a record holds less or more than its head says")
    return content


def _strip(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of objects cannot be saved")
        arrays.append(value if value.flags.owndata else value.copy())
        return {"$array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"$items": [[_strip(key, arrays), _strip(item, arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_strip(item, arrays) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _join(document: Any, arrays: list[Array]) -> Any:
    if isinstance(document, dict):
        if "$array" in document:
            return arrays[document["$array"]]
        return {_key(_join(key, arrays)): _join(item, arrays) for key, item in document["$items"]}
    if isinstance(document, list):
        return [_join(item, arrays) for item in document]
    return document


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
