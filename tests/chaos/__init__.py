"""A chaos harness: runs real gateways and a real Kafka cluster under faults, and counts lost and repeated events."""
