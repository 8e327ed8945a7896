"""Pure: a history, the records and the samples in; violations out. Each names the invariant of design.md §5 that it breaks."""

from __future__ import annotations

import re
import sys
from base64 import b64decode
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema
import orjson

from tests.oracle.history import Delivered, Expected, History, Row, Sample, lsn

SCHEMA = Path(__file__).parents[2] / "config" / "schema" / "envelope.schema.json"
CLOCKS = ("ts_ms", "ts_us", "ts_ns")
_ID = re.compile(r"[^:]+:\d+:(?P<lsn>[0-9A-F]+/[0-9A-F]+):(?P<ordinal>\d+)(?::(?P<half>[dc]))?")
_MESSAGE_ID = re.compile(r"[^:]+:\d+:m:(?P<lsn>[0-9A-F]+/[0-9A-F]+)")
_MOST_TOLD = 20

Order = tuple[int, int, int]  # commit position, ordinal, and within a row: delete, its tombstone, create


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


@dataclass(slots=True)
class Verdict:
    """`lost` and `duplicates` count events; a duplicate is no violation by itself.

    `repeated_messages` are those of the duplicates that are messages: outside a transaction one moves no position (P14), so that
    one which nothing follows comes again at each start.
    """

    violations: list[Violation] = field(default_factory=list)
    events: int = 0
    lost: int = 0
    duplicates: int = 0
    repeated_messages: int = 0
    gaps: list[dict[str, Any]] = field(default_factory=list)

    def broken(self) -> set[str]:
        return {violation.invariant for violation in self.violations}

    def __str__(self) -> str:
        told = "\n".join(f"  {violation}" for violation in self.violations[:_MOST_TOLD])
        more = len(self.violations) - _MOST_TOLD
        head = (
            f"{self.events} events, {self.lost} lost, {self.duplicates} duplicates, {len(self.violations)} violations"
        )
        return head + (f"\n{told}" if told else "") + (f"\n  and {more} more" if more > 0 else "")


@dataclass(slots=True)
class _Seen:
    """A record understood. `document` is None for a tombstone, which carries the order of its delete."""

    record: Delivered
    order: Order
    id: str
    op: str
    table: str
    key: str | None
    document: dict[str, Any] | None


def check(
    history: History,
    records: Sequence[Delivered],
    final: Mapping[str, Sequence[Row]],
    samples: Sequence[Sample] = (),
    *,
    complete: bool = True,
) -> Verdict:
    """Judge one run. `final` holds the source's rows at the end, by table, with the columns to compare.

    `complete` False: the end of the stream may still be missing (after a halt), so that only what was delivered is judged.
    """
    return _Check(history, records, final, samples, complete).judge()


def check_halted(before: Mapping[str, int], after: Mapping[str, int]) -> list[Violation]:
    """I9: between two looks at the ends of all places nothing may have been added."""
    grown = [place for place, end in after.items() if end > before.get(place, 0)]
    return [Violation("I9", f"something was sent to {place} after the halt") for place in sorted(grown)]


