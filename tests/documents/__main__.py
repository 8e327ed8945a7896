"""``python -P -m tests.documents failure-modes|types|unlisted``: print a page, or the tests that claim a number the table does not list."""

from __future__ import annotations

import sys

from tests.documents import failure_modes, types


def main(arguments: list[str]) -> int:
    match arguments:
        case ["failure-modes"]:
            print(failure_modes.page(), end="")
        case ["types"]:
            print(types.page(), end="")
        case ["unlisted"]:
            for line in failure_modes.unlisted():
                print(line)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
