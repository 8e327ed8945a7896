"""The sink for Apache Kafka, on confluent-kafka (librdkafka)."""