class _Check:
    def __init__(
        self,
        history: History,
        records: Sequence[Delivered],
        final: Mapping[str, Sequence[Row]],
        samples: Sequence[Sample],
        complete: bool,
    ) -> None:
        self._history = history
        self._records = records
        self._final = final
        self._samples = [sample for sample in samples if sample.checkpoint is not None]
        self._all_samples = samples
        self._complete = complete
        self._verdict = Verdict()
        self._events: list[_Seen] = []
        self._messages: dict[str, Expected] = {}

    def judge(self) -> Verdict:
        self._read()
        self._same_id_same_value()
        self._everything_delivered()
        self._order_of_keys()
        if self._complete:
            self._final_rows()
        self._positions()
        self._repeats()
        return self._verdict

    def _violated(self, invariant: str, text: str) -> None:
        self._verdict.violations.append(Violation(invariant, text))

    # -- reading ---------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        last: dict[tuple[str, bytes | None], _Seen] = {}
        validate = validator()
        for record in self._records:
            if record.value is None:
                self._tombstone(record, last.get((record.place, record.key)))
                last.pop((record.place, record.key), None)
                continue
            try:
                document = orjson.loads(record.value)
                validate(document)
            except (orjson.JSONDecodeError, fastjsonschema.JsonSchemaValueException) as why:
                self._violated("schema", f"{record.place} offset {record.offset}: {why}")
                continue
            if document["op"] == "gap":
                self._verdict.gaps.append(document)
            elif document["op"] == "m":
                self._message(document)
            else:
                self._change(record, document, last)
        for seen in last.values():
            self._without_tombstone(seen)

    def _tombstone(self, record: Delivered, before: _Seen | None) -> None:
        if before is None or before.op != "d":
            self._violated(
                "I2", f"{record.place} offset {record.offset}: a tombstone that follows no delete of its key"
            )
            return
        position, ordinal, _ = before.order
        self._events.append(
            _Seen(record, (position, ordinal, 1), before.id + ":tombstone", "", before.table, before.key, None)
        )

    def _without_tombstone(self, seen: _Seen) -> None:
        if seen.op == "d" and seen.key is not None and self._complete:
            self._violated("I2", f"{seen.table} {seen.key}: its last delete has no tombstone")

    def _message(self, document: dict[str, Any]) -> None:
        found = _MESSAGE_ID.fullmatch(document["id"])
        if found is None:
            self._violated("I6", f"a message's id cannot be read: {document['id']}")
            return
        self._verdict.events += 1
        told = Expected("message", "m", document["message"]["prefix"], int(b64decode(document["message"]["content"])))
        if document["id"] in self._messages:
            self._verdict.duplicates += 1
            self._verdict.repeated_messages += 1
        if self._messages.setdefault(document["id"], told) != told:
            self._violated("I6", f"id {document['id']} stands for two messages")

    def _change(self, record: Delivered, document: dict[str, Any], last: dict[tuple[str, bytes | None], _Seen]) -> None:
        found = _ID.fullmatch(document["id"])
        if found is None:
            self._violated("I6", f"an id cannot be read: {document['id']}")
            return
        self._verdict.events += 1
        source = document["source"]
        key = None if record.key is None else orjson.dumps(orjson.loads(record.key)).decode()
        half = 2 if found["half"] == "c" else 0
        _share(document)
        order = (lsn(found["lsn"]), int(found["ordinal"]), half)
        table = f"{source['schema']}.{source['table']}"
        seen = _Seen(record, order, document["id"], document["op"], table, key, document)
        self._events.append(seen)
        if record.key is not None:
            before = last.get((record.place, record.key))
            if before is not None and before.op == "d" and order > before.order:
                self._violated("I2", f"{table} {key}: a delete whose tombstone does not follow it")
            last[record.place, record.key] = seen

    # -- I6, I1 ----------------------------------------------------------------------------------------------------------

    def _same_id_same_value(self) -> None:
        values: dict[str, dict[str, Any]] = {}
        for seen in self._events:
            if seen.document is None:
                continue
            bare = {name: value for name, value in seen.document.items() if name not in CLOCKS}
            known = values.setdefault(seen.id, bare)
            if known is not bare and known != bare:
                self._violated("I6", f"id {seen.id} came with two values")

    def _everything_delivered(self) -> None:
        delivered: dict[str, tuple[Order, Expected]] = {}
        for seen in self._events:
            if seen.document is not None:
                after = seen.document["after"] or {}
                version = after.get("version") if seen.op in ("c", "u") else None
                delivered[seen.id] = (seen.order, Expected(seen.table, seen.op, seen.key, version))
        expected = list(self._history.expected())
        ordered = [told for _, told in sorted(delivered.values(), key=lambda item: item[0])]
        changes = [one for one in expected if one.op != "m"]
        messages = [one for one in expected if one.op == "m"]
        self._compare(changes, ordered, in_order=True)
        self._compare(messages, list(self._messages.values()), in_order=False)
        self._values()

    def _compare(self, expected: list[Expected], delivered: list[Expected], *, in_order: bool) -> None:
        wanted, found = Counter(expected), Counter(delivered)
        if self._complete:
            for one, count in (wanted - found).items():
                self._verdict.lost += count
                self._violated("I1", f"lost: {one}" + (f" ({count} times)" if count > 1 else ""))
        surplus = found - wanted
        for one, count in surplus.items():
            if one not in self._history.unsure:
                self._violated("I1", f"delivered and never committed: {one}" + (f" ({count} ids)" if count > 1 else ""))
        if in_order and not surplus and delivered != (expected if self._complete else expected[: len(delivered)]):
            at = next((i for i, pair in enumerate(zip(expected, delivered, strict=False)) if pair[0] != pair[1]), None)
            if at is not None and not (wanted - found):
                self._violated("I2", f"commit order: expected {expected[at]}, the ids say {delivered[at]}")

    def _values(self) -> None:
        """Each new row as the server returned it to the writer, but for what the log did not carry."""
        rows = self._history.rows()
        for seen in self._events:
            after = seen.document["after"] if seen.document else None
            if after is None:
                continue
            assert seen.document is not None
            wanted = rows.get(after.get("version"))
            missing = set(seen.document.get("unchanged", ()))
            if wanted is not None and {n: v for n, v in wanted.items() if n not in missing} != after:
                names = sorted(n for n in {*wanted, *after} - missing if wanted.get(n) != after.get(n))
                self._violated("I3", f"{seen.table} version {after['version']}: columns {', '.join(names)} differ")

    # -- I2 --------------------------------------------------------------------------------------------------------------

    def _order_of_keys(self) -> None:
        """Within a key (and its table's truncates) a step goes to the next event or back; going back begins a whole replay."""
        streams: dict[tuple[str, str, str | None], list[_Seen]] = defaultdict(list)
        truncates: dict[tuple[str, str], list[_Seen]] = defaultdict(list)
        homes: dict[tuple[str, str], str] = {}
        for seen in self._events:
            place = seen.record.place
            if seen.op == "t":
                truncates[place, seen.table].append(seen)
                continue
            streams[place, seen.table, seen.key].append(seen)
            if seen.key is not None and homes.setdefault((seen.table, seen.key), place) != place:
                self._violated("I2", f"{seen.table} {seen.key}: came from two partitions")
        for (place, table, key), stream in streams.items():
            whole = sorted([*stream, *truncates.get((place, table), ())], key=lambda seen: seen.record.offset)
            self._walk(f"{table} {key or 'without key'}", [seen.order for seen in whole])

    def _walk(self, name: str, steps: list[Order]) -> None:
        place = {order: number for number, order in enumerate(sorted(set(steps)))}
        at = -1
        for order in steps:
            if place[order] > at + 1:
                self._violated("I2", f"{name}: {_told(order)} came before what precedes it")
                return
            at = place[order]
        if at != len(place) - 1 and self._complete:
            self._violated("I2", f"{name}: the last replay ends at {_told(steps[-1])}, before the newest event")

    # -- I3 --------------------------------------------------------------------------------------------------------------

    def _final_rows(self) -> None:
        state = replay(self._events)
        for table, rows in self._final.items():
            found = Counter(_bare(row, rows) for row in state.get(table, {}).values())
            wanted = Counter(_bare(row, rows) for row in rows)
            for kind, difference in (("is missing", wanted - found), ("should not be there", found - wanted)):
                for row, count in list(difference.items())[:3]:
                    versions = dict(row).get("version", "?")
                    self._violated(
                        "I3", f"{table}: after replaying the topic a row of version {versions} {kind} ({count})"
                    )

    # -- I4, I5, I7 --------------------------------------------------------------------------------------------------------

    def _positions(self) -> None:
        newest: dict[str, int] = {}
        for sample in self._all_samples:
            if sample.confirmed is None:
                continue
            if sample.checkpoint is not None and sample.confirmed > sample.checkpoint:
                self._violated("I4", f"confirmed {sample.confirmed:X} is past the checkpoint {sample.checkpoint:X}")
            if sample.confirmed < newest.get(sample.incarnation, 0):
                self._violated("I5", f"confirmed went back to {sample.confirmed:X}")
            newest[sample.incarnation] = max(newest.get(sample.incarnation, 0), sample.confirmed)

    def _repeats(self) -> None:
        """What the checkpoint held must have been there already, and must not come again."""
        seen_before: set[tuple[str, str]] = set()
        ends = {
            place: [sample.ends.get(place, 0) for sample in self._samples]
            for place in {seen.record.place for seen in self._events}
        }
        for seen in self._events:
            place = seen.record.place
            again = (place, seen.id) in seen_before
            seen_before.add((place, seen.id))
            self._verdict.duplicates += again and seen.document is not None
            number = bisect_right(ends[place], seen.record.offset) - 1
            if number < 0 or not _held(self._samples[number], seen.order):
                continue
            if again:
                self._violated("I7", f"{seen.id} came again though the checkpoint held it")
            else:
                self._violated("I4", f"the checkpoint was past {seen.id} before it was delivered")


