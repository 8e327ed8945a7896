"""S8, X15: what the operator reads, and what nobody may read: no secret, no row's value, no storm."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from cdc.errors import CdcError, SourceOutage
from cdc.model.finding import Fault
from cdc.observe import logs, scrub
from cdc.observe.failure import report
from cdc.observe.logs import RateLimit, configure, get_logger, register_secret
from cdc.observe.scrub import Scrubber

SECRET = "s3cr3t/Pä'ß\"w%rd"
VALUE = "value-of-a-row-4711"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `configure` sets for the process, put back."""
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    handlers = logging.getLogger().handlers[:]
    monkeypatch.setattr(scrub, "_PROCESS", Scrubber())
    yield
    logging.getLogger().handlers = handlers
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def fail_with_the_row() -> None:
    row = {"name": VALUE, "password": SECRET}
    try:
        row[f"{row} does not fit"]
    except KeyError as error:
        raise ValueError(f"bad row {row}") from error


def caught(fail: Callable[[], None]) -> BaseException:
    with pytest.raises((ValueError, OSError, SourceOutage)) as info:
        fail()
    return info.value


def test_a_line_says_what_when_and_what_to_do() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    outage = SourceOutage("the server at db:5432 refuses connections", fault="source-down", action="Start it.")
    get_logger(name="shop").warning("source lost", error=outage, attempt=3)
    [line] = lines(stream)
    assert list(line)[:5] == ["timestamp", "level", "event", "fault", "action"]
    timestamp = line.pop("timestamp")
    assert len(timestamp) == len("2026-01-01T00:00:00.000000Z") and timestamp.endswith("Z")
    assert line == {
        "level": "warning",
        "event": "source lost",
        "fault": "source-down",
        "action": "Start it.",
        "name": "shop",
        "error": "the server at db:5432 refuses connections",
        "attempt": 3,
    }


def test_a_fault_of_the_catalogue_brings_its_action() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    get_logger().error("sink refuses", fault=Fault("topic-missing", heals=True, action="Create it."))
    assert [(line["fault"], line["action"]) for line in lines(stream)] == [("topic-missing", "Create it.")]


def test_levels_below_the_setting_are_not_written() -> None:
    stream = io.StringIO()
    configure(level="warning", stream=stream)
    get_logger().info("unseen")
    get_logger().warning("seen")
    assert [line["event"] for line in lines(stream)] == ["seen"]


def test_a_terminal_gets_colours_and_nothing_it_would_obey() -> None:
    terminal = Terminal()
    configure(stream=terminal)
    get_logger().info("table joined", table='evil"\x1b]0;title\x07\r')
    text = terminal.getvalue()
    assert "\x1b[" in text
    assert "\x1b]" not in text and "\x07" not in text and "\r" not in text
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)


def test_console_without_a_terminal_has_no_colours() -> None:
    stream = io.StringIO()
    configure(format="console", stream=stream)
    get_logger().info("hello", exc_info=caught(fail_with_the_row))
    assert "\x1b" not in stream.getvalue()
    assert "fail_with_the_row" in stream.getvalue()


def test_json_on_a_terminal_when_asked() -> None:
    terminal = Terminal()
    configure(format="json", stream=terminal)
    get_logger().info("hello")
    assert lines(terminal)[0]["event"] == "hello"


def everything(log: structlog.typing.FilteringBoundLogger) -> None:
    """One line for each way in which a secret or a value could come here."""
    error = caught(fail_with_the_row)
    log.info("as text", dsn=f"postgresql://me:{SECRET}@host", nested={"a": [SECRET, (SECRET,)], SECRET: 1})
    log.info(f"in the event {SECRET}")
    log.info("as a path", path=Path("/x") / SECRET)
    log.error("as an error", error=error)
    log.error("as our error", error=CdcError(f"login with {SECRET} failed", action=f"not {SECRET}"))
    log.error("as a traceback", exc_info=error)
    log.error("as exc_info of the moment", exc_info=(type(error), error, error.__traceback__))
    log.info("as bytes", cell=VALUE.encode(), view=memoryview(VALUE.encode()))
    log.info("as an object", row=Row())
    log.info("in a list", errors=[error])
    logging.getLogger("driver").warning("connecting with %s", SECRET)
    logging.getLogger("driver2").error("lost", exc_info=error)
    sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=fail_with_the_row)
    thread.start()
    thread.join()


class Row:
    def __repr__(self) -> str:
        return VALUE

    __str__ = __repr__


