"""A checkpoint as bytes: one header line, then canonical JSON. Pure; where the bytes are kept is not its business.

    cdc-checkpoint <format version> <sha256, hex> <length of the body>\\n<body>

The digest covers the version and the body, so that no flipped byte turns one known version into another. Reading is
strict: what is not exactly what was written is `CheckpointUnreadable`. The body is data; nothing in it is evaluated or
imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from cdc.errors import CheckpointUnreadable
from cdc.model.checkpoint import Checkpoint, Mark, Phase, Unfinished
from cdc.model.event import Gap

VERSION: Final = 1

WHAT_TO_DO: Final = (
    "Look at the previous generation with `cdc checkpoint show --previous` and go back to it with "
    "`cdc checkpoint reset --to-previous` (what was sent since then is sent again). Nothing was started afresh."
)

_MAGIC: Final = b"cdc-checkpoint "
_LONGEST_HEADER: Final = 256  # far above what any version needs; a file without a line end is not searched to its end
_HEADER: Final = re.compile(rb"cdc-checkpoint (0|[1-9][0-9]{0,8}) ([0-9a-f]{64}) (0|[1-9][0-9]{0,18})")
# orjson would turn these into strings in silence; a checkpoint that does not come back as it was is refused instead.
_STRICT: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(checkpoint: Checkpoint) -> bytes:
    """The whole file. Raises TypeError when `source` or `memory` holds more than plain JSON values."""
    content = document(checkpoint)
    body = orjson.dumps(content, option=_STRICT)
    if orjson.loads(body) != content:
        raise TypeError(
            "the checkpoint would not come back as it was: only plain JSON values (lists, not tuples) may be kept"
        )
    return b"%b%d %b %d\n%b" % (_MAGIC, VERSION, _digest(VERSION, body), len(body), body)


def decode(data: bytes, where: str = "the checkpoint", action: str = WHAT_TO_DO) -> Checkpoint:
    """Read what `encode` wrote. `where` names the bytes in the error, `action` is its advice."""
    try:
        version, body = _open(data)
        return _READERS[version](_json_object(body))
    except _FormatError as why:
        raise CheckpointUnreadable(
            f"{where} cannot be trusted: {why}", fault=why.fault, action=why.action or action
        ) from None


class _FormatError(Exception):
    """Never leaves this module."""

    def __init__(self, why: str, fault: str = "checkpoint-unreadable", action: str = "") -> None:
        super().__init__(why)
        self.fault = fault
        self.action = action


def document(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the body holds, as plain JSON values; also what `cdc checkpoint show` prints."""
    mark = checkpoint.mark
    return {
        "name": checkpoint.name,
        "phase": checkpoint.phase.value,
        "source": dict(checkpoint.source),
        "mark": {
            "position": mark.position,
            "unfinished": _unfinished_document(mark.unfinished),
            "memory": dict(mark.memory),
        },
        "settings_digest": checkpoint.settings_digest,
        "generation": checkpoint.generation,
        "gaps": [
            {"missing_from": gap.missing_from, "missing_to": gap.missing_to, "reason": gap.reason}
            for gap in checkpoint.gaps
        ],
    }


def _unfinished_document(unfinished: Unfinished | None) -> dict[str, Any] | None:
    if unfinished is None:
        return None
    return {"position": unfinished.position, "ordinal": unfinished.ordinal, "messages": unfinished.messages}


def _digest(version: int, body: bytes) -> bytes:
    return sha256(b"%b%d\n%b" % (_MAGIC, version, body)).hexdigest().encode()


