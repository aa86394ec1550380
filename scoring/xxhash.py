"""Spark's ``xxhash64`` of strings, over Arrow columns: the same 64 bits as in the JVM, at the speed of numpy.

Strings of one length are hashed together, a word of all of them at a time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SEED = 42
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip
#: So many strings at a time stay in the caches of a core.
_BLOCK = 16_384

Words = npt.NDArray[np.uint64]


def xxhash64(strings: pa.StringArray) -> npt.NDArray[np.int64]:
    """Hashes (n,) of n strings; of a null, as in Spark, the seed."""
    offsets, data = _buffers(strings)
    starts, lengths = offsets[:-1], np.diff(offsets)
    hashes = np.empty(len(lengths), dtype=np.uint64)
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        # Strings of one length that lie one after the other are a table of bytes already.
        together = len(places) == len(lengths)
        for low in range(0, len(places), _BLOCK):
            some = places[low : low + _BLOCK]
            first = starts[some[0]]
            if together:
                table = data[first : first + len(some) * length].reshape(len(some), length)
            else:
                table = data[starts[some][:, None] + np.arange(length)]
            hashes[some] = _hashed(table)
    if strings.null_count:
        hashes[strings.is_null().to_numpy(zero_copy_only=False)] = _SEED
    return hashes.view(np.int64)


def _buffers(strings: pa.StringArray) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Offsets (n + 1,) into bytes."""
    kind = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    _, offsets, data = strings.buffers()
    if not len(strings):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    found = np.frombuffer(offsets, kind)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    return found, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)


def _hashed(table: npt.NDArray[np.uint8]) -> Words:
    """Hashes (n,) of strings of one length (n, length)."""
    count, length = table.shape
    padded = np.zeros((count, 8 * (length // 8 + 1)), dtype=np.uint8)
    padded[:, :length] = table
    words = np.ascontiguousarray(padded.view("<u8").T)  # (W, n)
    with np.errstate(over="ignore"):
        at = length // 32 * 4
        total = _stripes(words[:at]) if at else np.full(count, np.uint64(_SEED) + _P5)
        total += np.uint64(length)
        for word in words[at : length // 8]:
            total = _mixed(total, _round(word), 27, _P1, _P4)
        return _avalanche(_tail(total, words[length // 8], length % 8))


def _stripes(words: Words) -> Words:
    """The part of strings of 32 bytes and more that is read 32 bytes at a time: (4 s, n) -> (n,)."""
    seed = np.uint64(_SEED)
    lanes = [np.full(words.shape[1], start) for start in (seed + _P1 + _P2, seed + _P2, seed, seed - _P1)]
    for place, word in enumerate(words):
        lanes[place % 4] = _rotated(lanes[place % 4] + word * _P2, 31) * _P1
    total = sum((_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)), np.zeros_like(lanes[0]))
    for lane in lanes:
        total = (total ^ _round(lane)) * _P1 + _P4
    return total


def _tail(total: Words, word: Words, size: int) -> Words:
    """The last ``size`` bytes, fewer than 8: four at once, then one by one."""
    used = 0
    if size >= 4:
        total = _mixed(total, (word & np.uint64(0xFFFFFFFF)) * _P1, 23, _P2, _P3)
        used = 4
    for place in range(used, size):
        byte = (word >> np.uint64(8 * place)) & np.uint64(0xFF)
        total = _mixed(total, byte * _P5, 11, _P1, np.uint64(0))
    return total


def _mixed(total: Words, part: Words, by: int, factor: np.uint64, summand: np.uint64) -> Words:
    part ^= total
    mixed = _rotated(part, by)
    mixed *= factor
    mixed += summand
    return mixed


def _avalanche(total: Words) -> Words:
    for by, factor in ((33, _P2), (29, _P3)):
        total ^= total >> np.uint64(by)
        total *= factor
    total ^= total >> np.uint64(32)
    return total


def _round(word: Words) -> Words:
    return _rotated(word * _P2, 31) * _P1


def _rotated(value: Words, by: int) -> Words:
    high = value >> np.uint64(64 - by)
    high |= value << np.uint64(by)
    return high
