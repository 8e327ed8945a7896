"""The failpoints themselves: armed by the environment of a new process, and nothing at all otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from cdc import failpoints
from cdc.errors import SinkOutage
from cdc.failpoints import Failpoints, Sabotage, hit, sabotaged
from tests.faults.declared import declared_in_source

REPOSITORY = Path(__file__).parents[2]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from cdc.failpoints import hit, sabotaged\n{code}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_without_the_environment() -> None:
    assert hit is failpoints._nothing
    hit("anything")
    assert not any(sabotaged(name) for name in get_args(Sabotage))


def test_kill_comes_from_the_environment_and_leaves_its_name_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "reached"
    code = "for _ in range(5): hit('a'); hit('b'); print('turn', flush=True)"
    done = run(code, FAILPOINTS="b=kill@3", FAILPOINTS_LOG=str(log))
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "turn\nturn\n")
    assert log.read_text() == "a\nb\n"


def test_the_log_alone_arms_nothing_and_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "reached"
    for _ in range(2):
        assert run("hit('a'); hit('a')", FAILPOINTS_LOG=str(log)).returncode == 0
    assert log.read_text() == "a\na\n"


def test_stop_waits_for_a_continue() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from cdc.failpoints import hit; hit('a'); print('went on')"],
        env={**os.environ, "FAILPOINTS": "a=stop"},
        stdout=subprocess.PIPE,
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0] == b"went on\n"


def test_raise_takes_builtin_project_and_errno_names() -> None:
    points = Failpoints("a=raise;b=raise:SinkOutage;c=raise:ENOSPC;d=raise:TimeoutError")
    with pytest.raises(OSError, match="failpoint"):
        points.hit("a")
    with pytest.raises(SinkOutage):
        points.hit("b")
    with pytest.raises(OSError, match="No space left on device"):
        points.hit("c")
    with pytest.raises(TimeoutError):
        points.hit("d")
    points.hit("e")
    assert points.reached() == {"a", "b", "c", "d", "e"}


def test_each_hit_or_the_nth_and_several_rules_for_a_name() -> None:
    points = Failpoints("a=raise:KeyError@2; a=raise:IndexError@3 ;b=raise")
    points.hit("a")
    with pytest.raises(KeyError):
        points.hit("a")
    with pytest.raises(IndexError):
        points.hit("a")
    points.hit("a")
    for _ in range(2):
        with pytest.raises(OSError, match="failpoint"):
            points.hit("b")


def test_sleep_stalls() -> None:
    points = Failpoints("a=sleep:0.05")
    before = time.monotonic()
    points.hit("a")
    assert time.monotonic() - before >= 0.05


@pytest.mark.parametrize(
    "specification",
    ["a", "=kill", "a=explode", "a=kill@", "a=kill@0", "a=kill@x", "a=sleep:x", "a=raise:NoSuchError", "a=raise:print"],
)
def test_what_cannot_be_read_is_an_error_not_a_quiet_no_op(specification: str) -> None:
    with pytest.raises(ValueError, match=r"FAILPOINTS"):
        Failpoints(specification)


def test_one_promise_is_broken_on_request() -> None:
    code = "print(sabotaged('confirm-before-ack'), sabotaged('checkpoint-before-ack'))"
    assert run(code, SABOTAGE="confirm-before-ack").stdout == "True False\n"
    unknown = run("", SABOTAGE="everything")
    assert unknown.returncode == 1
    assert "SABOTAGE='everything' is none of" in unknown.stderr


def test_declared_names_are_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from cdc.failpoints import hit\ndef f():\n    hit('one')\n    hit('two')\n")
    (tmp_path / "b.py").write_text("def hit(x): ...\nhit('not ours')\n")
    assert declared_in_source(tmp_path) == {"one", "two"}
    (tmp_path / "c.py").write_text("from cdc.failpoints import hit\nname = 'x'\nhit(name)\n")
    with pytest.raises(ValueError, match=r"c\.py:3: a failpoint's name must be a string literal"):
        declared_in_source(tmp_path)


def test_every_name_in_the_source_is_a_literal() -> None:
    assert declared_in_source(REPOSITORY / "cdc") | declared_in_source(REPOSITORY / "connectors")
