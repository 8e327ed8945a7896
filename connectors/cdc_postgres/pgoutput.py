# cython: annotation_typing=False
"""Decoder of pgoutput, protocol version 1: CopyData bytes in, events out.

Message names and fields as in the manual, "Logical Replication Message Formats" and "Streaming Replication Protocol". It touches
no socket and asks no catalog: a Relation or Type message is returned to the caller, who answers with `define`. Every length is
checked before it is used; what is cut short or unknown raises `MalformedMessage`.

A hot module: compiled where there is a compiler (see the sibling `.pxd`), and the same source interpreted elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.errors import DataError, MalformedMessage
from cdc.model.event import Change, Event, LogicalMessage, Transaction, Truncate
from cdc.model.row import UNCHANGED, Row, pack_row
from cdc.model.types import TableVersion
from cdc_postgres.types.misfit import Misfit, NotUtf8, Reader

HEADER = 25  # XLogData: 'w', Int64 start of the WAL data, Int64 current end, Int64 send time
EPOCH_SHIFT = 946_684_800_000_000  # microseconds between 1970 and 2000, where the server's clock begins
_NAMES = {
    0x42: "Begin",
    0x43: "Commit",
    0x4F: "Origin",
    0x52: "Relation",
    0x59: "Type",
    0x49: "Insert",
    0x55: "Update",
    0x44: "Delete",
    0x54: "Truncate",
    0x4D: "Message",
}


@dataclass(frozen=True)
class RelationColumn:
    """One column of a Relation message; `key` is its flag: part of the replica identity (all of them under FULL)."""

    name: str
    key: bool
    type_oid: int
    modifier: int


@dataclass(frozen=True)
class RelationMessage:
    """'R': a relation's shape, sent before its first row in a connection and after each change."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True)
class TypeMessage:
    """'Y': the name of a user-defined type."""

    oid: int
    schema: str
    name: str


class RelationPlan:
    """How the rows of one relation are read: chosen once, when the relation is defined.

    `table` is None for a relation nobody selected: its rows count in the transaction's ordinal and are not decoded. `readers` holds a
    reader for each column, None where the server's text is canonical; `plain` says that all are None.
    """

    __slots__ = ("count", "plain", "readers", "table")

    def __init__(self, table: TableVersion | None, readers: Sequence[Reader | None], count: int) -> None:
        self.table = table
        self.readers = readers
        self.count = count
        self.plain = all(reader is None for reader in readers)


