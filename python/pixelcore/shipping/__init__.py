"""From journals to Kafka: the only folder that knows Kafka.

`forwarder` decides which journals are shipped and in which order, `journal_shipper` ships one, `delivery` commits a batch,
`checkpoints` reads and writes the checkpoint topic, `kafka` makes clients. `policies` are the decisions without any I/O: batch
size, spacing, backoff, priority.
"""
