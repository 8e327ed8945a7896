"""docs/failure-modes.md: what breaks in the field, what became of it here, and what each fault of ours asks the operator to do.

The numbers are those of the team's catalogue; a number is closed when a test provokes it.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from cdc.model.finding import Fault
from cdc_files import faults as files_faults
from cdc_kafka import faults as kafka_faults
from cdc_postgres import faults as postgres_faults

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = ROOT / "tests" / "failure_modes.toml"
FIELDS: Final = frozenset({"number", "what", "state", "reason", "tests"})
SECTIONS: Final = {"P": "PostgreSQL", "K": "Kafka", "X": "Checkpoint, process, operation", "S": "Security"}
_NAMED: Final = re.compile(r"test_((?:[PKXS][0-9]+_)+)")
_HEAD: Final = """\
# What breaks connectors of this kind, and what proves that it does not break ours. docs/failure-modes.md is made from it (`make generate`,
# which also puts every test whose name carries a number on that number's list, and takes those off that are gone).
# Numbers are the team's catalogue's. `closed` needs tests (`path::function`); `open` needs a reason, and may have tests that prove a part.
"""
_INTRODUCTION: Final = """\
# Failure modes

Generated from `tests/failure_modes.toml` and the tables of faults by `make generate`; do not edit.

What is known to break connectors of this kind, and whether a test provokes it here. *Closed*: the tests named provoke it and fail when
we do the wrong thing. *Open*: not proved, with the reason. The faults that a log line or an exit names (`fault=…`) are at the end, with what to do.
"""


@dataclass(frozen=True, slots=True)
class Mode:
    """One number. `tests` are `path::function`; a closed number has at least one, an open one a reason."""

    number: str
    what: str
    state: str
    reason: str
    tests: tuple[str, ...]


def read_modes() -> list[Mode]:
    """In the order of their numbers. Raises ValueError for an entry that is not as it should be."""
    entries = tomllib.loads(TABLE.read_text())["mode"]
    for entry in entries:
        if unknown := entry.keys() - FIELDS:
            raise ValueError(f"{entry.get('number')}: unknown fields {sorted(unknown)}")
    modes = [Mode(e["number"], e["what"], e["state"], e.get("reason", ""), tuple(e.get("tests", ()))) for e in entries]
    return sorted(modes, key=lambda mode: rank(mode.number))


def rank(number: str) -> tuple[int, int]:
    return list(SECTIONS).index(number[0]), int(number[1:])


@cache
def functions_of(path: str) -> frozenset[str]:
    """The test functions that a file defines; none where there is no file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text()))
    return frozenset(n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"))


def exists(test: str) -> bool:
    path, _, function = test.partition("::")
    return function in functions_of(path)


def named_tests() -> dict[str, list[str]]:
    """Number → every test whose name carries it (`test_P08_P09_…` carries two)."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        path = file.relative_to(ROOT).as_posix()
        for function in sorted(functions_of(path)):
            if match := _NAMED.match(function):
                for word in match[1].rstrip("_").split("_"):
                    found.setdefault(f"{word[0]}{int(word[1:])}", []).append(f"{path}::{function}")
    return found


def relisted() -> str:
    """The table with every list brought up to date; states and reasons are people's to change."""
    named = named_tests()
    parts = [_HEAD]
    for mode in read_modes():
        kept = [test for test in mode.tests if exists(test)]
        parts.append(_entry(replace(mode, tests=tuple(dict.fromkeys([*kept, *named.get(mode.number, [])])))))
    return "\n".join(parts)


def _entry(mode: Mode) -> str:
    texts = [("number", mode.number), ("what", mode.what), ("state", mode.state), ("reason", mode.reason)]
    # A JSON string is a TOML string.
    lines = ["[[mode]]", *(f"{name} = {json.dumps(text, ensure_ascii=False)}" for name, text in texts if text)]
    if mode.tests:
        lines += ["tests = [", *(f'    "{test}",' for test in mode.tests), "]"]
    return "\n".join(lines) + "\n"


def page() -> str:
    modes = read_modes()
    parts = [_INTRODUCTION]
    for letter, title in SECTIONS.items():
        chosen = [mode for mode in modes if mode.number[0] == letter]
        closed = sum(mode.state == "closed" for mode in chosen)
        parts.append(f"## {title}: {closed} of {len(chosen)} closed\n")
        parts.append(_modes_table(chosen))
    parts.append("## Faults and what to do\n")
    parts.append("`heals`: the connector waits and goes on by itself; otherwise it ends with an exit code.\n")
    for title, faults in (
        ("PostgreSQL, by SQLSTATE", _by_code(postgres_faults.BY_SQLSTATE)),
        ("Kafka", _by_name(kafka_faults.FAULTS.values())),
        ("Files and standard output", _by_name(files_faults.FAULTS.values())),
    ):
        parts.append(f"### {title}\n")
        parts.append(_faults_table(faults))
    return "\n".join(parts)


def _modes_table(modes: Iterable[Mode]) -> str:
    lines = ["| number | what breaks | state | proof |", "|---|---|---|---|"]
    for mode in modes:
        state = mode.state if mode.state == "closed" else f"open: {mode.reason}"
        proof = ", ".join(f"`{_short(test)}`" for test in mode.tests)
        lines.append(f"| {mode.number} | {mode.what} | {state} | {proof} |")
    return "\n".join(lines) + "\n"


def _short(test: str) -> str:
    path, _, function = test.partition("::")
    return f"{Path(path).stem}::{function}"


def _faults_table(faults: Iterable[tuple[str, Fault]]) -> str:
    lines = ["| fault | code | heals | what the operator does |", "|---|---|---|---|"]
    for code, fault in faults:
        lines.append(f"| `{fault.name}` | {code} | {'yes' if fault.heals else 'no'} | {fault.action} |")
    return "\n".join(lines) + "\n"


def _by_code(faults: Mapping[str, Fault]) -> list[tuple[str, Fault]]:
    return sorted(faults.items(), key=lambda item: item[1].name)


def _by_name(faults: Iterable[Fault]) -> list[tuple[str, Fault]]:
    named = {fault.name: fault for fault in faults}
    return [("", named[name]) for name in sorted(named)]
