"""Wildcards of `CDC_TABLES`: as a plain search of every way says, and in linear time whatever the names in the database."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.model.selection import parse_selection

NAMES = ["".join(letters) for size in range(5) for letters in product("ab\n", repeat=size)]


def matches_slowly(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(matches_slowly(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and matches_slowly(pattern[1:], name[1:])


@given(st.text("ab*?", min_size=1, max_size=7))
def test_a_pattern_matches_what_it_says(pattern: str) -> None:
    selection = parse_selection(f"s.{pattern}")
    for name in NAMES:
        assert selection.matches("s", name) == matches_slowly(pattern, name), (pattern, name)


@pytest.mark.parametrize("pattern", ["*a" * 20 + "*b", "*?a" * 15 + "b", "*" * 50 + "b", "?*" * 20 + "b"])
def test_S12_a_name_cannot_make_a_pattern_slow(pattern: str) -> None:
    selection = parse_selection(f"s.{pattern}")
    began = time.monotonic()
    assert not selection.matches("s", "a" * 10_000)
    assert time.monotonic() - began < 2.0


def test_S12_blanks_cannot_make_the_setting_slow() -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="cannot read"):
        parse_selection(" " * 100_000 + "x")
    assert time.monotonic() - began < 2.0
