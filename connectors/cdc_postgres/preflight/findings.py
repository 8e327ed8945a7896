"""Short forms for the three kinds of finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from cdc.model.finding import Finding, Severity
from cdc_postgres.survey import Survey

Section: TypeAlias = Callable[[Survey], Iterator[Finding]]


def ok(subject: str, detail: str) -> Finding:
    return Finding(Severity.OK, subject, detail)


def warning(subject: str, detail: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, subject, detail, fix)


def error(subject: str, detail: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, subject, detail, fix)
