"""The demo: a shop on an embedded PostgreSQL, an in-process Kafka, and the connector between them, to be watched.

May import everything; nothing imports it. Run from the root of the repository: `make demo`.
"""
