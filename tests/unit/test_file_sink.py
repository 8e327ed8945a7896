"""X1, X2, S10: lines in files are whole, private, and acknowledged only when they would survive."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.errors import AnotherInstance, SettingsError
from cdc.model.finding import Severity
from cdc.model.record import Record
from cdc_files.connector import CONNECTOR
from cdc_files.faults import Trouble, classify
from cdc_files.file_sink import FileSink
from cdc_files.lines import line
from cdc_files.settings import FilesSettings
from tests.conformance.driving import Tally, deliver, make_context, numbered, take_all, turn_until
from tests.faults.declared import declared_in_source

FAILPOINTS = sorted(declared_in_source(Path(__file__).parents[2] / "connectors" / "cdc_files"))

# Run as `python -c WRITE <folder>`: delivers numbered records for ever, and tells how many were acknowledged.
WRITE = """
import sys
from pathlib import Path
from tests.unit.test_file_sink import open_sink, numbered, Tally
sink, tally, at = open_sink(Path(sys.argv[1]), rotate_bytes=5_000), Tally(), 0
while True:
    at += sink.offer(numbered("t", 7, start=at), 0, tally)
    sink.poll(0.0)
    print(tally.acknowledged, flush=True)
"""


def open_sink(folder: Path, *, name: str = "shop", **settings: int) -> FileSink:
    sink = FileSink(make_context(folder.as_uri(), FilesSettings(**settings), name=name))
    sink.open()
    return sink


def numbers(folder: Path) -> list[int]:
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines(keepends=True)]
    assert all(line.endswith(b"\n") for line in lines)
    return [json.loads(line)["value"]["n"] for line in lines]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trouble, "_RETRY_SECONDS", 0.05)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A volume of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_line_is_one_json_document() -> None:
    record = Record("shop.public.t", b'{"id":1}', b'{"a":null}', b"k")
    assert line(record) == b'{"topic":"shop.public.t","key":{"id":1},"value":{"a":null}}\n'
    assert line(Record("t", None, None, b"t")) == b'{"topic":"t","key":null,"value":null}\n'
    assert line(Record("t", b"\xff", b"", b"t")) == b'{"topic":"t","key_base64":"/w==","value_base64":""}\n'
    with_headers = json.loads(line(Record("t", b"1", b"2", b"1", [("a", b"\xff"), ("b", b'"')])))
    assert with_headers["headers"] == [["a", {"base64": "/w=="}], ["b", '"']]


def test_null_is_not_the_text_null() -> None:
    assert b'"value":null' in line(Record("t", b"1", None, b"1"))
    assert b'"value":null' not in line(Record("t", b"1", b"null", b"1"))


def test_files_are_rotated_by_size_and_named_in_order(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "deep" / "out", rotate_bytes=1_000)
    deliver(sink, numbered("t", 100))
    sink.close()
    files = sorted((tmp_path / "deep" / "out").iterdir())
    assert [file.name for file in files] == [f"shop-{n:08d}.jsonl" for n in range(1, len(files) + 1)]
    assert len(files) > 3
    assert all(1_000 <= file.stat().st_size < 1_100 for file in files[:-1])
    assert numbers(tmp_path / "deep" / "out") == list(range(100))


def test_the_oldest_files_go_where_that_is_wanted(tmp_path: Path) -> None:
    sink = open_sink(tmp_path, rotate_bytes=1_000, keep=2)
    deliver(sink, numbered("t", 100))
    left = numbers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert left == list(range(100 - len(left), 100))


def test_S10_files_and_folder_are_private(tmp_path: Path) -> None:
    deliver(open_sink(tmp_path / "out"), numbered("t", 1))
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()} == {0o600}


@pytest.mark.parametrize("tail", [b"", b'{"topic":"t","key":', b"x" * 200_000])
def test_X1_a_line_that_a_crash_cut_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    sink = open_sink(tmp_path)
    deliver(sink, numbered("t", 10))
    sink.close()
    (file,) = tmp_path.iterdir()
    with file.open("ab") as torn:
        torn.write(tail)
    sink = open_sink(tmp_path)
    deliver(sink, numbered("t", 10, start=10))
    assert numbers(tmp_path) == list(range(20))


def test_X1_a_file_that_is_nothing_but_a_cut_line(tmp_path: Path) -> None:
    (tmp_path / "shop-00000003.jsonl").write_bytes(b"{")
    deliver(open_sink(tmp_path), numbered("t", 1))
    assert (tmp_path / "shop-00000003.jsonl").read_bytes().count(b"\n") == 1


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = ("shop2-00000009.jsonl", "shop-extra-00000009.jsonl", "shop-9.jsonl", "notes")
    for name in others:
        (tmp_path / name).write_bytes(b"{torn")
    deliver(open_sink(tmp_path, rotate_bytes=100, keep=1), numbered("t", 10))
    assert all((tmp_path / name).read_bytes() == b"{torn" for name in others)


def test_X6_two_writers_do_not_share_a_file(tmp_path: Path) -> None:
    first = open_sink(tmp_path)
    with pytest.raises(AnotherInstance) as caught:
        open_sink(tmp_path)
    assert caught.value.exit_code == 6
    open_sink(tmp_path, name="other").close()
    first.close()
    open_sink(tmp_path).close()


def test_X2_a_full_volume_is_an_outage_and_heals(tiny: Path, quick: None) -> None:
    ballast = tiny / "ballast"
    ballast.write_bytes(bytes(24_000))
    sink, tally, records = open_sink(tiny), Tally(), numbered("t", 600, padding=30)
    for start in range(0, 600, 100):
        take_all(sink, records[start : start + 100], tally)
        sink.poll(0.0)
    turn_until(sink, sink.outage)
    outage = sink.outage()
    assert outage is not None
    assert outage.fault == "sink-disk-full"
    assert 0 < tally.acknowledged < 600
    assert numbers(tiny) == list(range(tally.acknowledged))  # what did not fit was cut off again
    ballast.unlink()
    turn_until(sink, lambda: tally.acknowledged == 600)
    assert sink.outage() is None
    assert numbers(tiny) == list(range(600))


def test_X2_a_failed_fsync_is_no_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """After it the kernel may have dropped the data and call the next fsync a success: it must be written again."""
    sink, tally = open_sink(tmp_path), Tally()
    deliver(sink, numbered("t", 5))
    real, written = os.fsync, []

    def fail(descriptor: int) -> None:
        written.append(os.fstat(descriptor).st_size)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    take_all(sink, numbered("t", 5, start=5), tally)
    turn_until(sink, lambda: len(written) >= 2)
    assert tally.called == 0
    assert sink.outage() is not None
    assert numbers(tmp_path) == list(range(5))
    monkeypatch.setattr(os, "fsync", real)
    turn_until(sink, lambda: tally.acknowledged == 5)
    assert numbers(tmp_path) == list(range(10))


def test_X2_a_folder_that_went_away_comes_back(tmp_path: Path, quick: None) -> None:
    folder = tmp_path / "out"
    sink = open_sink(folder, rotate_bytes=500)
    deliver(sink, numbered("t", 5))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    deliver(sink, numbered("t", 50, start=5))
    assert numbers(folder)[-40:] == list(range(15, 55))


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_X1_killed_anywhere(tmp_path: Path, failpoint: str) -> None:
    environment = {**os.environ, "FAILPOINTS": f"{failpoint}=kill@7"}
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    acknowledged = int(done.stdout.split()[-1])
    sink = open_sink(tmp_path, rotate_bytes=5_000)
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) >= acknowledged
    deliver(sink, numbered("t", 3, start=len(found)))
    assert numbers(tmp_path) == list(range(len(found) + 3))


def test_X1_killed_at_any_time(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(30)]
    process.kill()
    rest, _ = process.communicate(timeout=30)
    acknowledged = int((rest.split() or lines)[-1])
    open_sink(tmp_path, rotate_bytes=5_000).close()
    found = numbers(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) >= acknowledged


@pytest.mark.parametrize("url", ["file://host/dir", "file:relative", "file:///dir?x=1", "file:///dir#x"])
def test_a_wrong_url_is_wrong_settings(url: str) -> None:
    with pytest.raises(SettingsError, match="CDC_SINK"):
        FileSink(make_context(url, FilesSettings()))
    assert CONNECTOR.preflight(make_context(url, FilesSettings()), None)[0].severity is Severity.ERROR


def test_a_path_may_hold_anything(tmp_path: Path) -> None:
    folder = tmp_path / "a b#c?ä%"
    deliver(open_sink(folder), numbered("t", 1))
    assert numbers(folder) == [0]


def test_a_file_in_the_way_is_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SettingsError, match="CDC_SINK") as caught:
        open_sink(tmp_path / "out" / "deeper")
    assert caught.value.action


def test_check_looks_at_the_folder_and_makes_nothing(tmp_path: Path) -> None:
    def checked(folder: Path) -> tuple[Severity, str]:
        (finding,) = CONNECTOR.preflight(make_context(folder.as_uri(), FilesSettings()), None)
        return finding.severity, finding.detail

    assert checked(tmp_path) == (Severity.OK, f"the folder {tmp_path} is there")
    assert checked(tmp_path / "new" / "er") == (Severity.OK, f"the folder {tmp_path / 'new' / 'er'} will be created")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert checked(tmp_path / "file" / "x")[0] is Severity.ERROR


def test_classify_knows_the_systems_errors_only() -> None:
    full = classify(OSError(errno.ENOSPC, ""))
    assert full is not None
    assert (full.name, full.heals) == ("sink-disk-full", True)
    assert classify(ValueError()) is None
    assert (unknown := classify(OSError(errno.EXDEV, ""))) is not None
    assert unknown.name == "sink-disk-error"
