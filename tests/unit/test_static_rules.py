"""Rules that the source itself must keep, read from its syntax: what is never evaluated, which clock decides, how names enter SQL."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.errors import SettingsError
from cdc_postgres.commands import create_slot, start_replication
from cdc_postgres.sql import quote_identifier

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "cdc").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")])

EVALUATES = frozenset({"eval", "exec", "compile", "__import__"})
CARRIES_CODE = frozenset({"pickle", "cPickle", "marshal", "shelve", "dill", "yaml", "code", "runpy"})
SHELLS = frozenset({("os", "system"), ("os", "popen")})
# Both import a module of ours by a name that stands in a table of the same file.
IMPORT_BY_NAME = frozenset({"cdc/settings/__init__.py", "cdc/cli/__init__.py"})

WALL_CLOCK = frozenset({"time", "time_ns", "now", "utcnow", "today"})
# Where the wall clock is told to somebody, and decides nothing: event and letter, health's start, a file's suffix, feedback's send time.
TELLS_THE_TIME = frozenset(
    {
        "cdc/encode/envelope.py",
        "cdc/recovery/dead_letters.py",
        "cdc/pipeline/report.py",
        "cdc/cli/checkpoint.py",
        "connectors/cdc_postgres/stream.py",
    }
)


def calls(tree: ast.AST) -> Iterator[tuple[str, str, ast.Call]]:
    """(owner, name) of every call: `time.time()` is ("time", "time"), `eval()` is ("", "eval")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield ast.unparse(node.func.value), node.func.attr, node
            elif isinstance(node.func, ast.Name):
                yield "", node.func.id, node


def asks_wall_clock(owner: str, name: str, _: ast.Call) -> bool:
    return name in WALL_CLOCK and owner.rpartition(".")[2] in {"", "time", "datetime", "date"}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    assert len(SOURCES) > 80
    return {name_of(source): ast.parse(source.read_text()) for source in SOURCES}


def test_S13_nothing_is_evaluated_unpickled_or_imported_by_a_name_that_is_given(trees: dict[str, ast.AST]) -> None:
    for path, tree in trees.items():
        called = list(calls(tree))
        assert [name for owner, name, _ in called if owner == "" and name in EVALUATES] == [], path
        assert [module for module in imports(tree) if module.partition(".")[0] in CARRIES_CODE] == [], path
        assert path in IMPORT_BY_NAME or all(name != "import_module" for _, name, _ in called), path
        assert all((owner, name) not in SHELLS for owner, name, _ in called), path
        assert all(keyword.arg != "shell" for _, _, call in called for keyword in call.keywords), path


def test_X5_only_the_monotonic_clock_decides(trees: dict[str, ast.AST]) -> None:
    asked = {path for path, tree in trees.items() if any(asks_wall_clock(*call) for call in calls(tree))}
    assert asked == TELLS_THE_TIME


def test_X5_the_wall_clock_is_never_compared(trees: dict[str, ast.AST]) -> None:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.While):
                assert not any(asks_wall_clock(*call) for call in calls(node)), path


HOSTILE = ('a"; DROP TABLE t; --', "a'b", "a.b", "A b", "п😀", "x\ny", '"', "$1", "%s", "a\\b", "select")


@pytest.mark.parametrize("name", HOSTILE)
def test_S14_a_name_cannot_end_its_quotes(name: str) -> None:
    quoted = quote_identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1].replace('""', "")
    assert quoted[1:-1].replace('""', '"') == name


@pytest.mark.parametrize("name", HOSTILE)
def test_S14_replication_commands_hold_names_in_quotes(name: str) -> None:
    quoted = quote_identifier(name)
    assert create_slot(name) == f"CREATE_REPLICATION_SLOT {quoted} LOGICAL pgoutput NOEXPORT_SNAPSHOT"
    command = start_replication(name, 0x10, name, messages=False)
    inside = command.partition("publication_names '")[2].rpartition("'")[0]
    assert command.startswith(f"START_REPLICATION SLOT {quoted} LOGICAL 0/10 (")
    assert inside.replace("''", "") == quoted.replace("'", ""), "a quote could end the option's value"
    assert inside.replace("''", "'") == quoted


def test_S14_a_null_character_is_no_name() -> None:
    with pytest.raises(SettingsError):
        quote_identifier("a\0b")


STATEMENT_WORDS = ("CREATE ", "ALTER ", "DROP ", "GRANT ", "SELECT ")
BARE = frozenset({"name", "schema", "slot", "publication", "database"})


def test_S14_what_a_statement_interpolates_is_not_a_bare_name(trees: dict[str, ast.AST]) -> None:
    """An f-string that begins like SQL takes an attribute of such a name only through a call that quotes it."""
    for path, tree in trees.items():
        if path.startswith("connectors/cdc_postgres/"):
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr) and ast.unparse(node)[2:].startswith(STATEMENT_WORDS):
                    assert not BARE & interpolated(node), f"{path}: {ast.unparse(node)}"


def interpolated(node: ast.JoinedStr) -> set[str]:
    """Names of the attributes that stand in the string as they are."""
    values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
    return {value.attr for value in values if isinstance(value, ast.Attribute)}
