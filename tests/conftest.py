"""What every test shares: the servers' fixtures, and the word on which build is under test."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["tests.servers.plugin"]


def pytest_report_header() -> str:
    from cdc.build import build_name, hot_modules

    return f"build={build_name()} {hot_modules()[0].file}"


def pytest_configure(config: pytest.Config) -> None:
    """`TEST_BUILD` says which build must be there: a run that tests the other one must not pass for it."""
    from cdc.build import build_name, hot_modules

    wanted = os.environ.get("TEST_BUILD")
    if wanted and build_name() != wanted:
        files = ", ".join(module.file for module in hot_modules())
        raise pytest.UsageError(f"TEST_BUILD={wanted}, and the build is {build_name()}: {files}")