def _open(data: bytes) -> tuple[int, bytes]:
    """Version and body, once length and digest are proved."""
    if not data:
        raise _FormatError("the file is empty")
    if not data.startswith(_MAGIC):
        raise _FormatError("it does not begin like a checkpoint")
    line, newline, body = data.partition(b"\n") if b"\n" in data[:_LONGEST_HEADER] else (b"", b"", b"")
    header = _HEADER.fullmatch(line) if newline else None
    if header is None:
        raise _FormatError("its first line is damaged or cut short")
    version, digest, length = int(header[1]), header[2], int(header[3])
    if version not in _READERS:
        raise _unknown(version)
    if len(body) != length:
        raise _FormatError(f"its first line promises {length} bytes, but {len(body)} follow")
    if _digest(version, body) != digest:
        raise _FormatError("its checksum does not match its content")
    return version, body


def _unknown(version: int) -> _FormatError:
    known = ", ".join(str(each) for each in sorted(_READERS))
    return _FormatError(
        f"it says format version {version}, and this build reads only {known}",
        fault="checkpoint-version-unknown",
        action="Start the version of cdc that wrote it, or a newer one. If no other version ever ran, the file is "
        f"damaged: {WHAT_TO_DO}",
    )


def _json_object(body: bytes) -> _Object:
    try:
        return _Object(orjson.loads(body), "")
    except orjson.JSONDecodeError:
        raise _FormatError("its content is not JSON") from None


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object with named fields, each asked for with its type; `path` says where it is, for the error."""

    value: Any
    path: str

    def fields(self, *names: str) -> _Object:
        if not isinstance(self.value, dict):
            raise _FormatError(f"{self.path or 'its content'} is not an object")
        if wrong := sorted(set(names) ^ set(self.value)):
            raise _FormatError(f"field {self._name(wrong[0])} is {'missing' if wrong[0] in names else 'unknown'}")
        return self

    def text(self, name: str) -> str:
        value = self.value[name]
        if not isinstance(value, str):
            raise _FormatError(f"field {self._name(name)} is not text")
        return value

    def count(self, name: str) -> int:
        value = self.value[name]
        if type(value) is not int or value < 0:  # not isinstance: true is an int to Python
            raise _FormatError(f"field {self._name(name)} is not a whole number from 0")
        return value

    def values(self, name: str) -> dict[str, Any]:
        value = self.value[name]
        if not isinstance(value, dict):
            raise _FormatError(f"field {self._name(name)} is not an object")
        return value

    def object(self, name: str) -> _Object:
        return _Object(self.value[name], self._name(name))

    def objects(self, name: str) -> list[_Object]:
        value = self.value[name]
        if not isinstance(value, list):
            raise _FormatError(f"field {self._name(name)} is not a list")
        return [_Object(each, f"{self._name(name)}[{index}]") for index, each in enumerate(value)]

    def _name(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _read_1(body: _Object) -> Checkpoint:
    body.fields("name", "phase", "source", "mark", "settings_digest", "generation", "gaps")
    return Checkpoint(
        name=body.text("name"),
        phase=_phase(body.text("phase")),
        source=body.values("source"),
        mark=_mark(body.object("mark")),
        settings_digest=body.text("settings_digest"),
        generation=body.count("generation"),
        gaps=tuple(_gap(each) for each in body.objects("gaps")),
    )


def _phase(text: str) -> Phase:
    if text not in set(Phase):
        raise _FormatError("field phase is none of " + ", ".join(Phase))
    return Phase(text)


def _mark(body: _Object) -> Mark:
    body.fields("position", "unfinished", "memory")
    unfinished = body.object("unfinished")
    return Mark(
        position=body.text("position"),
        unfinished=None if unfinished.value is None else _unfinished(unfinished),
        memory=body.values("memory"),
    )


def _unfinished(body: _Object) -> Unfinished:
    body.fields("position", "ordinal", "messages")
    return Unfinished(body.text("position"), body.count("ordinal"), body.count("messages"))


def _gap(body: _Object) -> Gap:
    body.fields("missing_from", "missing_to", "reason")
    return Gap(body.text("missing_from"), body.text("missing_to"), body.text("reason"))


_READERS: Final[dict[int, Callable[[_Object], Checkpoint]]] = {1: _read_1}
