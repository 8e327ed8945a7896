"""Dates and times: `DateStyle=ISO` to ISO 8601 extended, every digit the server sent kept.

Manual: "Date/Time Types". What differs from ISO 8601 in the server's text: a space for `T`, offsets without minutes,
`BC`, and years past 9999 without a sign. `infinity` and `-infinity` stay as they are. time and interval need no reader.
"""

from __future__ import annotations

import re
from typing import Final

from cdc_postgres.types.misfit import Misfit

_INFINITIES: Final = (b"infinity", b"-infinity")
_TIME: Final = rb"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_OFFSET: Final = rb"[+-][0-9]{2}(?::[0-9]{2}){0,2}"
_DATE: Final = rb"([0-9]{4,7})(-[0-9]{2}-[0-9]{2})"
_DATE_FORM = re.compile(_DATE + rb"()()( BC)?")
_TIMESTAMP_FORM = re.compile(_DATE + rb" (" + _TIME + rb")()( BC)?")
_TIMESTAMPTZ_FORM = re.compile(_DATE + rb" (" + _TIME + rb")(" + _OFFSET + rb")( BC)?")
_TIMETZ_FORM = re.compile(rb"(" + _TIME + rb")(" + _OFFSET + rb")")


def read_date(text: bytes) -> bytes:
    """`2024-02-29` as it is, `0044-03-15 BC` to `-0043-03-15`, `294276-12-31` to `+294276-12-31`."""
    if len(text) == 10 and text[4] == 0x2D:
        return text
    return _rebuild(_DATE_FORM, text, "date")


def read_timestamp(text: bytes) -> bytes:
    """`2024-02-29 13:14:15.12` to `2024-02-29T13:14:15.12`."""
    if text[10:11] == b" " and text[-1] != 0x43:  # not the C of BC
        return text[:10] + b"T" + text[11:]
    return _rebuild(_TIMESTAMP_FORM, text, "timestamp")


def read_timestamptz(text: bytes) -> bytes:
    """`2024-02-29 13:14:15.12+00` to `2024-02-29T13:14:15.12Z`."""
    if text[10:11] == b" " and text[-3:] == b"+00":
        return text[:10] + b"T" + text[11:-3] + b"Z"
    return _rebuild(_TIMESTAMPTZ_FORM, text, "timestamptz")


def read_timetz(text: bytes) -> bytes:
    """`13:14:15+02` to `13:14:15+02:00`; an offset to the second stays one."""
    found = _TIMETZ_FORM.fullmatch(text)
    if found is None:
        raise Misfit("timetz")
    return text + b":00" if len(found[2]) == 3 else text


def _rebuild(form: re.Pattern[bytes], text: bytes, type_name: str) -> bytes:
    """The rare forms: infinities, years before 1 and past 9999, an offset that is not UTC's."""
    found = form.fullmatch(text)
    if found is None:
        if text in _INFINITIES:
            return text
        raise Misfit(type_name)
    year, days, time, offset, era = found.groups()
    date = _year(int(year), era is not None) + days
    return date + b"T" + time + _offset(offset) if time else date


def _year(year: int, before_christ: bool) -> bytes:
    """ISO 8601's astronomical year: 1 BC is 0000, 44 BC is -0043; past 9999 with a sign."""
    if before_christ:
        return b"%05d" % (1 - year) if year > 1 else b"0000"
    return b"+%d" % year if year > 9999 else b"%04d" % year


def _offset(offset: bytes) -> bytes:
    """`Z` for UTC, else with minutes: the session is not pinned then, but the instant is right all the same."""
    if offset == b"+00":
        return b"Z"
    return offset + b":00" if len(offset) == 3 else offset
