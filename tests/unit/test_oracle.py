"""The judge must see each violation: a history that is right passes, and each way of spoiling it is named."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.oracle.checker import Verdict, check, check_halted, validator
from tests.oracle.history import Change, Delivered, Expected, History, Row, Sample
from tests.oracle.workload import KEYED, LOOSE, WIDE

PLACE = f"n.{KEYED}/0"


def key(number: int) -> str:
    return orjson.dumps({"id": number}).decode()


def row(number: int, version: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "version": version, **more}


def envelope(
    position: int, ordinal: int, op: str, table: str = KEYED, after: Row | None = None, half: str = "", **more: Any
) -> dict[str, Any]:
    schema, name = table.split(".")
    source = {
        "version": "0", "connector": "postgresql", "name": "n", "ts_ms": 1, "snapshot": "false", "db": "d",
        "sequence": '[null,"1"]', "ts_us": 1, "ts_ns": 1, "schema": schema, "table": name, "txId": 1, "lsn": 1,
        "xmin": None, "origin": None, "origin_lsn": None, "schema_version": 1,
    }  # fmt: skip
    transaction = {"id": f"1:{position}", "total_order": 1, "data_collection_order": 1}
    before = {"id": 1} if op == "d" else None
    clocks = {"ts_ms": 1, "ts_us": 1, "ts_ns": 1}
    return {
        "before": before, "after": after, "source": source, "transaction": transaction, "op": op, **clocks,
        "id": f"n:7:0/{position:X}:{ordinal}{half}", "v": 1, **more,
    }  # fmt: skip


class Log:
    """A topic by hand. `records` is written in any order, offsets are given at the end."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str | None, dict[str, Any] | None]] = []

    def add(self, number: int | None, document: dict[str, Any] | None, place: str = PLACE) -> None:
        self.sent.append((place, None if number is None else key(number), document))

    def records(self) -> list[Delivered]:
        ends: dict[str, int] = {}
        found = []
        for place, text, document in self.sent:
            offset = ends.setdefault(place, 0)
            ends[place] += 1
            value = None if document is None else orjson.dumps(document)
            found.append(Delivered(place, offset, place.partition("/")[0], text.encode() if text else None, value))
        return sorted(found, key=lambda one: (one.place, one.offset))


def history() -> History:
    """Two rows; one is updated, changes its key and goes; one more comes; at last a truncate of the keyless table and a row in it."""
    return History(
        [
            [Change(KEYED, "c", key(1), 1, row(1, 1)), Change(KEYED, "c", key(2), 2, row(2, 2))],
            [Change(KEYED, "u", key(1), 3, row(1, 3))],
            [Change(KEYED, "k", key(5), 4, row(5, 4), key(1))],
            [Change(KEYED, "d", key(5), None, None, key(5)), Change(KEYED, "c", key(6), 5, row(6, 5))],
            [Change(LOOSE, "c", None, 6, {"version": 6}), Change(LOOSE, "t", None, None)],
            [Change(LOOSE, "c", None, 7, {"version": 7})],
        ]
    )


def log() -> Log:
    found, loose = Log(), f"n.{LOOSE}/0"
    found.add(1, envelope(0x10, 0, "c", after=row(1, 1)))
    found.add(2, envelope(0x10, 1, "c", after=row(2, 2)))
    found.add(1, envelope(0x20, 0, "u", after=row(1, 3)))
    found.add(1, envelope(0x30, 0, "d", half=":d"))
    found.add(1, None)
    found.add(5, envelope(0x30, 0, "c", after=row(5, 4), half=":c"))
    found.add(5, envelope(0x40, 0, "d"))
    found.add(5, None)
    found.add(6, envelope(0x40, 1, "c", after=row(6, 5)))
    found.add(None, envelope(0x50, 0, "c", LOOSE, {"version": 6}), loose)
    found.add(None, envelope(0x50, 1, "t", LOOSE), loose)
    found.add(None, envelope(0x60, 0, "c", LOOSE, {"version": 7}), loose)
    return found


FINAL: dict[str, list[Row]] = {KEYED: [row(2, 2), row(6, 5)], LOOSE: [{"version": 7}]}


def judged(log: Log, samples: tuple[Sample, ...] = (), final: dict[str, list[Row]] | None = None) -> Verdict:
    return check(history(), log.records(), FINAL if final is None else final, samples)


def test_a_whole_history_passes() -> None:
    verdict = judged(log())
    assert verdict.violations == []
    assert (verdict.events, verdict.lost, verdict.duplicates) == (10, 0, 0)


@pytest.mark.parametrize("start", range(9))
def test_a_whole_replay_of_any_suffix_passes_and_is_counted(start: int) -> None:
    spoiled = log()
    keyed = [item for item in spoiled.sent if item[0] == PLACE]
    spoiled.sent += copy.deepcopy(keyed[start:])
    if keyed[start][2] is None:  # a replay begins with a row, and a tombstone belongs to its row
        assert "I2" in judged(spoiled).broken()
        return
    verdict = judged(spoiled)
    assert verdict.violations == []
    assert verdict.duplicates == sum(document is not None for _, _, document in keyed[start:])


