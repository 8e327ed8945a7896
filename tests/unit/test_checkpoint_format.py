"""X3, X14, S13: a checkpoint is what was written, byte for byte, or it is refused."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.checkpoint.format import VERSION, decode, encode
from cdc.errors import CheckpointUnreadable, ExitCode
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.event import Gap

EXAMPLE = Checkpoint(
    name="shop",
    phase=Phase.STREAMING,
    source={"system": "7316", "timeline": 1, "slot": "cdc_shop"},
    mark=Mark("0/16B3748", Unfinished("0/16B3800", 41, 2), {"tables": [{"id": 16384, "name": 'we"ird'}], "last": None}),
    settings_digest="5f3a",
    generation=17,
    gaps=(Gap("0/1", "0/2", "accept-gap"),),
)

# The file as version 1 wrote it. When the format changes this stays, and a line for the new version joins it.
GOLDEN_1 = (
    b"cdc-checkpoint 1 fd3f7253d011c99bce0fb909ff77372070cf30654f99e580a34d7f54a1392a55 367\n"
    b'{"gaps":[{"missing_from":"0/1","missing_to":"0/2","reason":"accept-gap"}],"generation":17,"mark":{"m'
    b'emory":{"last":null,"tables":[{"id":16384,"name":"we\\"ird"}]},"position":"0/16B3748","unfinished":{"'
    b'messages":2,"ordinal":41,"position":"0/16B3800"}},"name":"shop","phase":"streaming","settings_digest'
    b'":"5f3a","source":{"slot":"cdc_shop","system":"7316","timeline":1}}'
)

_text = st.text(st.characters(exclude_categories=["Cs"]))
_number = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _number | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_memory = st.dictionaries(_text, _json, max_size=4)
_count = st.integers(0, 2**63 - 1)
_marks = st.builds(Mark, _text, st.none() | st.builds(Unfinished, _text, _count, _count), _memory)
_gaps = st.lists(st.builds(Gap, _text, _text, _text), max_size=3).map(tuple)
_checkpoints = st.builds(Checkpoint, _text, st.sampled_from(Phase), _memory, _marks, _text, _count, _gaps)


def sealed(body: bytes, version: int = VERSION) -> bytes:
    """A file whose header is right for any body, as somebody with a text editor and sha256sum could make it."""
    digest = sha256(b"cdc-checkpoint %d\n%b" % (version, body)).hexdigest().encode()
    return b"cdc-checkpoint %d %b %d\n%b" % (version, digest, len(body), body)


def document(**changes: Any) -> bytes:
    body = orjson.loads(encode(EXAMPLE).partition(b"\n")[2])
    return orjson.dumps({**body, **changes})


@given(_checkpoints)
def test_comes_back_as_it_was(checkpoint: Checkpoint) -> None:
    data = encode(checkpoint)
    assert decode(data) == checkpoint
    assert encode(decode(data)) == data


def test_X14_golden_file_of_version_1() -> None:
    assert decode(GOLDEN_1) == EXAMPLE
    assert encode(EXAMPLE) == GOLDEN_1


def test_X3_every_flipped_bit_of_every_byte_is_found() -> None:
    whole = encode(EXAMPLE)
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            with pytest.raises(CheckpointUnreadable):
                decode(bytes(damaged))


def test_X3_every_cut_is_found() -> None:
    whole = encode(EXAMPLE)
    for length in range(len(whole)):
        with pytest.raises(CheckpointUnreadable):
            decode(whole[:length])


@given(_checkpoints, st.binary(min_size=1))
def test_X3_something_after_the_end_is_found(checkpoint: Checkpoint, more: bytes) -> None:
    with pytest.raises(CheckpointUnreadable):
        decode(encode(checkpoint) + more)


@given(
    st.binary()
    | st.binary().map(lambda tail: b"cdc-checkpoint " + tail)
    | st.binary().map(sealed)
    | _json.map(lambda value: sealed(orjson.dumps(value)))
)
def test_X3_arbitrary_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(CheckpointUnreadable):
        decode(data)


def test_says_what_is_wrong_and_what_to_do() -> None:
    with pytest.raises(CheckpointUnreadable) as caught:
        decode(b"", "/var/lib/cdc/shop.checkpoint")
    assert str(caught.value) == "/var/lib/cdc/shop.checkpoint cannot be trusted: the file is empty"
    assert "`cdc checkpoint show --previous`" in caught.value.action
    assert "`cdc checkpoint reset --to-previous`" in caught.value.action
    assert caught.value.exit_code == ExitCode.POSITION


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0" * 512, "it does not begin like a checkpoint"),
        (b"cdc-checkpoint 1", "its first line is damaged or cut short"),
        (b"cdc-checkpoint " + b"1" * 100_000, "its first line is damaged or cut short"),
        (encode(EXAMPLE)[:-1], "bytes, but"),
        (encode(EXAMPLE)[:-1] + b"]", "its checksum does not match its content"),
        (sealed(b"{"), "its content is not JSON"),
        (sealed(b"[]"), "its content is not an object"),
        (sealed(document(extra=1)), "field extra is unknown"),
        (sealed(orjson.dumps({"name": "shop"})), "field gaps is missing"),
        (sealed(document(name=1)), "field name is not text"),
        (sealed(document(phase="dreaming")), "field phase is none of intent, streaming"),
        (sealed(document(source=[])), "field source is not an object"),
        (sealed(document(mark=None)), "mark is not an object"),
        (sealed(document(mark={"position": 1, "unfinished": None, "memory": {}})), "field mark.position is not text"),
        (
            sealed(document(mark={"position": "", "unfinished": {}, "memory": {}})),
            "mark.unfinished.messages is missing",
        ),
        (sealed(document(generation=True)), "field generation is not a whole number from 0"),
        (sealed(document(generation=-1)), "field generation is not a whole number from 0"),
        (sealed(document(generation=1.0)), "field generation is not a whole number from 0"),
        (sealed(document(gaps={})), "field gaps is not a list"),
        (sealed(document(gaps=[{}])), "field gaps[0].missing_from is missing"),
    ],
)
def test_every_field_is_checked_also_behind_a_right_checksum(data: bytes, why: str) -> None:
    with pytest.raises(CheckpointUnreadable) as caught:
        decode(data)
    assert why in str(caught.value)


def test_X14_an_unknown_version_has_its_own_message() -> None:
    with pytest.raises(CheckpointUnreadable) as caught:
        decode(sealed(document(), version=2))
    assert "format version 2, and this build reads only 1" in str(caught.value)
    assert caught.value.fault == "checkpoint-version-unknown"
    assert "a newer one" in caught.value.action


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), (1, 2), b"bytes", {1: "key"}, 2**64, "\ud800", EXAMPLE, {"set"}]
)
def test_what_would_come_back_otherwise_is_refused_when_written(value: object) -> None:
    with pytest.raises(TypeError):
        encode(replace(EXAMPLE, source={"nested": [value]}))