class Decoder:
    """The state of one stream: the transaction under way, its ordinal, the relations defined so far.

    `position` is the end of the last commit seen (0 before the first). Transactions whose commit record lies before `skip_below` are
    counted in `suppressed` and give no event: the checkpoint has them already.
    """

    __slots__ = (
        "commits",
        "last_commit",
        "messages",
        "ordinal",
        "plans",
        "position",
        "skip_below",
        "suppressed",
        "touched",
        "transaction",
    )

    def __init__(self, skip_below: int, last_commit: int | None) -> None:
        self.plans: dict[int, RelationPlan] = {}
        self.transaction: Transaction | None = None
        self.ordinal = 0
        self.messages = 0
        self.position = 0
        self.skip_below = skip_below
        self.last_commit = last_commit
        self.suppressed = 0
        self.commits = 0
        self.touched = False

    def define(self, oid: int, plan: RelationPlan) -> None:
        """Answer to a Relation message."""
        self.plans[oid] = plan

    def decode(self, data: bytes, events: list[Event]) -> RelationMessage | TypeMessage | None:
        """Decode one XLogData message (with its 25-byte header) and append what it means to `events`.

        Returns None, or the RelationMessage or TypeMessage that the caller must deal with before the next message.
        """
        size = len(data)
        if size <= HEADER:
            raise MalformedMessage("XLogData", "message type", size, "cut short")
        kind = data[HEADER]
        if kind == 0x49:
            self._insert(data, size, events)
        elif kind == 0x55:
            self._update(data, size, events)
        elif kind == 0x44:
            self._delete(data, size, events)
        elif kind == 0x42:
            self._begin(data)
        elif kind == 0x43:
            self._commit(data)
        elif kind == 0x52:
            return parse_relation(data)
        elif kind == 0x59:
            return parse_type(data)
        elif kind == 0x54:
            self._truncate(data, size, events)
        elif kind == 0x4D:
            self._message(data, events)
        elif kind == 0x4F:
            self._origin(data)
        else:
            raise MalformedMessage("XLogData", "message type", HEADER, f"0x{kind:02x} is not a message of protocol 1")
        return None

    def _begin(self, data: bytes) -> None:
        _exact("Begin", data, 46)
        if self.transaction is not None:
            raise MalformedMessage("Begin", "message type", HEADER, "the last transaction has not ended")
        final = u64(data, 26)
        position = f"{final >> 32:X}/{final & 0xFFFFFFFF:X}"
        xid = u32(data, 42)
        facts = (xid, None, None, self.last_commit)
        self.transaction = Transaction(f"{xid}:{final}", position, i64(data, 34) + EPOCH_SHIFT, facts)
        self.ordinal = 0
        self.messages = 0
        self.touched = final < self.skip_below
        self.commits = final

    def _commit(self, data: bytes) -> None:
        _exact("Commit", data, 51)
        if self.transaction is None:
            raise outside("Commit")
        if u64(data, 27) != self.commits:
            raise MalformedMessage("Commit", "commit LSN", 27, "is not the final LSN of Begin")
        self.position = u64(data, 35)
        if self.ordinal:
            self.last_commit = self.commits
        self.transaction = None
        self.ordinal = 0
        self.messages = 0
        self.touched = False

    def _origin(self, data: bytes) -> None:
        at = HEADER + 1
        _need("Origin", "LSN", data, at, 8)
        name, end = c_string("Origin", "name", data, at + 8)
        _ended("Origin", data, end)
        if self.transaction is None:
            raise outside("Origin")
        xid, _, _, last = self.transaction.facts
        self.transaction.facts = (xid, name, u64(data, at), last)

    def _plan(self, name: str, data: bytes) -> RelationPlan:
        _need(name, "relation OID", data, 26, 5)
        plan = self.plans.get(u32(data, 26))
        if plan is None:
            raise MalformedMessage(name, "relation OID", 26, "no Relation message has defined it")
        return plan

    def _insert(self, data: bytes, size: int, events: list[Event]) -> None:
        transaction = self.transaction
        if transaction is None:
            raise outside("Insert")
        plan = self._plan("Insert", data)
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        if self.touched:
            self.suppressed += 1
            return
        if plan.table is None:
            return
        if data[30] != 0x4E:
            raise MalformedMessage("Insert", "tuple kind", 30, "expected N")
        end = tuple_end("Insert", data, 31, size, plan.count)
        _ended("Insert", data, end)
        after = self._row(data, 31, plan)
        events.append(Change("c", plan.table, None, after, transaction, ordinal, u64(data, 1)))

    def _update(self, data: bytes, size: int, events: list[Event]) -> None:
        transaction = self.transaction
        if transaction is None:
            raise outside("Update")
        plan = self._plan("Update", data)
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        if self.touched:
            self.suppressed += 1
            return
        if plan.table is None:
            return
        at = 30
        before = None
        kind = data[at]
        if kind == 0x4B or kind == 0x4F:  # noqa: PLR1714 -- two compares; a set would be a lookup per row
            end = tuple_end("Update", data, at + 1, size, plan.count)
            before = self._row(data, at + 1, plan)
            if kind == 0x4B:
                before = key_only(before)
            at = end
            if at >= size:
                raise MalformedMessage("Update", "new tuple", at, "cut short")
        if data[at] != 0x4E:
            raise MalformedMessage("Update", "tuple kind", at, "expected N")
        end = tuple_end("Update", data, at + 1, size, plan.count)
        _ended("Update", data, end)
        after = self._row(data, at + 1, plan)
        if before is not None and has_unchanged(after):
            after = fill_unchanged(after, before)
        events.append(Change("u", plan.table, before, after, transaction, ordinal, u64(data, 1)))

    def _delete(self, data: bytes, size: int, events: list[Event]) -> None:
        transaction = self.transaction
        if transaction is None:
            raise outside("Delete")
        plan = self._plan("Delete", data)
        ordinal = self.ordinal
        self.ordinal = ordinal + 1
        if self.touched:
            self.suppressed += 1
            return
        if plan.table is None:
            return
        kind = data[30]
        if kind != 0x4B and kind != 0x4F:  # noqa: PLR1714
            raise MalformedMessage("Delete", "tuple kind", 30, "expected K or O")
        end = tuple_end("Delete", data, 31, size, plan.count)
        _ended("Delete", data, end)
        before = self._row(data, 31, plan)
        if kind == 0x4B:
            before = key_only(before)
        events.append(Change("d", plan.table, before, None, transaction, ordinal, u64(data, 1)))

    def _row(self, data: bytes, at: int, plan: RelationPlan) -> Row:
        """The checked tuple that begins at `at`; its count is not part of the run."""
        if plan.plain:
            return Row(data, at + 2, plan.count)
        try:
            return Row(canonical(data, at + 2, plan.count, plan.readers), 0, plan.count)
        except (Misfit, NotUtf8) as refusal:
            raise unreadable(data, at + 2, plan) from refusal

    def _truncate(self, data: bytes, size: int, events: list[Event]) -> None:
        transaction = self.transaction
        if transaction is None:
            raise outside("Truncate")
        _need("Truncate", "relations", data, 26, 5)
        count = u32(data, 26)
        if count > (size - 31) // 4:
            raise MalformedMessage("Truncate", "number of relations", 26, "more than the message holds")
        _exact("Truncate", data, 31 + 4 * count)
        offset = u64(data, 1)
        for i in range(count):
            plan = self.plans.get(u32(data, 31 + 4 * i))
            if plan is None:
                raise MalformedMessage("Truncate", "relation OID", 31 + 4 * i, "no Relation message has defined it")
            ordinal = self.ordinal
            self.ordinal = ordinal + 1
            if self.touched:
                self.suppressed += 1
            elif plan.table is not None:
                events.append(Truncate(plan.table, transaction, ordinal, offset))

    def _message(self, data: bytes, events: list[Event]) -> None:
        _need("Message", "LSN", data, 26, 9)
        transactional = data[26] & 1
        prefix, at = c_string("Message", "prefix", data, 35)
        _need("Message", "content length", data, at, 4)
        length = u32(data, at)
        _exact("Message", data, at + 4 + length)
        if transactional and self.transaction is None:
            raise MalformedMessage("Message", "flags", 26, "transactional outside a transaction")
        if transactional:
            self.messages += 1
        if not (transactional and self.touched):
            lsn = u64(data, 27)
            transaction = self.transaction if transactional else None
            events.append(
                LogicalMessage(prefix, data[at + 4 :], transaction, lsn, f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}")
            )


