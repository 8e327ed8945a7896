"""What the demo stands on: a private folder, child processes, a PostgreSQL server and an imitated Kafka cluster."""
