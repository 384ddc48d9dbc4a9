"""Ships journals to Kafka (contract, section 6). Apart from two commands, this is the only package that knows Kafka.

- `forwarder` chooses the journals and their order, and owns the threads. `journal_shipper` ships one journal.
- `delivery` commits one batch, in one of two ways: `ExactlyOnce` or `AtLeastOnce`.
- `checkpoints` reads and writes the checkpoint topic. `topics` creates and checks topics. `kafka` makes clients.
- `routing` and `withdrawals` apply the key file and the consent list. `consent_follower` keeps that list up to date.
- `undeliverable` keeps the events that a topic refuses. `advice` explains Kafka's errors.
- `policies` are the decisions without I/O: batch size, spacing, backoff, limits, ownership, priority.

Invariants: one process forwards a journal at a time, and holds its lock. A batch ends at an offset, and a checkpoint never
passes an event that is not in its topic. A failure never loses an event, because the journal still has it.

Nothing here knows HTTP or the answering of requests, and nothing here writes events to a journal.
"""