def canonical(data: bytes, at: int, count: int, readers: Sequence[Reader | None]) -> bytes:
    """Rewrite a checked tuple cell by cell: through its reader where the column has one, copied in runs where not."""
    out = bytearray()
    start = at
    for i in range(count):
        kind = data[at]
        at += 1
        if kind != 0x74:
            continue
        length = u32(data, at)
        at += 4 + length
        reader = readers[i]
        if reader is not None:
            value = reader(data[at - length : at])
            if start < at - length - 5:
                out += data[start : at - length - 5]
            out.append(0x74)
            out += len(value).to_bytes(4, "big")
            out += value
            start = at
    if start < at:
        out += data[start:at]
    return bytes(out)


def unreadable(data: bytes, at: int, plan: RelationPlan) -> DataError:
    """Which column's text does not fit its type: found again, since the hot path does not keep track."""
    for i, cell in enumerate(Row(data, at, plan.count).cells()):
        try:
            reader = plan.readers[i]
            if isinstance(cell, bytes) and reader is not None:
                reader(cell)
        except (Misfit, NotUtf8) as refusal:
            assert plan.table is not None
            column = plan.table.columns[i]
            where = f"table {plan.table.qualified_name}, column {column.name} ({column.type_name})"
            return DataError(f"{where}: {refusal}", fault=refusal.fault, action=refusal.action)
    raise AssertionError("no reader refused the row that was refused")


def outside(message: str) -> MalformedMessage:
    return MalformedMessage(message, "message type", HEADER, "no transaction has begun")


