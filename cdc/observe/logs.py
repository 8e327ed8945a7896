"""Logs by structlog, to stderr only (stdout belongs to the `stdout:` sink): JSON, or coloured on a terminal.

A line says what happened in `event`, the catalogue's name for it in `fault`, what the operator does in `action`. Hand
over an error as `error=` (or a `Fault` as `fault=`) and both are filled in; `exc_info=True` adds where it came from.
Values that are neither plain nor known to be harmless are shown as their type: bytes and objects may be a row.

Loading this costs a tenth of a second: commands that answer at once do without it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from cdc.errors import CdcError
from cdc.model.finding import Fault
from cdc.observe.failure import headline, report
from cdc.observe.scrub import register_secret, scrub

__all__ = ["Format", "Level", "RateLimit", "configure", "get_logger", "register_secret"]

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

_FIRST: Final = ("timestamp", "level", "event", "fault", "action")


def get_logger(**context: Any) -> FilteringBoundLogger:
    """A logger with `context` in every line. Without `configure` it has our defaults: structlog's write to stdout."""
    if not structlog.is_configured():
        _configure_structlog("info", "auto", None)
    logger: FilteringBoundLogger = structlog.get_logger(**context)
    return logger


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:
    """Once, when a long-running command starts: our lines, the libraries' and what Python itself would print."""
    _configure_structlog(level, format, stream)
    log = get_logger()
    _adopt_libraries(log)
    _adopt_uncaught(log)


def _configure_structlog(level: Level, format: Format, stream: TextIO | None) -> None:
    terminal = (stream or sys.stderr).isatty()
    console = format == "console" or (format == "auto" and terminal)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        _name_the_fault,
        RateLimit(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_the_exception,
        _make_harmless,
        *([_visible, structlog.dev.ConsoleRenderer(colors=terminal, sort_keys=False)] if console else [_as_json]),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Where the rendered lines go. A reader that went away must not end the connector, so a failed write is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):  # broken pipe, or closed
            return

    debug = info = warning = error = critical = write


def _name_the_fault(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    error, fault = line.get("error"), line.get("fault")
    if isinstance(error, CdcError):
        line["error"] = str(error)
        line.setdefault("fault", error.fault)
        if error.action:
            line.setdefault("action", error.action)
    elif isinstance(error, BaseException):
        line["error"] = headline(error)
    if isinstance(fault, Fault):
        line["fault"] = fault.name
        line.setdefault("action", fault.action)
    return line


class RateLimit:
    """The same line (event, fault, table) at most once in `seconds`; the next one says how many were `suppressed`.

    A line that is written on a clock by itself says `limited=False`.
    """

    _MOST = 1_000  # tables come from the source; this bounds what they can make us remember

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[tuple[str, ...], tuple[float, int]] = {}

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        if not line.pop("limited", True):
            return line
        now = self._clock()
        key = tuple(str(line.get(name, "")) for name in ("event", "fault", "table"))
        last, suppressed = self._seen.get(key, (now - self._seconds, 0))
        if now - last < self._seconds:
            self._seen[key] = (last, suppressed + 1)
            raise structlog.DropEvent
        if len(self._seen) >= self._MOST:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if suppressed:
            line["suppressed"] = suppressed
        return line


def _tell_the_exception(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """In place of structlog's own, which shows messages, source lines and, if asked, local variables."""
    told = line.pop("exc_info", None)
    error = told[1] if isinstance(told, tuple) else sys.exception() if told is True else told
    if isinstance(error, BaseException):
        line["exception"] = report(error)
    return line


def _make_harmless(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    ordered = [*(name for name in _FIRST if name in line), *(name for name in line if name not in _FIRST)]
    return {name: _harmless(line[name]) for name in ordered}


def _harmless(value: Any) -> Any:
    harmless: Any = f"<{type(value).__name__}>"
    match value:
        case None | bool() | float():
            harmless = value
        case int():
            harmless = value if -(2**63) <= value < 2**64 else str(value)  # orjson's range
        case str() | PurePath():
            harmless = scrub(str(value).encode(errors="replace").decode())
        case bytes() | bytearray() | memoryview():
            harmless = f"<{len(value)} bytes>"
        case BaseException():
            harmless = headline(value)
        case Mapping():
            harmless = {scrub(str(key)): _harmless(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            harmless = [_harmless(each) for each in value]
    return harmless


def _as_json(_: WrappedLogger, __: str, line: EventDict) -> str:
    return orjson.dumps(line).decode()


def _visible(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """A table's name may hold what a terminal would obey; JSON escapes it, the console must too."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in line.items()}


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


class _Forward(logging.Handler):
    """What libraries say through `logging`: their words, scrubbed of secrets; a traceback is told our way."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say("a library reports", fault=record.name, says=record.getMessage(), exc_info=record.exc_info)


def _adopt_libraries(log: FilteringBoundLogger) -> None:
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Forward)]
    root.addHandler(_Forward(log))
    logging.captureWarnings(True)


def _adopt_uncaught(log: FilteringBoundLogger) -> None:
    """Python's own printing shows messages and source lines: a row's value may stand in either."""

    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        log.error("uncaught exception", exc_info=error, limited=False)

    def uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
        log.error("uncaught exception in a thread", exc_info=told.exc_value, limited=False)

    def unraisable(told: sys.UnraisableHookArgs) -> None:
        log.error("exception where none can be raised", exc_info=told.exc_value, limited=False)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable
