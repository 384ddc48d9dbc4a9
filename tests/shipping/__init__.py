"""Tests of shipping from journals to a real Kafka, under all kinds of failures."""