def _share(document: dict[str, Any]) -> None:
    """One copy of each large value: a long run has hundreds of thousands of rows."""
    row = document["after"] or {}
    for name, value in row.items():
        if isinstance(value, str) and len(value) > 200:
            row[name] = sys.intern(value)


def _held(sample: Sample, order: Order) -> bool:
    position, ordinal, _ = order
    assert sample.checkpoint is not None
    if position < sample.checkpoint:
        return True
    return sample.unfinished is not None and sample.unfinished[0] == position and ordinal < sample.unfinished[1]


def replay(events: Iterable[_Seen]) -> dict[str, dict[tuple[str, str], dict[str, Any]]]:
    """What a consumer's tables hold: upserts by key; rows of keyless tables once for each event id, so that repeats change nothing."""
    tables: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
    homes: dict[tuple[str, tuple[str, str]], str] = {}
    done: set[tuple[str, str]] = set()
    for seen in events:
        rows, place = tables[seen.table], seen.record.place
        name = ("id", seen.id) if seen.key is None else ("key", seen.key)
        again = (place, seen.id) in done
        done.add((place, seen.id))
        if seen.op == "t":
            for one in [one for one in rows if homes[seen.table, one] == place]:
                if one[0] == "key" or not again:
                    del rows[one]
        elif seen.document is None or seen.op == "d":
            rows.pop(name, None)
        elif seen.key is not None or not again:
            known = rows.get(name, {})
            kept = {column: known[column] for column in seen.document.get("unchanged", ()) if column in known}
            rows[name] = {**seen.document["after"], **kept}
            homes[seen.table, name] = place
    return tables


def _bare(row: Row, pattern: Sequence[Row]) -> tuple[tuple[str, Any], ...]:
    """The columns that the source's rows have; one that the topic never carried is NULL."""
    names = pattern[0].keys() if pattern else row.keys()
    return tuple((name, row.get(name)) for name in sorted(names))


def _told(order: Order) -> str:
    return f"{order[0] >> 32:X}/{order[0] & 0xFFFFFFFF:X}:{order[1]}"


@cache
def validator() -> Callable[[Any], Any]:
    """The envelope's JSON Schema, compiled."""
    compiled: Callable[[Any], Any] = fastjsonschema.compile(orjson.loads(SCHEMA.read_bytes()))
    return compiled
