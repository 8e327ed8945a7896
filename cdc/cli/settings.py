"""`cdc settings`: every variable of the engine and of the installed connectors, as a table or as a file for others."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from cdc.settings.installed import installed_connectors
from cdc.settings.pages import Section, env_page, json_schema_page, markdown_page, sections, table_page

_PAGES: dict[str, Callable[[list[Section]], str]] = {
    "table": table_page,
    "env": env_page,
    "markdown": markdown_page,
    "json-schema": json_schema_page,
}


def configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=tuple(_PAGES),
        default="table",
        help="table for reading (default); env is a template of an env file, markdown the documentation, json-schema "
        "describes the environment as an object of strings",
    )


def run(args: Namespace) -> int:
    connectors, troubles = installed_connectors().all()
    for trouble in troubles:
        print(f"cdc settings: a connector is left out: {trouble}", file=sys.stderr)
    print(_PAGES[args.format](sections(connectors)), end="")
    return 0
