"""X11: alive is a loop that turns, ready is progress that is possible; asked on a socket that is ours alone."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdc.errors import ExitCode, SettingsError
from cdc.observe.health import Health, HealthServer, HealthSnapshot
from cdc.observe.probe import LONGEST_ADDRESS, ask

SNAPSHOT = HealthSnapshot(
    state="streaming",
    ready=True,
    reasons=(),
    name="shop",
    build="interpreted",
    version="0.1.0",
    pid=4711,
    since="2026-01-01T00:00:00Z",
)

# Run as `python -c DIE <path>`: a process that serves and is killed without closing.
DIE = """
import os, sys
from tests.unit.test_health import *
HealthServer(sys.argv[1], Health(SNAPSHOT)).open()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.sock"


@pytest.fixture
def health() -> Health:
    return Health(SNAPSHOT)


@pytest.fixture
def server(path: Path, health: Health) -> Iterator[HealthServer]:
    server = HealthServer(path, health)
    server.open()
    yield server
    server.close()


def test_each_connection_gets_the_latest_snapshot_and_ends(server: HealthServer, health: Health, path: Path) -> None:
    first = ask(path)
    assert (first["state"], first["ready"], first["reasons"], first["pid"]) == ("streaming", True, [], 4711)
    health.snapshot = replace(SNAPSHOT, state="sink down", ready=False, reasons=("sink-unreachable",), lag_bytes=2**40)
    second = ask(path)
    assert (second["state"], second["ready"], second["reasons"]) == ("sink down", False, ["sink-unreachable"])
    assert second["lag_bytes"] == 2**40


def test_ages_are_taken_when_asked() -> None:
    now = 100.0
    health = Health(replace(SNAPSHOT, checkpoint_generation=7, checkpoint_saved=99.0), clock=lambda: now)
    now = 103.5
    document = health.document()
    assert (document["checkpoint_generation"], document["checkpoint_age_seconds"]) == (7, 4.5)
    assert (document["progress_age_seconds"], document["turn_age_seconds"]) == (None, 3.5)
    assert "checkpoint_saved" not in document


def test_X11_a_loop_that_does_not_turn_is_not_ready_whatever_it_said_last() -> None:
    now = 0.0
    health = Health(SNAPSHOT, clock=lambda: now)
    now = 10.0
    assert health.document()["ready"] is True
    now = 17.2
    document = health.document()
    assert (document["ready"], document["reasons"]) == (False, ["the loop has not turned for 17 s"])
    health.turned = now
    assert health.document()["ready"] is True


def test_X11_a_wedged_main_thread_does_not_keep_the_answer_from_coming(server: HealthServer, path: Path) -> None:
    probe = f"from cdc.observe.probe import ask; from pathlib import Path; print(ask(Path({str(path)!r}))['state'])"
    # This thread stands still in run(): the answer can only come from the server's own.
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "streaming\n"


def test_S10_the_socket_is_for_the_owner_only(path: Path, health: Health) -> None:
    previous = os.umask(0)
    try:
        server = HealthServer(path, health)
        server.open()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.close()


def test_close_removes_the_socket_and_ends_the_thread(path: Path, health: Health) -> None:
    server = HealthServer(path, health)
    server.close()  # never opened
    server.open()
    server.close()
    server.close()
    assert not path.exists()
    assert not any(thread.name == "health" for thread in threading.enumerate())
    with pytest.raises(FileNotFoundError):
        ask(path)


def test_the_socket_of_a_dead_process_is_replaced(path: Path, health: Health) -> None:
    assert subprocess.run([sys.executable, "-c", DIE, path], check=False, timeout=60).returncode == -9
    assert path.exists()
    server = HealthServer(path, health)
    server.open()
    assert ask(path)["name"] == "shop"
    server.close()


def test_a_living_one_is_not_stolen(server: HealthServer, path: Path, health: Health) -> None:
    with pytest.raises(SettingsError, match="another process answers there") as caught:
        HealthServer(path, health).open()
    assert "CDC_HEALTH_SOCKET" in caught.value.action
    assert caught.value.exit_code == ExitCode.SETTINGS
    assert ask(path)["name"] == "shop"


def test_a_busy_one_is_not_stolen_either(path: Path, health: Health) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))  # nobody accepts it: the queue is full
        with pytest.raises(SettingsError, match="another process answers there"):
            HealthServer(path, health).open()


def test_a_file_of_another_kind_is_left_alone(path: Path, health: Health) -> None:
    path.write_text("mine")
    with pytest.raises(SettingsError, match="a file of another kind"):
        HealthServer(path, health).open()
    assert path.read_text() == "mine"


def test_a_missing_folder_is_a_wrong_setting(tmp_path: Path, health: Health) -> None:
    with pytest.raises(SettingsError, match="No such file or directory") as caught:
        HealthServer(tmp_path / "nowhere" / "shop.sock", health).open()
    assert "CDC_HEALTH_SOCKET" in caught.value.action


def test_close_leaves_a_successors_socket(server: HealthServer, path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        server.close()
        assert path.exists()


def test_a_path_longer_than_an_address_works(tmp_path: Path, health: Health) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    path = folder / "shop.sock"
    assert len(bytes(path)) > LONGEST_ADDRESS
    server = HealthServer(path, health)
    server.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ask(path)["name"] == "shop"
    with pytest.raises(SettingsError, match="another process answers there"):
        HealthServer(path, health).open()
    server.close()
    assert not path.exists()


def test_a_name_longer_than_an_address_is_a_wrong_setting(tmp_path: Path, health: Health) -> None:
    with pytest.raises(SettingsError, match="too long") as caught:
        HealthServer(tmp_path / ("s" * 120), health).open()
    assert "CDC_HEALTH_SOCKET" in caught.value.action


def test_a_client_that_hangs_up_or_says_nothing_keeps_nobody_waiting(server: HealthServer, path: Path) -> None:
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(path))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert ask(path)["ready"] is True


def test_an_answer_that_is_none_is_an_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"[1]")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ValueError, match="no JSON object"):
            ask(path)
        thread.join()
