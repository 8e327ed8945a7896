"""`python -m tests.image`: build the image and print its size."""

from __future__ import annotations

import sys

from tests.image.engine import ImageUnavailableError, StepError, built_image

try:
    with built_image() as image:
        print(image.sizes)
except (ImageUnavailableError, StepError) as error:
    sys.exit(str(error))
