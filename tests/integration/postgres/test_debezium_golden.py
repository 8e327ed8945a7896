"""The same script through Debezium (kept as a file, see tests/golden) and through us: fields, kinds of JSON, and where null is.

Rows are compared by field and nullness only: their values are in another style (`iso`, not `connect`). Each difference carries the number
that the contract of events gives it; one that is not listed fails, and so does a listed one that is not there any more.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.golden.script import SETUP, STEPS
from tests.golden.shape import record_shape
from tests.integration.postgres.stream import OpenCapture, Seen, on

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "debezium" / "records.json"
ROW: Final = re.compile(r"(before|after)\.(.+)")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path of one record; None where a side has no such field."""

    record: Record
    path: str
    theirs: str | None
    ours: str | None

    @property
    def table(self) -> str:
        return str(self.record["topic"]).rpartition(".")[2]

    @property
    def op(self) -> str:
        return str(self.record["value"]["op"]).rpartition(" ")[2]

    def __str__(self) -> str:
        return f"{self.record['topic']} {self.op} {self.path}: theirs {self.theirs}, ours {self.ours}"


def row_field(difference: Difference) -> str:
    found = ROW.fullmatch(difference.path)
    return found[2] if found else ""


OURS_ALONE: Final = frozenset({"id", "v", "unchanged", "source.schema_version"})
LEFT_OUT_BY_DEBEZIUM: Final = frozenset(
    {"both_of", "moods", "spans", "shape", "ring", "query", "place_in_log", "tx", "amounts", "pairs"}
)
OF_A_COMMIT: Final = frozenset({"source.ts_ms", "source.ts_us", "source.ts_ns", "source.sequence.0"})
NOT_FINITE: Final = frozenset({"price", "any_number"})


def in_message(difference: Difference) -> bool:
    return difference.op == "m" and difference.path in {"ts_us", "ts_ns"}


# Number in the contract's list → whether it is this one.
ACCEPTED: Final[dict[int, Callable[[Difference], bool]]] = {
    3: lambda d: d.path.startswith("before.") and d.op == "d" and d.ours is None,
    6: lambda d: row_field(d).partition(".")[0] in LEFT_OUT_BY_DEBEZIUM and d.theirs in {None, "null"},
    7: lambda d: d.table == "common" and row_field(d) in NOT_FINITE and d.theirs == "null",
    8: lambda d: row_field(d) == "who" and d.theirs == "null",
    9: lambda d: row_field(d).startswith("grid."),
    12: lambda d: d.theirs is None and (d.path in OURS_ALONE or d.path.startswith("unchanged.") or in_message(d)),
    13: lambda d: d.table == "large" and d.op == "u" and d.path.startswith("after.") and d.ours is None,
    15: lambda d: d.op == "m" and d.path == "transaction.data_collection_order" and d.ours == "null",
    # The contract's list ends with 15. A message outside a transaction has no commit: no commit time, no commit before it.
    16: lambda d: d.op == "m" and d.ours == "null" and d.path in OF_A_COMMIT,
}


def compare(theirs: Record, ours: Record) -> list[Difference]:
    """Paths that one side lacks, or whose kinds differ; of a row's cell only whether it is null."""
    left, right = plain(theirs["value"]), plain(ours["value"])
    return [
        Difference(ours, path, left.get(path), right.get(path))
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    ]


def plain(shape: dict[str, str]) -> dict[str, str]:
    """Of values, whether there is one: what is inside a cell is the style's affair, but for an array's elements."""
    out = {}
    for path, kind in shape.items():
        if ROW.fullmatch(path):
            parts = path.split(".")
            if all(part.isdecimal() for part in parts[2:]):
                out[path] = "null" if kind == "null" else "value"
        else:
            out[path] = kind
    return out


def number_of(difference: Difference) -> int | None:
    return next((number for number, is_it in ACCEPTED.items() if is_it(difference)), None)


def number_of_key(theirs: Record, ours: Record) -> int:
    """5: the same fields in another order. 3: theirs is the primary key, which a delete by another identity does not carry."""
    if sorted(theirs["key"]) == sorted(ours["key"]):
        return 5
    assert (theirs["topic"], theirs["key"]) == ("t.public.by_index", [["id", "number"]])
    assert ours["key"] == [["a", "number"]]
    return 3


@pytest.fixture
def theirs() -> list[Record]:
    records: list[Record] = json.loads(GOLDEN.read_text())
    return records


def ours_of(capture: OpenCapture) -> list[Seen]:
    stream = capture(*SETUP)
    for step in STEPS:
        stream.transaction(*step.statements)
    return stream.read()


def shapes(seen: list[Seen]) -> list[Record]:
    return [record_shape(s.topic, s.key, None if s.tombstone else s.value) for s in seen]


def without_null_tombstones(records: list[Record]) -> list[Record]:
    """Difference 4: theirs has a tombstone without a key after the delete of a keyless row."""
    return [record for record in records if record["key"] is not None or record["value"] is not None]


@on(18, since=18)
def test_differences_from_debezium_are_those_of_the_contract(capture: OpenCapture, theirs: list[Record]) -> None:
    seen = ours_of(capture)
    ours, paired = shapes(seen), without_null_tombstones(theirs)
    found: Counter[int] = Counter({4: len(theirs) - len(paired)})
    assert without_null_tombstones(ours) == ours
    assert [record["topic"] for record in ours] == [record["topic"] for record in paired]
    unlisted = []
    for their, our in zip(paired, ours, strict=True):
        if their["key"] != our["key"]:
            found[number_of_key(their, our)] += 1
        assert (their["value"] is None) == (our["value"] is None), our["topic"]
        for difference in compare(their, our) if our["value"] is not None else []:
            if (number := number_of(difference)) is None:
                unlisted.append(str(difference))
            else:
                found[number] += 1
    assert "\n".join(unlisted) == ""
    assert {number for number in (*ACCEPTED, 4, 5) if not found[number]} == set(), "listed, and not there any more"
    check_transactions(seen)


def check_transactions(seen: list[Seen]) -> None:
    """Difference 1: one transaction, one id; a row's number in it grows."""
    by_commit: dict[str, set[str]] = {}
    for s in seen:
        if not s.tombstone and s.value["transaction"] is not None:
            by_commit.setdefault(s.id.split(":")[2], set()).add(s.value["transaction"]["id"])
    assert all(len(ids) == 1 for position, ids in by_commit.items() if position != "m")


def test_an_unlisted_difference_is_noticed(theirs: list[Record]) -> None:
    record = theirs[0]
    spoilt = {**record, "value": {**record["value"], "source.lsn": "string", "surprise": "number"}}
    found = compare(record, spoilt)
    assert [d.path for d in found] == ["source.lsn", "surprise"]
    assert [number_of(d) for d in found] == [None, None]
