"""The image's locks: each package pinned with its hashes, all that pyproject.toml asks for, and no address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+) \\\n(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def locked(file: str) -> dict[str, str]:
    """Version by package. Every line that is no comment belongs to an entry."""
    text = (ROOT / "requirements" / file).read_text()
    entries = {found["name"]: found["version"] for found in ENTRY.finditer(text)}
    rest = [line for line in ENTRY.sub("", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert not rest
    return entries


def required(file: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if file == "build.txt":
        needed: list[str] = project["build-system"]["requires"]
        return needed
    extras = project["project"]["optional-dependencies"]
    return [*project["project"]["dependencies"], *extras["postgres"], *extras["kafka"]]


@pytest.mark.parametrize("file", ["image.txt", "build.txt"])
def test_a_lock_answers_the_project(file: str) -> None:
    entries = locked(file)
    for requirement in map(Requirement, required(file)):
        version = entries.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in requirements/{file}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}: {version} is locked; run `make lock`"


@pytest.mark.parametrize("file", ["image.txt", "build.txt"])
def test_a_lock_names_no_address(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text()
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|(?:^|\s)/\w", text)
