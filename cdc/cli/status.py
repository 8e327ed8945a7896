"""`cdc status`: how the running connector is, for people or as JSON. Exit 0 when it is ready, else 1."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any, Final

from cdc.cli.health import question
from cdc.cli.options import add_env_file

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")


def configure(parser: ArgumentParser) -> None:
    add_env_file(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: Namespace) -> int:
    document = question(args.env_file)
    print(json.dumps(document, ensure_ascii=False) if args.format == "json" else table(document))
    return 0 if document["ready"] else 1


def table(document: dict[str, Any]) -> str:
    """Two columns; a row for what is known only."""
    rows = [
        ("connector", document.get("name")),
        ("state", document["state"]),
        ("ready", "yes" if document["ready"] else "no"),
        *(("", reason) for reason in document["reasons"]),
        ("position", document.get("position")),
        ("lag", _lag(document)),
        ("retained log", _size(document.get("retained_bytes"))),
        ("last progress", _ago(document.get("progress_age_seconds"))),
        ("checkpoint", _checkpoint(document)),
        ("events", _count(document.get("events"))),
        ("records", _count(document.get("records"))),
        ("sent", _size(document.get("bytes"))),
        ("duplicates suppressed", _count(document.get("duplicates_suppressed"))),
        ("rewinds", _count(document.get("rewinds"))),
        ("running since", document.get("since")),
        ("process", document.get("pid")),
        ("version", _version(document)),
    ]
    return "\n".join(f"{name:<23}{value}" for name, value in rows if value not in (None, ""))


def _lag(document: dict[str, Any]) -> str | None:
    size, seconds = _size(document.get("lag_bytes")), document.get("lag_seconds")
    if size is None:
        return None
    return size if seconds is None else f"{size}, {seconds:.1f} s"


def _checkpoint(document: dict[str, Any]) -> str | None:
    ago = _ago(document.get("checkpoint_age_seconds"))
    return None if ago is None else f"generation {document['checkpoint_generation']}, saved {ago}"


def _version(document: dict[str, Any]) -> str | None:
    return f"{document['version']} ({document['build']})" if "version" in document else None


def _ago(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.1f} s ago"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _size(number: int | None) -> str | None:
    """Binary units, one digit: what an operator compares with the server's own settings."""
    if number is None or number < 1024:
        return None if number is None else f"{number} B"
    power = min((number.bit_length() - 1) // 10, len(_UNITS))
    return f"{number / 1024**power:.1f} {_UNITS[power - 1]}"
