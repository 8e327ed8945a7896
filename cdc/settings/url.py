"""A source's or sink's URL, taken apart so far that its password never travels with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pydantic import SecretStr

TLS_MODES: Final = ("verify-full", "verify-ca", "require", "off")
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>//(?P<host>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_SECRET_PARAMETER: Final = re.compile(r"pass(word|wd|phrase)?$|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Url:
    """`text` holds neither password nor `tls`; those who get it may print it."""

    text: str
    scheme: str
    password: SecretStr | None
    tls: str | None

    def target(self) -> str:
        """Without the user too: what is read or written, not as whom."""
        return re.sub(r"//[^/?#]*@", "//", self.text, count=1)


def parse_url(text: str) -> Url:
    """Raises ValueError; it never quotes the text, which may hold a password."""
    found = _URL.fullmatch(text)
    if not found or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("is not a URL (a # or a blank must be written as %23 or %20)")
    user, at, host = (found["host"] or "").rpartition("@")
    if "@" in user or "@" in found["path"] + (found["query"] or ""):
        raise ValueError(
            "has an @ that does not end the user's part; percent-encode / ? # @ and : in user and password"
        )
    user, colon, password = user.partition(":")
    query, options = _take_options(found["query"] or "")
    if colon and "password" in options:
        raise ValueError("has two passwords")
    scheme = found["scheme"].lower()
    slashes = f"//{user}{at}{host}" if found["slashes"] else ""
    secret = unquote(password) if colon else options.get("password", "")
    return Url(
        text=f"{scheme}:{slashes}{found['path']}{'?' + query if query else ''}",
        scheme=scheme,
        password=SecretStr(secret) if secret else None,
        tls=options.get("tls"),
    )


def _take_options(query: str) -> tuple[str, dict[str, str]]:
    """The query without what is ours: `tls` and `password`."""
    kept: list[str] = []
    taken: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if (name := unquote(name)) in ("tls", "password"):
            taken[name] = unquote(value)
        elif _SECRET_PARAMETER.search(name):
            raise ValueError("may carry no other secret than the password")
        else:
            kept.append(item)
    if taken.get("tls", "off") not in TLS_MODES:
        raise ValueError(f"has an unknown tls; it is one of {', '.join(TLS_MODES)}")
    return "&".join(kept), taken


def join_tls(url: Url, setting: str | None) -> str | None:
    """TLS is asked for in the URL or in a variable of its own; two that differ are a mistake."""
    if url.tls and setting and url.tls != setting:
        raise ValueError(f"is {setting}, but the URL says tls={url.tls}")
    return setting or url.tls


def join_password(url: Url, setting: SecretStr | None) -> SecretStr | None:
    if url.password and setting:
        raise ValueError("is given although the URL holds a password too; give one")
    return setting or url.password
