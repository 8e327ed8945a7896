"""The manifests: valid by the schemas, tight by the profile, and without a setting that does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from cdc.cli.places import checkpoint_path
from cdc.settings import load_settings
from tests.image.manifests import SIDECAR, compose, compose_environment, sidecar

KUBERNETES = "1.37"


def pod() -> dict[str, Any]:
    specification: dict[str, Any] = sidecar()["Deployment"]["spec"]["template"]["spec"]
    return specification


def connector_in_pod() -> dict[str, Any]:
    (container,) = pod()["initContainers"]
    assert isinstance(container, dict)
    return container


def test_the_sidecar_is_valid() -> None:
    for document in yaml.safe_load_all(SIDECAR.read_text()):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_sidecar_is_native_and_asks_for_no_power() -> None:
    container = connector_in_pod()
    assert container["restartPolicy"] == "Always"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    whole = pod()["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"], whole["fsGroup"]) == (True, 10001, 10001)
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"requests", "limits"} <= container["resources"].keys()
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"] == ["cdc", "health"]


def test_the_sidecar_keeps_one_connector_for_its_slot() -> None:
    specification = sidecar()["Deployment"]["spec"]
    assert specification["replicas"] == 1
    assert specification["strategy"] == {"type": "Recreate"}
    assert sidecar()["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_the_sidecar_has_real_settings_and_its_password_from_the_secret(tmp_path: Path) -> None:
    container = connector_in_pod()
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    place = Path(environment["CDC_SOURCE_PASSWORD_FILE"])
    (mount,) = (mount for mount in container["volumeMounts"] if Path(mount["mountPath"]) == place.parent)
    (volume,) = (volume["secret"] for volume in pod()["volumes"] if volume["name"] == mount["name"])
    secret = sidecar()["Secret"]
    assert volume["secretName"] == secret["metadata"]["name"]
    (item,) = volume["items"]
    assert item["path"] == place.name
    password = tmp_path / place.name
    password.write_text(secret["stringData"][item["key"]])
    settings = load_settings(None, environment | {"CDC_SOURCE_PASSWORD_FILE": str(password)})
    assert pod()["terminationGracePeriodSeconds"] > settings.engine.shutdown_timeout


def test_both_keep_the_checkpoint_on_a_volume() -> None:
    environment = {entry["name"]: entry.get("value", "") for entry in connector_in_pod()["env"]}
    mounts = [mount["mountPath"] for mount in connector_in_pod()["volumeMounts"]]
    assert str(checkpoint_path(None, environment).parent) in mounts
    (volume,) = compose()["services"]["connector"]["volumes"]
    name, _, target = volume.partition(":")
    assert str(checkpoint_path(None, compose_environment()).parent) == target
    assert name in compose()["volumes"]


def test_compose_has_real_settings() -> None:
    settings = load_settings(None, compose_environment())
    grace = compose()["services"]["connector"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > settings.engine.shutdown_timeout


def test_compose_reads_the_env_file_as_we_do() -> None:
    assert [file["format"] for file in compose()["services"]["connector"]["env_file"]] == ["raw"]


def test_compose_waits_for_servers_that_say_they_are_well() -> None:
    services = compose()["services"]
    assert all("healthcheck" in service for service in services.values())
    connector = services["connector"]
    waited = {name: wait["condition"] for name, wait in connector["depends_on"].items()}
    assert waited == {"postgres": "service_healthy", "kafka": "service_healthy"}
    assert connector["healthcheck"]["test"] == ["CMD", "cdc", "health"]
    assert connector["read_only"] is True and connector["cap_drop"] == ["ALL"]


def test_compose_names_what_it_declares() -> None:
    document = compose()
    named = {volume.partition(":")[0] for service in document["services"].values() for volume in service["volumes"]}
    assert named == document["volumes"].keys()
    used = {entry["source"] for service in document["services"].values() for entry in service.get("configs", ())}
    assert used == document["configs"].keys()
