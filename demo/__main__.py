"""`python -m demo`: see the package's own words."""

from __future__ import annotations

import argparse
import sys
import time

from demo.interrupt import Interrupt, Interrupted
from demo.servers.child import DemoError

_STARTED = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser("python -m demo", description="A shop, watched by the connector.")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after so much business; default: on Ctrl-C")
    arguments = parser.parse_args()
    interrupt = Interrupt()
    interrupt.install()
    try:
        from demo.show import show

        return show(arguments.seconds, interrupt, _STARTED)
    except (Interrupted, KeyboardInterrupt):
        print("demo: stopped", file=sys.stderr)
        return 130
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
