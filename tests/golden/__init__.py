"""What another engine makes of a fixed script, kept as files: `make golden-debezium` makes them again."""
