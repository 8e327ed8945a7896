# cython: annotation_typing=False
"""Events to records: the envelope, version 1, as JSON (docs/events.md). The hot path's last stage before the sink.

Everything that is the same for a table, a transaction or a batch is rendered once for it; a row writes its cells, its offset and its
numbers. A hot module: compiled where there is a compiler (see the sibling `.pxd`), and the same source interpreted elsewhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time_ns

from orjson import dumps

from cdc.encode.forms import FORMS
from cdc.encode.json_rows import append_row, append_value, unchanged_names
from cdc.encode.source_json import SourceTemplate
from cdc.encode.topics import TopicNames, topic_name
from cdc.errors import DataError
from cdc.model.checkpoint import Unfinished
from cdc.model.event import Change, Event, Gap, LogicalMessage, Transaction, Truncate
from cdc.model.record import Record
from cdc.model.row import Row
from cdc.model.source_block import SourceLayout
from cdc.model.types import TableVersion


class TablePlan:
    """What the encoder knows of one table version: chosen once, read for every row.

    `key` holds column indices in key order, `key_names` their `,"name":`. `source` is the template of the source block.
    """

    __slots__ = ("forms", "key", "key_names", "keyless", "names", "schema_version", "source", "table", "topic")

    def __init__(self, table: TableVersion, key: tuple[int, ...], topic: str, source: SourceTemplate) -> None:
        self.table = table
        self.names = [b"," + dumps(column.name) + b":" for column in table.columns]
        self.forms = bytes(FORMS[column.type] for column in table.columns)
        self.key = key
        self.key_names = [self.names[i] for i in key]
        self.topic = topic
        self.keyless = table.qualified_name.encode()
        self.source = source
        self.schema_version = str(table.version).encode()


class TableScope:
    """One table inside one transaction: the filled source block, and how many of its events there were."""

    __slots__ = ("count", "fragments", "plan")

    def __init__(self, plan: TablePlan, fragments: tuple[bytes, ...]) -> None:
        self.plan = plan
        self.fragments = fragments
        self.count = 0


@dataclass(frozen=True)
class EncoderOptions:
    """From the settings: what is emitted besides the change itself. Topics are templates; `keys` overrides a table's key columns."""

    name: str
    topic: str = "{name}.{schema}.{table}"
    message_topic: str = "{name}.message"
    gap_topic: str = "{name}.gap"
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tombstones: bool = True
    truncate: str = "broadcast"
    headers: tuple[str, ...] = ()
    halt_on_unchanged_key_change: bool = False


