"""`cdc health` and `cdc status`: what a probe and an operator get, also where nobody answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdc.cli import health as health_command
from cdc.cli import status as status_command
from cdc.errors import SettingsError
from cdc.observe.health import Health, HealthServer, HealthSnapshot

SNAPSHOT = HealthSnapshot(
    state="streaming",
    ready=True,
    reasons=(),
    name="shop",
    build="compiled",
    version="0.1.0",
    pid=4711,
    since="2026-01-01T00:00:00Z",
    position="0/16B3748",
    lag_bytes=3 * 1024 * 1024,
    lag_seconds=1.25,
    retained_bytes=900,
    events=1_234_567,
)


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CDC_HEALTH_SOCKET", raising=False)
    monkeypatch.setenv("CDC_CHECKPOINT", f"file://{tmp_path}/shop.checkpoint")
    return tmp_path / "shop.checkpoint"


@pytest.fixture
def health(checkpoint: Path) -> Iterator[Health]:
    health = Health(SNAPSHOT)
    server = HealthServer(f"{checkpoint}.sock", health)
    server.open()
    yield health
    server.close()


def cdc_health(*arguments: str) -> int:
    parser = ArgumentParser()
    health_command.configure(parser)
    return health_command.run(parser.parse_args(arguments))


def cdc_status(*arguments: str) -> int:
    parser = ArgumentParser()
    status_command.configure(parser)
    return status_command.run(parser.parse_args(arguments))


def test_X11_ready_is_exit_0(health: Health, capsys: pytest.CaptureFixture[str]) -> None:
    assert cdc_health() == 0
    assert capsys.readouterr().out == "ready: streaming\n"


def test_X11_not_ready_is_exit_1_and_says_why(health: Health, capsys: pytest.CaptureFixture[str]) -> None:
    health.snapshot = replace(SNAPSHOT, state="sink down", ready=False, reasons=("sink-unreachable", "disk-full"))
    assert cdc_health() == 1
    assert capsys.readouterr().out == "not ready: sink down\n  sink-unreachable\n  disk-full\n"


def test_X11_nobody_there_is_exit_1(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cdc_health() == 1
    assert f"no connector answers on {checkpoint}.sock" in capsys.readouterr().out
    assert cdc_status() == 1


def test_X11_a_stranger_there_is_exit_1(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(f"{checkpoint}.sock")
        assert cdc_health() == 1
        assert "no connector answers" in capsys.readouterr().out
    assert cdc_health() == 1


def test_the_environment_wins_over_the_file(
    health: Health, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / "shop.env"
    env_file.write_text(f"CDC_HEALTH_SOCKET={tmp_path}/other.sock\nCDC_NONSENSE=1\n")
    assert cdc_health("--env-file", str(env_file)) == 1
    monkeypatch.setenv("CDC_HEALTH_SOCKET", f"{checkpoint}.sock")
    assert cdc_health("--env-file", str(env_file)) == 0


def test_an_environment_that_does_not_say_where_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_CHECKPOINT")
    with pytest.raises(SettingsError, match="CDC_CHECKPOINT is not set") as caught:
        cdc_health()
    assert "--env-file" in caught.value.action


def test_status_is_a_table_of_what_is_known(health: Health, capsys: pytest.CaptureFixture[str]) -> None:
    assert cdc_status() == 0
    assert capsys.readouterr().out.splitlines() == [
        "connector              shop",
        "state                  streaming",
        "ready                  yes",
        "position               0/16B3748",
        "lag                    3.0 MiB, 1.2 s",
        "retained log           900 B",
        "events                 1,234,567",
        "records                0",
        "sent                   0 B",
        "duplicates suppressed  0",
        "rewinds                0",
        "running since          2026-01-01T00:00:00Z",
        "process                4711",
        "version                0.1.0 (compiled)",
    ]
    health.snapshot = replace(SNAPSHOT, ready=False, reasons=("a", "b"), checkpoint_generation=7, checkpoint_saved=0.0)
    assert cdc_status() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == ["ready                  no", "                       a", "                       b"]
    assert any(line.startswith("checkpoint             generation 7, saved ") for line in lines)


def test_status_as_json_is_the_document(health: Health, capsys: pytest.CaptureFixture[str]) -> None:
    assert cdc_status("--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["lag_bytes"], document["build"], document["turn_age_seconds"] < 60) == (3145728, "compiled", True)


@pytest.mark.parametrize("size", [0, 1023, 1024, 1024**2 - 1, 1024**5 * 5000, None])
def test_sizes_are_readable_at_any_magnitude(size: int | None) -> None:
    shown = status_command._size(size)
    assert shown == {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", None: None}.get(size, shown)
    assert shown is None or len(shown) < 12


def test_a_probe_loads_neither_connectors_nor_pydantic_nor_structlog() -> None:
    code = "import sys, cdc.cli.health; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"pydantic", "structlog", "orjson", "cdc.ports", "psycopg", "confluent_kafka"}
