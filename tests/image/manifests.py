"""What the manifests in config/ say, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from cdc.settings.env_file import read_env_file

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
SIDECAR: Final = CONFIG / "k8s" / "sidecar.yaml"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CONFIG / "compose.yaml").read_text())
    return document


def compose_environment() -> dict[str, str]:
    """What the connector of compose.yaml gets: its env files, and over them its own list."""
    connector = compose()["services"]["connector"]
    environment: dict[str, str] = {}
    for file in connector["env_file"]:
        environment |= read_env_file(CONFIG / file["path"])
    environment |= connector.get("environment", {})
    return environment


def sidecar() -> dict[str, dict[str, Any]]:
    """The resources by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all(SIDECAR.read_text())}
