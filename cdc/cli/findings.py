"""Findings on the terminal: a line each, what mends it below."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import orjson

from cdc.model.finding import Finding, Severity
from cdc.observe.scrub import scrub

_COLOURS: Final = {Severity.OK: "32", Severity.WARNING: "33", Severity.ERROR: "31"}
_WIDEST_SUBJECT: Final = 30


def as_text(findings: Sequence[Finding], coloured: bool) -> str:
    width = min(max((len(finding.subject) for finding in findings), default=0), _WIDEST_SUBJECT)
    lines = []
    for finding in findings:
        severity = f"{finding.severity.value:<8}"
        shown = f"\x1b[{_COLOURS[finding.severity]}m{severity}\x1b[0m" if coloured else severity
        lines.append(f"{shown} {finding.subject:<{width}}  {_line(finding.detail)}")
        if finding.fix:
            lines.append(f"{'':<8} fix: {_line(finding.fix)}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects; `fix` is empty where nothing is wrong."""
    return orjson.dumps(
        [
            {
                "severity": each.severity.value,
                "subject": each.subject,
                "detail": scrub(each.detail),
                "fix": scrub(each.fix),
            }
            for each in findings
        ],
        option=orjson.OPT_INDENT_2,
    ).decode()


def summary(findings: Sequence[Finding]) -> str:
    def count(severity: Severity, word: str) -> str:
        number = sum(finding.severity is severity for finding in findings)
        return f"{number or 'no'} {word}{'' if number == 1 else 's'}"

    return f"{count(Severity.ERROR, 'error')}, {count(Severity.WARNING, 'warning')}"


def failed(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def on_terminal() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _line(text: str) -> str:
    """Names may hold line breaks and worse: one finding stays one line, and the terminal obeys nobody's table."""
    return scrub("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))
