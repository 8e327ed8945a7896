"""`python -m demo`: see the package's own words."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from demo.interrupt import Interrupt, Interrupted
from demo.servers.child import DemoError

_STARTED = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser("python -m demo", description="A shop, watched by the connector.")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after so much business; default: on Ctrl-C")
    parser.add_argument(
        "--servers", type=Path, metavar="FILE", help="only the servers; FILE tells a shell their places"
    )
    parser.add_argument("--topic", action="append", default=[], help="with --servers: a topic to make")
    arguments = parser.parse_args()
    interrupt = Interrupt()
    interrupt.install()
    try:
        if arguments.servers:
            from demo.servers.alone import serve

            return serve(arguments.servers, arguments.topic, interrupt)
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
