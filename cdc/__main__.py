"""`python -m cdc` is the command `cdc`."""

import sys

from cdc.cli import main

sys.exit(main())
