"""Installs servers on first use, into a cache outside the repository.

Each release is downloaded by Maven into a folder beside its final place, unpacked, asked for its version, and only
then renamed: what is found under its final name is complete. A lock per server makes a second worker wait instead of
downloading again. Python opens files close-on-exec, so no server started later can inherit a lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.catalogue import KAFKA, MAVEN_PLUGIN, POSTGRES, Artifact, Release

SHARED_CACHE = Path("/var/cache/cdc-tests")
DOWNLOAD_SECONDS = 900


class UnavailableError(Exception):
    """A server is not installed here and could not be installed."""

    def __init__(self, release: Release, reason: str) -> None:
        super().__init__(
            f"{release.title} is not installed: {reason}. "
            f"With Maven and a JDK on the PATH, install it with: python -m tests.servers {release.name}"
        )


def cache_folder() -> Path:
    """Where servers and templates are kept; readable by the unprivileged user that PostgreSQL runs as."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdc-tests"
    folder = SHARED_CACHE if os.geteuid() == 0 and not open_to_others(own) else own
    make_folder(folder)
    return folder


def open_to_others(path: Path) -> bool:
    """Whether every existing folder on the path may be traversed by any user; what is missing we make so."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.exists())


def make_folder(path: Path) -> None:
    """Like mkdir -p, but traversable whatever the umask says. Folders that exist keep their mode."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the cache against other processes on this machine."""
    folder = cache_folder() / "locks"
    make_folder(folder)
    with open(folder / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """The cache folder of that name, built if it is missing: into a sibling, under a lock, renamed when whole."""
    final = cache_folder() / name
    if final.is_dir():
        return final
    with locked(name):
        if not final.is_dir():
            _build(final, build)
    return final


def _build(final: Path, build: Callable[[Path], None]) -> None:
    for leftover in final.parent.glob(f".{final.name}.*"):  # of a run that was killed; the lock is ours
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        partial.chmod(0o755)
        build(partial)
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def install_postgres(version: int) -> Path:
    """Install that major version if need be; return the folder that holds ``bin/`` (initdb, pg_ctl, postgres)."""
    release = POSTGRES[version]
    return build_once(release.name, lambda folder: _unpack_postgres(release, folder))


def install_kafka() -> Path:
    """Install the broker if need be; return the folder that holds ``libs/``."""
    return build_once(KAFKA.name, lambda folder: _unpack_kafka(KAFKA, folder))


def install(release: Release) -> Path:
    if release.server == "kafka":
        return install_kafka()
    return install_postgres(int(release.version.partition(".")[0]))


def _unpack_postgres(release: Release, folder: Path) -> None:
    """The jar holds one xz-compressed tar, and that holds the server."""
    with tempfile.TemporaryDirectory(prefix="cdc-download-") as scratch:
        (artifact,) = release.artifacts
        _maven(release, Path(scratch), "copy", f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}")
        (jar,) = Path(scratch).glob("*.jar")
        with zipfile.ZipFile(jar) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(".txz"))
            with archive.open(member) as packed, tarfile.open(fileobj=packed, mode="r|xz") as tar:
                # Not every 3.11 knows filters, 3.14 wants one: as an attribute it is ignored where it is unknown.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(folder)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    _check_version(release, [str(folder / "bin" / "postgres"), "--version"])


def _unpack_kafka(release: Release, folder: Path) -> None:
    """Maven resolves the runtime dependencies of a project that has nothing else."""
    with tempfile.TemporaryDirectory(prefix="cdc-download-") as scratch:
        (Path(scratch) / "pom.xml").write_text(_project(release.artifacts))
        libs = folder / "libs"
        _maven(release, Path(scratch), "copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime")
    make_folder(libs)
    java = java_program()
    if java is None:
        raise UnavailableError(release, "there is no Java on the PATH")
    _check_version(release, [java, "-cp", f"{libs}/*", "kafka.Kafka", "--version"])


def _project(artifacts: tuple[Artifact, ...]) -> str:
    wanted = "".join(
        f"<dependency><groupId>{one.group}</groupId><artifactId>{one.name}</artifactId>"
        f"<version>{one.version}</version></dependency>"
        for one in artifacts
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>servers</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
    )


def java_program() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return (shutil.which(f"{home}/bin/java") if home else None) or shutil.which("java")


def _maven(release: Release, folder: Path, goal: str, *options: str) -> None:
    """Run one goal in an empty folder, so that no project's pom.xml is picked up. One at a time: Maven's local
    repository does not bear two writers."""
    program = shutil.which("mvn")
    if program is None:
        raise UnavailableError(release, "there is no mvn on the PATH to install it with")
    with locked("maven"):
        result = subprocess.run(
            [program, "-q", "-B", "-Dstyle.color=never", f"{MAVEN_PLUGIN}:{goal}", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    if result.returncode != 0:
        raise UnavailableError(release, f"mvn {goal} failed: {result.stdout.decode(errors='replace')[-2000:].strip()}")


def _check_version(release: Release, command: list[str]) -> None:
    """A download that does not run, or is another version, must not enter the cache."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    answer = result.stdout.decode(errors="replace").strip()
    if result.returncode != 0 or release.version not in answer.replace("(", " ").split():
        raise UnavailableError(release, f"what was downloaded answers {answer[-500:]!r} to --version")
