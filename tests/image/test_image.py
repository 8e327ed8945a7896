"""The image itself: built, looked at, and run the way the manifests run it, against real servers."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.image.engine import Image, ImageUnavailableError, built_image
from tests.image.manifests import compose, compose_environment
from tests.image.sandbox import Sandbox
from tests.servers.kafka import KafkaServer
from tests.servers.plugin import StartPostgres
from tests.servers.process import Account, private_folder, remove_folder
from tests.servers.require import requirement

pytestmark = pytest.mark.slow

USER = Account(10001, 10001)
MEMORY = 256 << 10  # in KiB, as the manifests limit it


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with ExitStack() as stack:
        try:
            built = stack.enter_context(built_image())
        except ImageUnavailableError as error:
            # Elsewhere Maven and Java make servers a duty; they do not make a user root.
            if os.environ.get("TEST_REQUIRE") == "all" or (requirement() == "all" and os.geteuid() == 0):
                raise
            pytest.skip(str(error))
        yield built


@pytest.fixture
def volume() -> Iterator[Path]:
    """Of the image's user, and of nobody else."""
    folder = private_folder("cdc-volume-", USER)
    yield folder
    remove_folder(folder)


def test_it_says_how_it_is_run(image: Image) -> None:
    configuration = image.configuration
    assert (configuration["Entrypoint"], configuration["Cmd"]) == (["cdc"], ["run"])
    assert configuration["User"] == "10001:10001"
    assert configuration["Healthcheck"]["Test"] == ["CMD", "cdc", "health"]
    assert list(configuration["Volumes"]) == ["/var/lib/cdc"]
    assert not [entry for entry in configuration["Env"] if entry.startswith(("CDC_", "PIP_"))]


def test_nothing_is_in_it_but_what_runs(image: Image) -> None:
    installed = image.root / "opt/cdc"
    assert sorted(path.name for path in (installed / "bin").iterdir()) == ["cdc", "python", "python3", "python3.11"]
    assert not [path for path in installed.rglob("*") if path.name in ("__pycache__", "pip", "setuptools", "Cython")]
    assert not [name for name in ("gcc", "cc", "ld", "strip") if (image.root / "usr/bin" / name).exists()]
    for build_time in ("build", "etc/pip.conf", "run/pip-certificates.pem"):
        assert not (image.root / build_time).exists()
    state = (image.root / "var/lib/cdc").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (USER.uid, USER.gid, 0o700)


def test_it_adds_little_to_its_base(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{image.sizes}")
    assert image.size - image.base_size < 45 << 20


def test_without_settings_it_ends_with_2(image: Image, volume: Path, tmp_path: Path) -> None:
    with Sandbox(image, {}, volume, tmp_path / "log") as sandbox:
        assert sandbox.wait(30) == 2, sandbox.output()
    assert "CDC_NAME" in sandbox.output()


def test_the_main_job_as_pid_1_on_a_read_only_root(
    image: Image, volume: Path, tmp_path: Path, postgres_server: StartPostgres, kafka: KafkaServer
) -> None:
    """With the database, the role and the settings of compose.yaml; only addresses and topic are the test's own."""
    postgres = postgres_server(version=18)
    postgres.create_database("shop")
    postgres.execute(compose()["configs"]["setup"]["content"], dbname="shop")
    prefix = uuid.uuid4().hex[:8]
    environment = compose_environment() | {
        "CDC_SOURCE": postgres.dsn("shop", "cdc"),
        "CDC_SINK": f"kafka://{kafka.bootstrap}",
        "CDC_TOPIC": f"{prefix}.{{schema}}.{{table}}",
    }

    def order(customer: str) -> None:
        postgres.execute("INSERT INTO orders (customer, total) VALUES (%s, 9.90)", [customer], dbname="shop")

    def delivered() -> list[str]:
        topic = f"{prefix}.public.orders"
        records = kafka.read_all(topic) if topic in kafka.topics() else []
        return sorted(json.loads(record.value or b"")["after"]["customer"] for record in records)

    with Sandbox(image, environment, volume, tmp_path / "first.log") as sandbox:
        _wait_ready(sandbox)
        _check_profile(sandbox)
        order("ada")
        _until(lambda: delivered() == ["ada"], sandbox)
        assert (memory := _peak_memory(sandbox.pid)) < MEMORY, f"{memory} KiB"
        order("grace")
        assert sandbox.terminate(40) == 0, sandbox.output()
    assert sorted(path.name for path in volume.iterdir() if path.suffix in (".checkpoint", ".sock")) == [
        "shop.checkpoint"
    ]
    assert (volume / "shop.checkpoint").stat().st_uid == USER.uid
    with Sandbox(image, environment, volume, tmp_path / "second.log") as sandbox:  # after a drain nothing comes twice
        _wait_ready(sandbox)
        order("katherine")
        _until(lambda: "katherine" in delivered(), sandbox)
        assert sandbox.terminate(40) == 0, sandbox.output()
    assert delivered() == ["ada", "grace", "katherine"]


def _wait_ready(sandbox: Sandbox) -> None:
    _until(lambda: sandbox.execute("cdc", "health").returncode == 0, sandbox)
    assert sandbox.execute("cdc", "health").stdout.startswith("ready")


def _check_profile(sandbox: Sandbox) -> None:
    """What a container engine would be asked for is what the process has."""
    assert json.loads(sandbox.execute("cdc", "status", "--format", "json").stdout)["pid"] == 1
    assert sandbox.execute("id", "-u").stdout.strip() == str(USER.uid)
    assert "Read-only file system" in sandbox.execute("touch", "/tmp/x").stderr
    assert _status(sandbox.pid)["CapEff"] == "0000000000000000"


def _until(done: Callable[[], bool], sandbox: Sandbox, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert sandbox.running and time.monotonic() < deadline, sandbox.output()
        time.sleep(0.1)


def _peak_memory(pid: int) -> int:
    """In KiB."""
    return int(_status(pid)["VmHWM"].removesuffix("kB"))


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
