"""A seeded writer: what it commits is written down in commit order, also when the server dies in the middle of a COMMIT.

Two sessions are open at once and driven by one thread, so that transactions overlap and the order of commits is known. They write
rows of different parity and therefore never wait for each other; what locks a whole table happens while both are idle.
"""

from __future__ import annotations

import copy
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
import psycopg
from psycopg import sql

from tests.oracle.history import Change, Expected, History, Row

KEYED, WIDE, PAIR, LOOSE = "public.keyed", "public.wide", "public.pair", "public.loose"
TABLES = (KEYED, WIDE, PAIR, LOOSE)
KEYS = {KEYED: ("id",), WIDE: ("id",), PAIR: ("a", "b")}
STABLE = {
    KEYED: ("id", "version", "name", "amount"),
    WIDE: ("id", "version", "big", "small"),
    PAIR: ("a", "b", "version", "payload"),
    LOOSE: ("version", "note"),
}
SETUP = """
CREATE TABLE keyed (id int PRIMARY KEY, version bigint NOT NULL, name text, amount numeric(12, 2));
CREATE TABLE wide (id int PRIMARY KEY, version bigint NOT NULL, big text, small text);
ALTER TABLE wide ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE pair (a int, b text, version bigint NOT NULL, payload text, PRIMARY KEY (a, b));
ALTER TABLE pair REPLICA IDENTITY FULL;
CREATE TABLE loose (version bigint NOT NULL, note text);
CREATE TABLE oracle_marker (id bigint PRIMARY KEY);
"""
PREFIX = "oracle"
WORDS = ("", "a", "it's", 'say "x"', "tab\there", "line\nbreak", "back\\slash", "žluť", "🐘", "null", "{}", "%s $1")
BIG = 3000  # characters: beyond what fits a page without TOAST
RECONNECT_SECONDS = 60.0

Live = dict[str, set[tuple[Any, ...]]]


