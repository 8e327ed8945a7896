"""What is fuzzed: each target takes any bytes and returns, or the input is a finding.

A typed error is an answer; any other exception, a result that breaks a promise, a crash and a hang are not. Imports nothing of the
test tools, so that the fuzzer's own environment needs little.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cdc.checkpoint.format import decode, encode
from cdc.errors import CheckpointUnreadable, DataError
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.event import Change, Gap
from cdc.model.selection import parse_selection
from cdc.model.types import LogicalType, TableVersion
from cdc.settings.env_file import EnvFileError, parse_env
from cdc_postgres.pgoutput import Decoder, RelationMessage, RelationPlan
from cdc_postgres.types import TypeInfo, column_for, reader_for
from cdc_postgres.types.builtin import BUILTIN_TYPES
from tests.unit import wire

PAIR, HSTORE, NESTED, PAIRS, GEOMETRIES, GEOMETRY, VECTOR, GRID, MOODS, MOOD = range(20001, 20011)
USER_TYPES: Final = {
    info.oid: info
    for info in (
        TypeInfo(PAIR, "public.pair", "c", "C", fields=(("n", 23, -1), ('t"x', 25, -1))),
        TypeInfo(HSTORE, "public.hstore", "b"),
        TypeInfo(NESTED, "public.nested", "c", "C", fields=(("pair", PAIR, -1), ("list", 1007, -1), ("h", HSTORE, -1))),
        TypeInfo(PAIRS, "public._nested", "b", "A", element=NESTED),
        TypeInfo(GEOMETRY, "public.geometry", "b", delimiter=":"),
        TypeInfo(GEOMETRIES, "public._geometry", "b", "A", delimiter=":", element=GEOMETRY),
        TypeInfo(VECTOR, "public.vector", "b"),
        TypeInfo(GRID, "public.grid", "d", "A", base=1007),
        TypeInfo(MOOD, "public.mood", "e", "E", labels=("sad", "so, so")),
        TypeInfo(MOODS, "public._mood", "b", "A", element=MOOD),
    )
}
TYPES: Final = (
    *USER_TYPES,
    *(oid for _, oid, *_ in BUILTIN_TYPES),
    *(array for _, _, array, *_ in BUILTIN_TYPES if array),
)
JSON_SHAPED: Final = (LogicalType.ARRAY, LogicalType.COMPOSITE, LogicalType.MAP, LogicalType.VECTOR)
HEADER: Final = wire.xlog(b"")


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds` make a start; what the fuzzer finds worth keeping is added to a corpus in the tests' cache."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


# -- pgoutput: messages one after the other, each behind two bytes of length


def messages_in(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 2 <= len(data):
        (size,) = struct.unpack_from(">H", data, at)
        yield HEADER + data[at + 2 : at + 2 + size]
        at += 2 + size


def packed(*messages: bytes) -> bytes:
    bodies = [message[len(HEADER) :] for message in messages]
    return b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def plan_for(relation: RelationMessage, readers: bool) -> RelationPlan:
    """A column of a type that nobody knows is given one of those we have."""
    oids = [oid if oid in TYPES else TYPES[oid % len(TYPES)] for oid in (c.type_oid for c in relation.columns)]
    columns = tuple(column_for(c.name, oid, -1, USER_TYPES) for c, oid in zip(relation.columns, oids, strict=True))
    table = TableVersion(relation.schema, relation.name, columns, (), relation.identity, 1, "f")
    chosen = [reader_for(oid, -1, USER_TYPES) if readers else None for oid in oids]
    return RelationPlan(table, tuple(chosen), len(oids))


def decode_all(data: bytes, readers: bool) -> None:
    decoder = Decoder(0, None)
    events: list[Any] = []
    for message in messages_in(data):
        with suppress(DataError):
            told = decoder.decode(message, events)
            if isinstance(told, RelationMessage):
                decoder.define(told.oid, plan_for(told, readers))
    for event in events:
        if isinstance(event, Change):
            for row in (event.before, event.after):
                assert row is None or len(row.cells()) == len(event.table.columns)


def decoder_plain(data: bytes) -> None:
    decode_all(data, readers=False)


def decoder_types(data: bytes) -> None:
    decode_all(data, readers=True)


def decoder_raw(data: bytes) -> None:
    """One message with its header, in a transaction, over a table that is known."""
    decoder = Decoder(0, None)
    decoder.decode(wire.begin(), [])
    relation = decoder.decode(wire.relation(COLUMNS), [])
    assert isinstance(relation, RelationMessage)
    decoder.define(relation.oid, plan_for(relation, readers=True))
    with suppress(DataError):
        decoder.decode(data, [])


COLUMNS: Final = (("id", True, 20), ("ok", False, 16), ("note", False, 25))
MESSAGES: Final = (
    wire.relation(COLUMNS),
    wire.type_name(),
    wire.begin(),
    wire.origin(),
    wire.insert([b"1", b"t", b"text"]),
    wire.update([b"1", b"t", "u"], [b"1", b"f", b"old"], b"O"),
    wire.update([b"2", None, b""], [b"1", None, None], b"K"),
    wire.delete([b"1", None, None]),
    wire.message("prefix", b"content", True),
    wire.truncate(1),
    wire.commit(),
)
VALUES: Final = (
    (17, b"\\x00ff"),
    (790, b"-$1,234.50"),
    (1082, b"0044-03-15 BC"),
    (1114, b"294276-12-31 23:59:59.999999"),
    (1184, b"2024-02-29 13:14:15.1+00"),
    (1266, b"12:00:00+05:45:30"),
    (1007, b"[0:1]={{1,NULL},{3,4}}"),
    (1009, b'{a,"b,\\"c\\"",NULL,""}'),
    (1020, b"(3,4),(1,2);NULL"),
    (PAIR, b'(1,"a ""b""")'),
    (HSTORE, b'"k"=>"v", "n"=>NULL'),
    (NESTED, b'("(1,x)","{1,2}","""k""=>""v""")'),
    (PAIRS, b'{"(\\"(1,x)\\",{},)",NULL}'),
    (GEOMETRIES, b"{0101:NULL:02}"),
    (VECTOR, b"[1.5,2,3e-05]"),
)


