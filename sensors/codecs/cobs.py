"""Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): frames without a zero byte, so that zero ends them."""

from __future__ import annotations


def encode(data: bytes) -> bytes:
    """The data without zeros, one byte longer for each 254; the delimiter is not appended."""
    out = bytearray()
    for part in data.split(b"\0"):
        while len(part) >= 254:
            out.append(255)
            out += part[:254]
            part = part[254:]
        out.append(len(part) + 1)
        out += part
    return bytes(out)


def decode(frame: bytes) -> bytes | None:
    """The data of a frame without its delimiter; None if no encoder wrote it."""
    out = bytearray()
    place, size = 0, len(frame)
    while place < size:
        code = frame[place]
        end = place + code
        if code == 0 or end > size:
            return None
        out += frame[place + 1 : end]
        place = end
        if code < 255 and place < size:
            out.append(0)
    return bytes(out) if size else None
