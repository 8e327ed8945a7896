"""`cdc version`: what is running, for a report of a fault."""

from __future__ import annotations

import platform
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

from cdc import __version__
from cdc.build import build_name, hot_modules
from cdc.model.finding import Finding, Severity
from cdc.settings.installed import installed_connectors

_REQUIREMENT = re.compile(r"""(?P<name>[A-Za-z0-9._-]+).*;\s*extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")


def configure(parser: ArgumentParser) -> None:
    """There is nothing to choose."""


def run(args: Namespace) -> int:
    print(f"cdc {__version__}")
    print(f"python {platform.python_version()} ({platform.python_implementation()}, {platform.platform()})")
    print(f"build={build_name()}")
    for module in hot_modules():
        print(f"  {'compiled' if module.compiled else 'interpreted'} {module.name} {module.file}")
    for finding in drivers():
        print(f"{finding.subject} {finding.detail}")
        if finding.severity is not Severity.OK:
            print(f"{finding.severity}: {finding.subject}: {finding.fix}", file=sys.stderr)
    return 0


def drivers() -> Iterator[Finding]:
    """What each connector tells of its driver; of one that tells nothing, the packages that its extra brought."""
    for connector in installed_connectors().all()[0]:
        if connector.driver:
            yield from connector.driver()
        else:
            yield from _packages_of(connector.name)


def _packages_of(extra: str) -> Iterator[Finding]:
    for requirement in requires("cdc-connector") or ():
        found = _REQUIREMENT.match(requirement)
        if found and found["extra"] == extra:
            with suppress(PackageNotFoundError):
                yield Finding(Severity.OK, found["name"], version(found["name"]))
