"""Where a record without a key goes: the partition that a Java client would choose for its ordering key."""

from __future__ import annotations

from typing import Final

_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32 bits of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned. Slow: for names, not for each record."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        value = (value * _M & _MASK) ^ ((word ^ word >> 24) * _M & _MASK)
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partition_of(ordering_key: bytes, count: int) -> int:
    """Java clears the sign bit, then takes the remainder."""
    return (murmur2(ordering_key) & 0x7FFFFFFF) % count
