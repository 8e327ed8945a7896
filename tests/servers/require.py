"""Whether a server that cannot be had fails a test or skips it: decided here and nowhere else.

``TEST_REQUIRE=all`` makes it an error, ``TEST_REQUIRE=present`` a skip that names the server and the command that
would install it. Without the variable: an error in CI and wherever Maven and Java are there to install with, so that
no test is lost in silence on a machine that could have run it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from tests.servers.install import UnavailableError, java_program

Requirement = Literal["all", "present"]


def requirement() -> Requirement:
    match os.environ.get("TEST_REQUIRE"):
        case "all":
            return "all"
        case "present":
            return "present"
        case str(asked) if asked:
            raise ValueError(f"TEST_REQUIRE={asked!r}; expected 'all' or 'present'")
    installable = shutil.which("mvn") is not None and java_program() is not None
    return "all" if os.environ.get("CI") == "true" or installable else "present"


@contextmanager
def required() -> Iterator[None]:
    """Wrap what installs or starts a server: a missing server skips the test where that is allowed."""
    try:
        yield
    except UnavailableError as missing:
        if requirement() == "all":
            raise
        pytest.skip(str(missing))