@pytest.mark.parametrize("format", ["json", "console"])
def test_S8_no_secret_and_no_value_whatever_the_way(
    format: logs.Format, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register_secret(SECRET)
    configure(format=format)
    everything(get_logger())
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("***") >= 8
    assert err.count("fail_with_the_row") >= 4
    for canary in (SECRET, VALUE, repr(SECRET)[1:-1], "s3cr3t"):
        assert canary not in err


def test_S8_python_itself_prints_nothing_of_a_dying_process() -> None:
    code = f"""
from cdc.observe.logs import configure
configure()
class Broken:
    def __del__(self):
        raise ValueError({VALUE!r})
Broken()
import warnings; warnings.warn("old")
def turn(row):
    raise ValueError(f"cannot {{row}}")
turn({VALUE!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    told = [orjson.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in told] == [
        "exception where none can be raised",
        "a library reports",
        "uncaught exception",
    ]
    assert told[-1]["exception"].startswith("ValueError\n  ")
    assert VALUE not in done.stderr


def test_a_report_has_types_frames_and_the_words_of_our_own_errors() -> None:
    def fail() -> None:
        try:
            fail_with_the_row()
        except ValueError as error:
            raise SourceOutage("the server went away") from error

    told = report(caught(fail)).splitlines()
    assert told[0] == "SourceOutage: the server went away"
    assert [line for line in told if not line.startswith("  ")] == [
        "SourceOutage: the server went away",
        "caused by ValueError",
        "caused by KeyError",
    ]
    assert told[-1].startswith("  tests/unit/test_logs.py:") or told[-1].startswith("  test_logs.py:")
    assert told[-1].endswith(" fail_with_the_row")
    assert str(Path.cwd()) not in "\n".join(told)


def test_a_report_names_the_systems_error_and_stays_short() -> None:
    def recurse(depth: int = 0) -> None:
        if depth == 500:
            raise FileNotFoundError(2, "No such file", VALUE)
        recurse(depth + 1)

    told = report(caught(recurse)).splitlines()
    assert told[0] == "FileNotFoundError: ENOENT"
    assert len(told) < 50
    assert any("more" in line for line in told)


def test_a_report_of_a_circle_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert report(first) == "ValueError\ncaused by KeyError"


def test_secrets_in_every_spelling_and_the_longest_first() -> None:
    scrubber = Scrubber()
    assert scrubber.scrub("nothing is secret yet") == "nothing is secret yet"
    scrubber.register("")
    scrubber.register("pass")
    scrubber.register("passport\n")
    scrubber.register('a"b c/d')
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nab\n-----END KEY-----\n"
    scrubber.register(key)
    assert scrubber.scrub("pass passport") == "*** ***"
    assert scrubber.scrub('a"b c/d a%22b%20c%2Fd a\\"b c/d a%22b+c%2Fd') == "*** *** *** ***"
    assert scrubber.scrub("line MIIEvQIBADANBgkqhkiG9w0 of -----BEGIN KEY-----") == "line *** of -----BEGIN KEY-----"


def test_values_that_no_json_holds_are_told_all_the_same() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    get_logger().info("odd", big=2**70, surrogate="\ud800", nan=float("nan"), set={1}, none=None, key={1: 2})
    [line] = lines(stream)
    assert (line["big"], line["surrogate"], line["nan"], line["set"]) == (str(2**70), "?", None, [1])


def test_X15_a_storm_is_one_line_a_minute_with_a_count() -> None:
    now = 0.0
    limit = RateLimit(60.0, clock=lambda: now)

    def say(**line: Any) -> dict[str, Any] | None:
        try:
            return dict(limit(None, "warning", {"event": "lost", **line}))
        except structlog.DropEvent:
            return None

    assert say(fault="down", attempt=1) == {"event": "lost", "fault": "down", "attempt": 1}
    for attempt in range(100):
        assert say(fault="down", attempt=attempt) is None
    assert say(fault="other") is not None
    assert say(fault="down", table="public.a") is not None
    now = 59.9
    assert say(fault="down") is None
    now = 60.0
    assert say(fault="down") == {"event": "lost", "fault": "down", "suppressed": 101}
    assert say(fault="down", limited=False) == {"event": "lost", "fault": "down"}


def test_X15_a_flood_of_different_lines_costs_bounded_memory() -> None:
    limit = RateLimit()
    for table in range(5_000):
        limit(None, "warning", {"event": "lost", "table": str(table)})
    assert len(limit._seen) <= RateLimit._MOST


def test_a_reader_that_went_away_does_not_end_us() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    stream.close()
    get_logger().error("nobody hears this")


def test_without_configure_nothing_goes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    get_logger().info("early")
    out, err = capfd.readouterr()
    assert out == ""
    assert orjson.loads(err)["event"] == "early"


def test_warnings_of_libraries_become_lines() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [(line["fault"], "old" in line["says"]) for line in lines(stream)] == [("py.warnings", True)]
