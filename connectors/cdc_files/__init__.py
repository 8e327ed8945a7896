"""Sinks without a broker: JSON lines into rotated files (`file:///dir`) or to standard output (`stdout:`)."""
