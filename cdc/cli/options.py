"""Options that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


def add_env_file(parser: ArgumentParser) -> None:
    """`--env-file`, read as `args.env_file`."""
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="read settings from FILE, NAME=value a line as for docker --env-file; the environment wins over it",
    )