class EnvelopeEncoder:
    """Implements the `Encoder` port. `suppressed` counts rows that a checkpoint inside their transaction had already."""

    def __init__(self, options: EncoderOptions, layout: SourceLayout) -> None:
        self.options = options
        self.layout = layout
        self.suppressed = 0
        self.incomplete = 0  # key changes whose new row lacks unchanged cells: the topic alone cannot rebuild it
        self._topics = TopicNames(options.name, options.topic)
        self._plans: dict[TableVersion, TablePlan] = {}
        self._message_source = SourceTemplate(layout, options.name, None)
        self._id_prefix = b',"id":' + dumps(layout.event_source + ":")[:-1]
        self._headers = options.headers
        self._tombstones = options.tombstones
        self._unfinished: Unfinished | None = None
        self._times = b""
        self._forget()

    def resume(self, unfinished: Unfinished | None) -> None:
        """Begin anew; rows and messages that `unfinished` counts are numbered and not encoded."""
        self._unfinished = unfinished
        self._plans = {}  # a source that begins anew makes its tables anew
        self._forget()

    def _forget(self) -> None:
        self._transaction: Transaction | None = None
        self._scopes: dict[TableVersion, TableScope] = {}
        self._total = 0
        self._messages = 0
        self._skip_rows = 0
        self._skip_messages = 0
        self._id = b""
        self._middle = b""

    def encode(self, events: Sequence[Event]) -> list[Record]:
        """Records of a batch, in order. A changed key gives three that stand together."""
        records: list[Record] = []
        self._read_clock()
        for event in events:
            if type(event) is Change:
                self._change(event, records)
            elif type(event) is LogicalMessage:
                self._logical_message(event, records)
            elif type(event) is Truncate:
                self._truncate(event, records)
            elif type(event) is Gap:
                records.append(self._gap(event))
            else:
                raise TypeError(type(event).__name__)
        return records

    def _read_clock(self) -> None:
        now = time_ns()
        self._times = b'","ts_ms":%d,"ts_us":%d,"ts_ns":%d' % (now // 1_000_000, now // 1000, now)

    def _enter(self, transaction: Transaction) -> None:
        """A transaction begins for us: number its events from 1, and find out what of it is durable already."""
        self._transaction = transaction
        self._scopes = {}
        self._total = 0
        self._messages = 0
        self._id = self._id_prefix + transaction.position.encode() + b":"
        self._middle = b',"transaction":{"id":' + dumps(transaction.id) + b',"total_order":'
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None and unfinished.position == transaction.position:
            self._skip_rows = unfinished.ordinal
            self._skip_messages = unfinished.messages
        else:
            self._skip_rows = self._skip_messages = 0

    def _scope(self, table: TableVersion) -> TableScope:
        plan = self._plans.get(table)
        if plan is None:
            plan = self._plans[table] = self._make_plan(table)
        scope = self._scopes[table] = TableScope(plan, plan.source.fragments(self._transaction))
        for known in self._scopes.values():  # another version of the same table in one transaction: one count
            other = known.plan.table
            if known is not scope and other.name == table.name and other.schema == table.schema:
                scope.count = max(scope.count, known.count)
        return scope

    def _make_plan(self, table: TableVersion) -> TablePlan:
        chosen = self.options.keys.get(table.qualified_name)
        key = table.key
        if chosen is not None:
            key = tuple(_index(table, name) for name in chosen)
        return TablePlan(table, key, self._topics.of(table), SourceTemplate(self.layout, self.options.name, table))

    def _change(self, event: Change, records: list[Record]) -> None:
        transaction = event.transaction
        if transaction is not self._transaction:
            self._enter(transaction)
        scope = self._scopes.get(event.table)
        if scope is None:
            scope = self._scope(event.table)
        plan = scope.plan
        op = event.op
        before = event.before
        after = event.after
        old_key = None
        key = None
        if plan.key:
            key = self._key(plan, before if op == "d" else after)
            if op == "u" and before is not None:
                old_key = self._key_or_none(plan, before)
        if old_key is not None and key is not None and old_key != key:
            self._key_change(event, scope, old_key, key, records)
            return
        self._total += 1
        scope.count += 1
        if event.ordinal < self._skip_rows:
            self.suppressed += 1
            return
        value = self._envelope(event, scope, op, before, after, b"")
        headers = self._make_headers(event, op, plan, b"") if self._headers else None
        records.append(Record(plan.topic, key, value, plan.keyless if key is None else key, headers))
        if op == "d" and self._tombstones and key is not None:
            records.append(Record(plan.topic, key, None, key, headers))

    def _key_change(self, event: Change, scope: TableScope, old_key: bytes, key: bytes, records: list[Record]) -> None:
        """Delete under the old key, its tombstone, create under the new: one unit, in this order."""
        plan = scope.plan
        skip = event.ordinal < self._skip_rows
        self._total += 1
        scope.count += 1
        if skip:
            self.suppressed += 1
        else:
            value = self._envelope(event, scope, "d", event.before, None, b":d")
            headers = self._make_headers(event, "d", plan, b":d") if self._headers else None
            records.append(Record(plan.topic, old_key, value, old_key, headers))
            if self._tombstones:
                records.append(Record(plan.topic, old_key, None, old_key, headers))
        self._total += 1
        scope.count += 1
        if skip:
            return
        if event.after is not None and unchanged_names(event.after, plan.names):
            self.incomplete += 1
            if self.options.halt_on_unchanged_key_change:
                raise DataError(
                    f"table {plan.table.qualified_name}: a row's key changed and the log did not carry all of its values",
                    fault="key-change-unchanged",
                    action="Set REPLICA IDENTITY FULL on the table, or CDC_ON_KEY_CHANGE_UNCHANGED=emit.",
                )
        value = self._envelope(event, scope, "c", None, event.after, b":c")
        headers = self._make_headers(event, "c", plan, b":c") if self._headers else None
        records.append(Record(plan.topic, key, value, key, headers))

    def _envelope(
        self, event: Change | Truncate, scope: TableScope, op: str, before: Row | None, after: Row | None, suffix: bytes
    ) -> bytes:
        plan = scope.plan
        fragments = scope.fragments
        out = bytearray(b'{"before":')
        if before is None:
            out += b"null"
        else:
            append_row(out, before, plan.names, plan.forms)
        out += b',"after":'
        unchanged = 0
        if after is None:
            out += b"null"
        else:
            unchanged = append_row(out, after, plan.names, plan.forms)
        out += b',"source":'
        offset = b"%d" % event.offset
        out += fragments[0]
        for i in range(1, len(fragments)):
            out += offset
            out += fragments[i]
        out += self._middle
        out += b"%d" % self._total
        out += b',"data_collection_order":'
        out += b"%d" % scope.count
        out += b'},"op":"'
        out += op.encode()
        out += self._times
        out += self._id
        out += b"%d" % event.ordinal
        out += suffix
        out += b'","v":1'
        if unchanged and after is not None:
            out += b',"unchanged":[' + unchanged_names(after, plan.names) + b"]"
        out.append(0x7D)
        return bytes(out)

    def _key(self, plan: TablePlan, row: Row | None) -> bytes:
        key = None if row is None else self._key_or_none(plan, row)
        if key is None:
            raise DataError(
                f"table {plan.table.qualified_name}: the log did not carry the whole key of a row",
                fault="key-not-carried",
                action="Set the table's REPLICA IDENTITY to its key or FULL, or choose columns that it carries in CDC_KEYS.",
            )
        return key

    def _key_or_none(self, plan: TablePlan, row: Row) -> bytes | None:
        """The key's JSON object; None where the row does not carry all of it."""
        data = row.data
        at = row.start
        starts = []
        for _ in range(row.count):
            starts.append(at)
            if data[at] == 0x74:
                at += 5 + (data[at + 1] << 24 | data[at + 2] << 16 | data[at + 3] << 8 | data[at + 4])
            else:
                at += 1
        starts.append(at)
        out = bytearray()
        key = plan.key
        for n in range(len(key)):
            i = key[n]
            kind = data[starts[i]]
            if kind == 0x75:
                return None
            out += plan.key_names[n]
            if kind == 0x6E:
                out += b"null"
            else:
                append_value(out, data, starts[i] + 5, starts[i + 1], plan.forms[i])
        out[0] = 0x7B
        out.append(0x7D)
        return bytes(out)

    def _make_headers(
        self, event: Change | Truncate, op: str, plan: TablePlan, suffix: bytes
    ) -> list[tuple[str, bytes]]:
        event_id = self._id[7:] + b"%d" % event.ordinal + suffix
        known = {
            "id": ("cdc-id", event_id),
            "op": ("cdc-op", op.encode()),
            "table": ("cdc-table", plan.keyless),
            "v": ("cdc-v", b"1"),
            "schema-version": ("cdc-schema-version", plan.schema_version),
            "content-type": ("content-type", b"application/json"),
        }
        return [known[name] for name in self._headers]

    def _truncate(self, event: Truncate, records: list[Record]) -> None:
        if event.transaction is not self._transaction:
            self._enter(event.transaction)
        scope = self._scopes.get(event.table)
        if scope is None:
            scope = self._scope(event.table)
        self._total += 1
        scope.count += 1
        if event.ordinal < self._skip_rows:
            self.suppressed += 1
            return
        if self.options.truncate == "off":
            return
        plan = scope.plan
        value = self._envelope(event, scope, "t", None, None, b"")
        headers = self._make_headers(event, "t", plan, b"") if self._headers else None
        records.append(Record(plan.topic, None, value, plan.keyless, headers, self.options.truncate == "broadcast"))

    def _logical_message(self, event: LogicalMessage, records: list[Record]) -> None:
        transaction = event.transaction
        numbered = b"null"
        if transaction is not None:
            if transaction is not self._transaction:
                self._enter(transaction)
            self._messages += 1
            self._total += 1
            if self._messages <= self._skip_messages:
                return
            numbered = self._middle[15:] + b"%d" % self._total + b',"data_collection_order":null}'
        offset = b"%d" % event.offset
        source = offset.join(self._message_source.fragments(transaction))
        message = dumps({"prefix": event.prefix, "content": b64encode(event.content).decode()})
        event_id = self._id_prefix + b"m:" + event.position.encode()
        value = b'{"op":"m' + self._times + b',"source":' + source + b',"transaction":' + numbered
        value += b',"message":' + message + event_id + b'","v":1}'
        topic = topic_name(self.options.message_topic, name=self.options.name)
        key = dumps({"prefix": event.prefix})
        headers = self._message_headers(event_id[7:]) if self._headers else None
        records.append(Record(topic, key, value, key, headers))

    def _message_headers(self, event_id: bytes) -> list[tuple[str, bytes]]:
        """Those of a record that belongs to no table."""
        known = {
            "id": ("cdc-id", event_id),
            "op": ("cdc-op", b"m"),
            "v": ("cdc-v", b"1"),
            "content-type": ("content-type", b"application/json"),
        }
        return [known[name] for name in self._headers if name in known]

    def _gap(self, event: Gap) -> Record:
        topic = topic_name(self.options.gap_topic, name=self.options.name)
        id = self._id_prefix[6:] + b"g:" + event.missing_from.encode() + b'"'
        gap = dumps({"from": event.missing_from, "to": event.missing_to, "reason": event.reason})
        return Record(
            topic, None, b'{"op":"gap' + self._times + b',"gap":' + gap + b',"id":' + id + b',"v":1}', topic.encode()
        )


def _index(table: TableVersion, name: str) -> int:
    for i, column in enumerate(table.columns):
        if column.name == name:
            return i
    raise DataError(
        f"table {table.qualified_name} has no column {name!r}, which CDC_KEYS names",
        fault="key-column-missing",
        action="Correct CDC_KEYS, or publish the column.",
    )
