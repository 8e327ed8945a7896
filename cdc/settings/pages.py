"""The settings as pages, made from the one table of variables: for the terminal, as env file, documentation, schema."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from cdc.ports import Connector
from cdc.settings.engine import EngineSettings
from cdc.settings.variable import Variable, connector_prefix, takes_any, variables_of
from cdc.settings.variables import PREFIX, file_of

_RULES: Final = (
    "One variable a line, NAME=value: no quotes, no expansion; # begins a comment only at the start of a line. The "
    "process's environment wins over the file. An empty value means the default; for a connector's list it means none.",
    "A secret may be given as NAME_FILE=path instead: the file's content without the newline at its end.",
)


@dataclass(frozen=True, slots=True)
class Section:
    """The variables of the engine or of one connector. `open_prefix`: further ones with it go to the driver."""

    title: str
    about: str
    variables: list[Variable]
    open_prefix: str


def sections(connectors: Iterable[Connector]) -> list[Section]:
    engine = Section("Engine", "What every connector shares.", variables_of(EngineSettings, PREFIX), "")
    return [engine, *(_of_connector(connector) for connector in connectors)]


def _of_connector(connector: Connector) -> Section:
    prefix = connector_prefix(connector.name)
    used = " or ".join(f"`{scheme}:`" for scheme in connector.schemes)
    return Section(
        title=f"Connector {connector.name}",
        about=" ".join(filter(None, (f"For URLs that begin with {used}.", _about(connector.settings)))),
        variables=variables_of(connector.settings, prefix),
        open_prefix=prefix if takes_any(connector.settings) else "",
    )


def _about(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _further(section: Section) -> str:
    return (
        f"Any further {section.open_prefix}NAME is a property of the driver, which checks it; one whose name says that "
        f"it is secret may be given as {section.open_prefix}NAME_FILE too."
    )


def _standing(variable: Variable) -> str:
    return "required" if variable.required else variable.default


# -- for the terminal


def table_page(pages: list[Section]) -> str:
    columns = _widths(shutil.get_terminal_size((160, 24)).columns, [v for page in pages for v in page.variables])
    lines = [_row(("VARIABLE", "TYPE", "DEFAULT", "MEANING"), columns)]
    for page in pages:
        lines += ["", *textwrap.wrap(f"{page.title}. {page.about}", sum(columns))]
        for variable in page.variables:
            name = f"{variable.name}[_FILE]" if variable.secret else variable.name
            lines.append(_row((name, variable.kind, _standing(variable), variable.description), columns))
        if page.open_prefix:
            lines += textwrap.wrap(_further(page), sum(columns))
    return "\n".join(lines) + "\n"


def _widths(terminal: int, variables: list[Variable]) -> tuple[int, int, int, int]:
    name = max(len(v.name) + 7 * v.secret for v in variables) + 2
    default = max(len(_standing(v)) for v in variables) + 2
    rest = max(terminal - name - default, 60)
    return name, rest * 2 // 5, default, rest * 3 // 5


def _row(cells: tuple[str, str, str, str], columns: tuple[int, int, int, int]) -> str:
    wrapped = [textwrap.wrap(text, width - 2) for text, width in zip(cells, columns, strict=True)]
    height = max(map(len, wrapped))
    padded = [lines + [""] * (height - len(lines)) for lines in wrapped]
    return "\n".join(
        "".join(part.ljust(width) for part, width in zip(parts, columns, strict=True)).rstrip()
        for parts in zip(*padded, strict=True)
    )


# -- as a template of an env file


def env_page(pages: list[Section]) -> str:
    lines: list[str] = ["# The settings of cdc. Made by `cdc settings --format env`.", *_comment(" ".join(_RULES))]
    for page in pages:
        lines += ["", *_comment(f"---- {page.title} ----"), *_comment(page.about)]
        if page.open_prefix:
            lines += _comment(_further(page))
        for variable in page.variables:
            lines += ["", *_comment(f"{variable.description} ({variable.kind})"), *_assignments(variable)]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 100)]


def _assignments(variable: Variable) -> list[str]:
    """What must be given stands there with an example; the rest with its default, asleep."""
    if variable.required:
        return [f"{variable.name}={variable.example}"]
    return [f"#{variable.name}={variable.default}", *([f"#{file_of(variable.name)}="] if variable.secret else [])]


# -- as documentation


def markdown_page(pages: list[Section]) -> str:
    lines = [
        "# Settings",
        "",
        "Made by `cdc settings --format markdown`; the texts stand beside the code that reads them.",
    ]
    for rule in _RULES:
        lines += ["", rule]
    for page in pages:
        lines += ["", f"## {page.title}", "", page.about]
        if page.variables:
            lines += [
                "",
                "| variable | type | default | meaning |",
                "|---|---|---|---|",
                *map(_markdown_row, page.variables),
            ]
        if page.open_prefix:
            lines += ["", _further(page)]
    return "\n".join(lines) + "\n"


def _markdown_row(variable: Variable) -> str:
    name = f"`{variable.name}`" + (f"<br>`{file_of(variable.name)}`" if variable.secret else "")
    default = "required" if variable.required else f"`{variable.default}`" if variable.default else ""
    cells = (name, variable.kind, default, variable.description)
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in cells)} |"


# -- as a schema


def json_schema_page(pages: list[Section]) -> str:
    variables = [variable for page in pages for variable in page.variables]
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The settings of cdc",
        "description": f"The environment as an object of strings. {' '.join(_RULES)}",
        "type": "object",
        "properties": {name: schema for v in variables for name, schema in _properties(v).items()},
        "patternProperties": {
            f"^{page.open_prefix}[A-Z0-9_]+$": {"type": "string"} for page in pages if page.open_prefix
        },
        "required": [v.name for v in variables if v.required],
        "additionalProperties": False,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _properties(variable: Variable) -> dict[str, dict[str, Any]]:
    schema: dict[str, Any] = {"type": "string", "description": f"{variable.description} ({variable.kind})"}
    if variable.default:
        schema["default"] = variable.default
    if variable.choices and not variable.is_list:
        schema["enum"] = [*variable.choices, *([] if variable.required else [""])]
    if not variable.secret:
        return {variable.name: schema}
    path = {"type": "string", "description": f"Path of a file that holds {variable.name}."}
    return {variable.name: {**schema, "writeOnly": True}, file_of(variable.name): path}
