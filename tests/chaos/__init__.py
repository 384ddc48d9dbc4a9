"""A chaos harness: real gateways and a real Kafka cluster under faults, and a count of what was lost or repeated."""
