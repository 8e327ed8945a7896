"""Events to records: the envelope byte for byte, keys, key changes, numbering and what a resume suppresses."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from cdc.encode.envelope import EncoderOptions, EnvelopeEncoder
from cdc.errors import CdcError, DataError, SettingsError
from cdc.model.checkpoint import Unfinished
from cdc.model.event import Change, Gap, LogicalMessage, Transaction, Truncate
from cdc.model.record import Record
from cdc.model.row import UNCHANGED, Cell, Row, pack_row
from cdc.model.source_block import Constant, Fact, Slot, SourceLayout, Text
from cdc.model.types import Column, LogicalType, TableVersion

LAYOUT = SourceLayout(
    "shop:1",
    (
        ("name", Slot.NAME),
        ("ts_ms", Slot.COMMIT_MS),
        ("sequence", Text(("[", Fact(1), ',"', Slot.OFFSET, '"]'))),
        ("table", Slot.TABLE),
        ("txId", Fact(0)),
        ("lsn", Slot.OFFSET),
        ("xmin", Constant(None)),
        ("schema_version", Slot.SCHEMA_VERSION),
    ),
)
TYPES = {
    "id": LogicalType.INT64,
    "price": LogicalType.DECIMAL,
    "note": LogicalType.TEXT,
    "blob": LogicalType.BYTES,
    "f": LogicalType.FLOAT64,
}


def make_table(*names: str, key: tuple[int, ...] = (0,), name: str = "orders", version: int = 1) -> TableVersion:
    columns = tuple(Column(each, TYPES.get(each, LogicalType.TEXT), "text", 25) for each in names)
    return TableVersion("public", name, columns, key, "d", version, "")


ORDERS = make_table("id", "price", "note")


def transaction(position: str = "0/10", last: int | None = 5) -> Transaction:
    return Transaction(f"7:{position}", position, 1_700_000_000_123_456, (7, last))


def row(*cells: Cell) -> Row:
    return pack_row(list(cells))


def change(
    op: str, before: Row | None, after: Row | None, tx: Transaction, ordinal: int = 0, table: TableVersion = ORDERS
) -> Change:
    return Change(op, table, before, after, tx, ordinal, 1000 + ordinal)


def encode(*events: Any, unfinished: Unfinished | None = None, **options: Any) -> list[Record]:
    encoder = EnvelopeEncoder(EncoderOptions(name="shop", **options), LAYOUT)
    encoder.resume(unfinished)
    return encoder.encode(events)


def values(records: list[Record]) -> list[Any]:
    return [None if record.value is None else json.loads(record.value) for record in records]


def test_the_whole_envelope() -> None:
    (record,) = encode(change("c", None, row(b"1", b"9.90", 'é "q"\n'.encode()), transaction()))
    (value,) = values([record])
    assert list(value) == ["before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns", "id", "v"]
    assert value["after"] == {"id": 1, "price": "9.90", "note": 'é "q"\n'}
    assert value["source"] == {
        "name": "shop",
        "ts_ms": 1_700_000_000_123,
        "sequence": '["5","1000"]',
        "table": "orders",
        "txId": 7,
        "lsn": 1000,
        "xmin": None,
        "schema_version": 1,
    }
    assert value["transaction"] == {"id": "7:0/10", "total_order": 1, "data_collection_order": 1}
    assert (value["id"], value["v"], value["before"], value["op"]) == ("shop:1:0/10:0", 1, None, "c")
    assert (record.topic, record.key, record.ordering_key) == ("shop.public.orders", b'{"id":1}', b'{"id":1}')


def test_a_missing_last_commit_is_null_in_the_sequence() -> None:
    (value,) = values(encode(change("c", None, row(b"1", None, None), transaction(last=None))))
    assert value["source"]["sequence"] == '[null,"1000"]'


def test_forms_of_values() -> None:
    table = make_table("id", "blob", "f")
    tx = transaction()
    found = values(
        encode(
            *(
                change("c", None, row(b"1", b"\x00\xff", f), tx, i, table)
                for i, f in enumerate([b"1.5", b"NaN", b"-Infinity", b"1e-45"])
            )
        )
    )
    assert [value["after"]["f"] for value in found] == [1.5, "NaN", "-Infinity", 1e-45]
    assert found[0]["after"]["blob"] == "AP8="


def test_unchanged_cells_are_absent_and_named() -> None:
    (value,) = values(encode(change("u", None, row(b"1", UNCHANGED, b"x"), transaction())))
    assert value["after"] == {"id": 1, "note": "x"}
    assert value["unchanged"] == ["price"]


def test_a_delete_is_followed_by_its_tombstone() -> None:
    event = change("d", row(b"1", UNCHANGED, UNCHANGED), None, transaction())
    records = encode(event)
    assert [(record.key, record.value is None) for record in records] == [(b'{"id":1}', False), (b'{"id":1}', True)]
    assert values(records)[0]["before"] == {"id": 1}
    assert len(encode(event, tombstones=False)) == 1


def test_K10_a_changed_key_is_three_records_that_stand_together() -> None:
    tx = transaction()
    records = encode(
        change("u", row(b"1", UNCHANGED, UNCHANGED), row(b"2", b"3", b"n"), tx, 4),
        change("c", None, row(b"9", None, None), tx, 5),
    )
    assert [record.key for record in records] == [b'{"id":1}', b'{"id":1}', b'{"id":2}', b'{"id":9}']
    gone, tombstone, made, after = values(records)
    assert tombstone is None
    assert (gone["op"], gone["id"], made["op"], made["id"]) == ("d", "shop:1:0/10:4:d", "c", "shop:1:0/10:4:c")
    assert [each["transaction"]["total_order"] for each in (gone, made, after)] == [1, 2, 3]


def test_an_old_key_that_did_not_change_is_an_update() -> None:
    (record,) = encode(change("u", row(b"1", b"2", b"x"), row(b"1", b"3", b"x"), transaction()))
    assert values([record])[0]["op"] == "u"


def test_a_key_change_with_unchanged_cells_may_halt() -> None:
    event = change("u", row(b"1", UNCHANGED, UNCHANGED), row(b"2", UNCHANGED, b"n"), transaction())
    assert len(encode(event)) == 3
    with pytest.raises(DataError, match="did not carry all") as caught:
        encode(event, halt_on_unchanged_key_change=True)
    assert "REPLICA IDENTITY FULL" in caught.value.action
    assert caught.value.exit_code == 4


def test_an_event_whose_key_the_log_did_not_carry_halts() -> None:
    with pytest.raises(CdcError, match="whole key"):
        encode(change("u", None, row(UNCHANGED, b"1", b"x"), transaction()))


def test_keyless_tables_have_a_null_key_and_no_tombstone() -> None:
    table = make_table("id", "note", key=())
    (record,) = encode(change("d", row(b"1", b"x"), None, transaction(), 0, table))
    assert (record.key, record.ordering_key) == (None, b"public.orders")


def test_a_chosen_key() -> None:
    (record,) = encode(change("c", None, row(b"1", b"2", b"n"), transaction()), keys={"public.orders": ("note", "id")})
    assert record.key == b'{"note":"n","id":1}'


def test_truncate_is_broadcast_single_or_off() -> None:
    event = Truncate(ORDERS, transaction(), 0, 1)
    (record,) = encode(event)
    assert record.broadcast and record.key is None
    assert values([record])[0]["op"] == "t"
    assert not encode(event, truncate="single")[0].broadcast
    assert encode(event, truncate="off") == []


def test_messages_in_and_outside_a_transaction() -> None:
    tx = transaction()
    inside, outside = encode(
        LogicalMessage("p", b"hello", tx, 17, "0/11"), LogicalMessage("p", b"\xff", None, 18, "0/12")
    )
    first, second = values([inside, outside])
    assert (inside.topic, inside.key) == ("shop.message", b'{"prefix":"p"}')
    assert first["message"] == {"prefix": "p", "content": "aGVsbG8="}
    assert first["transaction"]["total_order"] == 1
    assert first["id"] == "shop:1:m:0/11"
    assert second["transaction"] is None
    assert second["source"]["txId"] is None


def test_gap_record() -> None:
    (record,) = encode(Gap("0/1", "0/9", "slot-missing: gone"))
    assert record.topic == "shop.gap"
    assert values([record])[0]["gap"] == {"from": "0/1", "to": "0/9", "reason": "slot-missing: gone"}


def test_I6_a_resume_inside_a_transaction_gives_the_same_records_from_there_on() -> None:
    def events() -> list[Any]:
        tx = transaction()
        return [
            change("c", None, row(b"1", None, None), tx, 0),
            LogicalMessage("p", b"m", tx, 3, "0/3"),
            change("u", row(b"1", UNCHANGED, UNCHANGED), row(b"2", None, None), tx, 1),
            change("c", None, row(b"3", None, None), tx, 2),
            change("d", row(b"3", UNCHANGED, UNCHANGED), None, tx, 3),
        ]

    whole = values(encode(*events()))
    rest = values(encode(*events(), unfinished=Unfinished("0/10", 2, 1)))
    assert strip(rest) == strip(whole[-3:])
    assert strip(values(encode(*events(), unfinished=Unfinished("0/99", 2, 1)))) == strip(whole)


def strip(found: list[Any]) -> list[Any]:
    return [value and {name: each for name, each in value.items() if not name.startswith("ts_")} for value in found]


def test_tables_of_before_a_rewind_are_forgotten() -> None:
    encoder = EnvelopeEncoder(EncoderOptions("t"), LAYOUT)
    told = transaction()
    tables = [make_table("id") for _ in range(3)]
    for table in tables:
        encoder.resume(None)
        encoder.encode([change("c", None, row(b"1"), told, table=table)])
    before = [weakref.ref(table) for table in tables]
    encoder.resume(None)
    del tables, table
    gc.collect()
    assert [each() for each in before] == [None] * 3


def test_S15_two_tables_on_one_topic_are_an_error() -> None:
    tx = transaction()
    with pytest.raises(SettingsError, match="would both go to topic"):
        encode(
            change("c", None, row(b"1"), tx, 0, make_table("id", name="a b")),
            change("c", None, row(b"1"), tx, 1, make_table("id", name="a_b")),
        )


def test_K12_headers_when_asked_for() -> None:
    (record,) = encode(
        change("c", None, row(b"1", None, None), transaction()),
        headers=("id", "op", "table", "v", "schema-version", "content-type"),
    )
    assert record.headers == [
        ("cdc-id", b"shop:1:0/10:0"),
        ("cdc-op", b"c"),
        ("cdc-table", b"public.orders"),
        ("cdc-v", b"1"),
        ("cdc-schema-version", b"1"),
        ("content-type", b"application/json"),
    ]


def test_two_versions_of_a_table_share_one_count() -> None:
    tx = transaction()
    later = make_table("id", "price", "note", "extra", version=2)
    found = values(
        encode(
            change("c", None, row(b"1", None, None), tx, 0),
            change("c", None, row(b"2", None, None, None), tx, 1, later),
        )
    )
    assert [value["transaction"]["data_collection_order"] for value in found] == [1, 2]
    assert [value["source"]["schema_version"] for value in found] == [1, 2]
