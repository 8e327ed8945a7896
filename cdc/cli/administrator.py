"""`--admin URL`: who may make and remove what the connector's own role may not."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cdc.errors import SettingsError, SourceOutage
from cdc.observe.scrub import register_secret
from cdc.ports import ConnectorContext
from cdc.settings import Settings
from cdc.settings.url import parse_url


def add_admin(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--admin",
        metavar="URL",
        help="the source's URL with an administrator's user; the database is always CDC_SOURCE's. Other users of this "
        "machine can see a password in it: the driver's own variables and files are read too",
    )


@contextmanager
def answering() -> Iterator[None]:
    """Who runs a command once wants to hear of an outage now: nobody waits here for it to heal."""
    try:
        yield
    except SourceOutage as outage:
        raise SettingsError(str(outage), fault=outage.fault, action=outage.action) from outage


def administrator(settings: Settings, url: str | None) -> ConnectorContext:
    """Whose eyes and hands: the administrator's, or without a URL the connector's own role's."""
    context = settings.source.context
    if url is None:
        return context
    try:
        parsed = parse_url(url)
    except ValueError as error:
        raise SettingsError(f"--admin {error}", fault="wrong-settings") from None
    if parsed.scheme not in settings.source.connector.schemes:
        raise SettingsError(f"--admin: {parsed.scheme}: is no URL of this source", fault="wrong-settings")
    if parsed.password:
        register_secret(parsed.password.get_secret_value())
    return replace(context, url=parsed.text, password=parsed.password, tls=parsed.tls or context.tls)
