"""FarmHash's 64-bit fingerprint, by which the transform graph hashes strings, with NumPy alone."""

from collections.abc import Sequence

import numpy as np

from ctr_keras.types import Array

_K0, _K1, _K2 = (np.uint64(k) for k in (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
_BLOCK = 64  # bytes, of strings that are longer
_HASH_RANGE = 2**31 - 1  # of a bucket, before it is reduced to those of a vocabulary

_Pair = tuple[Array, Array]


def hash_buckets(values: Sequence[str], buckets: int | Array) -> Array:
    """The bucket of each string, (values,) int64, as the transform graph picks it.

    Args:
        values: list of str.
        buckets: int, or one for each string. Their number.

    Example:

    >>> hash_buckets(["a", "b"], 1000).tolist()
    [721, 731]
    """
    hashes = fingerprints(values) % np.uint64(_HASH_RANGE)
    return np.asarray(hashes.astype(np.int64) % buckets)


def group_numbers(values: Sequence[str]) -> Array:
    """A number from 1 on for each string, (values,) int64 below 2**31: that of its group of rows.

    Example:

    >>> group_numbers(["ann", "bob", "ann"]).tolist()
    [874581445, 473773372, 874581445]
    """
    return hash_buckets(values, _HASH_RANGE) + 1


def fingerprints(values: Sequence[str]) -> Array:
    """`Fingerprint64` of FarmHash of each string's UTF-8 bytes, (values,) uint64.

    A string's length decides how it is hashed, so strings are hashed by classes of length.

    References:
        [FarmHash](https://github.com/google/farmhash), `farmhashna::Hash64`.
    """
    encoded = [value.encode() for value in values]
    lengths = np.array([len(value) for value in encoded], np.int64)
    starts = np.cumsum(lengths) - lengths
    memory = _Memory(b"".join(encoded))
    hashes = np.full(len(encoded), _K2)  # of the empty string
    with np.errstate(over="ignore"):
        for shortest, longest, function in _CLASSES:
            places = np.flatnonzero((lengths >= shortest) & (lengths <= longest))
            if len(places):
                hashes[places] = function(memory, starts[places], lengths[places])
        blocks = (lengths - 1) // _BLOCK
        for count in np.unique(blocks[lengths > _BLOCK]).tolist():
            places = np.flatnonzero(blocks == count)
            hashes[places] = _hash_blocks(memory, starts[places], lengths[places], count)
    return hashes


class _Memory:
    """Bytes of which words are read at any place."""

    def __init__(self, data: bytes):
        self._bytes = np.frombuffer(data + bytes(8), np.uint8)

    def byte(self, at: Array) -> Array:
        return np.asarray(self._bytes[at], np.uint64)

    def word(self, at: Array, dtype: str = "<u8") -> Array:
        """Words at byte places, as uint64."""
        size = np.dtype(dtype).itemsize
        words: Array = np.ndarray(len(self._bytes) - size + 1, dtype, self._bytes, strides=(1,))
        return np.asarray(words[at], np.uint64)


def _rotate(values: Array, bits: int) -> Array:
    return (values >> np.uint64(bits)) | (values << np.uint64(64 - bits))


def _shift_mix(values: Array) -> Array:
    mixed: Array = values ^ (values >> np.uint64(47))
    return mixed


def _mix(u: Array, v: Array, multiplier: Array) -> Array:
    """The hash of 128 bits."""
    a = _shift_mix((u ^ v) * multiplier)
    return _shift_mix((v ^ a) * multiplier) * multiplier


def _multiplier(lengths: Array) -> Array:
    return _K2 + lengths.astype(np.uint64) * np.uint64(2)


def _hash_1_to_3(memory: _Memory, start: Array, length: Array) -> Array:
    first, middle = memory.byte(start), memory.byte(start + (length >> 1))
    last = memory.byte(start + length - 1)
    y = first + (middle << np.uint64(8))
    z = length.astype(np.uint64) + (last << np.uint64(2))
    return _shift_mix((y * _K2) ^ (z * _K0)) * _K2


def _hash_4_to_7(memory: _Memory, start: Array, length: Array) -> Array:
    first, last = memory.word(start, "<u4"), memory.word(start + length - 4, "<u4")
    whole = length.astype(np.uint64) + (first << np.uint64(3))
    return _mix(whole, last, _multiplier(length))


def _hash_8_to_16(memory: _Memory, start: Array, length: Array) -> Array:
    multiplier = _multiplier(length)
    a, b = memory.word(start) + _K2, memory.word(start + length - 8)
    c = _rotate(b, 37) * multiplier + a
    d = (_rotate(a, 25) + b) * multiplier
    return _mix(c, d, multiplier)


def _hash_17_to_32(memory: _Memory, start: Array, length: Array) -> Array:
    multiplier = _multiplier(length)
    a, b = memory.word(start) * _K1, memory.word(start + 8)
    c = memory.word(start + length - 8) * multiplier
    d = memory.word(start + length - 16) * _K2
    first = _rotate(a + b, 43) + _rotate(c, 30) + d
    return _mix(first, a + _rotate(b + _K2, 18) + c, multiplier)


def _hash_33_to_64(memory: _Memory, start: Array, length: Array) -> Array:
    multiplier = _multiplier(length)
    a, b = memory.word(start) * _K2, memory.word(start + 8)
    c = memory.word(start + length - 8) * multiplier
    d = memory.word(start + length - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mix(y, a + _rotate(b + _K2, 18) + c, multiplier)
    e, f = memory.word(start + 16) * multiplier, memory.word(start + 24)
    g = (y + memory.word(start + length - 32)) * multiplier
    h = (z + memory.word(start + length - 24)) * multiplier
    first = _rotate(e + f, 43) + _rotate(g, 30) + h
    return _mix(first, e + _rotate(f + a, 18) + g, multiplier)


_CLASSES = (  # of lengths, up to a block
    (1, 3, _hash_1_to_3),
    (4, 7, _hash_4_to_7),
    (8, 16, _hash_8_to_16),
    (17, 32, _hash_17_to_32),
    (33, 64, _hash_33_to_64),
)


def _hash_blocks(memory: _Memory, start: Array, length: Array, blocks: int) -> Array:
    """Of strings over 64 bytes: all whole blocks but the last, then the last 64 bytes."""
    seed = np.uint64(81)
    x = seed * _K2 + memory.word(start)
    y = np.full(len(start), seed * _K1 + np.uint64(113))
    z = _shift_mix(y * _K2 + np.uint64(113)) * _K2
    v = w = (np.zeros(len(start), np.uint64), np.zeros(len(start), np.uint64))
    at, one = start, np.uint64(1)
    for _ in range(blocks):
        x, y, z, v, w = _next_block(memory, at, (x, y, z, v, w), _K1, one)
        at = at + _BLOCK
    multiplier = _K1 + ((z & np.uint64(0xFF)) << one)
    rest = ((length - 1) & (_BLOCK - 1)).astype(np.uint64)
    w = (w[0] + rest, w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    state = (x, y, z, v, w)
    last = start + length - _BLOCK
    x, y, z, v, w = _next_block(memory, last, state, multiplier, np.uint64(9))
    first = _mix(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z
    return _mix(first, _mix(v[1], w[1], multiplier) + x, multiplier)


def _next_block(
    memory: _Memory,
    at: Array,
    state: tuple[Array, Array, Array, _Pair, _Pair],
    multiplier: Array | np.uint64,
    factor: np.uint64,
) -> tuple[Array, Array, Array, _Pair, _Pair]:
    x, y, z, v, w = state
    x = _rotate(x + y + v[0] + memory.word(at + 8), 37) * multiplier
    y = _rotate(y + v[1] + memory.word(at + 48), 42) * multiplier
    x = x ^ (w[1] * factor)
    y = y + v[0] * factor + memory.word(at + 40)
    z = _rotate(z + w[0], 33) * multiplier
    v = _weak_hash(memory, at, v[1] * multiplier, x + w[0])
    w = _weak_hash(memory, at + 32, z + w[1], y + memory.word(at + 16))
    return z, y, x, v, w


def _weak_hash(memory: _Memory, at: Array, a: Array, b: Array) -> _Pair:
    w, x, y, z = (memory.word(at + 8 * i) for i in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    total = a + x + y
    return total + z, b + _rotate(total, 44) + a
