"""Exceptions as text that holds no row's value and no secret: types and places, and the words of our own errors only.

A driver's message may quote the row it failed on; ours never do (see `cdc.errors`), so only ours are shown.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Final

from cdc.errors import CdcError
from cdc.observe.scrub import scrub

# A recursion error has a thousand frames; the ends tell what it was.
_MOST_FRAMES: Final = 40


def headline(error: BaseException) -> str:
    """The type; for our own errors the message, for the system's the name of its number."""
    name = type(error).__qualname__
    if isinstance(error, CdcError):
        return f"{name}: {scrub(str(error))}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: {errno.errorcode.get(error.errno, error.errno)}"
    return name


def report(error: BaseException) -> str:
    """The error and what it came from, the first cause last: a headline each, and its frames, innermost last."""
    return "\ncaused by ".join("\n".join([headline(each), *_frames(each.__traceback__)]) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _frames(traceback: TracebackType | None) -> list[str]:
    lines = []
    while traceback is not None:
        lines.append(f"  {_place(traceback)}")
        traceback = traceback.tb_next
    if len(lines) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        lines[half:-half] = [f"  … {len(lines) - _MOST_FRAMES} more"]
    return lines


def _place(traceback: TracebackType) -> str:
    """`cdc/pipeline/pump.py:88 turn`: the file as seen from its import root, whatever the machine."""
    frame = traceback.tb_frame
    file = PurePath(frame.f_code.co_filename)
    depth = str(frame.f_globals.get("__name__", "")).count(".") + 1 + (file.name == "__init__.py")
    return f"{'/'.join(file.parts[-depth:])}:{traceback.tb_lineno} {frame.f_code.co_qualname}"
