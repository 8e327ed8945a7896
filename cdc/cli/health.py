"""`cdc health`: exit 0 when the running connector is ready, 1 when it is not and why.

Probes start this every few seconds, so it loads next to nothing: of the settings it reads only where the socket is.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from cdc.cli.options import add_env_file
from cdc.cli.places import socket_path
from cdc.observe.probe import ask


def configure(parser: ArgumentParser) -> None:
    add_env_file(parser)


def run(args: Namespace) -> int:
    document = question(args.env_file)
    print(f"{'ready' if document['ready'] else 'not ready'}: {document['state']}")
    for reason in document["reasons"]:
        print(f"  {reason}")
    return 0 if document["ready"] else 1


def question(env_file: Path | None) -> dict[str, Any]:
    """The health document; where nobody answers, one that says so."""
    path = socket_path(env_file, os.environ)
    try:
        return ask(path)
    except (FileNotFoundError, ConnectionRefusedError):
        reason = f"no connector answers on {path}: it does not run, or its CDC_CHECKPOINT or CDC_HEALTH_SOCKET differ"
    except PermissionError:
        reason = f"only the user who runs the connector may ask on {path}"
    except TimeoutError:
        reason = f"a process listens on {path} and does not answer"
    except (OSError, ValueError):
        reason = f"what answers on {path} is no connector"
    return {"state": "unknown", "ready": False, "reasons": [reason]}