def drop(at: int) -> Callable[[Log], None]:
    return lambda log: log.sent.__delitem__(at)


def swap(one: int, other: int) -> Callable[[Log], None]:
    def act(log: Log) -> None:
        log.sent[one], log.sent[other] = log.sent[other], log.sent[one]

    return act


def repeat(at: int, **changed: Any) -> Callable[[Log], None]:
    def act(log: Log) -> None:
        place, text, document = copy.deepcopy(log.sent[at])
        assert document is not None
        log.sent.append((place, text, {**document, **changed}))

    return act


def alter(at: int, **changed: Any) -> Callable[[Log], None]:
    def act(log: Log) -> None:
        document = log.sent[at][2]
        assert document is not None
        document.update(changed)

    return act


def elsewhere(log: Log) -> None:
    _, text, document = log.sent[2]
    log.sent[2] = (f"n.{KEYED}/1", text, document)


def never_committed(log: Log) -> None:
    log.add(9, envelope(0x70, 0, "c", after=row(9, 99)))


SPOILED = {
    "I1 an event is lost": (drop(1), "I1"),
    "I1 the last event is lost": (drop(11), "I1"),
    "I1 a delete is lost with its tombstone": (lambda log: log.sent.__delitem__(slice(6, 8)), "I1"),
    "I1 what was never committed is delivered": (never_committed, "I1"),
    "I1 one change comes under two ids": (repeat(8, id="n:7:0/70:0"), "I1"),
    "I2 a key's events change places": (swap(0, 2), "I2"),
    "I2 a replay leaves an event out": (repeat(0), "I2"),
    "I2 a tombstone is missing": (drop(4), "I2"),
    "I2 a tombstone precedes its delete": (swap(3, 4), "I2"),
    "I2 a key comes from two partitions": (elsewhere, "I2"),
    "I2 the ids contradict the commit order": (alter(8, id="n:7:0/21:0"), "I2"),
    "I3 a value is not what was written": (alter(8, after=row(6, 5, name="?")), "I3"),
    "I6 an id has two values": (repeat(8, after=row(6, 5, name="?")), "I6"),
    "I6 an id cannot be read": (alter(8, id="n:7:g:0/40"), "schema"),
    "schema a field is missing": (lambda log: log.sent[0][2].pop("op") and None, "schema"),
    "schema an operation is unknown": (alter(0, op="x"), "schema"),
    "schema a create has a row before": (alter(0, before={"id": 1}), "schema"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_log_is_reported(name: str) -> None:
    spoil, invariant = SPOILED[name]
    spoiled = log()
    spoil(spoiled)
    assert invariant in judged(spoiled).broken(), judged(spoiled)


def test_lost_events_are_counted() -> None:
    spoiled = log()
    del spoiled.sent[-2:]
    assert judged(spoiled).lost == 2


def test_a_stale_row_after_a_replay_that_stops_half_way() -> None:
    """Every event is there, the last one of a row too, and yet a reader ends with an older row."""
    spoiled = log()
    spoiled.sent += copy.deepcopy([item for item in spoiled.sent if item[0] == PLACE][:1])
    verdict = judged(spoiled)
    assert {"I2", "I3"} <= verdict.broken()
    assert verdict.lost == 0


@pytest.mark.parametrize(
    "final",
    [
        {KEYED: [row(2, 2), row(6, 5), row(8, 8)]},
        {KEYED: [row(2, 2)]},
        {KEYED: [row(2, 2), row(6, 9)]},
        {LOOSE: []},
        {LOOSE: [{"version": 7}, {"version": 7}]},
    ],
)
def test_final_rows_that_differ_are_reported(final: dict[str, list[Row]]) -> None:
    assert judged(log(), final=final).broken() == {"I3"}


def test_unchanged_columns_keep_their_old_values() -> None:
    committed = History(
        [
            [Change(WIDE, "c", key(1), 1, row(1, 1, big="B", small="s"))],
            [Change(WIDE, "u", key(1), 2, row(1, 2, big="B", small="t"))],
        ]
    )
    told = Log()
    told.add(1, envelope(0x10, 0, "c", WIDE, row(1, 1, big="B", small="s")))
    told.add(1, envelope(0x20, 0, "u", WIDE, row(1, 2, small="t"), unchanged=["big"]))
    final: dict[str, list[Row]] = {WIDE: [row(1, 2, big="B", small="t")]}
    assert check(committed, told.records(), final).violations == []
    final = {WIDE: [row(1, 2, big="C", small="t")]}
    assert check(committed, told.records(), final).broken() == {"I3"}
    told.sent[1][2]["after"]["big"] = None  # type: ignore[index]  # a null where the log carried nothing
    assert "I3" in check(committed, told.records(), final).broken()


def test_a_truncate_empties_its_own_partition_only() -> None:
    committed = History(
        [
            [Change(KEYED, "c", key(1), 1, row(1, 1)), Change(KEYED, "c", key(2), 2, row(2, 2))],
            [Change(KEYED, "t", None, None)],
        ]
    )
    told = Log()
    told.add(1, envelope(0x10, 0, "c", after=row(1, 1)))
    told.add(2, envelope(0x10, 1, "c", after=row(2, 2)), f"n.{KEYED}/1")
    told.add(None, envelope(0x20, 0, "t"))
    assert check(committed, told.records(), {KEYED: []}).broken() == {"I3"}  # one copy did not come
    told.add(None, envelope(0x20, 0, "t"), f"n.{KEYED}/1")
    verdict = check(committed, told.records(), {KEYED: []})
    assert verdict.violations == []
    assert verdict.duplicates == 0


SAMPLE = Sample("first", 0x20, 0x25, None, {PLACE: 3})


@pytest.mark.parametrize(
    ("samples", "invariant"),
    [
        ((SAMPLE, replace(SAMPLE, confirmed=0x26)), "I4"),  # confirmed past the checkpoint
        ((replace(SAMPLE, ends={PLACE: 2}),), "I4"),  # the checkpoint past what is delivered
        ((replace(SAMPLE, ends={}),), "I4"),
        ((replace(SAMPLE, unfinished=(0x30, 1)),), "I4"),  # half of a transaction said to be there
        ((SAMPLE, replace(SAMPLE, confirmed=0x1F)), "I5"),
    ],
)
def test_positions_that_run_ahead_or_back(samples: tuple[Sample, ...], invariant: str) -> None:
    assert judged(log(), samples).broken() == {invariant}


def test_positions_that_are_right() -> None:
    before = replace(SAMPLE, confirmed=0x1F, checkpoint=None)
    crashed = replace(SAMPLE, confirmed=0x10, incarnation="second")  # a slot is saved at checkpoints only (P13)
    inside = replace(SAMPLE, checkpoint=0x31, unfinished=(0x40, 1), ends={PLACE: 8}, incarnation="second")
    assert judged(log(), (before, SAMPLE, crashed, inside)).violations == []


@pytest.mark.parametrize(("checkpoint", "unfinished"), [(0x41, None), (0x31, (0x40, 2))])
def test_what_the_checkpoint_holds_must_not_come_again(checkpoint: int, unfinished: tuple[int, int] | None) -> None:
    replayed = log()
    replayed.sent.append(copy.deepcopy(replayed.sent[8]))
    ends = {PLACE: 9, f"n.{LOOSE}/0": 3}
    sample = Sample("first", 0x20, checkpoint, unfinished, ends)
    assert judged(replayed, (sample,)).broken() == {"I7"}
    allowed = judged(replayed, (replace(sample, checkpoint=0x31, unfinished=None),))
    assert (allowed.violations, allowed.duplicates) == ([], 1)


def test_nothing_may_be_sent_after_a_halt() -> None:
    assert check_halted({PLACE: 3}, {PLACE: 3}) == []
    assert [violation.invariant for violation in check_halted({PLACE: 3}, {PLACE: 4, "new": 1})] == ["I9", "I9"]


def message(number: int, position: str) -> dict[str, Any]:
    content = base64.b64encode(str(number).encode()).decode()
    whole = envelope(0, 0, "m")
    clocks = {name: whole[name] for name in ("ts_ms", "ts_us", "ts_ns")}
    source = {**whole["source"], "schema": "", "table": "", "txId": None, "schema_version": None}
    told = {"prefix": "p", "content": content}
    return {
        "op": "m", **clocks, "source": source, "transaction": None, "message": told, "id": f"n:7:m:{position}", "v": 1,
    }  # fmt: skip


def test_messages_are_counted_and_those_outside_transactions_may_be_missing() -> None:
    wanted = History([[Change("message", "m", "p", 1)]], {Expected("message", "m", "p", 2)})
    told = Log()
    told.add(None, message(1, "0/10"))
    assert check(wanted, told.records(), {}).violations == []
    told.add(None, message(2, "0/18"))
    assert check(wanted, told.records(), {}).violations == []
    told.add(None, message(3, "0/20"))
    assert check(wanted, told.records(), {}).broken() == {"I1"}
    assert check(wanted, [], {}).broken() == {"I1"}
    told = Log()
    told.add(None, message(1, "0/10"))
    told.add(None, message(2, "0/10"))
    assert "I6" in check(wanted, told.records(), {}).broken()


def test_an_unfinished_run_is_judged_by_what_was_delivered() -> None:
    cut = log()
    del cut.sent[4:]
    assert check(history(), cut.records(), {}, complete=False).violations == []
    never_committed(cut)
    assert check(history(), cut.records(), {}, complete=False).broken() == {"I1"}


def test_the_schema_knows_each_kind() -> None:
    gap = {"op": "gap", "ts_ms": 1, "ts_us": 1, "ts_ns": 1, "id": "n:7:g:0/10", "v": 1}
    validator()({**gap, "gap": {"from": "0/10", "to": "unknown", "reason": "slot-missing"}})
    validator()(message(1, "0/10"))
    validator()({**envelope(0x10, 0, "c", after=row(1, 1)), "new field": 1})
