"""The scenarios' fixture."""

from tests.integration.postgres.stream import capture

__all__ = ["capture"]