def decoder_seeds() -> list[bytes]:
    typed = [
        packed(wire.relation([("c", True, oid)]), wire.begin(), wire.insert([text]), wire.commit())
        for oid, text in VALUES
    ]
    return [packed(*MESSAGES), *typed]


# -- readers of types: the type's number in two bytes, then its text


def readers(data: bytes) -> None:
    if len(data) < 2:
        return
    oid = TYPES[int.from_bytes(data[:2], "big") % len(TYPES)]
    reader = reader_for(oid, -1, USER_TYPES)
    if reader is None:
        return
    logical = column_for("c", oid, -1, USER_TYPES).type
    with suppress(DataError):
        found = reader(data[2:])
        assert logical not in JSON_SHAPED or json.loads(found, parse_int=str) is not Ellipsis


def reader_seeds() -> list[bytes]:
    return [TYPES.index(oid).to_bytes(2, "big") + text for oid, text in VALUES]


# -- checkpoint, selection, env file


def checkpoint(data: bytes) -> None:
    """What is read is written again as it was. Behind a right digest the body's fields are checked as well."""
    body = data.partition(b"\n")[2]
    for given in (data, sealed(body)):
        with suppress(CheckpointUnreadable):
            found = decode(given)
            assert decode(encode(found)) == found


def sealed(body: bytes) -> bytes:
    """A body with the header that it should have."""
    from cdc.checkpoint.format import VERSION, _digest

    return b"cdc-checkpoint %d %b %d\n%b" % (VERSION, _digest(VERSION, body), len(body), body)


def checkpoint_seeds() -> list[bytes]:
    mark = Mark("0/16B3748", Unfinished("0/16B3700", 3, 1), {"tables": {"public.t": [1, "x", None]}})
    gaps = (Gap("0/1", "0/2", "slot-missing: gone"),)
    full = Checkpoint("shop", Phase.STREAMING, {"system_id": "7", "timeline": 1}, mark, "digest", 4, gaps)
    return [encode(full), encode(Checkpoint("shop", Phase.INTENT, {}, Mark("", None, {}), ""))]


def selection(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        chosen = parse_selection(text)
        for name in ("", "orders", "a" * 63, text[:63]):
            chosen.matches("public", name)
            chosen.matches(name, name)
        for schema, table in chosen.literals():
            assert schema and table


def selection_seeds() -> list[bytes]:
    return [b"public.orders,inventory.*", b'!"a.b"."c""d" , x?.y*', b"*.*,!public.*a*b*c*"]


def env_file(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        values = parse_env(text, "f")
    except EnvFileError as error:
        assert error.problems
        assert all(problem.startswith("env file f: line ") for problem in error.problems)
    else:
        assert all(name and "=" not in name and "\n" not in value for name, value in values.items())


def env_seeds() -> list[bytes]:
    return [b"# comment\nCDC_NAME=shop\r\n\n  A=b=c # d\nE='f'$\n", b"no equals\n=x\na b=c\n"]


TARGETS: Final = (
    Target("decoder_plain", decoder_plain, decoder_seeds),
    Target("decoder_types", decoder_types, decoder_seeds),
    Target("decoder_raw", decoder_raw, lambda: MESSAGES),
    Target("readers", readers, reader_seeds),
    Target("checkpoint", checkpoint, checkpoint_seeds),
    Target("selection", selection, selection_seeds),
    Target("env_file", env_file, env_seeds),
)
