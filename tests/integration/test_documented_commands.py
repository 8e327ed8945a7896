"""Every command of README and tutorial is run as it stands, in a copy of the repository that nobody has used yet.

A block of commands is a fence marked `sh`. One that cannot run here says so above itself and is listed below by name; any
other is run, in the order of its document and in one shell.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = "README.md"
TUTORIAL = "docs/tutorial.md"
NOT_RUN = {
    (README, "docker build -t cdc-connector .", "needs docker"),
    (README, "docker compose --file config/compose.yaml up --build", "needs docker"),
}
LANGUAGES = {"sh", "text", "ini"}
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
SECONDS = 240.0


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    reason: str | None

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Copy:
    """A copy of the repository, and a folder for temporary files that must be empty in the end."""

    root: Path
    temporary: Path


def blocks(document: str) -> list[Block]:
    text = (REPOSITORY / document).read_text()
    found = [Block(match["language"], match["text"], match["reason"]) for match in FENCE.finditer(text)]
    assert len(found) * 2 == len(re.findall(r"^```", text, re.M)), f"{document} has a fence that is not read"
    return found


@pytest.fixture(scope="module")
def copy() -> Iterator[Copy]:
    # Not pytest's own folder, which is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="cdc-documented-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ignored = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
        shutil.copytree(REPOSITORY, folder / "cdc", ignore=ignored)
        (folder / "tmp").mkdir()
        yield Copy(folder / "cdc", folder / "tmp")


@pytest.mark.parametrize("document", [README, TUTORIAL])
def test_fences_are_of_known_languages(document: str) -> None:
    assert {block.language for block in blocks(document)} <= LANGUAGES


def test_blocks_that_are_not_run_are_known() -> None:
    marked = {(name, b.first_line, b.reason) for name in (README, TUTORIAL) for b in blocks(name) if b.reason}

    assert marked == NOT_RUN


@pytest.mark.slow
def test_commands_of_the_readme(copy: Copy) -> None:
    output = run(README, copy)

    assert "committed changes   all arrived" in output
    assert "CDC_CHECKPOINT" in output
    assert_nothing_left(copy)


@pytest.mark.slow
def test_commands_of_the_tutorial(copy: Copy) -> None:
    output = run(TUTORIAL, copy)

    before, _, after = output.partition("dropped, seen before: shop:")
    assert "2 Björn paid 42.50\n3 Chloé placed 8.90" in before
    assert "2 Björn shipped 42.50\n3 Chloé placed 8.90" in after
    assert not (copy.root / "tutorial").exists()
    assert_nothing_left(copy)


def run(document: str, copy: Copy) -> str:
    """All blocks in one shell, which ends at the first command that fails. Returns what they printed."""
    commands = [block.text for block in blocks(document) if block.language == "sh" and not block.reason]
    script = "\n".join(["set -eu", *commands])
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=copy.root,
        env=environment(copy),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        process_group=0,
    )
    try:
        output, _ = shell.communicate(timeout=SECONDS)
    finally:
        end_group(shell.pid)
    assert shell.returncode == 0, f"a command of {document} failed:\n{output}"
    return output


def end_group(leader: int) -> None:
    """What a failed script has left in the background; the demo's own children go with their parent."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def environment(copy: Copy) -> dict[str, str]:
    """A stranger's: nothing of this suite's, and no compiling, which other tests prove."""
    unwanted = ("CDC_", "PG", "TEST_", "PYTEST_", "COVERAGE", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "TMPDIR": str(copy.temporary), "PYTHON": sys.executable, "SKIP_CYTHON": "1"}


def assert_nothing_left(copy: Copy) -> None:
    assert list(copy.temporary.iterdir()) == []
    assert processes_of(copy.root) == []


def processes_of(folder: Path) -> list[str]:
    """The command lines of living processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found
