"""Change data capture as one small process."""

__version__ = "0.1.0"
