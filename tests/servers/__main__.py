"""``python -m tests.servers [NAME …]``: install the named servers, or all of them, before the suite needs them."""

from __future__ import annotations

import sys

from tests.servers.catalogue import RELEASES
from tests.servers.install import UnavailableError, install


def main(names: list[str]) -> int:
    known = {release.name: release for release in RELEASES}
    if unknown := [name for name in names if name not in known]:
        print(f"unknown: {' '.join(unknown)}; known are {' '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        try:
            print(f"{name}: {install(known[name])}", flush=True)
        except UnavailableError as missing:
            print(missing, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