class Session:
    """One connection and its open transaction: what it has written, and the keys that it sees."""

    def __init__(self, workload: Workload, parity: int) -> None:
        self._workload = workload
        self.parity = parity
        self.connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self.open = False
        self.pending: list[Change] = []
        self.undo: list[Callable[[], None]] = []
        self.live: Live = {table: set() for table in KEYS}
        self._before: Live = {}
        self._marker = 0
        self._savepoint: tuple[int, Live] | None = None

    def execute(
        self, statement: str | sql.Composed, params: Sequence[Any] | None = None
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        if self.connection is None or self.connection.closed:
            self.connection = self._workload.connect()
        query = statement.encode() if isinstance(statement, str) else statement
        return self.connection.execute(query, params)

    def begin(self) -> None:
        if self.open:
            return
        self._marker = self._workload.next_marker()
        self._before = copy.deepcopy(self.live)
        self.pending, self._savepoint, self.undo = [], None, []
        self.execute("BEGIN")
        self.open = True
        self.execute("INSERT INTO oracle_marker VALUES (%s)", [self._marker])

    def savepoint(self) -> None:
        self.begin()
        self.execute("SAVEPOINT here")
        self._savepoint = (len(self.pending), copy.deepcopy(self.live))

    def rollback_to_savepoint(self) -> None:
        if self._savepoint is not None:
            self.execute("ROLLBACK TO SAVEPOINT here")
            count, live = self._savepoint
            self.live = copy.deepcopy(live)
            del self.pending[count:]

    def rollback(self) -> None:
        if self.open:
            self.execute("ROLLBACK")
            self.forget()

    def commit(self) -> None:
        """Commit, and write down what was committed. When the answer is lost, the marker row tells."""
        if not self.open:
            return
        try:
            self.execute("COMMIT")
        except psycopg.OperationalError:
            if not self._workload.resolve(self, self._marker):
                self.forget()
                return
        self.open = False
        if self.pending:
            self._workload.history.add(self.pending)
        self.pending = []

    def forget(self) -> None:
        """The transaction under way did not happen."""
        if self.open:
            self.live = self._before
            for undo in self.undo:
                undo()
        self.open, self.pending, self._savepoint = False, [], None

    def abandon(self) -> None:
        """The server has gone, and the open transaction with it."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.forget()

    def note(self, table: str, op: str, row: Row | None, *, old: Row | None = None) -> None:
        """One change, as the server returned the row."""
        before = key_of(table, old) if old is not None else None
        source = row if row is not None else old
        key = key_of(table, source) if source is not None else None
        version = None if row is None else int(row["version"])
        if op == "k" and before == key:
            op = "u"
        self.pending.append(Change(table, op, key, version, row, before))


class Workload:
    """`history` grows with each commit. Everything random comes from `seed`."""

    def __init__(self, dsn: str, seed: int = 0, *, ddl: bool = True) -> None:
        self.history = History()
        self.seed = seed
        self._dsn = dsn
        self._ddl = ddl
        self._random = random.Random(seed)
        self._version = 0
        self._marker = 0
        self._next_key = 0
        self._extra: dict[str, list[str]] = {KEYED: [], WIDE: []}
        self._extra_names = 0
        self.sessions = (Session(self, 0), Session(self, 1))
        self._bulk = 0
        self._messages = True
        self.interrupted = 0

    # -- connections -------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Create the tables; no row is there before the connector starts."""
        with self.connect() as connection:
            connection.execute(SETUP)
            self._messages = connection.info.server_version >= 140000

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Patiently: the server may be on its way up."""
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return psycopg.connect(
                    self._dsn, autocommit=True, connect_timeout=10, options="-c statement_timeout=30000"
                )
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def resolve(self, session: Session, marker: int) -> bool:
        """Whether the transaction with this marker was committed, though its answer was lost."""
        for each in self.sessions:
            if each is not session:
                each.abandon()
            elif each.connection is not None:
                each.connection.close()
        self.interrupted += 1
        while True:
            try:
                with self.connect() as connection, connection.transaction(force_rollback=True):
                    # Waits for a backend that is still at it, and finds the row only where that has committed.
                    query = "INSERT INTO oracle_marker VALUES (%s) ON CONFLICT DO NOTHING"
                    return connection.execute(query, [marker]).rowcount == 0
            except psycopg.OperationalError:
                continue

    def next_marker(self) -> int:
        self._marker += 1
        return self._marker

    def next_version(self) -> int:
        self._version += 1
        return self._version

    # -- running -----------------------------------------------------------------------------------------------------------

    def run(
        self,
        changes: int = 0,
        *,
        until: Callable[[], bool] | None = None,
        rate: float | None = None,
        large: int = 0,
    ) -> None:
        """Random steps until so many changes were committed, or until told. `rate` in changes a second bounds the speed.

        `large`: one step in so many is a transaction of many rows, which comes on top of the rate; 0 never.
        """
        started, base = time.monotonic(), self.history.count()
        bulk = self._bulk
        while (self.history.count() - base < changes) if until is None else not until():
            self.step(large)
            if rate is not None:
                written = self.history.count() - base - (self._bulk - bulk)
                ahead = written / rate - (time.monotonic() - started)
                if ahead > 0:
                    time.sleep(min(ahead, 0.2))
        self.settle()

    def step(self, large: int = 0) -> None:
        """One statement or a few; a server that goes away takes the open transactions with it."""
        try:
            if large and self._random.randrange(large) == 0:
                before = self.history.count()
                self._alone(self._large)
                self._bulk += self.history.count() - before
            elif self._ddl and self._random.random() < 0.01:
                self._alone(self._alter)
            elif self._random.random() < 0.008:
                self._alone(self._truncate)
            else:
                self._usual(self._random.choice(self.sessions))
        except psycopg.OperationalError:
            self.lost()

    def lost(self) -> None:
        self.interrupted += 1
        for session in self.sessions:
            session.abandon()

    def settle(self) -> None:
        """Commit what is open."""
        try:
            for session in self.sessions:
                session.commit()
        except psycopg.OperationalError:
            self.lost()

    def close(self) -> None:
        for session in self.sessions:
            session.abandon()

    def end_of_log(self) -> int:
        """The server's insert position now: everything committed lies before it."""
        with self.connect() as connection:
            row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
            assert row is not None
            return int(row[0])

    def final(self) -> dict[str, list[Row]]:
        """The source's rows, with the columns that were there all the time."""
        found: dict[str, list[Row]] = {}
        with self.connect() as connection:
            for table, columns in STABLE.items():
                names = sql.SQL(", ").join(map(sql.Identifier, columns))
                query = sql.SQL("SELECT {} FROM {}").format(names, _table(table))
                found[table] = list(rows_of(connection.execute(query)))
        return found

    # -- what is written ---------------------------------------------------------------------------------------------------

    def _usual(self, session: Session) -> None:
        chance = self._random.random()
        if session.open and chance < 0.22:
            session.commit()
        elif session.open and chance < 0.25:
            session.rollback()
        elif chance < 0.29:
            session.savepoint()
        elif session.open and chance < 0.32:
            session.rollback_to_savepoint()
        elif chance < 0.35 and self._messages:
            self._message(session)
        else:
            session.begin()
            self._change(session)

    def _alone(self, what: Callable[[Session], None]) -> None:
        """With both sessions idle: for what takes a lock on a whole table."""
        for session in self.sessions:
            session.commit()
        session = self._random.choice(self.sessions)
        session.begin()
        what(session)
        session.commit()

    def _change(self, session: Session) -> None:
        table = self._random.choice((KEYED, KEYED, WIDE, WIDE, PAIR, LOOSE))
        if table == LOOSE:
            self.insert_loose(session, self._random.choice((1, 1, 3)))
            return
        live = session.live[table]
        chance = self._random.random()
        if not live or (chance < 0.35 and len(live) < 200):
            self.insert(session, table)
        elif chance < 0.75:
            self.update(session, table, self._pick(live))
        elif chance < 0.85:
            self.change_key(session, table, self._pick(live))
        else:
            self.delete(session, table, self._pick(live))

    def _pick(self, live: set[tuple[Any, ...]]) -> tuple[Any, ...]:
        return self._random.choice(sorted(live))

    def _word(self) -> str | None:
        return self._random.choice((*WORDS, None))

    def _new_key(self, session: Session, table: str) -> tuple[Any, ...]:
        """Often one that was used and deleted before."""
        if self._random.random() < 0.5 and table != PAIR:
            again = (self._random.randrange(20) * 2 + session.parity,)
            if again not in session.live[table]:
                return again
        self._next_key += 1
        number = 1000 + self._next_key * 2 + session.parity
        return (number, self._word() or "b") if table == PAIR else (number,)

    def insert(self, session: Session, table: str) -> None:
        key = self._new_key(session, table)
        values = (
            dict(zip(KEYS[table], key, strict=True)) | {"version": self.next_version()} | self._payload(table, True)
        )
        columns = sql.SQL(", ").join(map(sql.Identifier, values))
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
            _table(table), columns, sql.SQL(", ").join(sql.Placeholder() * len(values))
        )
        (row,) = rows_of(session.execute(query, [*values.values()]))
        session.note(table, "c", row)
        session.live[table].add(key)

    def update(self, session: Session, table: str, key: tuple[Any, ...]) -> None:
        values = {"version": self.next_version()} | self._payload(table, False)
        (row,) = rows_of(self._update(session, table, key, values))
        session.note(table, "u", row)

    def change_key(self, session: Session, table: str, key: tuple[Any, ...]) -> None:
        """With all values new: of a row that keeps a TOASTed value only its copy under the old key would know it (4.4)."""
        new = self._new_key(session, table)
        named = dict(zip(KEYS[table], new, strict=True))
        (row,) = rows_of(
            self._update(session, table, key, named | {"version": self.next_version()} | self._payload(table, True))
        )
        session.note(table, "k", row, old=dict(zip(KEYS[table], key, strict=True)))
        session.live[table] ^= {key, new}

    def _update(
        self, session: Session, table: str, key: tuple[Any, ...], values: dict[str, Any]
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        assigned = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
        query = sql.SQL("UPDATE {} SET {} WHERE {} RETURNING *").format(_table(table), assigned, _where(table))
        return session.execute(query, [*values.values(), *key])

    def delete(self, session: Session, table: str, key: tuple[Any, ...]) -> None:
        session.execute(sql.SQL("DELETE FROM {} WHERE {}").format(_table(table), _where(table)), key)
        session.note(table, "d", None, old=dict(zip(KEYS[table], key, strict=True)))
        session.live[table].discard(key)

    def _payload(self, table: str, whole: bool) -> dict[str, Any]:
        extra = {name: self._word() for name in self._extra.get(table, ())}
        if table == KEYED:
            return {"name": self._word(), "amount": Decimal(self._random.randrange(10**6)) / 100} | extra
        if table == PAIR:
            return {"payload": self._word()}
        small = {"small": self._word()} | extra
        return {"big": self._random.choice("xyz") * BIG} | small if whole or self._random.random() < 0.2 else small

    def insert_loose(self, session: Session, count: int = 1) -> None:
        """Rows without a key: one statement, or a COPY."""
        rows = [(self.next_version(), self._random.choice(WORDS)) for _ in range(count)]
        if count == 1:
            session.execute("INSERT INTO loose (version, note) VALUES (%s, %s)", rows[0])
        else:
            self.copy_loose(session, rows)
            return
        session.note(LOOSE, "c", {"version": rows[0][0], "note": rows[0][1]})

    def copy_loose(self, session: Session, rows: Iterable[tuple[int, str]]) -> None:
        session.begin()
        assert session.connection is not None
        listed = list(rows)
        with session.connection.cursor().copy("COPY loose (version, note) FROM STDIN") as stream:
            for row in listed:
                stream.write_row(row)
        for version, note in listed:
            session.note(LOOSE, "c", {"version": version, "note": note})

    def _message(self, session: Session) -> None:
        version = self.next_version()
        if self._random.random() < 0.5:
            session.begin()
            session.execute("SELECT pg_logical_emit_message(true, %s, %s)", [PREFIX, str(version)])
            session.pending.append(Change("message", "m", PREFIX, version))
        else:  # not flushed by itself, and not undone by a rollback: it may come or not
            self.history.unsure.add(Expected("message", "m", PREFIX, version))
            session.execute("SELECT pg_logical_emit_message(false, %s, %s)", [PREFIX, str(version)])

    def _large(self, session: Session) -> None:
        rows = [(self.next_version(), self._random.choice(WORDS)) for _ in range(self._random.randrange(300, 1500))]
        self.copy_loose(session, rows)
        for key in sorted(session.live[KEYED])[:100]:
            self.update(session, KEYED, key)

    def _truncate(self, session: Session) -> None:
        table = self._random.choice((KEYED, PAIR, LOOSE))
        self.truncate(session, table)
        self._change(session)

    def truncate(self, session: Session, table: str) -> None:
        """Both sessions must be idle but for this transaction. A transaction that is undone gives back all rows."""
        session.begin()
        session.execute(sql.SQL("TRUNCATE {}").format(_table(table)))
        session.pending.append(Change(table, "t", None, None))
        if table in KEYS:
            for each in self.sessions:
                if each is not session:
                    session.undo.append(partial(each.live.__setitem__, table, each.live[table]))
                    each.live[table] = set()
            session.live[table] = set()

    def _alter(self, session: Session) -> None:
        """A column comes, goes or changes its name, with rows around it in the same transaction."""
        table = self._random.choice((KEYED, WIDE))
        known = self._extra[table]
        self._change_in(session, table)
        kind = self._random.choice(("add", "rename", "drop")) if known else "add"
        if kind == "add" and len(known) < 3:
            name = self._extra_name()
            statement = sql.SQL("ADD COLUMN {} text").format(sql.Identifier(name))
            after = [*known, name]
        elif kind == "rename":
            old, name = self._random.choice(known), self._extra_name()
            statement = sql.SQL("RENAME COLUMN {} TO {}").format(sql.Identifier(old), sql.Identifier(name))
            after = [name if one == old else one for one in known]
        else:
            old = self._random.choice(known)
            statement = sql.SQL("DROP COLUMN {}").format(sql.Identifier(old))
            after = [one for one in known if one != old]
        session.execute(sql.SQL("ALTER TABLE {} {}").format(_table(table), statement))
        self._extra[table] = after
        committed = False
        try:
            self._change_in(session, table)
            if self._random.random() < 0.8:
                count = len(self.history.transactions)
                session.commit()
                committed = len(self.history.transactions) > count
            else:
                session.rollback()
        finally:
            if not committed:
                self._extra[table] = known

    def _change_in(self, session: Session, table: str) -> None:
        self.insert(session, table)
        self.update(session, table, self._pick(session.live[table]))

    def _extra_name(self) -> str:
        self._extra_names += 1
        return f"extra {self._extra_names}"


def key_of(table: str, row: Row) -> str | None:
    """The key's JSON text, as the connector's keys read once parsed and written anew."""
    names = KEYS.get(table)
    return orjson.dumps({name: row[name] for name in names}).decode() if names else None


def rows_of(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Iterable[Row]:
    names = [column.name for column in cursor.description or ()]
    for row in cursor.fetchall():
        yield {name: _json(value) for name, value in zip(names, row, strict=True)}


def _json(value: Any) -> Any:
    if isinstance(value, str):
        return sys.intern(value)
    return str(value) if isinstance(value, Decimal) else value


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _where(table: str) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in KEYS[table])