def tuple_end(name: str, data: bytes, at: int, size: int, count: int) -> int:
    """Check a TupleData that begins at `at`; returns the index behind it."""
    if at + 2 > size:
        raise MalformedMessage(name, "number of columns", at, "cut short")
    if u16(data, at) != count:
        raise MalformedMessage(name, "number of columns", at, f"{u16(data, at)} where Relation said {count}")
    at += 2
    for i in range(count):
        if at >= size:
            raise MalformedMessage(name, f"column {i + 1}", at, "cut short")
        kind = data[at]
        at += 1
        if kind == 0x74:
            if at + 4 > size:
                raise MalformedMessage(name, f"length of column {i + 1}", at, "cut short")
            length = u32(data, at)
            at += 4
            if length > size - at:
                raise MalformedMessage(name, f"column {i + 1}", at, "cut short")
            at += length
        elif kind != 0x6E and kind != 0x75:  # noqa: PLR1714
            raise MalformedMessage(name, f"kind of column {i + 1}", at - 1, f"0x{kind:02x} is none of n, u, t")
    return at


def has_unchanged(row: Row) -> bool:
    """Whether a cell of a checked row is UNCHANGED."""
    data = row.data
    at = row.start
    for _ in range(row.count):
        kind = data[at]
        at += 1
        if kind == 0x74:
            at += 4 + u32(data, at)
        elif kind == 0x75:
            return True
    return False


def fill_unchanged(after: Row, before: Row) -> Row:
    """The new row with what the old tuple carried of its untouched TOAST values.

    A null was not carried: a value of NULL is never left out. (A root under FULL shows the old key of a leaf that is not as 'O'.)
    """
    old = before.cells()
    return pack_row(
        [old[i] if cell is UNCHANGED and old[i] is not None else cell for i, cell in enumerate(after.cells())]
    )


def key_only(row: Row) -> Row:
    """A 'K' tuple sends every column that is not part of the key as null: here they are what they are, not carried."""
    return pack_row([UNCHANGED if cell is None else cell for cell in row.cells()])


def parse_relation(data: bytes) -> RelationMessage:
    """'R' (manual: Relation). An empty namespace means pg_catalog."""
    at = HEADER + 1
    _need("Relation", "OID", data, at, 4)
    oid = u32(data, at)
    schema, at = c_string("Relation", "namespace", data, at + 4)
    name, at = c_string("Relation", "name", data, at)
    _need("Relation", "replica identity", data, at, 3)
    identity = chr(data[at])
    count = u16(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        _need("Relation", "column flags", data, at, 1)
        flags = data[at]
        column, at = c_string("Relation", "column name", data, at + 1)
        _need("Relation", "column type", data, at, 8)
        columns.append(RelationColumn(column, bool(flags & 1), u32(data, at), i32(data, at + 4)))
        at += 8
    _ended("Relation", data, at)
    return RelationMessage(oid, schema or "pg_catalog", name, identity, tuple(columns))


def parse_type(data: bytes) -> TypeMessage:
    """'Y' (manual: Type)."""
    at = HEADER + 1
    _need("Type", "OID", data, at, 4)
    schema, end = c_string("Type", "namespace", data, at + 4)
    name, end = c_string("Type", "name", data, end)
    _ended("Type", data, end)
    return TypeMessage(u32(data, at), schema or "pg_catalog", name)


def c_string(message: str, field: str, data: bytes, at: int) -> tuple[str, int]:
    """A null-terminated UTF-8 string; returns it and the index behind its null."""
    end = data.find(b"\0", at)
    if end < 0:
        raise MalformedMessage(message, field, at, "not terminated")
    try:
        return data[at:end].decode("utf-8"), end + 1
    except UnicodeDecodeError:
        raise MalformedMessage(message, field, at, "not UTF-8") from None


def u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def u32(data: bytes, at: int) -> int:
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def i32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big", signed=True)


def u64(data: bytes, at: int) -> int:
    high = u32(data, at)  # compiled, it is as wide as the result before it is shifted
    return high << 32 | u32(data, at + 4)


def i64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "big", signed=True)


def _need(message: str, field: str, data: bytes, at: int, count: int) -> None:
    if at + count > len(data):
        raise MalformedMessage(message, field, at, "cut short")


def _exact(message: str, data: bytes, size: int) -> None:
    if len(data) != size:
        why = "cut short" if len(data) < size else "longer than the message allows"
        raise MalformedMessage(message, "length", min(len(data), size), why)


def _ended(message: str, data: bytes, at: int) -> None:
    if at != len(data):
        raise MalformedMessage(message, "end", at, "bytes left over")
