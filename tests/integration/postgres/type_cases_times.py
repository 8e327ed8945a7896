"""Dates and times of the types' table: years from 4713 BC on, every digit of a second, offsets to the second."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from cdc.model.types import LogicalType
from tests.integration.postgres.type_samples import Sample, TypeCase, pairs, same

_INFINITIES = pairs(("infinity", "infinity"), ("-infinity", "-infinity"))


# From Python's numbers to both texts. Years are astronomical: 0 is 1 BC.


def _server_year(year: int) -> tuple[str, str]:
    return (f"{1 - year:04d}", " BC") if year < 1 else (f"{year:04d}", "")


def _iso_year(year: int) -> str:
    if year > 9999:
        return f"+{year}"
    return f"-{-year:04d}" if year < 0 else f"{year:04d}"


def _fraction(micros: int, digits: int = 6) -> str:
    """A fraction as the server prints it: no zeros at the end, no point before nothing."""
    shown = f"{micros:06d}"[:digits].rstrip("0")
    return f".{shown}" if shown else ""


def _clock(micros: int, digits: int = 6) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{_fraction(rest, digits)}"


def _month_day(year: int, month: int, day: int) -> str:
    # The calendar repeats every 400 years; Python's begins with the year 1.
    return f"{month:02d}-{min(day, calendar.monthrange(year % 400 + 400, month)[1]):02d}"


def _date(year: int, month: int, day: int) -> Sample:
    shown, era = _server_year(year)
    rest = _month_day(year, month, day)
    return Sample(f"{shown}-{rest}{era}", f"{_iso_year(year)}-{rest}".encode())


def _timestamp(digits: int, zone: tuple[str, str]) -> st.SearchStrategy[Sample]:
    def build(year: int, month: int, day: int, micros: int) -> Sample:
        micros -= micros % 10 ** (6 - digits)
        shown, era = _server_year(year)
        rest, clock = _month_day(year, month, day), _clock(micros)
        return Sample(f"{shown}-{rest} {clock}{zone[0]}{era}", f"{_iso_year(year)}-{rest}T{clock}{zone[1]}".encode())

    return st.builds(build, _years(-4712, 294_275), st.integers(1, 12), st.integers(1, 31), _MICROS)


def _offset_timestamp(local: datetime, minutes: int) -> Sample:
    """Given with an offset, it comes out in UTC."""
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    utc = moment.astimezone(UTC)
    clock = utc.strftime("%H:%M:%S") + _fraction(utc.microsecond)
    return Sample(moment.isoformat(), f"{utc.year:04d}-{utc:%m-%d}T{clock}Z".encode())


def _years(first: int, last: int) -> st.SearchStrategy[int]:
    return st.integers(1, 9999) | st.integers(first, last) | st.integers(-50, 3)


def _offset(seconds: int) -> str:
    size = abs(seconds)
    shown = f"{'-' if seconds < 0 else '+'}{size // 3600:02d}:{size // 60 % 60:02d}"
    return f"{shown}:{size % 60:02d}" if size % 60 else shown


def _timetz(micros: int, seconds: int) -> Sample:
    text = f"{_clock(micros)}{_offset(seconds)}"
    return Sample(text, text.encode())


def _signed(number: int, unit: str) -> str:
    return f"{number}{unit}" if number else ""


def _interval(months: int, days: int, micros: int) -> Sample:
    """Each part of a duration has its own sign; those of one number share theirs."""
    sign, size = (-1 if months < 0 else 1), abs(months)
    date = _signed(sign * (size // 12), "Y") + _signed(sign * (size % 12), "M") + _signed(days, "D")
    sign, size = (-1 if micros < 0 else 1), abs(micros)
    seconds, rest = divmod(size, 1_000_000)
    time = _signed(sign * (seconds // 3600), "H") + _signed(sign * (seconds // 60 % 60), "M")
    if seconds % 60 or rest:
        time += f"{'-' if sign < 0 else ''}{seconds % 60}{_fraction(rest)}S"
    shown = f"P{date}T{time}" if time else f"P{date}"
    given = f"{'-' if sign < 0 else ''}{size // 1_000_000}.{size % 1_000_000:06d} seconds"  # as one number of microseconds too large for 13
    return Sample(f"{months} months {days} days {given}", (shown if date or time else "PT0S").encode())


_MICROS = st.integers(0, 86_399_999_999)
_DAYS = (st.integers(1, 12), st.integers(1, 31))
_INT32 = st.integers(-(2**31) + 1, 2**31 - 1) | st.integers(-30, 30)

# The server's own opinion, by way of extract and to_char instead of the output function.
_YEAR = """(SELECT CASE WHEN y > 9999 THEN '+' || y WHEN y < 0 THEN '-' || lpad((-y)::text, 4, '0')
    ELSE lpad(y::text, 4, '0') END
    FROM (SELECT extract(year FROM v)::int + (extract(year FROM v) < 0)::int AS y) AS astronomical)"""
_DATE = _YEAR + " || '-' || lpad(extract(month FROM v)::text, 2, '0') || '-' || lpad(extract(day FROM v)::text, 2, '0')"
_TIME = "to_char({}, 'HH24:MI:SS') || rtrim(rtrim(to_char({}, '.US'), '0'), '.')"
_DATE_TIME = _DATE + " || 'T' || " + _TIME.format("v", "v")


TIME_CASES = [
    TypeCase(
        "date",
        "date",
        LogicalType.DATE,
        st.builds(_date, _years(-4712, 5_874_896), *_DAYS),
        (
            *_INFINITIES,
            *pairs(
                ("2024-02-29", "2024-02-29"),
                ("0044-03-15 BC", "-0043-03-15"),
                ("0001-12-31 BC", "0000-12-31"),
                ("4714-11-24 BC", "-4713-11-24"),
                ("10000-01-01", "+10000-01-01"),
                ("5874897-12-31", "+5874897-12-31"),
            ),
        ),
        server=_DATE,
    ),
    TypeCase(
        "time",
        "time, time(4–6)",
        LogicalType.TIME,
        _MICROS.map(lambda micros: Sample(_clock(micros), _clock(micros).encode())),
        same("00:00:00", "24:00:00", "23:59:59.999999", "13:14:15.12"),
        server=_TIME.format("v", "v"),
    ),
    TypeCase(
        "time(2)",
        "time(0–3)",
        LogicalType.TIME,
        st.integers(0, 8_639_999).map(lambda cents: Sample(_clock(cents * 10_000), _clock(cents * 10_000).encode())),
        pairs(("13:14:15.126", "13:14:15.13"), ("23:59:59.999", "24:00:00")),
    ),
    TypeCase(
        "timetz",
        "timetz",
        LogicalType.TIMETZ,
        st.builds(
            _timetz, _MICROS, st.integers(-57_599, 57_599) | st.integers(-15, 15).map(lambda hours: hours * 3600)
        ),
        pairs(
            ("13:14:15.123456+02", "13:14:15.123456+02:00"),
            ("24:00:00+00", "24:00:00+00:00"),
            ("12:00:00-05:30", "12:00:00-05:30"),
            ("00:00:00+15:59:59", "00:00:00+15:59:59"),
        ),
    ),
    TypeCase(
        "timestamp",
        "timestamp, (4–6)",
        LogicalType.TIMESTAMP,
        _timestamp(6, ("", "")),
        (
            *_INFINITIES,
            *pairs(
                ("2024-02-29 13:14:15.123456", "2024-02-29T13:14:15.123456"),
                ("2024-02-29 24:00:00", "2024-03-01T00:00:00"),
                ("4714-11-24 00:00:00 BC", "-4713-11-24T00:00:00"),
                ("294276-12-31 23:59:59.999999", "+294276-12-31T23:59:59.999999"),
            ),
        ),
        server=_DATE_TIME,
    ),
    TypeCase(
        "timestamp(2)",
        "timestamp(0–3)",
        LogicalType.TIMESTAMP,
        _timestamp(2, ("", "")),
        pairs(("2024-02-29 13:14:15.126", "2024-02-29T13:14:15.13")),
        server=_DATE_TIME,
    ),
    TypeCase(
        "timestamptz",
        "timestamptz(n)",
        LogicalType.TIMESTAMPTZ,
        _timestamp(6, ("+00", "Z"))
        | st.builds(
            _offset_timestamp,
            st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),
            st.integers(-15 * 60, 15 * 60),
        ),
        (
            *_INFINITIES,
            *pairs(
                ("2024-02-29 13:14:15.123456+02", "2024-02-29T11:14:15.123456Z"),
                ("0001-01-01 00:00:00+00 BC", "0000-01-01T00:00:00Z"),
                ("4714-11-24 00:00:00+00 BC", "-4713-11-24T00:00:00Z"),
                ("294276-12-31 23:59:59.999999+00", "+294276-12-31T23:59:59.999999Z"),
            ),
        ),
        server=_DATE_TIME + " || 'Z'",
    ),
    TypeCase("timestamptz(0)", "timestamptz(n)", LogicalType.TIMESTAMPTZ, _timestamp(0, ("+00", "Z")), _INFINITIES),
    TypeCase(
        "interval",
        "interval",
        LogicalType.INTERVAL,
        st.builds(_interval, _INT32, _INT32, st.integers(-(10**15), 10**15) | st.integers(-(10**8), 10**8)),
        pairs(
            ("1 year 2 mons 3 days 04:05:06.7", "P1Y2M3DT4H5M6.7S"),
            ("0", "PT0S"),
            ("-1 year 2 mons -3 days +04:05:06.7", "P-10M-3DT4H5M6.7S"),
            ("-0.000001 s", "PT-0.000001S"),
            ("-1 mon +1 day -1 us", "P-1M1DT-0.000001S"),
            ("178000000 years", "P178000000Y"),
        ),
        ((17, Sample("infinity", b"infinity")), (17, Sample("-infinity", b"-infinity"))),
    ),
]
