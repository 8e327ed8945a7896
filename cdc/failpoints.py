"""Named places where a test may kill, fail or stall this process; nothing at run time.

Armed by the environment when the process starts and by nothing else. `FAILPOINTS` is a list of `name=action[@n]`
separated by `;`, where `@n` means at the n-th hit only (else at each) and the action is one of

- `kill`: SIGKILL to ourselves; `stop`: SIGSTOP to ourselves; `sleep:seconds`
- `raise[:error]`: a builtin exception (OSError by default), one of `cdc.errors`, or an errno's name (`raise:ENOSPC`)

`FAILPOINTS_LOG` names a file to which each name is appended at its first hit, so that a test can prove it was reached.
`SABOTAGE` names one promise to break on purpose, so that the suite can prove its own teeth.

Names are string literals at the place of the call: the tests find them in the source. Bind the function by
`from cdc.failpoints import hit`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Sabotage = Literal["confirm-before-ack", "checkpoint-before-ack", "drop-one-row-after-rewind"]


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    act: Callable[[], None]
    at: int | None


class Failpoints:
    """What the environment asked for, and how often each name was hit. Counts are not exact across threads."""

    def __init__(self, specification: str, log: str = "") -> None:
        self._rules = [_parse(item) for item in specification.split(";") if item.strip()]
        self._log = log
        self._hits: dict[str, int] = {}

    def hit(self, name: str, /) -> None:
        count = self._hits[name] = self._hits.get(name, 0) + 1
        if count == 1 and self._log:
            _append_line(self._log, name)
        for rule in self._rules:
            if rule.name == name and rule.at in (None, count):
                rule.act()

    def reached(self) -> set[str]:
        return set(self._hits)


def _append_line(path: str, line: str) -> None:
    # One unbuffered write: in the file before a `kill` at the same place, and whole beside other processes' lines.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _parse(item: str) -> _Rule:
    name, separator, rest = item.strip().partition("=")
    action, counted, at = rest.partition("@")
    if not name or not separator or (counted and not at.isdecimal()) or at == "0":
        raise ValueError(f"FAILPOINTS: cannot read {item!r}: expected name=action[@n]")
    kind, _, argument = action.partition(":")
    return _Rule(name, _action(kind, argument), int(at) if at else None)


def _action(kind: str, argument: str) -> Callable[[], None]:
    match kind:
        case "kill" | "stop":
            return _signal(kind)
        case "sleep":
            return _sleep(argument)
        case "raise":
            return _raise(_error(argument or "OSError"))
    raise ValueError(f"FAILPOINTS: {kind!r} is none of kill, raise, sleep, stop")


def _signal(kind: str) -> Callable[[], None]:
    import signal

    number = signal.SIGKILL if kind == "kill" else signal.SIGSTOP
    return lambda: os.kill(os.getpid(), number)


def _sleep(argument: str) -> Callable[[], None]:
    import time

    try:
        seconds = float(argument)
    except ValueError:
        raise ValueError(f"FAILPOINTS: cannot sleep {argument!r} seconds") from None
    return lambda: time.sleep(seconds)


def _raise(make: Callable[[], BaseException]) -> Callable[[], None]:
    def act() -> None:
        raise make()

    return act


def _error(name: str) -> Callable[[], BaseException]:
    """Looked up by name in three closed tables; nothing is imported or evaluated from the environment."""
    import builtins
    import errno

    import cdc.errors

    number = getattr(errno, name, None)
    if isinstance(number, int):
        return lambda: OSError(number, f"failpoint: {os.strerror(number)}")
    found = vars(cdc.errors).get(name) or vars(builtins).get(name)
    if isinstance(found, type) and issubclass(found, BaseException):
        return lambda: found("failpoint")
    raise ValueError(f"FAILPOINTS: {name!r} is no builtin exception, no error of cdc.errors and no errno")


def _nothing(name: str, /) -> None:
    """What `hit` is unless the process was started with failpoints: one empty call."""


def _armed(environ: Mapping[str, str]) -> Callable[[str], None]:
    specification, log = environ.get("FAILPOINTS", ""), environ.get("FAILPOINTS_LOG", "")
    return Failpoints(specification, log).hit if specification or log else _nothing


def _broken_promise(environ: Mapping[str, str]) -> str:
    name = environ.get("SABOTAGE", "")
    if name and name not in get_args(Sabotage):
        raise ValueError(f"SABOTAGE={name!r} is none of {', '.join(get_args(Sabotage))}")
    return name


hit: Final[Callable[[str], None]] = _armed(os.environ)
_SABOTAGE: Final = _broken_promise(os.environ)


def sabotaged(name: Sabotage) -> bool:
    """Whether the suite asked to break this promise. Ask once, when an object is made, not for each event."""
    return name == _SABOTAGE
