"""`cdc setup`: print what the source needs and does not have, or run it. Running it twice is as good as once."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from cdc.cli.administrator import add_admin, administrator, answering
from cdc.cli.options import add_env_file
from cdc.errors import SettingsError
from cdc.model.finding import Severity
from cdc.observe.scrub import scrub
from cdc.ports import ConnectorContext
from cdc.settings import Endpoint, load_settings


def configure(parser: ArgumentParser) -> None:
    add_env_file(parser)
    parser.add_argument("--apply", action="store_true", help="run the statements instead of printing them")
    add_admin(parser)


def run(args: Namespace) -> int:
    settings = load_settings(args.env_file, os.environ)
    source = settings.source
    admin = administrator(settings, args.admin)
    if source.connector.setup is None:
        raise SettingsError(f"the source {source.connector.name} needs no set-up", fault="wrong-settings")
    with answering():
        statements = source.connector.setup(source.context, admin)
        if args.apply:
            return 0 if apply(source, admin, statements) else 1
    print("\n".join(statements))
    return 0


def apply(source: Endpoint, admin: ConnectorContext, statements: Sequence[str]) -> bool:
    """Run statement by statement, each with its result; comments are printed. Whether all went well."""
    execute = source.connector.execute
    if execute is None:
        raise SettingsError(f"the source {source.connector.name} cannot run its own set-up", fault="wrong-settings")
    for comment in (each for each in statements if each.startswith("--")):
        print(comment)
    well = True
    for finding in execute(source.context, admin, statements):
        print(f"{finding.severity.value:<8} {finding.subject}", flush=True)
        if finding.severity is not Severity.OK:
            well = False
            print(scrub(f"         {finding.detail}\n         fix: {finding.fix}"), file=sys.stderr)
    return well
