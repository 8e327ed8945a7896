"""What the fuzzer starts from, and mutations of it, on whichever build is under test; `make fuzz` goes further on the interpreted one."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS, Target

MUTATIONS = 300


def inputs(target: Target) -> list[bytes]:
    return [*target.seeds(), *(file.read_bytes() for file in sorted((CORPUS / target.name).glob("*")))]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A byte changed, a piece taken out, put twice or put elsewhere."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, to = sorted((chance.randint(0, len(spoilt)), chance.randint(0, len(spoilt))))
        match chance.randint(0, 3):
            case 0 if spoilt:
                spoilt[at % len(spoilt)] = chance.randint(0, 255)
            case 1:
                del spoilt[at : min(to, at + 8)]
            case 2:
                spoilt[at:at] = spoilt[at : at + 8]
            case _:
                spoilt[to:to] = spoilt[at : at + 8]
    return bytes(spoilt)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_S12_no_input_is_answered_by_anything_but_a_typed_error(target: Target) -> None:
    given = inputs(target)
    assert given
    chance = random.Random()
    for data in given:
        target.run(data)
    for _ in range(MUTATIONS):
        data = mutated(chance.choice(given), chance)
        try:
            target.run(data)
        except Exception as failure:
            raise AssertionError(f"{target.name} on {data!r}") from failure
