"""docs/types.md says what the tests' table of types says, and no type of the contract is untried on a server that has it."""

from __future__ import annotations

import pytest

from tests.documents.failure_modes import ROOT
from tests.documents.types import ROWS, VERSIONS, ContractRow, cell, missing_edges, page, unknown_rows


def test_the_page_is_made_of_the_table() -> None:
    assert (ROOT / "docs" / "types.md").read_text() == page(), "run `make generate`"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_no_cell_is_empty(row: ContractRow, version: int) -> None:
    found = cell(row, version)
    if version < row.since:
        assert (found.generated, found.edges, found.arrays) == (0, 0, 0)
    else:
        assert min(found.generated, found.edges, found.arrays) > 0


def test_every_case_belongs_to_a_row() -> None:
    assert unknown_rows() == set()


def test_the_edges_of_the_contract_are_tried() -> None:
    assert missing_edges() == []
