"""The env file's grammar: Docker's own, so that one file means the same to every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.settings.env_file import EnvFileError, parse_env, read_env_file


@pytest.mark.parametrize(
    "value",
    [
        "#not a comment",
        "a # b",
        "100%",
        "%41%2F",
        "it's",
        "'quoted'",
        '"quoted"',
        "$HOME ${HOME} $$",
        "a=b=c",
        "back\\slash \\n",
        "  blanks around  ",
        "`id`",
        "emoji 🎈 ß",
        "\u2028 is no end of a line, \x0b nor this",
        "",
    ],
)
def test_a_value_is_taken_as_it_is(value: str) -> None:
    assert parse_env(f"A=1\nX={value}\nB=2\n", "f") == {"A": "1", "X": value, "B": "2"}


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])))
def test_any_value_survives(value: str) -> None:
    assert parse_env(f"X={value}", "f") == {"X": value}


def test_comments_and_blank_lines_are_passed_over() -> None:
    assert parse_env("# X=1\n\n   \n  # indented, as Docker has it\nA=1\n#B=2", "f") == {"A": "1"}


def test_crlf_and_a_byte_order_mark_are_borne(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\n\r\n# c\r\nB=2 \r\n")
    assert read_env_file(file) == {"A": "1", "B": "2 "}


def test_the_last_of_two_wins() -> None:
    assert parse_env("A=1\nA=2\n", "f") == {"A": "2"}


def test_every_wrong_line_is_told_by_number_and_never_quoted() -> None:
    with pytest.raises(EnvFileError) as caught:
        parse_env("A=1\nhunter2\n=hunter2\nTWO WORDS=hunter2\nX=hunter2\0\n", "the.env")
    assert [p.split(":")[1] for p in caught.value.problems] == [" line 2", " line 3", " line 4", " line 5"]
    assert "hunter2" not in str(caught.value)
    assert caught.value.problems[0] == "env file the.env: line 2: has no =; expected NAME=value"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match="absent: cannot be read: No such file"):
        read_env_file(tmp_path / "absent")


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(EnvFileError, match="line 2: is not UTF-8"):
        read_env_file(file)
