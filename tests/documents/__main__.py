"""``python -P -m tests.documents failure-modes|types|relist``: print a page, or bring the lists of tests in tests/failure_modes.toml up to date."""

from __future__ import annotations

import sys

from tests.documents import failure_modes, types


def main(arguments: list[str]) -> int:
    match arguments:
        case ["failure-modes"]:
            print(failure_modes.page(), end="")
        case ["types"]:
            print(types.page(), end="")
        case ["relist"]:
            failure_modes.TABLE.write_text(failure_modes.relisted())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
