"""From env file and environment to the text of each variable: which one wins, which is nobody's, which is in a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cdc.settings.env_file import read_env_file

PREFIX: Final = "CDC_"
_FILE: Final = "_FILE"
# What Kubernetes gives every container of a namespace that has a service named cdc or cdc-anything; see "Environment
# variables" under "Discovering services" in its manual.
_SERVICE_LINK: Final = re.compile(
    r"CDC_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)", re.ASCII
)
_SERVICE_PORT: Final = re.compile(r"CDC_(?:\w+_)?PORT", re.ASCII)
_SERVICE_VALUE: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+", re.ASCII)


def gather(env_file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables; the process's environment wins over the file. Raises EnvFileError."""
    from_file = read_env_file(env_file) if env_file else {}
    return {name: value for name, value in {**from_file, **environ}.items() if name.startswith(PREFIX)}


def is_service_link(name: str, value: str) -> bool:
    """`CDC_PORT` and `CDC_ANY_PORT` only with a service's value: a mistyped setting must not pass."""
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name) and _SERVICE_VALUE.fullmatch(value))


def file_of(name: str) -> str:
    """The variable that names the file with a secret."""
    return f"{name}{_FILE}"


def read_secret(variable: str, path: str) -> str:
    """The content of a secret's file without the newline at its end. Raises ValueError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"{variable}: {path!r} cannot be read: {error.strerror}; expected a file with the secret"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{variable}: {path!r} is not UTF-8; expected a file with the secret as text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"{variable}: {path!r} is empty; expected a file with the secret")
    return text


def unknown_line(name: str, known: Iterable[str]) -> str:
    """The prefix that all share must not make strangers look alike."""
    near = difflib.get_close_matches(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], n=1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "expected a variable that `cdc settings` lists"
    return f"{name}: is unknown; {hint}"
