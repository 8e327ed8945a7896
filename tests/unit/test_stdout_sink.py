"""`stdout:` never blocks, keeps what was not taken, and knows when nobody will read any more."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.errors import SettingsError
from cdc_files import stdout_sink
from cdc_files.settings import FilesSettings
from cdc_files.stdout_sink import StdoutSink
from tests.conformance.driving import Tally, deliver, make_context, numbered, take_all, turn_until


class Pipe:
    """Read by hand, so that the reader takes exactly what the test wants."""

    def __init__(self) -> None:
        self.source, self.target = os.pipe()
        self.sink = StdoutSink(make_context("stdout:", FilesSettings()), self.target)
        self.received = b""

    def close_source(self) -> None:
        """Never twice: the number may be somebody else's by then."""
        if self.source >= 0:
            os.close(self.source)
            self.source = -1

    def close(self) -> None:
        self.close_source()
        os.close(self.target)

    def read(self, size: int = 1 << 20) -> None:
        self.received += os.read(self.source, size)

    def lines(self) -> list[int]:
        """Of all that was written so far; the last line may be cut."""
        return [json.loads(line)["value"]["n"] for line in self.received.split(b"\n")[:-1]]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    pipe.sink.open()
    yield pipe
    pipe.sink.close()
    pipe.close()


def test_the_flag_of_the_shared_descriptor_is_left_alone(pipe: Pipe) -> None:
    deliver(pipe.sink, numbered("t", 1))
    assert os.get_blocking(pipe.target)


@pytest.mark.parametrize("reopened", [True, False])
def test_a_reader_that_stops_does_not_stop_us(monkeypatch: pytest.MonkeyPatch, reopened: bool) -> None:
    if not reopened:
        monkeypatch.setattr(StdoutSink, "_open_unblocked", lambda _: None)  # as where /proc refuses
    pipe, tally = Pipe(), Tally()
    pipe.sink.open()
    take_all(pipe.sink, records := numbered("t", 5_000, padding=200), tally)
    for _ in range(20):
        began = time.monotonic()
        pipe.sink.poll(0.01)
        assert time.monotonic() - began < 0.5
    assert tally.called < 5_000
    while tally.called < 5_000 or pipe.received.count(b"\n") < 5_000:
        pipe.sink.poll(0.0)
        if select_readable(pipe.source):
            pipe.read()
    assert pipe.lines() == list(range(len(records)))
    pipe.sink.close()
    pipe.close()


def select_readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


def test_nothing_is_acknowledged_that_the_pipe_has_not_whole(pipe: Pipe) -> None:
    tally = Tally()
    take_all(pipe.sink, numbered("t", 3_000, padding=300), tally)
    while tally.called < 3_000:
        pipe.sink.poll(0.0)
        pipe.read(1_000)
        in_pipe = 65536
        assert tally.called <= (len(pipe.received) + in_pipe) // 300


def test_purge_within_a_line_leaves_whole_lines_however_often(pipe: Pipe) -> None:
    chooser = random.Random(3)
    for turn in range(60):
        tally, records = Tally(), numbered("t", 500, start=turn * 1_000, padding=chooser.randrange(900))
        take_all(pipe.sink, records, tally)
        for _ in range(chooser.randrange(4)):
            pipe.sink.poll(0.0)
            if select_readable(pipe.source):
                pipe.read(chooser.randrange(1, 70_000))
        assert pipe.sink.purge(0.0)
    last = numbered("t", 5, start=900_000)
    tally = Tally()
    take_all(pipe.sink, last, tally)
    while tally.called < 5:
        pipe.sink.poll(0.0)
        if select_readable(pipe.source):
            pipe.read()
    while select_readable(pipe.source):
        pipe.read()
    assert pipe.lines()[-5:] == [900_000 + n for n in range(5)]
    assert pipe.received.endswith(b"\n")


def test_a_closed_pipe_ends_the_run(pipe: Pipe) -> None:
    pipe.close_source()
    take_all(pipe.sink, numbered("t", 1), Tally())
    with pytest.raises(SettingsError) as caught:
        turn_until(pipe.sink, lambda: False)
    assert caught.value.fault == "stdout-closed"
    assert caught.value.exit_code == 2


def test_X11_a_blocked_pipe_is_told(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdout_sink, "_SILENT_SECONDS", 0.1)
    tally = Tally()
    take_all(pipe.sink, numbered("t", 1_000, padding=300), tally)
    turn_until(pipe.sink, pipe.sink.outage)
    outage = pipe.sink.outage()
    assert outage is not None
    assert outage.fault == "stdout-blocked"
    while tally.called < 1_000:
        pipe.sink.poll(0.0)
        pipe.read()
    assert pipe.sink.outage() is None


# Run as `python -c EMIT`: delivers to its own standard output.
EMIT = """
from tests.conformance.driving import deliver, make_context, numbered
from cdc_files.connector import CONNECTOR
sink = CONNECTOR.open(make_context("stdout:", CONNECTOR.settings()))
sink.open()
deliver(sink, numbered("t", 3000, padding=100))
sink.close()
"""


@pytest.mark.parametrize("kind", ["pipe", "file", "null"])
def test_any_kind_of_standard_output_will_do(tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        out = subprocess.run([sys.executable, "-c", EMIT], capture_output=True, timeout=60, check=True).stdout
        assert out.count(b"\n") == 3_000
    else:
        path = tmp_path / "out" if kind == "file" else Path(os.devnull)
        with path.open("ab") as target:
            target.write(b"before\n" if kind == "file" else b"")
            target.flush()
            subprocess.run([sys.executable, "-c", EMIT], stdout=target, timeout=60, check=True)
        if kind == "file":
            assert path.read_bytes().startswith(b"before\n{")
            assert path.read_bytes().count(b"\n") == 3_001


def test_no_standard_output_at_all_is_told_at_start() -> None:
    sink = StdoutSink(make_context("stdout:", FilesSettings()), 987)
    with pytest.raises(SettingsError, match="standard output"):
        sink.open()
