"""The table of failure modes is honest: what is closed has a test that exists, and the page says what the table says."""

from __future__ import annotations

import pytest

from tests.documents.failure_modes import ROOT, Mode, exists, page, rank, read_modes

MODES = read_modes()
# What this version promises to close or to account for; the catalogue's other numbers belong to what it does not have.
PROMISED = [
    *(f"P{n}" for n in range(1, 54) if n not in {4, 28, 34, 35, 36, 37, 47}),
    *(f"X{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16)),
    *(f"K{n}" for n in (1, 2, 3, 4, 8, 9, 10, 11, 12, 13)),
    *(f"S{n}" for n in (1, 2, 3, 5, 7, 8, 10, 12, 13, 14, 15, 16, 18)),
]


def test_every_promised_number_is_there_once() -> None:
    assert [mode.number for mode in MODES] == sorted(PROMISED, key=rank)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.number)
def test_what_is_closed_has_a_test_and_what_is_open_a_reason(mode: Mode) -> None:
    assert mode.what.endswith(".")
    assert mode.state in {"closed", "open"}
    assert bool(mode.tests) if mode.state == "closed" else bool(mode.reason)
    assert mode.state == "open" or not mode.reason
    assert [test for test in mode.tests if not exists(test)] == []
    assert len(set(mode.tests)) == len(mode.tests)


def test_the_page_is_made_of_the_table() -> None:
    assert (ROOT / "docs" / "failure-modes.md").read_text() == page(), "run `make generate`"


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert exists("tests/unit/test_failure_modes.py::test_the_page_is_made_of_the_table")
    assert not exists("tests/unit/test_failure_modes.py::test_that_nobody_wrote")
    assert not exists("tests/unit/test_that_is_no_file.py::test_x")
    assert not exists("tests/unit/test_failure_modes.py::exists"), "a function that is no test"
