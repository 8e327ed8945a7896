"""The env file: Docker's own grammar, so that one file means the same to every reader.

`NAME=value`, one a line; a line that begins with `#` is a comment. A value is all after the first `=`: no quotes, no
expansion, no comment behind it, blanks at its end kept. A name that comes twice has its last value.
"""

from __future__ import annotations

from pathlib import Path


class EnvFileError(ValueError):
    """Tells all wrong lines by number. Never their text: a stray line may be part of a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_env_file(path: Path) -> dict[str, str]:
    """Every variable of the file, also those that are not ours."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EnvFileError([f"env file {path}: cannot be read: {error.strerror or type(error).__name__}"]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EnvFileError([f"env file {path}: line {line}: is not UTF-8"]) from None
    return parse_env(text, str(path))


def parse_env(text: str, origin: str) -> dict[str, str]:
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            item = _parse_line(line.removesuffix("\r"))
        except ValueError as error:
            problems.append(f"env file {origin}: line {number}: {error}; expected NAME=value")
        else:
            values.update(item)
    if problems:
        raise EnvFileError(problems)
    return values


def _parse_line(line: str) -> dict[str, str]:
    line = line.lstrip()
    if not line or line.startswith("#"):
        return {}
    name, equals, value = line.partition("=")
    if not equals:
        raise ValueError("has no =")
    if not name or any(c.isspace() for c in name):
        raise ValueError("has a blank in its name" if name else "has no name before =")
    if "\0" in line:
        raise ValueError("holds a NUL")
    return {name: value}
