"""Parsers under random bytes: `make fuzz MINUTES=1`. What is found becomes a unit test."""
