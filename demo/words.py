"""Events as styled text, the same for the live screen and for plain lines."""

from __future__ import annotations

import time
from typing import Any, Final

from rich.text import Text

from demo.reader import Arrival

OPS: Final = {
    "c": ("insert", "bold green"),
    "u": ("update", "bold yellow"),
    "d": ("delete", "bold red"),
}
_ALTERED: Final = "bold magenta"
_OLD: Final = "red"
_NEW: Final = "green"
_LONGEST_VALUE: Final = 28
_UNITS: Final = ("KiB", "MiB", "GiB")


def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment * 1000) % 1000:03d}"


def op_text(op: str) -> Text:
    name, style = OPS.get(op, (op, "bold"))
    return Text(name, style)


def key_text(arrival: Arrival) -> Text:
    return Text(" ".join(f"{name}={value}" for name, value in arrival.key.items()), "cyan")


def change_text(arrival: Arrival) -> Text:
    """What the event says has changed: before → after where it carries both."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if arrival.columns:
        text.append(f"[{arrival.columns}] ", _ALTERED)
    if arrival.before is not None and arrival.after is not None:
        return _both(text, arrival.before, arrival.after)
    if arrival.after is not None:
        return _one(text, arrival.after, arrival.key, _NEW)
    return _one(text, arrival.before or {}, arrival.key, _OLD)


def line(arrival: Arrival) -> Text:
    """One plain line."""
    parts = Text(f"{clock(arrival.at)}  ")
    parts.append_text(op_text(arrival.op)).append(f"  {arrival.table:<11} ")
    parts.append_text(key_text(arrival)).append("  ")
    return parts.append_text(change_text(arrival)).append(f"  ({milliseconds(arrival.latency)})", "dim")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def size(number: int | None) -> str:
    if number is None:
        return "?"
    if number < 1024:
        return f"{number} B"
    power = min((number.bit_length() - 1) // 10, len(_UNITS))
    return f"{number / 1024**power:.1f} {_UNITS[power - 1]}"


def seconds(number: float | None) -> str:
    return "?" if number is None else f"{number:.1f} s"


def _both(text: Text, before: dict[str, Any], after: dict[str, Any]) -> Text:
    changed = [name for name, value in after.items() if name not in before or before[name] != value]
    for name in changed:
        text.append(f"{name} ").append(_value(before.get(name)), _OLD).append(" → ")
        text.append(_value(after[name]), _NEW).append("  ")
    if not changed:
        text.append("same values", "dim")
    text.rstrip()
    return text


def _one(text: Text, row: dict[str, Any], key: dict[str, Any], style: str) -> Text:
    rest = {name: value for name, value in row.items() if name not in key}
    for name, value in rest.items():
        text.append(f"{name} ").append(_value(value), style).append("  ")
    if not rest:
        text.append("by its key", "dim")
    text.rstrip()
    return text


def _value(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
