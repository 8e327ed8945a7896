"""How the text of a variable becomes a value. Each function raises ValueError that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urlsplit

HEADER_NAMES: Final = ("id", "op", "table", "v", "schema-version", "content-type")

# The usual homes of the trusted roots: Debian and Alpine, Fedora and RHEL, SUSE, RHEL's generated tree, BSD and macOS.
_CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_NAME: Final = re.compile(r'"(?:[^"]|"")+"|[^".,;=\s*?]+')
_LONGEST_TOPIC: Final = 249
_TOPIC_TEXT: Final = re.compile(r"[A-Za-z0-9._-]*")


def parse_size(text: str) -> int:
    """Bytes: `64MiB` (2**20), `64MB` (10**6) or a plain number."""
    found = _SIZE.fullmatch(text.strip())
    if not found or found[2].lower() not in _UNITS:
        raise ValueError(f"cannot read {text!r} as a size")
    return (
        int(float(found[1]) * _UNITS[found[2].lower()]) if "." in found[1] else int(found[1]) * _UNITS[found[2].lower()]
    )


def parse_file_url(text: str) -> Path:
    """`file:///absolute/path`, percent-encoded as any URL."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a file URL") from None
    if parts.scheme != "file" or parts.query or parts.fragment:
        raise ValueError("is not a file URL")
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or not path.strip("/") or "\0" in path:
        raise ValueError("is not a file URL with an absolute path (three slashes: file:///dir/name)")
    return Path(path)


def parse_socket_path(text: str) -> Path:
    path = Path(text.removeprefix("file://"))
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is not an absolute path")
    return path


def socket_beside(checkpoint: Path) -> Path:
    """Where the health socket is unless a setting says else."""
    return checkpoint.with_name(f"{checkpoint.name}.sock")


def parse_existing_file(text: str) -> str:
    try:
        with Path(text).open("rb"):
            return text
    except OSError as error:
        raise ValueError(f"{text!r} cannot be read: {error.strerror}") from None


def system_ca_bundle() -> str:
    """The first usual place that has one; empty where there is none, which only matters to who verifies."""
    return next((place for place in _CA_BUNDLES if Path(place).is_file()), "")


def parse_headers(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    for name in names:
        if name not in HEADER_NAMES:
            raise ValueError(f"{name!r} is no header")
    if len(set(names)) != len(names):
        raise ValueError("names a header twice")
    return names


def parse_topic(text: str, *placeholders: str) -> str:
    """A template whose placeholders are among `placeholders`."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(f"{text!r} has a brace without its other half") from None
    for literal, name, spec, conversion in parts:
        if not _TOPIC_TEXT.fullmatch(literal):
            raise ValueError(f"{text!r} has a character that no topic may have (letters, digits, . _ - are allowed)")
        if name is not None and (name not in placeholders or spec or conversion):
            raise ValueError(f"{text!r} has an unknown placeholder {{{name}}}")
    return text


def parse_keys(text: str) -> Mapping[str, tuple[str, ...]]:
    """`public.orders=id,customer;s.t=a`: qualified name to key columns, names in double quotes taken literally."""
    keys: dict[str, tuple[str, ...]] = {}
    at = 0
    while at < len(text):
        table, columns, at = _parse_key(text, at)
        if table in keys:
            raise ValueError(f"names {table} twice")
        if len(set(columns)) != len(columns):
            raise ValueError(f"names a column of {table} twice")
        keys[table] = columns
    return MappingProxyType(keys)


def _parse_key(text: str, at: int) -> tuple[str, tuple[str, ...], int]:
    """One item from `at` on, and where the next one begins."""
    schema, at = _take_name(text, at, ".")
    table, at = _take_name(text, at, "=")
    columns: list[str] = []
    while True:
        column, at = _take_name(text, at, ",;")
        columns.append(column)
        if at > len(text) or text[at - 1] == ";":
            return f"{schema}.{table}", tuple(columns), at


def _take_name(text: str, at: int, ends: str) -> tuple[str, int]:
    """A name and the place after the character that ends it; the text's end does as well as `;`."""
    while at < len(text) and text[at].isspace():
        at += 1
    found = _NAME.match(text, at)
    after = found.end() if found else at
    while after < len(text) and text[after].isspace():
        after += 1
    if not found or not (text[after] in ends if after < len(text) else ";" in ends):
        raise ValueError(f"cannot read {text[at:]!r}" if text[at:] else "ends too early")
    name = found[0]
    return (name[1:-1].replace('""', '"') if name.startswith('"') else name), after + 1


def check_topic_length(template: str, name: str) -> str | None:
    """What is wrong with a topic that depends on the connector's name only."""
    topic = template.format(name=name)
    return (
        f"gives a topic of {len(topic)} characters, {_LONGEST_TOPIC} are allowed"
        if len(topic) > _LONGEST_TOPIC
        else None
    )
