"""X9, S10: a refused record is kept whole, privately, durably and once."""

from __future__ import annotations

import errno
import os
from base64 import b64decode
from pathlib import Path

import orjson
import pytest

from cdc.errors import DataError, SettingsError
from cdc.model.record import Record
from cdc.recovery.dead_letters import DeadLetters

EVENT = "7301:0/16B3748:12"
RECORD = Record("shop.public.orders", b"\xff\x00", b'{"id":1}', b"k", [("id", b"\xfe")])


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    letters = DeadLetters(tmp_path / "deep" / "letters")
    letters.open()
    return letters


def test_X9_letter_holds_the_whole_payload(letters: DeadLetters) -> None:
    letter = orjson.loads(letters.write(RECORD, "too large", EVENT).read_bytes())
    assert (letter["id"], letter["reason"], letter["topic"]) == (EVENT, "too large", RECORD.topic)
    assert b64decode(letter["key"]) == RECORD.key
    assert b64decode(letter["value"]) == RECORD.value
    assert [(name, b64decode(value)) for name, value in letter["headers"]] == RECORD.headers


def test_X9_absent_and_empty_are_told_apart(letters: DeadLetters) -> None:
    letter = orjson.loads(letters.write(Record("t", None, b"", b"t"), "why", EVENT).read_bytes())
    assert (letter["key"], letter["value"]) == (None, "")


def test_X9_a_replay_leaves_one_letter_and_another_record_its_own(letters: DeadLetters) -> None:
    first = letters.write(RECORD, "too large", EVENT)
    assert letters.write(RECORD, "too large", EVENT) == first
    tombstone = Record(RECORD.topic, RECORD.key, None, b"k")
    assert letters.write(tombstone, "too large", EVENT) != first
    assert len(list(letters.directory.iterdir())) == 2


def test_S10_folder_and_letter_are_private(letters: DeadLetters) -> None:
    letter = letters.write(RECORD, "why", EVENT)
    assert letters.directory.stat().st_mode & 0o777 == 0o700
    assert letter.stat().st_mode & 0o777 == 0o600


def test_S10_a_folder_open_to_others_is_tightened(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    DeadLetters(tmp_path).open()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("event_id", ["../../escape", "/etc/x:0", "é" * 400, "", ".hidden"])
def test_S15_no_event_id_leaves_the_folder(letters: DeadLetters, event_id: str) -> None:
    path = letters.write(RECORD, "why", event_id)
    assert path.parent == letters.directory
    assert path in letters.directory.iterdir()
    assert not path.name.startswith(".")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_X10_a_letter_that_cannot_be_written_halts(
    letters: DeadLetters, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError) as caught:
        letters.write(RECORD, "too large", EVENT)
    assert caught.value.exit_code == 4
    assert caught.value.fault == "dead-letter-unwritable"
    assert '{"id":1}' not in str(caught.value)
    assert not list(letters.directory.iterdir())


def test_a_file_in_the_way_is_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="CDC_DEAD_LETTER"):
        DeadLetters(tmp_path / "file" / "letters").open()
