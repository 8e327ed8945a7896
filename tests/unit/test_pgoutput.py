"""The decoder against messages built by hand: what each means, and that nothing malformed passes or crashes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import CdcError, MalformedMessage
from cdc.model.event import Change, LogicalMessage, Truncate
from cdc.model.row import UNCHANGED
from cdc.model.types import TableVersion
from cdc_postgres.pgoutput import Decoder, RelationMessage, RelationPlan, TypeMessage
from cdc_postgres.types import column_for, reader_for
from tests.unit import wire

FAR = 0xFFFFFFFE_80000003  # an LSN far past 4 GB, with the high bit of each half set
COLUMNS = (("id", True, 20), ("ok", False, 16), ("note", False, 25))


def make_plan(selected: bool = True) -> RelationPlan:
    columns = tuple(column_for(name, oid, -1, {}) for name, _, oid in COLUMNS)
    table = TableVersion("public", "t", columns, (0,), "d", 1, "f") if selected else None
    return RelationPlan(table, tuple(reader_for(oid, -1, {}) for _, _, oid in COLUMNS), len(COLUMNS))


def decode(*messages: bytes, decoder: Decoder | None = None) -> list[Any]:
    decoder = decoder or defined()
    events: list[Any] = []
    for data in messages:
        decoder.decode(data, events)
    return events


def defined(skip_below: int = 0) -> Decoder:
    decoder = Decoder(skip_below, None)
    decoder.define(1, make_plan())
    decoder.define(2, make_plan(selected=False))
    return decoder


def test_an_insert_gives_canonical_cells_and_the_facts_of_its_transaction() -> None:
    (change,) = decode(wire.begin(0x16B3748, 77), wire.insert([b"1", b"t", None], start=0x16B3700))
    assert isinstance(change, Change)
    assert change.op == "c"
    assert change.before is None
    assert change.after is not None
    assert change.after.cells() == [b"1", b"true", None]
    assert change.offset == 0x16B3700
    assert change.transaction.position == "0/16B3748"
    assert change.transaction.id == f"77:{0x16B3748}"
    assert change.transaction.commit_us == 700_000_000_000_000 + 946_684_800_000_000


def test_positions_past_four_gigabytes_keep_all_their_bits() -> None:
    decoder = defined()
    events = decode(
        wire.message("p", b"", False, FAR),
        wire.begin(FAR),
        wire.origin("o", FAR),
        wire.insert([b"1", None, None], start=FAR - 1),
        wire.commit(FAR, FAR + 8),
        decoder=decoder,
    )
    message, change = events
    assert (message.offset, message.position) == (FAR, "FFFFFFFE/80000003")
    assert (change.offset, change.transaction.position) == (FAR - 1, "FFFFFFFE/80000003")
    assert change.transaction.facts[2] == FAR
    assert (decoder.position, decoder.last_commit) == (FAR + 8, FAR)


def test_ordinals_count_every_row_whether_selected_or_not() -> None:
    events = decode(
        wire.begin(),
        wire.insert([b"1", None, None]),
        wire.insert([b"9", None, None], oid=2),
        wire.truncate(2, 1),
        wire.delete([b"1", None, None]),
    )
    assert [(type(event).__name__, event.ordinal) for event in events] == [
        ("Change", 0),
        ("Truncate", 3),
        ("Change", 4),
    ]


def test_a_key_tuple_carries_its_key_only() -> None:
    (change,) = decode(wire.begin(), wire.delete([b"1", None, None]))
    assert change.before.cells() == [b"1", UNCHANGED, UNCHANGED]


def test_an_unchanged_value_is_filled_from_the_old_tuple_where_it_is_there() -> None:
    full, key = decode(
        wire.begin(),
        wire.update([b"1", b"f", "u"], [b"1", b"t", b"long"], b"O"),
        wire.update([b"2", b"f", "u"], [b"1", None, None], b"K"),
    )
    assert full.after.cells() == [b"1", b"false", b"long"]
    assert key.after.cells() == [b"2", b"false", UNCHANGED]


def test_origin_comes_with_every_row_of_its_transaction() -> None:
    (change,) = decode(wire.begin(), wire.origin("node_b", 0x42), wire.insert([b"1", None, None]))
    assert change.transaction.facts[1:3] == ("node_b", 0x42)


def test_the_last_commit_is_that_of_a_transaction_with_rows() -> None:
    decoder = defined()
    decode(
        wire.begin(0x10),
        wire.insert([b"1", None, None]),
        wire.commit(0x10, 0x20),
        wire.begin(0x30),
        wire.commit(0x30, 0x40),
        decoder=decoder,
    )
    assert decoder.last_commit == 0x10
    assert decoder.position == 0x40


def test_what_the_checkpoint_has_is_counted_and_not_repeated() -> None:
    decoder = defined(skip_below=0x5001)
    events = decode(
        wire.begin(0x5000),
        wire.insert([b"1", None, None]),
        wire.truncate(1),
        wire.message("p", b"x", True),
        wire.commit(0x5000),
        decoder=decoder,
    )
    assert events == []
    assert decoder.suppressed == 2
    assert len(decode(wire.begin(0x5001), wire.insert([b"1", None, None]), decoder=decoder)) == 1


def test_messages_take_no_ordinal() -> None:
    loose, bound, change = decode(
        wire.message("p", b"now", False, 0x111),
        wire.begin(),
        wire.message("p", b"later", True),
        wire.insert([b"1", None, None]),
    )
    assert isinstance(loose, LogicalMessage) and loose.transaction is None
    assert loose.position == "0/111"
    assert bound.transaction is change.transaction
    assert change.ordinal == 0


def test_relation_and_type_are_handed_to_the_caller() -> None:
    decoder = Decoder(0, None)
    found = decoder.decode(wire.relation(COLUMNS, schema="", identity="f"), [])
    assert isinstance(found, RelationMessage)
    assert (found.schema, found.name, found.identity) == ("pg_catalog", "t", "f")
    assert [(c.name, c.key, c.type_oid, c.modifier) for c in found.columns] == [
        ("id", True, 20, -1),
        ("ok", False, 16, -1),
        ("note", False, 25, -1),
    ]
    assert decoder.decode(wire.type_name(), []) == TypeMessage(20000, "public", "mood")


def test_truncate_gives_an_event_a_table() -> None:
    (event,) = decode(wire.begin(), wire.truncate(1))
    assert isinstance(event, Truncate)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wire.xlog(b"S"), "not a message of protocol 1"),
        (wire.xlog(b""), "cut short"),
        (wire.insert([b"1", None]), "where Relation said 3"),
        (wire.insert([b"1", "b", None]), "none of n, u, t"),
        (wire.insert([b"1", None, None], oid=9), "no Relation message"),
        (wire.insert([b"1", None, None]) + b"x", "left over"),
        (wire.begin(), "has not ended"),
        (wire.commit(0x1), "final LSN"),
        (wire.truncate(9), "no Relation message"),
    ],
)
def test_a_malformed_message_is_named(data: bytes, words: str) -> None:
    decoder = defined()
    decoder.decode(wire.begin(), [])
    with pytest.raises(MalformedMessage, match=words):
        decoder.decode(data, [])


@pytest.mark.parametrize(
    "data",
    [wire.insert([b"1", None, None]), wire.commit(), wire.origin(), wire.truncate(1), wire.message("p", b"", True)],
)
def test_what_belongs_to_a_transaction_needs_one(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        defined().decode(data, [])


EVERY = [
    wire.insert([b"1", b"t", b"text"]),
    wire.update([b"1", b"t", "u"], [b"1", b"f", b"old"], b"O"),
    wire.delete([b"1", None, None]),
    wire.truncate(1, 2),
    wire.message("prefix", b"content", True),
    wire.origin(),
    wire.commit(),
    wire.relation(COLUMNS),
    wire.type_name(),
]


@pytest.mark.parametrize("data", EVERY, ids=lambda data: chr(data[25]))
def test_S12_every_cut_is_an_error(data: bytes) -> None:
    for size in range(len(data)):
        decoder = defined()
        decoder.decode(wire.begin(), [])
        with pytest.raises(MalformedMessage):
            decoder.decode(data[:size], [])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVERY), st.integers(25, 80), st.integers(0, 255))
def test_S12_a_flipped_byte_is_an_error_or_another_value(data: bytes, at: int, value: int) -> None:
    spoilt = bytearray(data)
    spoilt[min(at, len(data) - 1)] = value
    decoder = defined()
    decoder.decode(wire.begin(), [])
    with suppress(CdcError):
        decoder.decode(bytes(spoilt), [])


def test_a_value_that_does_not_fit_its_type_names_the_column_and_not_the_value() -> None:
    with pytest.raises(CdcError, match=r"public\.t, column ok") as caught:
        decode(wire.begin(), wire.insert([b"1", b"canary", None]))
    assert "canary" not in str(caught.value)
