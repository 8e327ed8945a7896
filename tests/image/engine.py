"""Builds the project's image without a container engine: buildah in a chroot, on a base made of Debian's own packages.

No registry is asked. Debian 12 brings Python 3.11 and so stands in for python:3.11-slim. Base and layers stay in the
suite's cache, so only what changed is built again. What pip needs of this machine, a mirror or a certificate, is
mounted for the build and is in no layer.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.servers.install import cache_folder, locked, make_folder

ROOT: Final = Path(__file__).resolve().parents[2]
RELEASE: Final = "bookworm"
BASE: Final = f"localhost/cdc-base:{RELEASE}"
STAGE: Final = "localhost/cdc-build:tests"
IMAGE: Final = "localhost/cdc:tests"
PROGRAMS: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
CACHED_BASE: Final = (
    "FROM scratch\nADD base.tar /\nENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin\n"
)
# What of pip's configuration tells how to reach an index; paths of this machine mean nothing inside the build.
PIP_OPTIONS: Final = frozenset({"cert", "extra-index-url", "index-url", "proxy", "timeout", "trusted-host"})
STEP_SECONDS: Final = 900


class ImageUnavailableError(Exception):
    """The image cannot be built on this machine: no root, no programs, no base."""


class StepError(Exception):
    """A program failed; the message ends with its complaints."""


@dataclass(frozen=True, slots=True)
class Image:
    """`root` is mounted as long as the image is in use. `configuration` is what `docker inspect` calls Config."""

    root: Path
    configuration: Mapping[str, Any]
    size: int
    base_size: int

    @property
    def sizes(self) -> str:
        mib = 1 << 20
        added = (self.size - self.base_size) / mib
        return f"image: {self.size / mib:.0f} MiB = base {self.base_size / mib:.0f} MiB + {added:.1f} MiB"


@contextmanager
def built_image() -> Iterator[Image]:
    """The image of this checkout, built and mounted.

    Raises ImageUnavailableError where the machine is at fault, StepError where the build is.
    """
    with _preparing():
        _install_programs()
    with locked("image"), tempfile.TemporaryDirectory(prefix="cdc-image-") as scratch:
        store = _Store(cache_folder() / "image-store", Path(scratch))
        store.buildah("rm", "--all")  # of a run that was killed; the lock is ours
        if not store.has(BASE):
            with _preparing():
                _make_base(store, Path(scratch))
        options = ["--layers", "--build-arg", f"BASE={BASE}"]
        # The first stage alone needs pip's way to an index, whose mount points would stay in the image. It has a name,
        # for what has none is pruned, and with it the layers to begin from next time.
        store.bud(ROOT, STAGE, *options, "--target", "build", *_pip_volumes(Path(scratch)))
        store.bud(ROOT, IMAGE, *options)
        store.buildah("rmi", "--prune")
        with store.mounted(BASE) as base, store.mounted(IMAGE) as root:
            yield Image(root, store.configuration(IMAGE), _size(root), _size(base))


@contextmanager
def _preparing() -> Iterator[None]:
    try:
        yield
    except StepError as error:
        raise ImageUnavailableError(str(error)) from error


class _Store:
    """Images and containers under one folder; `scratch` holds what is void after a reboot."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        make_folder(folder)
        self._options = ["--root", str(folder), "--runroot", str(scratch / "run")]

    def buildah(self, *arguments: str) -> str:
        return _run(["buildah", *self._options, *arguments]).strip()

    def bud(self, context: Path, tag: str, *options: str) -> None:
        # The default format, OCI's, has no HEALTHCHECK.
        self.buildah("bud", "--quiet", "--pull-never", "--format", "docker", "--tag", tag, *options, str(context))

    def has(self, tag: str) -> bool:
        listed = json.loads(self.buildah("images", "--json"))
        return any(tag in (image["names"] or ()) for image in listed)

    def configuration(self, tag: str) -> dict[str, Any]:
        inspected = json.loads(self.buildah("inspect", "--type", "image", tag))
        configuration: dict[str, Any] = inspected["Docker"]["config"]
        return configuration

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        container = self.buildah("from", "--pull-never", tag)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)


def _install_programs() -> None:
    missing = sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None)
    if os.geteuid() != 0:
        raise ImageUnavailableError("building the image without a container engine takes root")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ImageUnavailableError(f"there is no {' and no '.join(missing)}, and no apt-get to install it with")
    with locked("apt"):
        _run(["apt-get", "update", "--quiet"])
        _run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing])


def _make_base(store: _Store, scratch: Path) -> None:
    folder = scratch / "base"
    folder.mkdir()
    packages = "python3,python3-venv,ca-certificates"
    source = f"deb [signed-by={KEYRING}] {_mirror()} {RELEASE} main"
    _run(["mmdebstrap", "--variant=minbase", f"--include={packages}", RELEASE, str(folder / "base.tar"), source])
    (folder / "Dockerfile").write_text(CACHED_BASE)
    store.bud(folder, BASE)


def _mirror() -> str:
    """Where this machine gets Debian from."""
    shown = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)", "Created-By: Packages"]
    for line in _run(shown).splitlines():
        codename, component, site = line.split(" ", 2)
        if (codename, component) == (RELEASE, "main"):
            return site
    return "http://deb.debian.org/debian"


def _pip_volumes(scratch: Path) -> list[str]:
    """pip's way to an index, as it is on this machine, mounted into the build."""
    options = {}
    for line in _run([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        name, _, value = line.partition("=")  # global.cert='…', then :env:.cert='…', which wins
        if (key := name.rpartition(".")[2]) in PIP_OPTIONS:
            options[key] = ast.literal_eval(value).replace("\n", "\n    ")
    certificates = options.get("cert")
    if certificates:
        options["cert"] = "/run/pip-certificates.pem"
    file = scratch / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in options.items()))
    mounts = [f"{file}:/etc/pip.conf:ro"]
    if certificates:
        mounts.append(f"{Path(certificates).resolve()}:{options['cert']}:ro")
    return [word for mount in mounts for word in ("--volume", mount)]


def _size(root: Path) -> int:
    """Bytes in files, each once, as in the layers' archives."""
    return int(_run(["du", "--summarize", "--apparent-size", "--block-size=1", str(root)]).split()[0])


def _run(command: Sequence[str]) -> str:
    """What it prints. Raises StepError."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=STEP_SECONDS,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        words = " ".join(word for word in command[:8] if not word.startswith("/"))
        raise StepError(f"{words} … failed: {(result.stdout + result.stderr)[-4000:].strip()}")
    return result.stdout
